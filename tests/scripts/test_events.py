"""The queue of event scripts, in real contexts: bounds, slow and failing scripts, the end of a worker."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from core.events.event import Event
from core.events.settings import EventSettings
from core.scripts.events import EventScripts, ScriptHandler
from jsvm_pool.pool import Hook, Pool
from jsvm_pool.program import Program, Source
from jsvm_pool.settings import PoolSettings

TELL = "var h = {DoProcessEvent: function(event, context) { TykGetKeyData(JSON.stringify([event, context]), ''); }};"
THROW = "var h = {DoProcessEvent: function(event) {\n  throw new Error('no ' + event.Meta.Key);\n}};"
UNDEFINED = 0   # how a host call ends, see Isolate.answer


@dataclass(frozen=True, slots=True)
class Caller:
    """Whose calls these are, for the pool."""

    api_id: str


@dataclass(slots=True)
class Place:
    """A queue on a pool. told: what scripts said to the host; while the gate is closed, the host does not answer."""

    pool: Pool
    scripts: EventScripts
    told: list[Any]
    gate: asyncio.Event = field(default_factory=asyncio.Event)

    def handler(self, text: str = TELL, api_id: str = "a", name: str = "h") -> ScriptHandler:
        program = Program((Source("h.js", text),), (name,))
        context = json.dumps({"APIID": api_id, "OrgID": "o"}).encode()
        return ScriptHandler(api_id, name, context, Hook(self.pool, program, 0, "event", Caller(api_id), 5.0))

    def keys(self) -> list[str]:
        """The keys of the events that scripts have been given, in order."""
        return [event["Meta"]["Key"] for event, _ in self.told]

    async def until(self, check: Callable[[], Any]) -> None:
        """Poll; the deadline only bounds a failing test."""
        async with asyncio.timeout(15):
            while not check():
                await asyncio.sleep(0.005)


def event(key: str = "k", name: str = "AuthFailure") -> Event:
    return Event(name, {"Message": "m", "Key": key}, 1763710735_111_157_073)


def with_scripts(
    use: Callable[[Place], Awaitable[None]], settings: EventSettings | None = None, *, gate: bool = True, grace: float = 10.0
) -> Place:
    """Run something with a queue, which is closed afterwards. gate: whether the host answers at once."""

    async def run() -> Place:
        async def ask(name: str, arguments: list[str | None], caller: Any, deadline: float) -> tuple[int, str]:
            assert (name, isinstance(caller, Caller)) == ("TykGetKeyData", True)
            place.told.append(json.loads(arguments[0] or ""))
            await place.gate.wait()
            return UNDEFINED, ""

        pool = Pool(asyncio.get_running_loop(), PoolSettings(contexts=1, max_contexts=4), ask, lambda *_: None)
        place = Place(pool, EventScripts(settings or EventSettings()), [])
        if gate:
            place.gate.set()
        try:
            await use(place)
            await place.scripts.close(grace)
        finally:
            await pool.close()
        return place

    return asyncio.run(run())


def test_a_script_is_given_something_else_than_the_event() -> None:
    async def use(place: Place) -> None:
        meta = {"Message": "Breaker Tripped", "Path": "/ü \ud800", "CircuitEvent": 0}
        place.scripts.put(place.handler(), Event("BreakerTripped", meta, 1763710735_111_157_073))

    ((given, context),) = with_scripts(use).told
    assert context == {"APIID": "a", "OrgID": "o"}
    assert sorted(given) == ["Meta", "TimeStamp", "Type"]
    assert given["Type"] == "BreakerTripped"
    assert given["Meta"] == {"Message": "Breaker Tripped", "Path": "/ü \ud800", "CircuitEvent": 0}
    assert ":55.111157073 " in given["TimeStamp"]


def test_events_are_lost_or_told_twice() -> None:
    async def use(place: Place) -> None:
        one, two = place.handler(api_id="a"), place.handler(api_id="b")
        for number in range(100):
            place.scripts.put(one, event(f"{number}"))
            place.scripts.put(two, event(f"{number}"))

    place = with_scripts(use)
    told = sorted((context["APIID"], int(given["Meta"]["Key"])) for given, context in place.told)
    assert told == [(api_id, number) for api_id in ("a", "b") for number in range(100)]
    assert (place.scripts.dropped, place.scripts.waiting) == (0, 0)


def test_firing_an_event_runs_its_script_at_once() -> None:
    async def use(place: Place) -> None:
        calls = place.pool.stats()["calls"]
        place.scripts.put(place.handler(), event())
        assert (place.scripts.waiting, place.pool.stats()["calls"] - calls) == (1, 0)

    assert with_scripts(use).keys() == ["k"]


def test_the_queue_of_an_api_grows_without_end(caplog: pytest.LogCaptureFixture) -> None:
    async def use(place: Place) -> None:
        handler = place.handler()
        place.scripts.put(handler, event("0"))
        await place.until(lambda: place.told)
        for number in range(1, 10):
            place.scripts.put(handler, event(str(number)))
        assert (place.scripts.waiting, place.scripts.dropped) == (2, 7)
        place.gate.set()

    with caplog.at_level(logging.ERROR, "preforge.events"):
        place = with_scripts(use, EventSettings(script_queue=4, script_calls=2), gate=False)
    assert place.keys() == ["0", "1", "2"]
    assert [record.getMessage() for record in caplog.records] == [
        "API a: 1 events for scripts were dropped: too many wait (preforge.events.max_queued_scripts, 4)"
    ]


def test_the_queues_of_all_apis_grow_without_end() -> None:
    async def use(place: Place) -> None:
        for api_id in ("a", "b", "c"):
            handler = place.handler(api_id=api_id)
            for _ in range(2):
                place.scripts.put(handler, event())
        assert (place.scripts.waiting, place.scripts.dropped) == (4, 2)

    assert len(with_scripts(use, EventSettings(script_queue=4)).told) == 4


def test_slow_scripts_of_one_api_hold_those_of_others() -> None:
    async def use(place: Place) -> None:
        slow, other = place.handler(api_id="slow"), place.handler(THROW, "other")
        for _ in range(10):
            place.scripts.put(slow, event())
        await place.until(lambda: len(place.told) == 2)
        before = place.pool.stats()["errors"]
        for _ in range(3):
            place.scripts.put(other, event())
        await place.until(lambda: place.pool.stats()["errors"] == before + 3)
        assert (len(place.told), place.scripts.waiting) == (2, 8)
        place.gate.set()

    assert len(with_scripts(use, EventSettings(script_calls=4), gate=False).told) == 10


def test_a_failure_is_not_logged_with_its_place_or_floods_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async def use(place: Place) -> None:
        throwing, missing = place.handler(THROW), place.handler(TELL, name="gone")
        for number in range(20):
            place.scripts.put(throwing, event(f"key {number}"))
            place.scripts.put(missing, event())

    with caplog.at_level(logging.ERROR, "preforge.events"):
        with_scripts(use)
    thrown, gone = sorted((record.getMessage() for record in caplog.records), reverse=True)
    assert thrown.startswith("API a: event handler h failed on AuthFailure (1 failed): Error: no key 0 (h.js:2:")
    assert gone.startswith("API a: event handler gone failed on AuthFailure (1 failed): ReferenceError: gone is not defined")


def test_a_failure_ends_the_queue() -> None:
    async def use(place: Place) -> None:
        for handler in (place.handler(THROW), place.handler()):
            for _ in range(5):
                place.scripts.put(handler, event())

    place = with_scripts(use, EventSettings(script_calls=1))
    assert (place.keys(), place.scripts.dropped) == (["k"] * 5, 0)


def test_other_settings_lose_what_waits() -> None:
    async def use(place: Place) -> None:
        handler = place.handler()
        for number in range(6):
            place.scripts.put(handler, event(str(number)))
        place.scripts.configure(EventSettings(script_queue=2))
        place.scripts.put(handler, event("late"))
        assert (place.scripts.waiting, place.scripts.dropped) == (6, 1)

    assert sorted(with_scripts(use).keys()) == ["0", "1", "2", "3", "4", "5"]


def test_a_script_that_hangs_holds_the_end_of_a_worker(caplog: pytest.LogCaptureFixture) -> None:
    async def use(place: Place) -> None:
        for _ in range(5):
            place.scripts.put(place.handler(), event())
        await place.until(lambda: place.told)

    with caplog.at_level(logging.WARNING, "preforge.events"):
        place = with_scripts(use, EventSettings(script_calls=2), gate=False, grace=0.1)
    assert (len(place.told), place.scripts.dropped, place.scripts.waiting) == (1, 4, 0)
    assert [record.getMessage() for record in caplog.records] == [
        "the worker ended before 4 events reached their scripts, and while 1 event scripts ran"
    ]


def test_an_event_after_the_end_is_not_counted() -> None:
    async def use(place: Place) -> None:
        handler = place.handler()
        await place.scripts.close(1.0)
        place.scripts.put(handler, event())

    place = with_scripts(use)
    assert (place.told, place.scripts.dropped) == ([], 1)
