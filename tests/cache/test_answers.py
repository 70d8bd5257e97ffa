"""Which answers are kept, for how long, and how they look when they come from the cache."""

from __future__ import annotations

import gzip
import json

import pytest

from tests.cache.cache_support import OPTIONS, caching, entries, entry, hit, kept, stored, value, wire_of
from tests.support.gateway import Gateway, wait_for
from tests.support.keys import ORG, call, keyed, limits_of, session
from tests.support.site import Site, manage
from tests.support.upstream import Connection, Seen, head, reply

OWN = ("X-Request-Id", "X-Tyk-Cached-Response")
ACTION = "X-Tyk-Cache-Action-Set"


@pytest.fixture(scope="module")
def gateway(shared_site: Site) -> Gateway:
    target = shared_site.upstream.url
    shared_site.put(f"{ORG}quota", session("key", quota_max=10, quota_remaining=10, quota_renewal_rate=3600))
    shared_site.put(f"{ORG}other", session("key"))
    paths = (
        entry("/long", "GET", timeout=600),
        entry("/codes", "GET", cache_response_codes=[404]),
        entry("/default", "GET"),
        entry("/off", "GET", disabled=True),
    )
    edits = {"version": {"global_response_headers": {"X-Edited": "1"}, "global_response_headers_remove": ["X-Secret"]}}
    return shared_site.gateway(
        caching("all", target),
        caching("ok", target, options={"cache_response_codes": [200, 202]}),
        caching("up", target, options={"enable_upstream_cache_control": True, "cache_response_codes": [500]}),
        caching("ttl", target, options={"enable_upstream_cache_control": True, "cache_control_ttl_header": "X-Keep"}),
        caching("paths", target, options={"cache_all_safe_requests": False}, **entries(*paths, simple=("/simple",))),
        caching("off", target, options={"enable_cache": False}, **entries(entry("/long", "GET", timeout=600))),
        caching("zero", target, options={"cache_timeout": 0}),
        caching("short", target, options={"cache_timeout": 1}),
        caching("edits", target, **edits),
        keyed("key", target, cache_options=OPTIONS),
        preforge={"cache": {"max_body": 1000}},
    )


def seconds_left(site: Site, api_id: str) -> list[int]:
    """How long the store keeps the answers of an API."""
    return [site.store.ask("TTL", name) for name in stored(site.store, api_id)]


def stored_value(site: Site, name: bytes) -> bytes:
    """What lies under a name."""
    found: bytes = site.store.ask("GET", name)
    return found


def asked_twice(gateway: Gateway, target: str, *lines: str, method: str = "GET") -> bool:
    """Whether the second one of two requests is answered from the cache."""
    first = gateway.fetch(target, *lines, method=method)
    assert not hit(first)
    second = gateway.fetch(target, *lines, method=method)
    if hit(second):
        assert (second.status, second.body) == (first.status, first.body)
    return hit(second)


def test_an_answer_looks_as_before_but_for_the_mark(gateway: Gateway, shared_site: Site) -> None:
    lines = ("Content-Type: text/x", "X-Two: a", "X-Two: b", "Date: Sun, 06 Nov 1994 08:49:37 GMT", "Keep-Alive: 1", "ETag: a")
    shared_site.upstream.on("/look", reply(head("203 Custom", "Content-Length: 5", *lines) + b"hello"))
    first, second = gateway.fetch("/all/look"), gateway.fetch("/all/look")
    assert (hit(first), hit(second)) == (False, True)
    assert (second.status, second.body, second.framing) == (203, b"hello", "length")
    same = [sorted(pair for pair in one.headers if pair[0] not in OWN) for one in (first, second)]
    assert same[0] == same[1]
    assert ("X-Two", "b") in same[1]
    assert len(shared_site.upstream.seen("/look")) == 1


@pytest.mark.parametrize("framing", ["chunked", "close", "gzip"])
def test_answers_of_every_framing_are_kept_with_their_length(gateway: Gateway, shared_site: Site, framing: str) -> None:
    sent = {
        "chunked": reply(head("200 OK", "Transfer-Encoding: chunked") + b"5\r\nhello\r\n", b"0\r\nX-Late: 1\r\n\r\n"),
        "close": reply(head("200 OK", "Connection: close"), b"hello", keep=False),
        "gzip": reply(head("200 OK", "Connection: close", "Content-Encoding: gzip"), gzip.compress(b"hello"), keep=False),
    }
    shared_site.upstream.on(f"/{framing}", sent[framing])
    assert gateway.fetch(f"/all/{framing}").body == b"hello"
    again = gateway.fetch(f"/all/{framing}")
    assert hit(again)
    assert (again.body, again.framing, again.all("X-Late"), again.all("Content-Encoding")) == (b"hello", "length", [], [])
    assert again.get("Content-Type") == "text/plain; charset=utf-8"


