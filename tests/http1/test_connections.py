"""Client connections: when they go on, when they end, what is bounded, and in which order answers come."""

from __future__ import annotations

import contextlib
import json
import time

import pytest

from tests.conftest import Start
from tests.support.gateway import Gateway, api, wait_for
from tests.support.upstream import Connection, Seen, Upstream, head, reply
from tests.support.wire import Client, Response, WireError, get


@pytest.fixture(scope="module")
def gateway(start: Start, upstream: Upstream) -> Gateway:
    """A gateway with one API at the root."""
    return start([api("root", "/", upstream.url)])


def target_of(answer: Response) -> str:
    """The target that the echoing upstream saw."""
    return str(json.loads(answer.body)["target"])


def test_connection_is_kept_between_requests(gateway: Gateway) -> None:
    """HTTP/1.1 is persistent, and says nothing about it."""
    answers = gateway.on_one_connection(5, "/again")
    assert [a.status for a in answers] == [200] * 5
    assert [a.get("Connection") for a in answers] == [None] * 5


@pytest.mark.parametrize(
    ("version", "line", "kept"),
    [
        ("1.1", "Connection: close", False),
        ("1.1", "Connection: CLOSE", False),
        ("1.1", "Connection: keep-alive, close", False),
        ("1.1", "Connection: keep-alive", True),
        ("1.1", "X: close", True),
        ("1.0", "X: 1", False),
        ("1.0", "Connection: keep-alive", True),
        ("1.0", "Connection: keep-alive, close", False),
    ],
)
def test_connection_option_decides_whether_the_connection_goes_on(
    gateway: Gateway, version: str, line: str, kept: bool
) -> None:
    """RFC 9112 section 9.3; an HTTP/1.0 client is told that its connection is kept."""
    with gateway.connect() as client:
        answer = client.send(get("/x", "a.test", line, version=version)).read()
        assert answer.status == 200
        if kept:
            assert client.send(get("/y")).read().status == 200
            assert (answer.get("Connection") == "keep-alive") == (version == "1.0")
        else:
            assert answer.closes
            client.expect_end()


def test_pipelined_answers_keep_their_order_when_the_first_is_slow(gateway: Gateway, upstream: Upstream) -> None:
    """The second upstream answer would be ready long before the first."""
    upstream.on("/slow", reply(head("200 OK", "Content-Length: 1"), b"S", pause=0.3))
    with gateway.connect() as client:
        client.send(get("/slow") + get("/quick") + get("/slow") + get("/last"))
        answers = [client.read() for _ in range(4)]
    assert [a.body for a in (answers[0], answers[2])] == [b"S", b"S"]
    assert [target_of(a) for a in (answers[1], answers[3])] == ["/quick", "/last"]


def test_pipelining_is_bounded_by_reading_no_further(gateway: Gateway, upstream: Upstream) -> None:
    """While one request is answered, the worker takes at most some buffers of what is behind it."""
    upstream.on("/held", reply(head("200 OK", "Content-Length: 1"), b"H", pause=1.0))
    more = get("/more", "a.test", "X: " + "a" * 1000)
    with gateway.connect() as client:
        client.send(get("/held"))
        client.sock.settimeout(0.5)
        sent = 0
        with contextlib.suppress(TimeoutError):
            while sent < 64 << 20:
                sent += client.sock.send(more * 64)
        assert sent < 64 << 20
        assert gateway.counters("preforge_received_bytes_total") < 8 << 20
        client.reset()


def test_half_closed_client_gets_its_answer(gateway: Gateway) -> None:
    """FIN after the request means: no more requests, not: never mind (RFC 9112 section 9.6)."""
    with gateway.connect() as client:
        client.send(get("/half")).half_close()
        assert target_of(client.read()) == "/half"
        client.expect_end()


def test_fin_inside_a_body_cuts_the_upstream_off(gateway: Gateway, upstream: Upstream) -> None:
    """An upstream must not take half a body for the whole."""
    with gateway.connect() as client:
        client.send(b"POST /half-body HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello")
        wait_for(lambda: upstream.seen("/half-body"), "the head arrives")
        client.half_close()
        client.rest()
    seen = upstream.seen("/half-body")[0]
    wait_for(upstream.connections[seen.connection].ended.is_set, "the upstream is cut off")
    assert not seen.complete


def test_fin_inside_a_head_ends_quietly(gateway: Gateway) -> None:
    """Nothing to answer: no request came."""
    with gateway.connect() as client:
        client.send(b"GET /x HTTP/1.1\r\nHost").half_close()
        client.expect_end()


def test_client_that_leaves_frees_its_upstream_connection(gateway: Gateway, upstream: Upstream) -> None:
    """The upstream works on for nobody: its connection is closed, not put back."""
    upstream.on("/gone", lambda connection, seen: not connection.wait_end(15) or False)
    with gateway.connect() as client:
        client.send(get("/gone"))
        wait_for(lambda: upstream.seen("/gone"), "the request arrives")
        client.reset()
    number = upstream.seen("/gone")[0].connection
    assert wait_for(upstream.connections[number].ended.is_set, "the upstream connection ends")
    assert gateway.counters("preforge_client_aborts_total") >= 1


