"""WebSocket tunnels: opened only by a matching 101, transparent afterwards, never put back into the pool."""

from __future__ import annotations

import time

import pytest

from tests.conftest import Start
from tests.support.gateway import Gateway, api, wait_for
from tests.support.upstream import Connection, Handler, PeerClosed, Seen, Upstream, head, reply
from tests.support.wire import Client, get

UPGRADE = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: x", "Sec-WebSocket-Version: 13")
ACCEPT = head("101 Switching Protocols", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Accept: y")


@pytest.fixture(scope="module")
def gateway(start: Start, upstream: Upstream) -> Gateway:
    """A gateway that offers WebSockets; short timeouts, which a tunnel must outlive."""
    conf = {
        "http_server_options": {"enable_websockets": True},
        "preforge": {"timeouts": {"idle": 1, "head": 1, "body": 1}},
    }
    return start([api("root", "/", upstream.url)], conf)


def switch(first: bytes = b"") -> Handler:
    """Accept the upgrade, send `first` in the same segment, then mirror every byte until FIN."""

    def handler(connection: Connection, seen: Seen) -> bool:
        connection.send(ACCEPT + first)
        while True:
            connection.send(connection.receive())

    return handler


def open_tunnel(client: Client, path: str, early: bytes = b"") -> None:
    """Ask for the upgrade and check the 101."""
    answer = client.send(get(path, "a.test", *UPGRADE) + early).read_head()
    assert answer.status == 101
    assert (answer.get("Upgrade"), answer.get("Connection")) == ("websocket", "Upgrade")
    assert answer.get("Sec-WebSocket-Accept") == "y"


def test_bytes_pass_both_ways_unchanged(gateway: Gateway, upstream: Upstream) -> None:
    """Also bytes that look like HTTP."""
    upstream.on("/mirror", switch())
    with gateway.connect() as client:
        open_tunnel(client, "/mirror")
        for data in (b"\x81\x02hi", get("/smuggled"), bytes(range(256)) * 300):
            client.send(data)
            assert client.exactly(len(data)) == data
    assert not upstream.seen("/smuggled")
    [seen] = upstream.seen("/mirror")
    assert (seen.get("Upgrade"), seen.get("Connection")) == ("websocket", "Upgrade")
    assert seen.get("Sec-WebSocket-Key") == "x"


def test_bytes_right_after_the_101_are_not_lost(gateway: Gateway, upstream: Upstream) -> None:
    """In the same segment as the head."""
    upstream.on("/greeting", switch(b"hello"))
    with gateway.connect() as client:
        open_tunnel(client, "/greeting")
        assert client.exactly(5) == b"hello"


def test_bytes_sent_before_the_101_wait_for_it(gateway: Gateway, upstream: Upstream) -> None:
    """They may reach the upstream after its 101 only (a refused upgrade would make them a request)."""

    def handler(connection: Connection, seen: Seen) -> bool:
        connection.sock.settimeout(0.3)
        try:
            early = connection.sock.recv(100)
        except TimeoutError:
            early = b""
        connection.sock.settimeout(None)
        connection.send(ACCEPT + b"%d" % len(early))
        connection.send(connection.exactly(5))
        return False

    upstream.on("/early", handler)
    with gateway.connect() as client:
        open_tunnel(client, "/early", b"EARLY")
        assert client.exactly(6) == b"0EARLY"


def test_refused_upgrade_leaves_the_bytes_behind_it_a_request(gateway: Gateway, upstream: Upstream) -> None:
    """An ordinary answer: the connection goes on as HTTP, and the upstream connection too."""
    with gateway.connect() as client:
        client.send(get("/no", "a.test", *UPGRADE) + get("/next"))
        assert client.read().status == 200
        assert client.read().status == 200
    assert upstream.seen("/next")[0].connection == upstream.seen("/no")[0].connection


@pytest.mark.parametrize(
    "answer",
    [
        head("101 Switching Protocols"),
        head("101 Switching Protocols", "Connection: Upgrade", "Upgrade: h2c"),
        head("101 Switching Protocols", "Upgrade: websocket"),
    ],
    ids=["bare", "other-protocol", "no-connection"],
)
def test_switch_to_something_else_is_an_error(gateway: Gateway, upstream: Upstream, answer: bytes) -> None:
    """500, and the connection is dropped (RFC 9110 section 7.8)."""

    def handler(connection: Connection, seen: Seen) -> bool:
        connection.send(answer)
        return connection.wait_end() and False

    upstream.on("/odd", handler)
    assert gateway.fetch("/odd", *UPGRADE).status == 500


@pytest.mark.parametrize(
    "lines",
    [
        ("Connection: Upgrade", "Upgrade: h2c"),
        ("Connection: keep-alive", "Upgrade: websocket"),
        ("Connection: Upgrade",),
        ("Connection: Upgrade", "Upgrade: websocket, h2c"),
    ],
    ids=["h2c", "not-nominated", "no-upgrade", "list"],
)
def test_other_upgrades_are_not_passed_on(gateway: Gateway, upstream: Upstream, lines: tuple[str, ...]) -> None:
    """The upstream sees an ordinary request; a 101 would be an error."""
    first = len(upstream.seen("/plain"))
    assert gateway.fetch("/plain", *lines).status == 200
    seen = upstream.seen("/plain")[first]
    assert not seen.all("Upgrade")
    assert not seen.all("Connection")


def test_upgrade_with_a_body_is_an_ordinary_request(gateway: Gateway, upstream: Upstream) -> None:
    """Its body stays a body."""
    body = get("/smuggled")
    answer = gateway.fetch("/with-body", *UPGRADE[:2], method="POST", body=body)
    assert answer.status == 200
    [seen] = upstream.seen("/with-body")
    assert seen.body == body
    assert not seen.all("Upgrade")
    assert not upstream.seen("/smuggled")


def test_half_close_travels_through_the_tunnel(gateway: Gateway, upstream: Upstream) -> None:
    """The client's FIN reaches the upstream, whose last words still reach the client."""

    def handler(connection: Connection, seen: Seen) -> bool:
        connection.send(ACCEPT)
        data = b""
        try:
            while True:
                data += connection.receive()
        except PeerClosed:
            connection.send(b"got " + data)
        return False

    upstream.on("/half", handler)
    with gateway.connect() as client:
        open_tunnel(client, "/half")
        client.send(b"all").half_close()
        assert client.rest() == b"got all"


def test_end_of_the_upstream_ends_the_client(gateway: Gateway, upstream: Upstream) -> None:
    """And the other way round."""

    def handler(connection: Connection, seen: Seen) -> bool:
        connection.send(ACCEPT + b"bye")
        return False

    upstream.on("/bye", handler)
    with gateway.connect() as client:
        open_tunnel(client, "/bye")
        assert client.rest() == b"bye"


def test_client_that_is_reset_ends_the_upstream(gateway: Gateway, upstream: Upstream) -> None:
    """No connection is left behind."""
    upstream.on("/reset", switch())
    with gateway.connect() as client:
        open_tunnel(client, "/reset")
        client.reset()
    number = upstream.seen("/reset")[0].connection
    assert wait_for(upstream.connections[number].ended.is_set, "the upstream connection ends")


def test_tunnel_outlives_the_timeouts_of_http(gateway: Gateway, upstream: Upstream) -> None:
    """Silence for longer than idle, head and body timeouts."""
    upstream.on("/quiet", switch())
    with gateway.connect() as client:
        open_tunnel(client, "/quiet")
        client.expect_open(wait=2.5)
        assert client.send(b"still there").exactly(11) == b"still there"


def test_tunnel_has_back_pressure(gateway: Gateway, upstream: Upstream) -> None:
    """An upstream that sends without end to a client that does not read is slowed down, not buffered."""
    sent = [0]

    def handler(connection: Connection, seen: Seen) -> bool:
        connection.send(ACCEPT)
        while True:
            connection.send(b"x" * 65536)
            sent[0] += 65536

    upstream.on("/flood", handler)
    with gateway.connect(receive_buffer=65536) as client:
        open_tunnel(client, "/flood")
        seen_twice = -1
        while seen_twice != sent[0]:
            seen_twice = sent[0]
            time.sleep(0.3)
        assert sent[0] < 64 << 20


def test_closed_tunnels_leave_no_connection_behind(gateway: Gateway, upstream: Upstream) -> None:
    """Whichever side ends first: after both FINs both connections are gone."""
    upstream.on("/mirror-end", switch())
    upstream.on("/upstream-first", reply(ACCEPT, keep=False))
    for path in ("/mirror-end", "/upstream-first"):
        with gateway.connect() as client:
            open_tunnel(client, path)
            client.half_close()
            client.expect_end()
    # the connection that asks is the only one left
    wait_for(lambda: gateway.metrics()["preforge_connections"] == 1, "client connections end")
    wait_for(lambda: gateway.metrics()["preforge_active_requests"] == 1, "exchanges end")