def test_head_and_get_are_apart_and_head_keeps_its_length(gateway: Gateway, shared_site: Site) -> None:
    shared_site.upstream.on("/heads", reply(head("200 OK", "Content-Length: 3000")))
    shared_site.upstream.on("/unknown", reply(head("200 OK", "Transfer-Encoding: chunked")))
    assert asked_twice(gateway, "/all/heads", method="HEAD")
    again = gateway.fetch("/all/heads", method="HEAD")
    assert (hit(again), again.get("Content-Length")) == (True, "3000")
    assert not asked_twice(gateway, "/all/unknown", method="HEAD")


@pytest.mark.parametrize(
    ("api_id", "path", "status", "again"),
    [
        ("all", "/s200", "200 OK", True),
        ("all", "/s204", "204 No Content", True),
        ("all", "/s404", "404 Not Found", True),
        ("all", "/s500", "500 Oh", True),
        ("all", "/s599", "599 Odd", True),
        ("ok", "/s202", "202 Accepted", True),
        ("ok", "/s201", "201 Created", False),
        ("paths", "/codes", "404 Not Found", True),
        ("paths", "/codes?2", "200 OK", False),
        ("paths", "/simple", "200 OK", True),
        ("paths", "/none", "200 OK", False),
        ("paths", "/off", "200 OK", False),
        ("off", "/long", "200 OK", False),
        ("zero", "/any", "200 OK", False),
    ],
)
def test_what_is_kept(gateway: Gateway, shared_site: Site, api_id: str, path: str, status: str, again: bool) -> None:
    body = b"" if status.startswith("204") else b"text"
    shared_site.upstream.on(path.partition("?")[0], reply(head(status, f"Content-Length: {len(body)}") + body))
    assert asked_twice(gateway, f"/{api_id}{path}") is again


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_other_methods_go_to_the_upstream(gateway: Gateway, method: str) -> None:
    assert not asked_twice(gateway, "/all/method", method=method)


@pytest.mark.parametrize(
    ("api_id", "path", "lines", "seconds"),
    [
        ("up", "/no", ("X-A: 1",), 0),
        ("up", "/empty", (f"{ACTION}:",), 0),
        ("up", "/yes", (f"{ACTION}: 1",), 60),
        ("up", "/ttl", (f"{ACTION}: 1", f"{ACTION}-TTL: 300"), 300),
        ("up", "/ttl0", (f"{ACTION}: 1", f"{ACTION}-TTL: 0"), 60),
        ("up", "/ttlx", (f"{ACTION}: 1", f"{ACTION}-TTL: soon"), 60),
        ("up", "/ttl-", (f"{ACTION}: 1", f"{ACTION}-TTL: -5"), 0),
        ("up", "/ever", (f"{ACTION}: 1", f"{ACTION}-TTL: 99999999999999"), 10 * 365 * 86400),
        ("ttl", "/own", (f"{ACTION}: 1", f"{ACTION}-TTL: 300", "x-keep: 200"), 200),
        ("ttl", "/other", (f"{ACTION}: 1", f"{ACTION}-TTL: 300"), 60),
    ],
)
def test_the_upstream_says_what_is_kept(
    gateway: Gateway, shared_site: Site, api_id: str, path: str, lines: tuple[str, ...], seconds: int
) -> None:
    manage(gateway, "DELETE", f"/tyk/cache/{api_id}")
    shared_site.upstream.on(path, reply(head("200 OK", "Content-Length: 2", *lines) + b"ok"))
    assert asked_twice(gateway, f"/{api_id}{path}") is (seconds > 0)
    assert all(seconds - 20 < left <= seconds for left in seconds_left(shared_site, api_id))
    assert bool(stored(shared_site.store, api_id)) is (seconds > 0)