def test_expect_continue_is_answered_before_the_body(gateway: Gateway) -> None:
    """100, then the final answer (RFC 9110 section 10.1.1); Expect itself stays here."""
    with gateway.connect() as client:
        client.send(b"POST /expect HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        assert client.read_head().status == 100
        answer = client.send(b"hello").read()
        assert json.loads(answer.body)["body"] == "hello"
        assert "Expect" not in [n for n, _ in json.loads(answer.body)["headers"]]
        assert client.send(get("/next")).read().status == 200


def test_expect_continue_with_the_body_at_once(gateway: Gateway) -> None:
    """A client need not wait. 100 is allowed, the final answer is the same."""
    interim: list[Response] = []
    with gateway.connect() as client:
        client.send(b"POST /e HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello")
        answer = client.read(interim=interim)
    assert json.loads(answer.body)["body"] == "hello"
    assert {a.status for a in interim} <= {100}


def test_refused_expectation_gets_no_continue(gateway: Gateway) -> None:
    """A final answer without 100 where the body is not wanted; the connection ends."""
    with gateway.connect() as client:
        client.send(b"POST /x HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: x\r\n\r\n")
        assert client.read().status == 400
        client.expect_end()


def test_expect_with_chunks(gateway: Gateway) -> None:
    """The same for a chunked body."""
    with gateway.connect() as client:
        client.send(b"POST /e HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nTransfer-Encoding: chunked\r\n\r\n")
        assert client.read_head().status == 100
        answer = client.send(b"5\r\nhello\r\n0\r\n\r\n").read()
        assert json.loads(answer.body)["body"] == "hello"


@pytest.mark.parametrize("announced", [b"Content-Length: 1000000", b"Transfer-Encoding: chunked"])
def test_early_answer_reaches_a_client_that_is_still_sending(gateway: Gateway, upstream: Upstream, announced: bytes) -> None:
    """The upstream refuses in the middle of the body: its 413 arrives, and the connection ends afterwards."""

    def refuse(connection: Connection, seen: Seen) -> bool:
        connection.exactly(3)
        connection.send(head("413 Content Too Large", "Content-Length: 5") + b"large")
        connection.wait_end()
        return False

    upstream.on("/early", refuse)
    with gateway.connect() as client:
        client.send(b"POST /early HTTP/1.1\r\nHost: a\r\n" + announced + b"\r\n\r\n5\r\nhello\r\n")
        answer = client.read()
        assert (answer.status, answer.body) == (413, b"large")
        assert answer.closes
        client.expect_end()
    number = upstream.seen("/early")[-1].connection
    wait_for(upstream.connections[number].ended.is_set, "the upstream connection is not kept")


def test_answer_is_not_lost_when_the_client_floods_on(gateway: Gateway) -> None:
    """Closing with unread input would reset the connection and destroy the 400 (RFC 9112 section 9.6)."""
    with gateway.connect() as client:
        client.send(b"GET /x HTTP/1.1\r\nBad Name: 1\r\n\r\n")
        for _ in range(20):
            client.send(b"x" * 4096)
            time.sleep(0.001)
        assert client.read().status == 400
        client.expect_end()


def test_many_small_chunks_stay_one_message(gateway: Gateway) -> None:
    """20,000 chunks of one byte each."""
    with gateway.connect() as client:
        client.send(b"POST /tiny HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        client.send(b"1\r\na\r\n" * 20000 + b"0\r\n\r\n")
        assert json.loads(client.read().body)["body"] == "a" * 20000


def test_dripped_request_and_dripped_answer(gateway: Gateway, upstream: Upstream) -> None:
    """One byte per segment both ways."""
    answer = head("200 OK", "Content-Length: 5") + b"hello"
    upstream.on("/drip", reply(*[bytes([b]) for b in answer], pause=0.001))
    with gateway.connect() as client:
        client.send_parts([bytes([b]) for b in get("/drip")], pause=0.001)
        assert client.read().body == b"hello"


def test_hundred_connections_at_once_do_not_mix_answers(gateway: Gateway) -> None:
    """Each client reads back its own token."""
    clients = [gateway.connect() for _ in range(100)]
    try:
        for turn in range(3):
            for i, client in enumerate(clients):
                client.send(get(f"/token-{i}-{turn}"))
            for i, client in enumerate(clients):
                assert target_of(client.read()) == f"/token-{i}-{turn}"
    finally:
        for client in clients:
            client.sock.close()


def test_strict_parser_of_the_tests_refuses_contradictions() -> None:
    """The comparison is worth as much as the parser: it must not accept what it should notice."""
    client = Client.__new__(Client)
    client.ended, client.was_reset = True, False
    for wrong in (
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 204 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n 0\r\n\r\n",
    ):
        client.buffer = wrong
        with pytest.raises(WireError):
            client.read()
