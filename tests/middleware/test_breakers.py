"""A path whose upstream fails is closed for a while, in all workers at once, and opens again (tyk-core 2.6)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as bounded
from hypothesis import strategies as st

from accel.breaker_cell import NOTHING, RESET, TRIPPED, BreakerCell
from accel.limits import LimitTable
from core.apidef.breakers import breaker
from core.apidef.compile import Report
from tests.conftest import Start
from tests.paths.support import arrived, error, listed
from tests.support.gateway import Gateway, Json, free_port, wait_for
from tests.support.site import Site
from tests.support.upstream import Connection, Seen, Upstream, silent
from tests.support.wire import get

OPEN = (503, "Service temporarily unavailable.")
SECOND = 1000


def entry(path: str, **more: Any) -> Json:
    base = {"threshold_percent": 0.5, "samples": 3, "return_to_service_after": 60, "disable_half_open_state": True}
    return {"path": path, "method": "GET", **base, **more}


def broken(api_id: str, upstream: Upstream, *entries: Json, **more: Any) -> Json:
    return listed(api_id, upstream, {"circuit_breakers": list(entries)}, **more)


def answering(status: int) -> Any:
    def answer(connection: Connection, seen: Seen) -> bool:
        connection.read_body(seen)
        connection.send(b"HTTP/1.1 %d Said\r\nContent-Length: 0\r\n\r\n" % status)
        return True

    return answer


def statuses(gateway: Gateway, target: str, count: int) -> list[int]:
    return [gateway.fetch(target).status for _ in range(count)]


@pytest.fixture(scope="module")
def gateway(start: Start, upstream: Upstream) -> Gateway:
    for status in (500, 404):
        upstream.on(f"/s/{status}", answering(status))
        upstream.on(f"/up/s/{status}", answering(status))
    upstream.on("/silent", silent)
    return start(
        [
            broken("a", upstream, entry("/s/")),
            broken("few", upstream, entry("/s/", samples=2, threshold_percent=0.75)),
            broken("deep", upstream, entry("^/s/500$"), proxy={"target_url": upstream.url + "/up"}),
            broken("gone", upstream, entry("/"), proxy={"target_url": f"http://127.0.0.1:{free_port()}/"}),
            broken("slow", upstream, entry("/", samples=1), version={"global_enforce_timeout": "100ms"}),
            broken("left", upstream, entry("/", samples=1)),
            broken("cool", upstream, entry("/", samples=1, return_to_service_after=1)),
            broken("half", upstream, entry("/", samples=1, disable_half_open_state=False)),
        ],
        {"preforge": {"workers": 3}},
    )


def test_failures_close_the_path_for_all_workers(gateway: Gateway, upstream: Upstream) -> None:
    assert statuses(gateway, "/a/s/500", 9) == [500] * 3 + [503] * 6
    assert len(upstream.seen("/s/500")) == 3
    answer = gateway.fetch("/a/s/404")
    assert (answer.status, error(answer)) == OPEN
    assert arrived(gateway.fetch("/a/other")) == "/other"
    assert gateway.fetch("/a/s/404", method="POST", body=b"x").status == 404
    wait_for(lambda: gateway.counters("breaker_trips_total") >= 1, "the trip is counted")
    assert gateway.counters("breaker_refused_total") >= 7


def test_share_of_failures_must_reach_the_threshold(gateway: Gateway) -> None:
    assert statuses(gateway, "/few/s/404", 1) == [404]
    assert statuses(gateway, "/few/s/500", 4) == [500, 500, 500, 503]


def test_path_is_that_behind_the_listen_path(gateway: Gateway) -> None:
    assert statuses(gateway, "/deep/s/500", 4) == [500] * 3 + [503]


def test_upstream_that_is_not_there_is_a_failure(gateway: Gateway) -> None:
    assert statuses(gateway, "/gone/x", 5) == [500] * 3 + [503] * 2


def test_time_limit_is_a_failure(gateway: Gateway) -> None:
    assert statuses(gateway, "/slow/silent", 2) == [504, 503]


def test_client_that_leaves_is_no_failure(gateway: Gateway, upstream: Upstream) -> None:
    before = len(upstream.seen("/silent"))
    for number in range(3):
        with gateway.connect() as client:
            client.send(get("/left/silent"))
            so_far = before + number
            wait_for(lambda seen=so_far: len(upstream.seen("/silent")) > seen, "the request arrives")  # type: ignore[misc]
            client.reset()
    wait_for(lambda: gateway.counters("client_aborts_total") >= 3, "the gateway notices")
    assert arrived(gateway.fetch("/left/x")) == "/x"


def test_cool_down_opens_the_path_again(gateway: Gateway) -> None:
    assert statuses(gateway, "/cool/s/500", 2) == [500, 503]
    wait_for(lambda: gateway.fetch("/cool/x").status == 200, "the breaker closes")
    assert statuses(gateway, "/cool/s/500", 2) == [500, 503]


def test_upstream_that_has_recovered_is_found_before_the_cool_down(gateway: Gateway) -> None:
    assert statuses(gateway, "/half/s/500", 2) == [500, 503]
    wait_for(lambda: gateway.fetch("/half/x").status == 200, "a probe succeeds")
    assert statuses(gateway, "/half/x", 5) == [200] * 5


def test_events_tell_of_opening_and_closing(site: Site) -> None:
    def hook(name: str) -> list[Json]:
        url = f"{site.upstream.url}/hook/{name}"
        meta = {"method": "POST", "target_path": url, "template_path": "", "header_map": {}, "event_timeout": 0}
        return [{"handler_name": "eh_web_hook_handler", "handler_meta": meta}]

    names = ("BreakerTripped", "BreakerReset", "BreakerTriggered")
    definition = broken("a", site.upstream, entry("/s/", samples=1, return_to_service_after=1),
                        event_handlers={"events": {name: hook(name) for name in names}})  # fmt: skip
    site.upstream.on("/s/500", answering(500))
    gateway = site.gateway(definition)
    assert statuses(gateway, "/a/s/500", 2) == [500, 503]
    wait_for(lambda: len(site.upstream.seen("/hook/BreakerTriggered")) == 2, "events arrive", 20)
    told = [json.loads(seen.body) for name in names for seen in site.upstream.seen(f"/hook/{name}")]
    assert told == [
        {"event": name, "message": message, "api_id": "a", "path": "/s/"}
        for name, message in zip(
            ("BreakerTripped", "BreakerReset", "BreakerTriggered", "BreakerTriggered"),
            ("Breaker Tripped", "Breaker Reset", "Breaker Tripped", "Breaker Reset"),
            strict=True,
        )
    ]


# -- the shared state -------------------------------------------------------------------


def cell(**more: Any) -> BreakerCell:
    base: Json = {"threshold": 0.5, "samples": 4, "cooldown": 30 * SECOND, "half_open": True}
    return BreakerCell(more.pop("table", None) or LimitTable.create(64), b"k", **{**base, **more})


def test_outcomes_count_for_ten_seconds() -> None:
    one = cell(samples=3)
    ticket = one.ready(0)[0]
    assert [one.done(ticket, False, at * SECOND) for at in (100, 101, 112, 113)] == [NOTHING] * 4
    assert one.done(ticket, False, 113 * SECOND) == TRIPPED


def test_only_one_probe_goes_at_a_time_and_waits_grow() -> None:
    one = cell(samples=1)
    now = 100 * SECOND
    assert one.done(one.ready(now)[0], False, now) == TRIPPED
    assert one.ready(now + 249) == (0, False)
    waited = []
    for _ in range(6):
        begun = now
        while (ticket := one.ready(now)[0]) == 0:
            now += 10
        waited.append(now - begun)
        assert one.ready(now) == (0, False)
        assert one.done(ticket, False, now) == NOTHING
        if waited[-1] > 10 * SECOND:
            break
    assert all(240 * 1.5**n <= wait <= 760 * 1.5**n + 10 for n, wait in enumerate(waited))


def test_probe_that_is_lost_makes_way_for_another() -> None:
    one = cell(samples=1)
    one.done(one.ready(0)[0], False, 0)
    ticket = one.ready(SECOND)[0]
    assert ticket < 0
    one.dropped(ticket, SECOND)
    again = one.ready(SECOND)[0]
    assert again < 0
    assert one.ready(20 * SECOND) == (0, False)
    assert one.done(again, True, 20 * SECOND) == RESET
    assert one.ready(20 * SECOND)[0] > 0


def test_tickets_from_before_a_change_say_nothing() -> None:
    one = cell(samples=1)
    old = one.ready(0)[0]
    assert one.done(old, False, 0) == TRIPPED
    assert one.done(old, True, 0) == NOTHING
    assert one.cool(29 * SECOND) is False
    assert one.cool(30 * SECOND) is True
    assert one.cool(30 * SECOND) is False
    assert one.done(old, False, 30 * SECOND) == NOTHING
    assert one.ready(30 * SECOND)[0] not in (0, old)


def test_workers_know_together_what_none_knows_alone() -> None:
    table = LimitTable.create(64)
    first, second = cell(table=table, samples=2), cell(table=table, samples=2)
    assert first.done(first.ready(0)[0], False, 0) == NOTHING
    assert second.done(second.ready(0)[0], False, 0) == TRIPPED
    assert first.ready(0) == (0, False)
    ticket, closed = first.ready(30 * SECOND)
    assert ticket > 0
    assert closed
    assert second.ready(30 * SECOND) == (ticket, False)


def test_without_a_place_in_the_table_requests_pass() -> None:
    table = LimitTable.create(64)
    others = [BreakerCell(table, b"%d" % n, threshold=1, samples=1, cooldown=1, half_open=False) for n in range(60)]
    full = [one for one in others if one.ready(SECOND)[0] == 1 << 62]
    assert full
    assert full[0].done(1 << 62, False, SECOND) == NOTHING
    assert table.full > 0


@bounded(max_examples=60)
@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 3000)), max_size=60),
    st.integers(1, 6),
    st.sampled_from([0.0, 0.25, 0.5, 1.0]),
)
def test_breaker_opens_exactly_when_the_share_is_reached(
    events: list[tuple[bool, int]], samples: int, threshold: float
) -> None:
    one = cell(samples=samples, threshold=threshold, half_open=False, cooldown=10**9)
    now = 100_000
    history: list[tuple[int, bool]] = []
    for good, pause in events:
        now += pause
        ticket = one.ready(now)[0]
        if ticket == 0:
            return
        # Outcomes are forgotten by slices of 1667 ms, six of which count.
        history = [(at, was) for at, was in history if now // 1667 - at // 1667 < 6] + [(now, good)]
        failed = sum(not was for _, was in history)
        opens = not good and len(history) >= samples and failed >= threshold * len(history)
        assert (one.done(ticket, good, now) == TRIPPED) == opens


@pytest.mark.parametrize("field", ["threshold_percent", "samples", "return_to_service_after"])
def test_negative_number_keeps_the_definition_from_being_served(field: str) -> None:
    report = Report("a.json")
    breaker(entry("/", **{field: -1}), "$.x", report)
    assert report.fatal
    assert report.findings[-1].path == f"$.x.{field}"


def test_entry_that_can_never_open_is_told_of() -> None:
    report = Report("a.json")
    breaker(entry("/", threshold_percent=50), "$.x", report)
    assert [finding.path for finding in report.findings] == ["$.x.threshold_percent"]
    assert not report.fatal