def test_paths_have_times_of_their_own(gateway: Gateway, shared_site: Site) -> None:
    manage(gateway, "DELETE", "/tyk/cache/paths")
    assert asked_twice(gateway, "/paths/default")
    assert asked_twice(gateway, "/paths/long")
    assert sorted((left + 30) // 60 for left in seconds_left(shared_site, "paths")) == [1, 10]


def test_an_answer_is_kept_no_longer_than_it_should(gateway: Gateway, shared_site: Site) -> None:
    assert asked_twice(gateway, "/short/a")
    wait_for(lambda: not hit(gateway.fetch("/short/a")), "the end of the answer")
    assert wait_for(lambda: hit(gateway.fetch("/short/a")), "the next one kept")


@pytest.mark.parametrize(
    ("path", "status", "lines"),
    [
        ("/cookie", "200 OK", ("Set-Cookie: a=1",)),
        ("/private", "200 OK", ("Cache-Control: max-age=60, Private",)),
        ("/private-field", "200 OK", ('Cache-Control: private="x-a"',)),
        ("/part", "206 Partial Content", ("Content-Range: bytes 0-1/9",)),
        ("/same", "304 Not Modified", ()),
        ("/unmet", "412 Precondition Failed", ()),
        ("/range", "416 Range Not Satisfiable", ()),
        ("/varies", "200 OK", ("Vary: Accept, *",)),
        ("/events", "200 OK", ("Content-Type: text/event-stream; charset=utf-8",)),
    ],
)
def test_what_belongs_to_one_request_is_not_kept(
    gateway: Gateway, shared_site: Site, path: str, status: str, lines: tuple[str, ...]
) -> None:
    body = b"" if status.startswith("304") else b"data: 1"
    shared_site.upstream.on(path, reply(head(status, f"Content-Length: {len(body)}", *lines) + body))
    assert not asked_twice(gateway, f"/all{path}")


def test_what_another_gateway_keeps_of_that_kind_is_passed_over(gateway: Gateway, shared_site: Site) -> None:
    manage(gateway, "DELETE", "/tyk/cache/all")
    gateway.fetch("/all/theirs")
    (name,) = kept(shared_site.store, "all")
    for line, served in (("X-A: 1", True), ("Set-Cookie: a=1", False), ("Vary: *", False), ("Vary: X-Lang", False)):
        theirs = value(f"HTTP/1.1 200 OK\r\n{line}\r\nContent-Length: 6\r\n\r\ntheirs")
        shared_site.store.ask("SET", name, theirs)
        answer = gateway.fetch("/all/theirs")
        assert (hit(answer), answer.body == b"theirs") == (served, served), line
        if not served:
            wait_for(lambda: stored_value(shared_site, name) != theirs, "the upstream's answer in its place")  # noqa: B023


def test_private_answers_are_kept_for_a_key_and_cookies_are_not(gateway: Gateway, shared_site: Site) -> None:
    private = reply(head("200 OK", "Content-Length: 2", "Cache-Control: private") + b"ok")
    shared_site.upstream.on("/mine", private)
    shared_site.upstream.on("/login", reply(head("200 OK", "Content-Length: 2", "Set-Cookie: a=1") + b"ok"))
    assert asked_twice(gateway, "/key/mine", f"Authorization: {ORG}other")
    assert not asked_twice(gateway, "/key/login", f"Authorization: {ORG}other")


def test_variants_are_not_mixed_up(gateway: Gateway, shared_site: Site) -> None:
    def languages(connection: Connection, seen: Seen) -> bool:
        body = (seen.get("Accept-Language") or "none").encode()
        connection.send(head("200 OK", f"Content-Length: {len(body)}", "Vary: Accept-Language, Accept-Encoding") + body)
        return True

    shared_site.upstream.on("/lang", languages)
    for lines in ((), ("Accept-Language: de",), ("Accept-Language: fr",)):
        wanted = lines[0].partition(": ")[2].encode() if lines else b"none"
        found = [gateway.fetch("/all/lang", *lines) for _ in range(2)]
        assert [(hit(one), one.body) for one in found] == [(False, wanted), (True, wanted)]
        assert found[1].all("X-Preforge-Cache-Variant") == []


def test_an_encoding_goes_only_to_clients_that_take_it(gateway: Gateway, shared_site: Site) -> None:
    packed = gzip.compress(b"hello")
    shared_site.upstream.on("/pack", reply(head("200 OK", f"Content-Length: {len(packed)}", "Content-Encoding: gzip") + packed))
    assert not hit(gateway.fetch("/all/pack", "Accept-Encoding: gzip"))
    for line, served in (("gzip, br", True), ("br, *;q=0.5", True), ("GZIP;q=1.0", True)):
        assert hit(gateway.fetch("/all/pack", f"Accept-Encoding: {line}")) is served, line
    for line in ("gzip;q=0", "br", "gzip; q=0.000, br", "identity"):
        assert not hit(gateway.fetch("/all/pack", f"Accept-Encoding: {line}")), line
    assert gateway.fetch("/all/pack").body == b"hello"


def test_upgrades_are_not_answered_from_the_cache(gateway: Gateway) -> None:
    assert asked_twice(gateway, "/all/socket")
    assert not hit(gateway.fetch("/all/socket", "Connection: Upgrade", "Upgrade: websocket"))


def test_a_request_for_a_range_may_get_the_whole(gateway: Gateway, shared_site: Site) -> None:
    assert asked_twice(gateway, "/all/whole")
    answer = gateway.fetch("/all/whole", "Range: bytes=0-1")
    assert (hit(answer), answer.status) == (True, 200)


@pytest.mark.parametrize(
    ("given", "status"),
    [('"v1"', 304), ('"v0", "v1"', 304), ('W/"v1"', 304), ('"v2"', 200), ('"v10"', 200), ("v1", 200), ("", 200)],
)
def test_a_client_that_has_the_answer_is_told_so(gateway: Gateway, shared_site: Site, given: str, status: int) -> None:
    lines = ("Content-Length: 5", 'ETag: "v1"', "Content-Type: text/x")
    shared_site.upstream.on("/tagged", reply(head("200 OK", *lines) + b"hello"))
    gateway.fetch("/all/tagged")
    answer = gateway.fetch("/all/tagged", f"If-None-Match: {given}")
    assert (hit(answer), answer.status) == (True, status)
    assert (answer.body, answer.get("Content-Type")) == ((b"", None) if status == 304 else (b"hello", "text/x"))
    assert answer.get("ETag") == '"v1"'


def test_an_upstream_that_says_not_modified_is_asked_again(gateway: Gateway, shared_site: Site) -> None:
    def conditional(connection: Connection, seen: Seen) -> bool:
        if seen.get("If-None-Match") == '"v1"':
            connection.send(head("304 Not Modified", 'ETag: "v1"'))
        else:
            connection.send(head("200 OK", "Content-Length: 5", 'ETag: "v1"') + b"hello")
        return True

    shared_site.upstream.on("/conditional", conditional)
    assert gateway.fetch("/all/conditional", 'If-None-Match: "v1"').status == 304
    answer = gateway.fetch("/all/conditional")
    assert (hit(answer), answer.status, answer.body) == (False, 200, b"hello")


def test_what_response_steps_have_made_is_kept(gateway: Gateway, shared_site: Site) -> None:
    shared_site.upstream.on("/edited", reply(head("200 OK", "Content-Length: 2", "X-Secret: 1") + b"ok"))
    assert asked_twice(gateway, "/edits/edited")
    answer = gateway.fetch("/edits/edited")
    assert (answer.get("X-Edited"), answer.get("X-Secret")) == ("1", None)
    (name,) = kept(shared_site.store, "edits")
    assert b"Secret" not in wire_of(shared_site.store.ask("GET", name))


def test_hits_count_for_the_quota_and_say_what_is_left(gateway: Gateway) -> None:
    left = []
    for turn in range(3):
        answer = call(gateway, "/key/counted", f"{ORG}quota")
        assert hit(answer) is (turn > 0)
        left.append(limits_of(answer))
    assert left == [(10, 9), (10, 8), (10, 7)]


def test_large_answers_go_through(gateway: Gateway, shared_site: Site) -> None:
    shared_site.upstream.on("/large", reply(head("200 OK", "Content-Length: 1001") + bytes(1001)))
    before = gateway.metrics().get('preforge_api_cache_total{api_id="all",outcome="too_large"}', 0)
    assert not asked_twice(gateway, "/all/large")
    after = gateway.metrics()
    assert after['preforge_api_cache_total{api_id="all",outcome="too_large"}'] == before + 2
    wait_for(lambda: gateway.metrics()['preforge_limit_hits_total{limit="cache_body"}'] >= before + 2, "the bound counted")


def test_what_happens_is_counted_for_each_api(shared_site: Site) -> None:
    gateway = shared_site.gateway(caching("counted", shared_site.upstream.url))
    for _ in range(3):
        gateway.fetch("/counted/a")
    found = gateway.metrics()
    labels = 'api_id="counted",outcome='
    counts = [found.get(f'preforge_api_cache_total{{{labels}"{name}"}}') for name in ("hit", "miss", "stored", "failed")]
    assert counts == [2, 1, 1, None]
    wait_for(lambda: gateway.metrics()["preforge_cache_hits_total"] == 2, "the totals")
    assert not any("\0" in name or "cache\\" in name for name in found)


def test_removing_the_answers_of_an_api_asks_the_upstream_again(gateway: Gateway) -> None:
    assert asked_twice(gateway, "/all/removed")
    answer = manage(gateway, "DELETE", "/tyk/cache/all")
    assert json.loads(answer.body)["message"] == "cache invalidated"
    assert asked_twice(gateway, "/all/removed")


def test_limits_of_rates_are_those_of_the_request_and_not_the_stored_ones(site: Site) -> None:
    site.put(f"{ORG}rate", session("key", rate=10, per=60))
    rated = keyed("key", site.upstream.url, cache_options=OPTIONS)
    gateway = site.gateway(rated, rate_limit_response_headers="rate_limits")
    found = [call(gateway, "/key/a", f"{ORG}rate") for _ in range(3)]
    assert [hit(one) for one in found] == [False, True, True]
    assert [limits_of(one) for one in found] == [(10, 9), (10, 8), (10, 7)]
