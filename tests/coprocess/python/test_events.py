"""@Event handlers (tyk-plugins 5.3, 9)."""

from __future__ import annotations

import json
from pathlib import Path

from tests.coprocess.python.hosting import Kept, hosted, on_loop, write_bundle

CODE = '''
    import os, time
    from tyk.event import TykEvent

    @Event
    def Told(event, spec):
        assert type(event) is TykEvent
        tyk.trigger_event(event.handler_name, "%s %s %s" % (event.message["Type"], event.message["Meta"]["Key"], spec["APIID"]))

    @Event
    def Dies(event, spec):
        os._exit(1)

    @Event
    def Stuck(event, spec):
        time.sleep(60)

    @Event
    def Slow(event, spec):
        time.sleep(0.05)

    @Hook
    def Fine(request, session, spec):
        return request, session

    @Hook
    def SlowHook(request, session, spec):
        time.sleep(0.01)
        return request, session
'''


def an_event(handler: str) -> bytes:
    message = {"Type": "AuthFailure", "Meta": {"Key": "abc"}, "TimeStamp": "now"}
    return json.dumps({"message": message, "handler_name": handler, "spec": {"APIID": "a", "OrgID": "o"}}).encode()


@on_loop
async def test_handlers_are_called_with_event_and_spec(tmp_path: Path) -> None:
    """Also for events that came before the process was ready."""
    services = Kept()
    async with hosted(write_bundle(tmp_path / "b", CODE), services) as host:
        assert host.driver.event(an_event("Told"))
        await host.until(lambda: services.fired == [("Told", "AuthFailure abc a")])
        assert host.driver.event(an_event("Told"))
        await host.until(lambda: len(services.fired) == 2)
        assert (host.driver.counts()["events"], host.driver.counts()["events_failed"]) == (2, 0)


@on_loop
async def test_bad_events_are_counted_and_logged(tmp_path: Path) -> None:
    """Unknown handlers, text that is not JSON; the process lives on."""
    async with hosted(write_bundle(tmp_path / "b", CODE)) as host:
        for payload in (an_event("Unheard"), b"{", b"[]", b"\xff"):
            assert host.driver.event(payload)
        await host.until(lambda: host.driver.counts()["events_failed"] == 4)
        assert "Event handler 'Unheard' is not defined in" in host.log
        assert "it defines Dies, Slow, Stuck, Told" in host.log
        assert host.driver.counts()["restarts"] == 0


@on_loop
async def test_an_event_that_kills_its_process_harms_no_call(tmp_path: Path) -> None:
    """Calls behind it go to the next process; a stuck handler is ended at its deadline."""
    async with hosted(write_bundle(tmp_path / "b", CODE), restart_delay=0.01, event_deadline=0.2) as host:
        await host.up()
        for handler in ("Dies", "Stuck"):
            assert host.driver.event(an_event(handler))
            calls = [host.send("Fine") for _ in range(20)]
            for call in calls:
                assert (await call).outcome == "ok"
        assert (host.driver.counts()["events_failed"], host.driver.counts()["restarts"]) == (2, 2)


@on_loop
async def test_the_queue_of_events_is_bounded(tmp_path: Path) -> None:
    """Dropped ones are counted, and calls come first without starving the events."""
    async with hosted(write_bundle(tmp_path / "b", CODE), event_queue=5) as host:
        await host.up()
        taken = [host.driver.event(an_event("Slow")) for _ in range(10)]
        assert taken == [True] * 6 + [False] * 4
        assert host.driver.counts()["events_dropped"] == 4
        calls = [host.send("SlowHook") for _ in range(50)]
        assert (await calls[1]).outcome == "ok"
        assert host.driver.counts()["events_waiting"] >= 3
        for call in calls:
            assert (await call).outcome == "ok"
        assert host.driver.counts()["events_waiting"] < 5
        await host.until(lambda: host.driver.counts()["events_waiting"] == 0)


@on_loop
async def test_events_for_a_bundle_that_is_down_are_dropped(tmp_path: Path) -> None:
    """They do not wait for it, nor does the end of the gateway."""
    async with hosted(write_bundle(tmp_path / "b", "1 / 0\n")) as host:
        assert host.driver.event(an_event("Told")), "it may still come up"
        await host.down()
        assert host.driver.counts()["events_failed"] == 1
        assert not host.driver.event(an_event("Told"))
        assert host.driver.counts()["events_dropped"] == 1
