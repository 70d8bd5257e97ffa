"""Clients and upstreams that are too slow are cut off, each with its own bound, answer and counter."""

from __future__ import annotations

import pytest

from tests.conftest import Start
from tests.support.gateway import Gateway, api, wait_for
from tests.support.upstream import Connection, Seen, Upstream, head, reply, silent
from tests.support.wire import get

SHORT = {
    "proxy_default_timeout": 2,
    "preforge": {
        "timeouts": {
            "head": 0.5, "idle": 1.5, "body": 0.5, "send": 1, "min_rate": 1000, "request": 6, "linger": 0.5,
        },
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def gateway(start: Start, upstream: Upstream) -> Gateway:
    """Every timeout short."""
    timeout = {"hard_timeouts": [{"path": "hard", "method": "GET", "timeout": 1}]}
    version = {"use_extended_paths": True, "extended_paths": timeout}
    definition = api("root", "/", upstream.url)
    definition["version_data"]["versions"]["Default"].update(version)
    return start([definition], SHORT)


def test_slow_head_is_cut_off(gateway: Gateway) -> None:
    """A head that never ends is refused with 408; dripping bytes does not help."""
    with gateway.connect() as client:
        client.send(b"GET /x HTTP/1.1\r\n")
        client.send_parts([b"X"] * 8, pause=0.1)
        assert client.read().status == 408
        client.expect_end()
    assert gateway.counters('limit="head_timeout"') >= 1


def test_connection_without_a_byte_is_closed(gateway: Gateway) -> None:
    """No request, no answer."""
    with gateway.connect() as client:
        client.expect_end()


def test_idle_connection_is_closed(gateway: Gateway) -> None:
    """After a whole exchange, silently."""
    with gateway.connect() as client:
        assert client.send(get("/x")).read().status == 200
        client.expect_end()
    assert gateway.counters('limit="idle_timeout"') >= 1


@pytest.mark.parametrize("framing", [b"Content-Length: 100000", b"Transfer-Encoding: chunked"])
def test_stalled_body_is_cut_off(gateway: Gateway, upstream: Upstream, framing: bytes) -> None:
    """408, and the upstream sees that the body did not end."""
    with gateway.connect() as client:
        client.send(b"POST /stalled HTTP/1.1\r\nHost: a\r\n" + framing + b"\r\n\r\n")
        assert client.read().status == 408
        client.expect_end()
    wait_for(lambda: upstream.seen("/stalled"), "the head arrived")
    seen = upstream.seen("/stalled")[-1]
    wait_for(upstream.connections[seen.connection].ended.is_set, "the upstream is cut off")
    assert not seen.complete


def test_dripped_body_is_cut_off(gateway: Gateway) -> None:
    """A byte now and then is below preforge.timeouts.min_rate."""
    with gateway.connect() as client:
        client.send(b"POST /dripped HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n")
        client.send_parts([b"x"] * 10, pause=0.1)
        assert client.read().status == 408
        client.expect_end()
    assert gateway.counters('limit="body_timeout"') >= 1


def test_slow_but_steady_body_is_not_cut_off(gateway: Gateway, upstream: Upstream) -> None:
    """Longer than the window, above the rate."""
    with gateway.connect() as client:
        client.send(b"POST /steady HTTP/1.1\r\nHost: a\r\nContent-Length: 10000\r\n\r\n")
        client.send_parts([b"x" * 500] * 20, pause=0.05)
        assert client.read().status == 200
    assert len(upstream.seen("/steady")[0].body) == 10000


def test_client_that_does_not_read_is_cut_off(gateway: Gateway, upstream: Upstream) -> None:
    """It may not hold an upstream connection and buffers for ever."""

    def endless(connection: Connection, seen: Seen) -> bool:
        connection.send(head("200 OK", "Content-Type: a/b", "Transfer-Encoding: chunked"))
        while True:
            connection.send(b"10000\r\n" + b"x" * 65536 + b"\r\n")

    upstream.on("/endless", endless)
    with gateway.connect(receive_buffer=4096) as client:
        client.send(get("/endless"))
        wait_for(lambda: gateway.counters('limit="send_timeout"') >= 1, "the slow reader is noticed")
        wait_for(lambda: gateway.counters("preforge_active_requests") <= 1, "its exchange is over")


def test_silent_upstream_gets_504(gateway: Gateway, upstream: Upstream) -> None:
    """proxy_default_timeout until the head; the exact text (tyk-core 3.5)."""
    upstream.on("/silent", silent)
    answer = gateway.fetch("/silent")
    assert answer.status == 504
    assert b'"Upstream service reached hard timeout."' in answer.body
    number = upstream.seen("/silent")[0].connection
    wait_for(upstream.connections[number].ended.is_set, "the upstream connection is closed")


def test_hard_timeout_of_a_path_gets_504(gateway: Gateway, upstream: Upstream) -> None:
    """From the definition."""
    upstream.on("/hard", silent)
    assert gateway.fetch("/hard").status == 504


def test_timeout_during_the_body_cuts_the_client_off(gateway: Gateway, upstream: Upstream) -> None:
    """A hard timeout covers the whole exchange: the head is out, so the connection is cut."""
    upstream.on(
        "/hard/body",
        reply(head("200 OK", "Content-Type: a/b", "Content-Length: 10"), b"hello", b"world", pause=2.5),
    )
    with gateway.connect() as client:
        client.send(get("/hard/body"))
        assert client.read_head().status == 200
        assert len(client.rest()) < 10


def test_upstream_that_is_slow_after_its_head_is_not_cut_off(gateway: Gateway, upstream: Upstream) -> None:
    """proxy_default_timeout ends with the head (tyk-core 3.9)."""
    answer = head("200 OK", "Content-Type: a/b", "Content-Length: 10")
    upstream.on("/long", reply(answer, b"hello", b"world", pause=2.3))
    assert gateway.fetch("/long").body == b"helloworld"


def test_whole_exchange_is_bounded(gateway: Gateway, upstream: Upstream) -> None:
    """preforge.timeouts.request ends a message that drips on above every other bound."""

    def endless(connection: Connection, seen: Seen) -> bool:
        connection.send(head("200 OK", "Content-Type: a/b", "Transfer-Encoding: chunked"))
        while True:
            connection.send(b"1\r\nx\r\n", b"1\r\nx\r\n", pause=0.05)

    upstream.on("/for-ever", endless)
    with gateway.connect() as client:
        client.send(get("/for-ever"))
        assert client.read_head().status == 200
        assert not client.rest().endswith(b"0\r\n\r\n")
    assert gateway.counters('limit="request_timeout"') >= 1
