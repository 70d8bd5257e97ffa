"""The pool of upstream connections: reuse, retries, identity, limits, and whose turn it is."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from tests.conftest import Start
from tests.support.gateway import Gateway, api, free_port, wait_for
from tests.support.upstream import (
    Connection,
    Handler,
    Seen,
    Upstream,
    abort,
    cut,
    echo,
    head,
    reply,
    sequence,
)
from tests.support.wire import get

PROBLEM = b"There was a problem proxying the request"
CONF = {
    "proxy_default_timeout": 30,
    "preforge": {
        "upstream": {"max_connections_per_host": 2, "max_waiters": 2, "wait_timeout": 1, "idle_timeout": 1},
    },
}


@pytest.fixture(scope="module")
def others() -> Iterator[list[Upstream]]:
    """Three further upstreams for load balancing, and one that only the small gateway uses."""
    made = [Upstream() for _ in range(4)]
    yield made
    for one in made:
        one.close()


@pytest.fixture(scope="module")
def gateway(start: Start, upstream: Upstream, others: list[Upstream]) -> Gateway:
    """Default limits; one API per way of choosing an upstream."""
    balanced = {"enable_load_balancing": True, "target_list": [u.url for u in others[:3]]}
    return start(
        [
            api("root", "/", upstream.url),
            api("same", "/same/", upstream.url),
            api("balanced", "/balanced/", others[0].url, proxy=balanced),
            api("dead", "/dead/", f"http://127.0.0.1:{free_port()}"),
            api("lookup", "/lookup/", "http://no-such-host.invalid"),
        ]
    )


@pytest.fixture(scope="module")
def small(start: Start, others: list[Upstream]) -> Gateway:
    """Two connections per host, two waiters, short waits."""
    return start([api("root", "/", others[3].url)], CONF)


def test_upstream_connection_is_used_again(gateway: Gateway, upstream: Upstream) -> None:
    """Also by another client, and by another API with the same target."""
    gateway.fetch("/first")
    gateway.fetch("/second")
    gateway.fetch("/same/third")
    numbers = [upstream.seen(path)[0].connection for path in ("/first", "/second", "/third")]
    assert len(set(numbers)) == 1


def kept_then(handler: Handler) -> Handler:
    """The first request is answered and the connection kept; the second meets `handler`; then echoes."""
    return sequence([echo, handler, echo])


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
@pytest.mark.parametrize("ending", [cut, abort], ids=["fin", "reset"])
def test_safe_request_is_sent_again_when_a_kept_connection_dies(
    gateway: Gateway, upstream: Upstream, method: str, ending: Handler
) -> None:
    """Once, on a fresh connection; the client notices nothing."""
    path = f"/retry-{method}-{ending.__name__}"
    upstream.on(path, kept_then(ending))
    assert gateway.fetch(path, method=method).status == 200
    before = gateway.counters("preforge_upstream_retries_total")
    assert gateway.fetch(path, method=method).status == 200
    assert gateway.counters("preforge_upstream_retries_total") == before + 1
    seen = upstream.seen(path)
    assert len(seen) == 3
    assert seen[2].connection != seen[1].connection


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_other_request_is_never_sent_twice(gateway: Gateway, upstream: Upstream, method: str) -> None:
    """The upstream may have acted on it: the client gets the error."""
    path = f"/once-{method}"
    upstream.on(path, kept_then(cut))
    assert gateway.fetch(path, method=method, body=b"x").status == 200
    answer = gateway.fetch(path, method=method, body=b"x")
    assert answer.status == 500
    assert PROBLEM in answer.body
    assert len(upstream.seen(path)) == 2


def test_second_failure_is_not_retried(gateway: Gateway, upstream: Upstream) -> None:
    """A retry on a fresh connection that fails as well is the upstream's fault."""
    upstream.on("/always", sequence([echo, cut, cut, cut]))
    assert gateway.fetch("/always").status == 200
    assert gateway.fetch("/always").status == 500
    assert len(upstream.seen("/always")) == 3


def test_fresh_connection_is_not_retried(gateway: Gateway, upstream: Upstream) -> None:
    """Nothing says that the upstream did not act on it."""
    upstream.on("/close-all", reply(head("200 OK", "Connection: close", "Content-Length: 0"), keep=False))
    gateway.fetch("/close-all")
    upstream.on("/fresh", cut)
    with_fresh = gateway.fetch("/fresh")
    assert with_fresh.status == 500
    assert len(upstream.seen("/fresh")) <= 2


def test_answer_that_began_is_not_retried(gateway: Gateway, upstream: Upstream) -> None:
    """One byte of an answer proves that the request arrived."""
    upstream.on("/began", kept_then(reply(b"H", keep=False)))
    assert gateway.fetch("/began").status == 200
    assert gateway.fetch("/began").status == 500
    assert len(upstream.seen("/began")) == 2


