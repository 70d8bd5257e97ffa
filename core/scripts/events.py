"""Scripts that run on events of an API (tyk-jsvm 12.3): a bounded queue, and a few calls at a time, so that scripts of
requests find contexts free."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from core.events.event import Event
from core.events.reports import Reports
from core.events.settings import EventSettings

if TYPE_CHECKING:
    from core.apidef.specs import PlanSpec
    from core.scripts.context import Returned, Script
    from core.scripts.steps import MakeScript

log = logging.getLogger("preforge.events")

LONGEST_REASON = 2000   # characters of an error that are logged


@dataclass(frozen=True, slots=True)
class ScriptHandler:
    """A handler of an API that is a script. name: of its object; context: JSON text of the second argument of
    DoProcessEvent."""

    api_id: str
    name: str
    context: bytes
    script: Script


def script_handlers(spec: PlanSpec, make: MakeScript) -> dict[tuple[str, int], ScriptHandler]:
    """The handlers of an API that are scripts, by the event and the position in its list."""
    found = spec.event_scripts
    if found is None:
        return {}
    context = _json({"APIID": spec.api_id, "OrgID": spec.org_id})
    names = dict.fromkeys((one.entry, one.name) for one in found.handlers)
    made = {
        entry: ScriptHandler(spec.api_id, name, context, make(spec, found.program, entry, "event", f"event:{name}", b"null"))
        for entry, name in names
    }
    return {(one.event, one.position): made[one.entry] for one in found.handlers}


def payload(handler: ScriptHandler, event: Event) -> bytes:
    """What the runtime calls DoProcessEvent with: JSON text of {"event", "context"}."""
    return b'{"event":%b,"context":%b}' % (_json(event.described()), handler.context)


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


class _Lane:
    """One API: what waits for its scripts, and how many calls run. turn: it stands in line for the next call."""

    __slots__ = ("drops", "failures", "queue", "running", "turn")

    def __init__(self) -> None:
        self.queue: deque[tuple[ScriptHandler, Event]] = deque()
        self.running = 0
        self.turn = False
        self.drops = Reports()
        self.failures: dict[str, Reports] = {}      # by the name of the handler


class EventScripts:
    """One per worker, on its loop. put() never blocks nor raises, and calls nothing itself."""

    def __init__(self, settings: EventSettings) -> None:
        self.dropped = 0
        self.waiting = 0
        self._settings = settings
        self._lanes: dict[str, _Lane] = {}
        self._line: deque[_Lane] = deque()
        self._running = 0
        self._woken = False
        self._closing = False
        self._idle: asyncio.Event | None = None

    def configure(self, settings: EventSettings) -> None:
        """Bounds from now on; what waits is called with the scripts that it was fired for."""
        self._settings = settings
        for api_id in [api_id for api_id, lane in self._lanes.items() if not lane.running and not lane.queue]:
            del self._lanes[api_id]

    def put(self, handler: ScriptHandler, event: Event) -> None:
        """Call a script, later. The event is dropped and counted when too many wait, of all APIs or of this one."""
        lane = self._lanes.get(handler.api_id)
        if lane is None:
            lane = self._lanes[handler.api_id] = _Lane()
        most = self._settings.script_queue
        if self._closing or self.waiting >= most or len(lane.queue) >= max(1, most // 2):
            self.dropped += 1
            count = lane.drops.due()
            if count:
                why = f"too many wait (preforge.events.max_queued_scripts, {most})"
                log.error("API %s: %d events for scripts were dropped: %s", handler.api_id, count, why)
            return
        lane.queue.append((handler, event))
        self.waiting += 1
        self._stand_in_line(lane)
        if not self._woken:
            self._woken = True
            asyncio.get_running_loop().call_soon(self._begin)

    def _stand_in_line(self, lane: _Lane) -> None:
        if lane.queue and not lane.turn and lane.running < max(1, self._settings.script_calls // 2):
            lane.turn = True
            self._line.append(lane)

    def _begin(self) -> None:
        """Begin as many calls as may run, one of each API in turn."""
        self._woken = False
        while self._line and self._running < self._settings.script_calls:
            lane = self._line.popleft()
            lane.turn = False
            handler, event = lane.queue.popleft()
            self.waiting -= 1
            lane.running += 1
            self._running += 1
            self._stand_in_line(lane)
            self._one(lane, handler, event)

    def _one(self, lane: _Lane, handler: ScriptHandler, event: Event) -> None:
        def done(returned: Returned) -> None:
            lane.running -= 1
            self._running -= 1
            if returned.kind != "ok" and not (self._closing and returned.kind == "closed"):
                self._failed(lane, handler, event, returned.error)
            self._stand_in_line(lane)
            self._begin()
            if self._idle is not None and not self._running and not self.waiting:
                self._idle.set()

        handler.script.call(payload(handler, event), done)

    def _failed(self, lane: _Lane, handler: ScriptHandler, event: Event, why: str) -> None:
        reports = lane.failures.setdefault(handler.name, Reports())
        count = reports.due()
        if count:
            if len(why) > LONGEST_REASON:
                why = why[:LONGEST_REASON] + " ..."
            what = f"event handler {handler.name} failed on {event.name}"
            log.error("API %s: %s (%d failed): %s", handler.api_id, what, count, why)

    async def close(self, grace: float) -> None:
        """Call what waits, for at most `grace` seconds; the rest is dropped and counted. Calls that still run then go on."""
        self._closing = True
        if self._running or self.waiting:
            self._idle = asyncio.Event()
            try:
                async with asyncio.timeout(max(0.0, grace)):
                    await self._idle.wait()
            except TimeoutError:
                self._give_up()

    def _give_up(self) -> None:
        left = self.waiting
        self.dropped += left
        self.waiting = 0
        for lane in self._lanes.values():
            lane.queue.clear()
            lane.turn = False
        self._line.clear()
        log.warning(
            "the worker ended before %d events reached their scripts, and while %d event scripts ran", left, self._running
        )
