"""One connection: commands go out in batches, replies come back in their order."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import hiredis

from core.store.errors import FOLLOWED, NOT_IN_CHARGE, StoreAway, StoreError, StoreReply, from_reply
from core.store.settings import StoreSettings

log = logging.getLogger("preforge.store")

Argument = bytes | str | int | float
Callback = Callable[[Any], None]


@dataclass(slots=True)
class Counters:
    """What happened to the commands of a store.

    commands: sent; errors: answered with an error; timeouts: not answered by their deadline; lost: without an answer
    when their connection ended for another reason; refused: not sent, for want of a connection or over a bound;
    reconnects: connections that were lost.
    """

    commands: int = 0
    errors: int = 0
    timeouts: int = 0
    lost: int = 0
    refused: int = 0
    reconnects: int = 0


class Connection(asyncio.Protocol):
    """The protocol of one connection. `lost` is called once, when it ends or is about to.

    Each callback is called exactly once: with the reply, with a StoreReply for an error reply, or with StoreAway.
    When a deadline has passed the connection ends, so that a late reply can never be taken for another command's.
    """

    def __init__(
        self,
        settings: StoreSettings,
        counters: Counters,
        lost: Callable[[Connection], None],
        on_push: Callback | None = None,
        timeout: float = 0.0,
    ) -> None:
        """on_push: takes published messages; timeout: seconds for one command, 0 for the configured ones."""
        self.run = b""
        self.on_demoted: Callable[[], None] | None = None
        self._counters = counters
        self._lost: Callable[[Connection], None] | None = lost
        self._timeout = timeout or settings.command_timeout
        self._most_waiting = settings.max_waiting
        self._most_queued = settings.max_queued
        self._most_reply = settings.max_reply
        self._push = on_push
        self._reader = hiredis.Reader(replyError=from_reply, notEnoughData=_NOTHING)
        self._waiting: deque[tuple[Callback, float]] = deque()
        self._out: list[bytes] = []
        self._queued = 0
        self._transport: asyncio.Transport | None = None
        self._loop = asyncio.get_running_loop()
        self._flush_due = False
        self._paused = False
        self._timer: asyncio.TimerHandle | None = None
        self._late = 0
        self._reason = "the store closed the connection"

    @property
    def waiting(self) -> int:
        """Commands without a reply."""
        return len(self._waiting)

    @property
    def open(self) -> bool:
        return self._transport is not None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def take(self, callback: Callback, data: bytes) -> bool:
        """Send one packed command with the next batch; False if that would be over a bound."""
        queued = self._queued + len(data)
        if queued > self._most_queued or len(self._waiting) >= self._most_waiting:
            return False
        self._queued = queued
        self._out.append(data)
        self._waiting.append((callback, self._loop.time() + self._timeout))
        if not self._flush_due:
            self._flush_due = True
            self._loop.call_soon(self._flush)
            if self._timer is None:
                self._timer = self._loop.call_later(self._timeout, self._check)
        return True

    def _flush(self) -> None:
        self._flush_due = False
        if self._transport is None or self._paused or not self._out:
            return
        data = self._out[0] if len(self._out) == 1 else b"".join(self._out)
        self._out.clear()
        self._queued = 0
        self._transport.write(data)

    def _check(self) -> None:
        """One timer for all commands: it looks at the oldest."""
        self._timer = None
        if not self._waiting:
            return
        now = self._loop.time()
        left = self._waiting[0][1] - now
        if left <= 0:
            self._late = sum(deadline <= now for _, deadline in self._waiting)
            self._counters.timeouts += self._late
            self.close(f"the store did not answer within {self._timeout:g} s")
        else:
            self._timer = self._loop.call_later(left, self._check)

    def data_received(self, data: bytes) -> None:
        reader = self._reader
        waiting = self._waiting
        try:
            reader.feed(data)
            while (reply := reader.gets()) is not _NOTHING:
                if self._push is not None and type(reply) is list and reply and reply[0] == b"message":
                    self._call(self._push, reply)
                elif waiting:
                    self._call(waiting.popleft()[0], reply)
                else:
                    self.close("the store sent a reply that nobody waits for")
                if self._transport is None:
                    return
        except hiredis.ProtocolError as error:
            self.close(f"the store does not speak RESP: {error}")
            return
        if reader.len() > self._most_reply:
            self.close(f"the store sent a reply over {self._most_reply} bytes (preforge.storage.max_reply_bytes)")

    def _call(self, callback: Callback, reply: Any) -> None:
        if type(reply) is StoreReply or type(reply) is StoreAway:
            if not str(reply).startswith(FOLLOWED):
                self._counters.errors += 1
            if self.on_demoted is not None and str(reply).startswith(NOT_IN_CHARGE):
                self._loop.call_soon(self.on_demoted)
        self._give(callback, reply)

    def _give(self, callback: Callback, reply: Any) -> None:
        try:
            callback(reply)
        except Exception:
            log.exception("a reply could not be handled")

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._flush()

    def close(self, reason: str) -> None:
        """End the connection; commands without a reply fail with StoreAway, soon."""
        transport, self._transport = self._transport, None
        if transport is not None:
            self._reason = reason
            transport.abort()
            self._tell()

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._out.clear()
        if error is not None:
            self._reason = f"the connection to the store was lost: {error}"
        self._tell()
        waiting, self._waiting = self._waiting, deque()
        self._counters.lost += len(waiting) - min(self._late, len(waiting))
        for callback, _ in waiting:
            self._give(callback, StoreAway(self._reason))

    def _tell(self) -> None:
        lost, self._lost = self._lost, None
        if lost is not None:
            lost(self)

    @property
    def reason(self) -> str:
        """Why it ended."""
        return self._reason

    async def call(self, *arguments: Argument) -> Any:
        """One command, on this connection. Raises StoreError."""
        future: asyncio.Future[Any] = self._loop.create_future()
        data = hiredis.pack_command(arguments)  # type: ignore[arg-type]
        if self._transport is None or not self.take(lambda reply: settle(future, reply), data):
            raise StoreAway(self._reason)
        reply = await future
        if isinstance(reply, StoreError):
            raise reply
        return reply


def settle(future: asyncio.Future[Any], reply: Any) -> None:
    """Give a reply to whoever still waits for it."""
    if not future.done():
        future.set_result(reply)


_NOTHING = object()