def test_unasked_bytes_on_an_idle_connection_reach_nobody(gateway: Gateway, upstream: Upstream) -> None:
    """They could only be taken for the answer to the next request."""

    def late(connection: Connection, seen: Seen) -> bool:
        echo(connection, seen)
        threading.Event().wait(0.1)
        connection.send(head("200 OK", "Content-Length: 4") + b"evil")
        return True

    upstream.on("/late", late)
    assert gateway.fetch("/late").status == 200
    number = upstream.seen("/late")[0].connection
    wait_for(upstream.connections[number].ended.is_set, "the connection is dropped")
    assert b"evil" not in gateway.fetch("/after-late").body
    assert upstream.seen("/after-late")[0].connection != number


def test_targets_take_turns(gateway: Gateway, others: list[Upstream]) -> None:
    """Round robin from the first entry (tyk-core 2.4)."""
    for i in range(6):
        assert gateway.fetch(f"/balanced/{i}").status == 200
    assert [[r.target for r in u.requests] for u in others[:3]] == [["/0", "/3"], ["/1", "/4"], ["/2", "/5"]]


@pytest.mark.parametrize(
    ("path", "message"),
    [("/dead/x", b"There was a problem proxying the request"), ("/lookup/x", b"Upstream host lookup failed")],
)
def test_upstream_that_cannot_be_reached_gives_the_error_page(gateway: Gateway, path: str, message: bytes) -> None:
    """500 with the text of tyk-core 3.5; the client's connection goes on."""
    with gateway.connect() as client:
        for _ in range(2):
            answer = client.send(get(path)).read()
            assert answer.status == 500
            assert message in answer.body


def test_limit_of_connections_makes_requests_wait_then_refuses(small: Gateway, others: list[Upstream]) -> None:
    """Two run, two wait their turn, the fifth gets 503 at once; the bound shows in the metrics."""
    release = threading.Event()

    def held(connection: Connection, seen: Seen) -> bool:
        release.wait(20)
        return echo(connection, seen)

    others[3].on("/held", held)
    clients = [small.connect() for _ in range(5)]
    try:
        for i, client in enumerate(clients[:2]):
            client.send(get("/held"))
            wait_for(lambda n=i: len(others[3].seen("/held")) == n + 1, "the request arrives")
        for client in clients[2:4]:
            client.send(get("/held"))
        wait_for(lambda: small.counters("preforge_upstream_waiters") == 2, "two requests wait")
        before = small.counters("preforge_limit_hits_total")
        answer = clients[4].send(get("/held")).read()
        assert answer.status == 503
        assert small.counters("preforge_limit_hits_total") == before + 1
        assert len(others[3].seen("/held")) == 2
        release.set()
        wait_for(lambda: others[3].errors or len(others[3].seen("/held")) == 4, "the waiters get their turn")
        assert not others[3].errors
        assert [c.read().status for c in clients[:4]] == [200] * 4
        assert len({r.connection for r in others[3].seen("/held")}) == 2
    finally:
        release.set()
        for client in clients:
            client.sock.close()


def test_waiting_ends_with_503(small: Gateway, others: list[Upstream]) -> None:
    """A waiter whose turn does not come within preforge.upstream.wait_timeout."""
    release = threading.Event()

    def held(connection: Connection, seen: Seen) -> bool:
        release.wait(20)
        return echo(connection, seen)

    others[3].on("/stuck", held)
    clients = [small.connect() for _ in range(3)]
    try:
        for client in clients:
            client.send(get("/stuck"))
        answers = [clients[2].read()]
        assert answers[0].status == 503
        release.set()
        assert [c.read().status for c in clients[:2]] == [200, 200]
        assert clients[2].send(get("/on")).read().status == 200
    finally:
        release.set()
        for client in clients:
            client.sock.close()


def test_client_that_leaves_the_queue_takes_no_connection(small: Gateway, others: list[Upstream]) -> None:
    """Its request is never sent."""
    release = threading.Event()

    def held(connection: Connection, seen: Seen) -> bool:
        release.wait(20)
        return echo(connection, seen)

    others[3].on("/busy", held)
    clients = [small.connect() for _ in range(3)]
    try:
        for client in clients[:2]:
            client.send(get("/busy"))
        wait_for(lambda: len(others[3].seen("/busy")) == 2, "both connections are taken")
        clients[2].send(get("/left-the-queue"))
        wait_for(lambda: small.counters("preforge_upstream_waiters") == 1, "it waits")
        clients[2].reset()
        wait_for(lambda: small.counters("preforge_client_aborts_total") >= 1, "it is gone")
        release.set()
        assert [c.read().status for c in clients[:2]] == [200, 200]
        assert small.fetch("/then").status == 200
        assert not others[3].seen("/left-the-queue")
    finally:
        release.set()
        for client in clients:
            client.sock.close()


def test_idle_upstream_connection_is_closed(small: Gateway, others: list[Upstream]) -> None:
    """After preforge.upstream.idle_timeout; the next request opens another."""
    assert small.fetch("/idle").status == 200
    number = others[3].seen("/idle")[0].connection
    wait_for(others[3].connections[number].ended.is_set, "the idle connection is closed")
    assert small.fetch("/idle").status == 200
    assert others[3].seen("/idle")[1].connection != number
