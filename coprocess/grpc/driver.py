"""The gRPC driver of one worker."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coprocess.driver import DriverState, Format, Outcome, Reply
from coprocess.grpc.settings import GrpcSettings

if TYPE_CHECKING:
    import grpc  # type: ignore[import-untyped]

logger = logging.getLogger("preforge.grpc")

DISPATCH = "/coprocess.Dispatcher/Dispatch"
DISPATCH_EVENT = "/coprocess.Dispatcher/DispatchEvent"
OUTCOMES: dict[str, Outcome] = {"DEADLINE_EXCEEDED": "timeout", "UNAVAILABLE": "away"}


def event_message(payload: bytes) -> bytes:
    """A coprocess.Event: its field 1, a string, is the payload."""
    size, left = bytearray(), len(payload)
    while left > 0x7F:
        size.append(left & 0x7F | 0x80)
        left >>= 7
    size.append(left)
    return b"\x0a" + bytes(size) + payload


class Call:
    """A call under way."""

    __slots__ = ("deadline", "done", "driver", "message", "task")

    def __init__(self, driver: GrpcDriver, message: bytes, deadline: float, done: Callable[[Reply], None]) -> None:
        self.driver = driver
        self.message = message
        self.deadline = deadline
        self.done: Callable[[Reply], None] | None = done
        self.task: asyncio.Task[None] | None = None

    def cancel(self) -> None:
        """The caller went away."""
        if self.done is not None:
            self.done = None
            self.driver.count["cancelled"] += 1
            if self.task is not None:
                self.task.cancel()

    def end(self, reply: Reply) -> None:
        """Tell the caller, once."""
        done, self.done = self.done, None
        if done is not None:
            done(reply)


class GrpcDriver:
    """One plugin server, as one worker sees it; see coprocess.driver.Driver."""

    format: Format = "protobuf"

    def __init__(self, settings: GrpcSettings) -> None:
        self.settings = settings
        self.count = dict.fromkeys(
            ("calls", "replies", "errors", "timeouts", "busy", "away", "too_large", "cancelled", "events", "events_dropped",
             "events_failed"), 0)  # fmt: skip
        self._queue: deque[Call] = deque()
        self._in_flight = 0
        self._events = 0
        self._channel: grpc.aio.Channel | None = None
        self._dispatch: Any = None
        self._event: Any = None
        self._closing = False
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Begin to connect."""
        import grpc  # noqa: PLC0415  (only in a worker: it must not be loaded before a fork)

        s = self.settings
        target = s.address()
        options: list[tuple[str, Any]] = [
            ("grpc.max_receive_message_length", s.receive_limit),
            ("grpc.max_send_message_length", s.send_limit),
            ("grpc.initial_reconnect_backoff_ms", int(s.backoff_min * 1000)),
            ("grpc.min_reconnect_backoff_ms", int(s.backoff_min * 1000)),
            ("grpc.max_reconnect_backoff_ms", int(s.backoff_max * 1000)),
            ("grpc.default_authority", s.authority or target.authority),
            ("grpc.lb_policy_name", "round_robin" if s.round_robin else "pick_first"),
            ("grpc.enable_http_proxy", 0),
        ]
        where = f"unix:{target.path}" if target.path else f"dns:///{target.authority}"
        if s.tls:
            if s.server_name:
                options.append(("grpc.ssl_target_name_override", s.server_name))
            read = [Path(f).read_bytes() if f else None for f in (s.ca_file, s.key_file, s.cert_file)]
            self._channel = grpc.aio.secure_channel(where, grpc.ssl_channel_credentials(*read), options)
        else:
            self._channel = grpc.aio.insecure_channel(where, options)
        self._dispatch = self._channel.unary_unary(DISPATCH)
        self._event = self._channel.unary_unary(DISPATCH_EVENT)
        self._channel.get_state(try_to_connect=True)

    async def close(self, grace: float) -> None:
        """Let calls end, and give up the connection."""
        self._closing = True
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=grace)
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        if self._channel is not None:
            await self._channel.close(None)

    def dispatch(self, message: bytes, deadline: float, done: Callable[[Reply], None]) -> Call:
        """Send one Object."""
        self.count["calls"] += 1
        call = Call(self, message, deadline, done)
        if len(message) > self.settings.send_limit:
            self._refuse(call, Reply("too_large", detail=f"the request has {len(message)} bytes"))
        elif self._closing or self._channel is None:
            self._refuse(call, Reply("away", detail="not connected"))
        elif self._in_flight < self.settings.max_in_flight:
            self._begin(call)
        elif len(self._queue) < self.settings.max_waiting:
            self._queue.append(call)
        else:
            self._refuse(call, Reply("busy", detail=f"{self._in_flight} calls are in flight"))
        return call

    def _refuse(self, call: Call, reply: Reply) -> None:
        self.count[reply.outcome] += 1
        asyncio.get_running_loop().call_soon(call.end, reply)

    def _begin(self, call: Call) -> None:
        self._in_flight += 1
        call.task = asyncio.get_running_loop().create_task(self._run(call))
        self._tasks.add(call.task)

    async def _run(self, call: Call) -> None:
        reply = Reply("away", detail="closing")
        try:
            reply = await self._ask(call)
        finally:
            self._in_flight -= 1
            self._tasks.discard(call.task)
            while self._queue and self._in_flight < self.settings.max_in_flight:
                following = self._queue.popleft()
                if following.done is not None:
                    self._begin(following)
            call.end(reply)

    async def _ask(self, call: Call) -> Reply:
        import grpc  # noqa: PLC0415

        try:
            message: bytes = await self._dispatch(call.message, timeout=call.deadline)
        except grpc.aio.AioRpcError as e:
            code = e.code().name
            outcome = OUTCOMES.get(code, "error")
            if code == "RESOURCE_EXHAUSTED" and "larger than max" in (e.details() or ""):
                outcome = "too_large"
            self.count[{"timeout": "timeouts", "error": "errors"}.get(outcome, outcome)] += 1
            return Reply(outcome, detail=f"{code}: {e.details()}")
        self.count["replies"] += 1
        return Reply("ok", message)

    def event(self, payload: bytes) -> bool:
        """Send one event."""
        if self._events >= self.settings.max_events or self._closing or self._channel is None:
            self.count["events_dropped"] += 1
            return False
        self.count["events"] += 1
        self._events += 1
        task = asyncio.get_running_loop().create_task(self._tell(event_message(payload)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return True

    async def _tell(self, message: bytes) -> None:
        import grpc  # noqa: PLC0415

        try:
            await self._event(message, timeout=self.settings.event_timeout)
        except grpc.aio.AioRpcError as e:
            self.count["events_failed"] += 1
            logger.warning('gRPC server "%s": an event was not taken: %s', self.settings.name, e.details())
        finally:
            self._events -= 1

    def state(self) -> DriverState:
        """Whether calls would reach the server now."""
        if self._channel is None:
            return DriverState("connecting", "not started")
        name = self._channel.get_state(try_to_connect=True).name
        if name == "READY":
            return DriverState("up")
        return DriverState("connecting" if name in {"IDLE", "CONNECTING"} else "down", name.lower())

    def counts(self) -> dict[str, int]:
        """Totals and gauges."""
        return {**self.count, "in_flight": self._in_flight, "waiting": len(self._queue)}
