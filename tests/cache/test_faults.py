"""The cache when its store is away, full, slow or holds rubbish: requests are answered by the upstream."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from core.sessions.notifications import CHANNEL, Notification, Signer
from tests.cache.cache_support import OPTIONS, caching, entries, entry, hit, kept, stored, value
from tests.support.gateway import Gateway, wait_for
from tests.support.keys import ORG, call, keyed, session
from tests.support.site import Site, manage
from tests.support.upstream import Connection, Seen, head, reply
from tests.support.valkey import valkey
from tests.support.wire import get

FAILED = 'preforge_api_cache_total{api_id="a",outcome="failed"}'
TOO_LARGE = 'preforge_api_cache_total{api_id="a",outcome="too_large"}'


def filled(gateway: Gateway, site: Site) -> bytes:
    """The name under which the answer to /a/x lies."""
    manage(gateway, "DELETE", "/tyk/cache/a")
    gateway.fetch("/a/x")
    (name,) = kept(site.store, "a")
    return name


@pytest.fixture(scope="module")
def gateway(shared_site: Site) -> Gateway:
    bodies = entries(entry("/search", "POST", "id=[0-9]+"))
    return shared_site.gateway(
        caching("a", shared_site.upstream.url, **bodies),
        preforge={"cache": {"max_body": 100_000, "max_pattern_body": 100}},
    )


@pytest.mark.parametrize(
    "raw",
    [
        b"rubbish",
        b"|",
        b"!!!|99999999999",
        value("no answer", 100_000),
        value("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort", 100_000),
        value("HTTP/1.1 200 OK\r\nA: b\x00c\r\n\r\n", 100_000),
    ],
    ids=["no_mark", "empty", "no_base64", "no_answer", "short_body", "control_character"],
)
def test_what_cannot_be_read_is_removed(gateway: Gateway, shared_site: Site, raw: bytes) -> None:
    name = filled(gateway, shared_site)
    failed = gateway.metrics().get(FAILED, 0)
    shared_site.store.ask("SET", name, raw)
    answer = gateway.fetch("/a/x")
    assert (hit(answer), answer.status) == (False, 200)
    assert gateway.metrics()[FAILED] == failed + 1
    assert hit(gateway.fetch("/a/x"))
    assert shared_site.store.ask("GET", name) != raw


def test_another_type_of_value_is_no_answer(gateway: Gateway, shared_site: Site) -> None:
    name = filled(gateway, shared_site)
    shared_site.store.ask_all(("DEL", name), ("LPUSH", name, "a"))
    answer = gateway.fetch("/a/x")
    assert (hit(answer), answer.status) == (False, 200)


def test_an_answer_whose_time_is_over_is_not_used_although_it_is_there(gateway: Gateway, shared_site: Site) -> None:
    name = filled(gateway, shared_site)
    shared_site.store.ask("SET", name, value("HTTP/1.1 200 OK\r\n\r\nold", -2))
    assert not hit(gateway.fetch("/a/x"))
    assert hit(gateway.fetch("/a/x"))


def test_a_value_that_is_larger_than_any_answer_is_left_alone(gateway: Gateway, shared_site: Site) -> None:
    name = filled(gateway, shared_site)
    before = gateway.metrics().get(TOO_LARGE, 0)
    shared_site.upstream.on("/x", reply(head("500 No", "Content-Length: 0", "Set-Cookie: a=1")))
    shared_site.store.ask("SET", name, value(b"HTTP/1.1 200 OK\r\n\r\n" + bytes(1_000_000)))
    answer = gateway.fetch("/a/x")
    assert (hit(answer), answer.status) == (False, 500)
    assert gateway.metrics()[TOO_LARGE] == before + 1
    assert shared_site.store.ask("STRLEN", name) > 1_000_000
    shared_site.upstream.on("/x", reply(head("200 OK", "Content-Length: 2") + b"ok"))


def test_a_body_that_is_too_large_for_the_expression_is_not_looked_for(gateway: Gateway, shared_site: Site) -> None:
    before = gateway.metrics().get(TOO_LARGE, 0)
    fits, large = b"id=1" + b"x" * 96, b"id=1" + b"x" * 97
    assert [hit(gateway.fetch("/a/search", method="POST", body=body)) for body in (fits, fits, large, large)] == [
        False, True, False, False,
    ]  # fmt: skip
    assert gateway.metrics()[TOO_LARGE] == before + 2


def test_concurrent_misses_all_get_their_answer(gateway: Gateway, shared_site: Site) -> None:
    everyone = threading.Barrier(8)

    def together(connection: Connection, seen: Seen) -> bool:
        everyone.wait(10)
        connection.send(head("200 OK", "Content-Length: 4") + b"same")
        return True

    shared_site.upstream.on("/crowd", together)
    clients = [gateway.connect() for _ in range(8)]
    for client in clients:
        client.send(b"GET /a/crowd HTTP/1.1\r\nHost: a\r\n\r\n")
    answers = [client.read() for client in clients]
    for client in clients:
        client.__exit__(None, None, None)
    assert [(hit(answer), answer.body) for answer in answers] == [(False, b"same")] * 8
    assert hit(gateway.fetch("/a/crowd"))


def test_a_client_that_leaves_while_the_store_is_asked_harms_nobody(gateway: Gateway, shared_site: Site) -> None:
    with gateway.connect() as client:
        assert client.send(get("/a/came")).read().status == 200
        assert shared_site.store.ask("CLIENT", "PAUSE", 300, "ALL") == b"OK"
        client.send(b"GET /a/left HTTP/1.1\r\nHost: a\r\n\r\n")
        client.reset()
    wait_for(lambda: gateway.fetch("/a/stays").status == 200, "an answer after the pause")
    assert shared_site.upstream.seen("/left") == []


def test_a_store_that_is_away_makes_every_request_a_miss(site: Site) -> None:
    gateway = site.gateway(caching("a", site.upstream.url))
    gateway.fetch("/a/x")
    assert hit(gateway.fetch("/a/x"))
    site.store.stop()
    for _ in range(3):
        answer = gateway.fetch("/a/x")
        assert (hit(answer), answer.status) == (False, 200)
    assert gateway.metrics()[FAILED] >= 3
    site.store.start()
    wait_for(lambda: hit(gateway.fetch("/a/x")), "hits again")


def test_a_slow_store_holds_a_request_up_for_one_command_only(site: Site) -> None:
    gateway = site.gateway(caching("a", site.upstream.url), preforge={"storage": {"command_timeout": 0.2}})
    gateway.fetch("/a/x")
    site.store.ask("CLIENT", "PAUSE", 60_000, "ALL")
    answer = gateway.fetch("/a/x")
    assert (hit(answer), answer.status) == (False, 200)
    assert gateway.metrics()[FAILED] >= 1


def test_a_full_store_is_counted_and_answers_go_on(site: Site) -> None:
    gateway = site.gateway(caching("a", site.upstream.url))
    gateway.fetch("/a/first")
    site.store.ask("CONFIG", "SET", "maxmemory", "1")
    assert [hit(gateway.fetch("/a/x")) for _ in range(2)] == [False, False]
    wait_for(lambda: gateway.metrics().get(FAILED, 0) >= 2, "the failures counted")


def test_answers_lie_in_a_store_of_their_own(site: Site, tmp_path: Path) -> None:
    with valkey(tmp_path / "answers") as second:
        site.put(f"{ORG}one", session("a"))
        gateway = site.gateway(
            keyed("a", site.upstream.url, cache_options=OPTIONS),
            enable_separate_cache_store=True,
            cache_storage={"type": "redis", "host": "127.0.0.1", "port": second.port},
        )
        assert [hit(call(gateway, "/a/x", f"{ORG}one")) for _ in range(2)] == [False, True]
        assert stored(site.store, "a") == []
        assert len(kept(second, "a")) == 1
        assert manage(gateway, "DELETE", "/tyk/cache/a").status == 200
        assert stored(second, "a") == []
        second.stop()
        answer = call(gateway, "/a/x", f"{ORG}one")
        assert (hit(answer), answer.status) == (False, 200)
        second.start()


def test_a_reload_keeps_what_is_cached_and_takes_new_options(site: Site) -> None:
    gateway = site.gateway(caching("a", site.upstream.url))
    gateway.fetch("/a/x")
    gateway.write_api(caching("a", site.upstream.url, options={"cache_by_headers": ["X-New"]}))
    gateway.reload()
    wait_for(lambda: not hit(gateway.fetch("/a/x")), "names with the header")
    assert hit(gateway.fetch("/a/x"))
    gateway.write_api(caching("a", site.upstream.url, options={"enable_cache": False}))
    gateway.reload()
    wait_for(lambda: not hit(gateway.fetch("/a/x")), "the cache off")
    assert not any(hit(gateway.fetch("/a/x")) for _ in range(3))


def test_another_gateway_can_ask_to_forget_answers(gateway: Gateway, shared_site: Site) -> None:
    filled(gateway, shared_site)
    signer = Signer("test-secret", insecure=False)
    shared_site.store.ask("PUBLISH", CHANNEL, signer.sign(Notification("DeleteAPICache", "other")))
    shared_site.store.ask("PUBLISH", CHANNEL, Signer("wrong", insecure=False).sign(Notification("DeleteAPICache", "a")))
    assert hit(gateway.fetch("/a/x"))
    shared_site.store.ask("PUBLISH", CHANNEL, signer.sign(Notification("DeleteAPICache", "a")))
    wait_for(lambda: stored(shared_site.store, "a") == [], "the answers removed")
    assert not hit(gateway.fetch("/a/x"))
