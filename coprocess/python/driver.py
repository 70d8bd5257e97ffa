"""The driver of one bundle: calls wait here until a host process takes them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from pathlib import Path

from coprocess.driver import DriverState, Format, Outcome, Reply, Ticket
from coprocess.python.calls import Call
from coprocess.python.host import wire
from coprocess.python.process import HostProcess, Log
from coprocess.python.settings import PythonServices, PythonSettings

EVENT_TURN = 16
"""While calls wait, one event goes to a process after this many calls."""
LAST_LOOK = 0.005
"""Seconds between a passed deadline and the kill: an answer that has come meanwhile is read first. Timers are less exact
than that."""

DEAD_MOST = 64
"""Calls that nobody waits for any more may stay in the queue: this many more than those that do."""

_TOTALS: dict[Outcome, str] = {
    "ok": "answered", "error": "errors", "timeout": "timeouts", "busy": "busy", "away": "away",
    "too_large": "too_large", "disabled": "disabled",
}  # fmt: skip


class PythonDriver:
    """See driver.Driver. Hooks of one bundle, in `settings.processes` processes of this worker."""

    format: Format = "protobuf"

    def __init__(self, settings: PythonSettings, services: PythonServices, log: Log) -> None:
        """log: (level, text), level one of debug, info, warning, error. Nothing runs before start()."""
        self.settings = settings
        self._services = services
        self._log = log
        self._name = f"python {Path(settings.bundle).name}"
        self._processes: list[HostProcess] = []
        self._calls: deque[Call] = deque()
        self._events: deque[Call] = deque()
        self._waiting = 0
        self._turn = 0
        self._open = 0
        self._closing = False
        self._drained: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._counts: dict[str, int] = dict.fromkeys(
            ("calls", *_TOTALS.values(), "cancelled", "events", "events_failed", "events_dropped", "notices_dropped",
             "questions", "questions_refused"), 0)  # fmt: skip

    async def start(self) -> None:
        """Start the processes; returns before they are ready."""
        self._loop = asyncio.get_running_loop()
        for number in range(self.settings.processes):
            name = self._name if self.settings.processes == 1 else f"{self._name} [{number}]"
            self._processes.append(HostProcess(self, self.settings, self._services, self._log, self._counts, name))
        for process in self._processes:
            process.start()

    async def close(self, grace: float) -> None:
        """Calls that are under way or wait may end within `grace` seconds; then the processes end, and are killed if they do
        not."""
        loop = asyncio.get_running_loop()
        end = loop.time() + grace
        self._closing = True
        if not self._hopeful():
            self._give_up("the gateway ends")
        if self._open:
            self._drained = asyncio.Event()
            try:
                await asyncio.wait_for(self._drained.wait(), grace)
            except TimeoutError:
                self._log("warning", f"{self._name}: {self._open} calls had not ended within {grace:g} seconds")
        left = end - loop.time() if not self._open else 0.0
        await asyncio.gather(*(process.stop(left) for process in self._processes))
        self._give_up("the gateway ends")

    def dispatch(self, message: bytes, deadline: float, done: Callable[[Reply], None]) -> Ticket:
        """See driver.Driver."""
        call = Call(self, wire.CALL, message, deadline, done)
        self._counts["calls"] += 1
        self._open += 1
        assert self._loop is not None
        if self._closing:
            self._loop.call_soon(call.finish, "disabled", b"", f"{self._name}: the gateway ends")
        elif len(message) > self.settings.max_message:
            detail = f"{self._name}: a call of {len(message)} bytes, at most {self.settings.max_message} are allowed"
            self._loop.call_soon(call.finish, "too_large", b"", detail)
        else:
            self._place(call)
        return call

    def _place(self, call: Call) -> None:
        assert self._loop is not None
        best, room = None, 0
        for process in self._processes if not self._waiting else ():  # nobody overtakes those that wait
            if (free := process.room) > room:
                best, room = process, free
        if best is not None and best.give(call):
            call.watch(self._loop, call.deadline)
        elif not self._hopeful():
            self._loop.call_soon(call.finish, "away", b"", self._why_down())
        elif self._waiting >= self.settings.queue:
            detail = f"{self._name}: {self._waiting} calls wait already, at most {self.settings.queue} may"
            self._loop.call_soon(call.finish, "busy", b"", detail)
        else:
            self._waiting += 1
            call.queued = True
            self._calls.append(call)
            call.watch(self._loop, call.deadline)

    def event(self, payload: bytes) -> bool:
        """See driver.Driver."""
        self._counts["events"] += 1
        full = len(self._events) >= self.settings.event_queue and not any(process.room > 0 for process in self._processes)
        if full or self._closing or not self._hopeful() or len(payload) > self.settings.max_message:
            self._counts["events_dropped"] += 1
            return False
        self._open += 1
        self._events.append(Call(self, wire.EVENT, payload, self.settings.event_deadline, None))
        for process in self._processes:
            if process.room > 0:
                self.free(process)
                break
        return True

    def state(self) -> DriverState:
        """See driver.Driver."""
        if self._closing:
            return DriverState("disabled", "the gateway ends")
        if any(process.phase == "ready" for process in self._processes):
            return DriverState("up")
        if not self._processes or self._hopeful():
            return DriverState("connecting")
        return DriverState("down", self._why_down())

    def counts(self) -> dict[str, int]:
        """See driver.Driver. Gauges: in_flight (with a process), waiting, events_waiting, processes_ready."""
        return self._counts | {
            "in_flight": sum(len(process.calls) for process in self._processes),
            "waiting": self._waiting,
            "events_waiting": len(self._events),
            "processes_ready": sum(process.phase == "ready" for process in self._processes),
            "restarts": sum(process.child.restarts for process in self._processes),
            "lines_dropped": sum(process.child.lines_dropped for process in self._processes),
        }

    def _hopeful(self) -> bool:
        return any(process.hopeful for process in self._processes)

    def _why_down(self) -> str:
        why = (process.why for process in self._processes)
        return f"{self._name}: {next(filter(None, why), 'no process runs')}"

    def ended(self, call: Call, outcome: Outcome | None) -> None:
        """See calls.Owner."""
        self._open -= 1
        if call.is_event:
            self._counts["events_failed"] += outcome != "ok"
        else:
            self._counts["cancelled" if outcome is None else _TOTALS[outcome]] += 1
        if call.queued:
            call.queued = False
            self._waiting -= 1
            if len(self._calls) > 2 * self._waiting + DEAD_MOST:
                self._calls = deque(one for one in self._calls if one.queued)
        if self._drained is not None and not self._open:
            self._drained.set()

    def expired(self, call: Call) -> None:
        """See calls.Owner."""
        assert self._loop is not None
        process = call.host
        if process is None:
            call.finish("timeout", detail=f"{self._name}: waited {call.deadline:g} s for a process")
        elif not process.has_begun(call):
            call.finish("timeout", detail=f"{self._name}: waited {call.deadline:g} s behind another call")
            call.watch(self._loop, call.deadline)
        else:
            # Under load a call begins late. Only one that runs for its whole time is stuck; killing others would make the
            # overload worse.
            left = call.deadline - process.running_for(call)
            what = "the process is replaced" if left <= LAST_LOOK else "it began late"
            call.finish("timeout", detail=f"{self._name}: not done after {call.deadline:g} s; {what}")
            if left > LAST_LOOK:
                call.watch(self._loop, left)
            else:
                self._loop.call_later(LAST_LOOK, self._kill_stuck, process, call)

    def _kill_stuck(self, process: HostProcess, call: Call) -> None:
        if process.calls.get(call.ident) is call:
            process.kill(f"was stuck for {call.deadline:g} s in a hook")

    def ready(self, process: HostProcess) -> None:
        """See process.Pool."""
        self.free(process)

    def free(self, process: HostProcess) -> None:
        """See process.Pool: give it what waits, as much as it takes."""
        while process.room > 0:
            call = self._next()
            if call is None:
                return
            if not process.give(call):
                self._put_back([call])
                return

    def _next(self) -> Call | None:
        """The call or event whose turn it is."""
        assert self._loop is not None
        self._turn += 1
        if self._events and (not self._waiting or self._turn % EVENT_TURN == 0):
            event = self._events.popleft()
            event.watch(self._loop, event.deadline)
            return event
        while self._calls:
            call = self._calls.popleft()
            if call.queued:
                call.queued = False
                self._waiting -= 1
                return call
        return None

    def _put_back(self, calls: list[Call]) -> None:
        for call in reversed(calls):
            if call.is_event:
                call.unwatch()
                self._events.appendleft(call)
            else:
                self._waiting += 1
                call.queued = True
                self._calls.appendleft(call)

    def lost(self, process: HostProcess, unbegun: list[Call]) -> None:
        """See process.Pool."""
        self._put_back(unbegun)
        if not self._hopeful():
            self._give_up(self._why_down())
        for other in self._processes:
            self.free(other)

    def failed(self, process: HostProcess) -> None:
        """See process.Pool."""
        if not self._hopeful():
            self._give_up(self._why_down())

    def _give_up(self, why: str) -> None:
        """Nobody will take what waits."""
        calls, self._calls = self._calls, deque()
        events, self._events = self._events, deque()
        for call in (*calls, *events):
            call.unwatch()
            call.finish("away", detail=why)
