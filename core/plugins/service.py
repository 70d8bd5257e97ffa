"""The plugins of one worker: their drivers, made after the fork, what they count and how they are."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from accel import shm
from accel.shm import Region
from coprocess.driver import Driver, Format, Reply, Ticket
from core.apidef.plugins import NO_CODE, PluginHookSpec
from core.apidef.specs import PlanSpec
from core.config.plugins import plugin_options
from core.findings import Finding
from core.obs.hooks import OUTCOMES, row_name
from core.plugins.drivers import Slot, SlotKey

if TYPE_CHECKING:
    from coprocess.python import PythonServices

log = logging.getLogger("preforge.plugins")

LINGER_SECONDS = 10.0   # that a driver stays which no API names any more: requests that began before may call it still
IMPORT_SECONDS = 10.0   # that a reload, or the start of a worker, waits at most for the code of Python plugins to be imported
LINGER_RELOADS = 4      # whose drivers may stay so at once: reloads in a row must not fill the machine with processes
CLOSE_SECONDS = 5.0     # for calls under way, when a driver is given up
_STATUS = {"up": "pass", "connecting": "warn", "down": "fail", "disabled": "fail"}
_COUNTERS = {
    shm.G_PLUGIN_CALLS: ("calls",),
    shm.G_PLUGINS_FAILED: ("errors", "error"),
    shm.G_PLUGINS_AWAY: ("away",),
    shm.G_PLUGIN_TIMEOUTS: ("timeouts", "timeout"),
    shm.G_PLUGINS_CANCELLED: ("cancelled",),
    shm.G_PLUGIN_RESTARTS: ("disconnects", "restarts"),
    shm.G_PLUGIN_EVENTS: ("events",),
    shm.G_PLUGIN_EVENTS_FAILED: ("events_failed",),
    shm.B_PLUGINS: ("busy",),
    shm.B_PLUGIN_MESSAGES: ("too_large",),
    shm.B_PLUGIN_EVENTS: ("events_dropped",),
    shm.B_PLUGIN_LINES: ("lines_dropped", "stderr_lines_dropped", "notices_dropped"),
    shm.B_PLUGIN_QUESTIONS: ("questions_refused",),
}
_GAUGES = {shm.G_PLUGINS_RUNNING: "in_flight", shm.G_PLUGINS_WAITING: "waiting"}


class Rows(Protocol):
    """Where the numbers of a hook are counted."""

    def row_for(self, api_id: str) -> int: ...


class _Refused:
    """The ticket of a call that was never sent."""

    def __init__(self, loop: asyncio.AbstractEventLoop, done: Callable[[Reply], None], why: str) -> None:
        self._handle = loop.call_soon(done, Reply("disabled", detail=why))

    def cancel(self) -> None:
        self._handle.cancel()


class PluginCall:
    """One hook of one API, as its steps call it."""

    def __init__(self, slot: Slot, deadline: float, observe: Callable[[str, int], None]) -> None:
        """deadline: seconds; observe: counts an outcome and its microseconds."""
        self._slot = slot
        self._deadline = deadline
        self._observe = observe
        self._loop = asyncio.get_running_loop()

    @property
    def format(self) -> Format:
        return self._slot.format

    def __call__(self, message: bytes, done: Callable[[Reply], None], /) -> Ticket:
        """Send a coprocess.Object. done: called once, later."""
        began = time.monotonic_ns()

        def ended(reply: Reply) -> None:
            self._observe(reply.outcome, (time.monotonic_ns() - began) // 1000)
            done(reply)

        driver = self._slot.driver
        if driver is None:
            return _Refused(self._loop, ended, self._slot.problem)
        return driver.dispatch(message, self._deadline, ended)


class PluginService:
    """One per worker, on its loop."""

    def __init__(self, config: Any, rows: Rows, region: Region, services: PythonServices) -> None:
        """services: what Python plugins may ask of the worker."""
        self.options = plugin_options(config)
        self._services = services
        self._rows = rows
        self._region = region
        self._slots: dict[SlotKey, Slot] = {}
        self._idle: dict[SlotKey, asyncio.TimerHandle] = {}     # slots that no API names any more
        self._left: deque[list[SlotKey]] = deque()              # those of each of the last reloads
        self._past: Counter[str] = Counter()                    # what closed drivers had counted
        self._tasks: set[asyncio.Task[Any]] = set()

    def configure(self, config: Any) -> None:
        """Take another configuration, for calls that are made from now on."""
        self.options = plugin_options(config)

    async def prepare(self, specs: Iterable[PlanSpec]) -> list[Finding]:
        """Start the drivers that the configuration and these APIs name, and give up those that nothing names any more.

        New drivers of changed settings take their calls at once, those of other bundles when the APIs do.
        """
        named = {SlotKey(name, server.driver) for name, server in self._enabled().items() if not server.bundled}
        named |= {key for spec in specs for key in self._keys(spec)}
        opened = {key: starting for key in named if (starting := self._open(key)) is not None}
        await asyncio.gather(*opened.values())
        await self._imported([self._slots[key] for key in opened if key.driver == "python"])
        self._leave([key for key in self._slots if key not in named and key not in self._idle])
        return [
            Finding("error", "tyk.conf", "$.preforge.plugins.servers", slot.problem)
            for key, slot in self._slots.items() if key in named and slot.driver is None and slot.problem
        ]  # fmt: skip

    async def _imported(self, slots: list[Slot]) -> None:
        """Wait, but not without end, until new processes can be called: meanwhile those that they replace are."""
        end = time.monotonic() + IMPORT_SECONDS
        while any(slot.state().status == "connecting" for slot in slots) and time.monotonic() < end:
            await asyncio.sleep(0.01)

    def _leave(self, keys: list[SlotKey]) -> None:
        """Give up drivers in a while; those of an earlier reload at once if there were many since."""
        if not keys:
            return
        for key in keys:
            self._idle[key] = asyncio.get_running_loop().call_later(LINGER_SECONDS, self._give_up, key)
        self._left.append(keys)
        if len(self._left) > LINGER_RELOADS:
            for key in set(self._left.popleft()).difference(*self._left).intersection(self._idle):
                self._idle[key].cancel()
                self._give_up(key)

    def call(self, spec: PlanSpec, hook: PluginHookSpec) -> PluginCall:
        """What calls a hook of an API."""
        row = self._rows.row_for(row_name(spec.api_id, hook.kind, hook.name, hook.driver))
        count = self._region.count

        def observe(outcome: str, microseconds: int) -> None:
            count(row, OUTCOMES[outcome], microseconds)

        return PluginCall(self._ready(spec, hook.server, hook.driver), hook.deadline, observe)

    def sender(self, spec: PlanSpec, server: str, driver: str) -> Callable[[bytes], bool]:
        """What sends the events of an API; it returns False for one that is dropped."""
        slot = self._ready(spec, server, driver)

        def send(payload: bytes) -> bool:
            if slot.driver is None:
                self._past["events_dropped"] += 1
                return False
            return slot.driver.event(payload)

        return send

    def _ready(self, spec: PlanSpec, server: str, driver: str) -> Slot:
        key = self._key(spec, server, driver)
        if key not in self._slots:
            starting = self._open(key)
            if starting is not None:
                self._spawn(starting)
        return self._slots[key]

    def _key(self, spec: PlanSpec, server: str, driver: str) -> SlotKey:
        bundled = spec.plugins is not None and self.options.servers[server].bundled
        return SlotKey(server, driver, spec.plugins.bundle if bundled and spec.plugins is not None else NO_CODE)

    def _keys(self, spec: PlanSpec) -> Iterator[SlotKey]:
        """The drivers that an API calls."""
        if spec.plugins is None:
            return
        for hook in spec.plugins.hooks:
            if not hook.problem:
                yield self._key(spec, hook.server, hook.driver)
        for handler in spec.plugins.events:
            yield self._key(spec, handler.server, handler.driver)

    def _enabled(self) -> Any:
        return self.options.servers if self.options.enabled else {}

    def _open(self, key: SlotKey) -> Coroutine[Any, Any, None] | None:
        """The slot of a key has the driver that the configuration asks for; returns what starts it if it is a new one."""
        server = self.options.servers[key.server]
        idle = self._idle.pop(key, None)
        if idle is not None:
            idle.cancel()
        slot = self._slots.get(key)
        if slot is None:
            slot = self._slots[key] = Slot(key, server, self._services)
        elif slot.fits(server):
            return None
        before = slot.fill(server)
        if before is not None:
            self._spawn(self._close(before, CLOSE_SECONDS))
        return slot.start()

    def _give_up(self, key: SlotKey) -> None:
        self._idle.pop(key, None)
        slot = self._slots.pop(key, None)
        if slot is not None and slot.driver is not None:
            self._spawn(self._close(slot.driver, CLOSE_SECONDS))

    async def _close(self, driver: Driver, grace: float) -> None:
        await driver.close(grace)
        gauges = set(_GAUGES.values())
        self._past.update({name: count for name, count in driver.counts().items() if name not in gauges})

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("a plugin driver failed", exc_info=task.exception())

    # -- what others ask ---------------------------------------------------------------

    def details(self) -> dict[str, Any]:
        """The `details` of /hello: the drivers that are in use, by their names; `output` quotes plugins and names addresses."""
        found: dict[str, Any] = {}
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        for key, slot in self._slots.items():
            if key in self._idle:
                continue
            state = slot.state()
            said: dict[str, Any] = {"status": _STATUS[state.status], "componentType": f"plugin:{key.driver}"}
            if state.detail:
                said["output"] = state.detail
            name = f"{slot.name} {Path(key.bundle.directory).name}".rstrip()
            found[name] = {**said, "time": now}
        return found

    def counters(self) -> dict[int, int]:
        """Word of the shared counters -> what has been counted."""
        totals = self._totals()
        return {word: sum(totals[name] for name in names) for word, names in _COUNTERS.items()}

    def gauges(self) -> dict[int, int]:
        """Word of the shared counters -> how it is now."""
        totals = self._totals()
        return {word: totals[name] for word, name in _GAUGES.items()}

    def _totals(self) -> Counter[str]:
        totals = Counter(self._past)
        for slot in self._slots.values():
            if slot.driver is not None:
                totals.update(slot.driver.counts())
        return totals

    async def close(self, grace: float) -> None:
        """End all drivers, for at most `grace` seconds."""
        for handle in self._idle.values():
            handle.cancel()
        slots, self._slots = list(self._slots.values()), {}
        await asyncio.gather(*(self._close(slot.driver, grace) for slot in slots if slot.driver is not None))
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=max(0.0, grace))
