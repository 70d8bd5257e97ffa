"""Every request of the corpus, whole and split at every byte: its answers, and what the upstream may see."""

from __future__ import annotations

import json
from collections.abc import Iterable

import pytest

from tests.conftest import Start
from tests.support.corpus import Case, Line, cases, unescape
from tests.support.gateway import Gateway, api, wait_for
from tests.support.upstream import Seen, Upstream
from tests.support.wire import Client, Response, get

INVALID = cases("requests/invalid")
VALID = cases("requests/valid")
SENTINEL = get("/sentinel")
BATCH = 48
Answer = tuple[int, str]


@pytest.fixture(scope="module")
def gateway(start: Start, upstream: Upstream) -> Gateway:
    """A gateway with default limits and one API at the root."""
    return start([api("root", "/", upstream.url)])


def total_bytes(upstream: Upstream) -> int:
    """All bytes that the upstream has received so far."""
    return sum(c.count for c in upstream.connections)


def answer_of(response: Response) -> Answer:
    """What has to be equal however the request was split: status and body (an echo of the request)."""
    return response.status, response.body.decode("latin-1")


def read_answers(case: Case, client: Client) -> list[Answer]:
    """Read the case's answers and check what becomes of the connection."""
    sees = [line.value.split(" ")[0] for line in case.all("sees")]
    count = len(case.get("answers").split())
    answers = [answer_of(client.read((sees[i:] or ["GET"])[0])) for i in range(count)]
    if case.get("end") == "close":
        client.expect_end()
    else:
        assert client.send(SENTINEL).read().status == 200, "the connection does not go on"
    return answers


def play(gateway: Gateway, case: Case, splits: Iterable[list[bytes]]) -> list[list[Answer]]:
    """Send the case on one connection per split, part by part, all connections of a batch in step."""
    waiting = list(splits)
    played = []
    while waiting:
        batch, waiting = waiting[:BATCH], waiting[BATCH:]
        clients = [gateway.connect() for _ in batch]
        try:
            for i in range(max(len(parts) for parts in batch)):
                for client, parts in zip(clients, batch, strict=True):
                    client.send(b"".join(parts[i : i + 1]))
            played += [read_answers(case, client) for client in clients]
        finally:
            for client in clients:
                client.sock.close()
    return played


def halves(case: Case) -> list[list[bytes]]:
    """The case cut in two, once per position."""
    return [[case.data[:i], case.data[i:]] for i in case.positions()]


def incomplete(seen: list[Seen]) -> list[Seen]:
    """Requests other than the sentinel."""
    return [r for r in seen if r.target != "/sentinel"]


@pytest.mark.parametrize("case", INVALID, ids=lambda c: c.name)
def test_invalid_request_is_refused_and_reaches_no_upstream(gateway: Gateway, upstream: Upstream, case: Case) -> None:
    """The status, a closed connection, the same for every split; no whole request for the upstream."""
    gateway.fetch("/sentinel")
    cut = [upstream.connections[r.connection] for r in incomplete(upstream.requests) if not r.complete]
    wait_for(lambda: all(connection.ended.is_set() for connection in cut), "what other cases sent has arrived")
    before, requests = total_bytes(upstream), len(upstream.requests)
    gateway.fetch("/sentinel")
    sentinel = total_bytes(upstream) - before
    [whole] = play(gateway, case, [[case.data]])
    assert [status for status, _ in whole] == [int(case.get("answers"))]
    played = play(gateway, case, halves(case))
    assert all(answers == whole for answers in played)
    assert gateway.fetch("/sentinel").status == 200
    if case.get("upstream") == "nothing":
        assert {seen.target for seen in upstream.requests[requests:]} == {"/sentinel"}
        assert total_bytes(upstream) == before + 2 * sentinel
    else:
        assert case.get("upstream") == "incomplete"
        partial = incomplete(upstream.requests[requests:])
        wait_for(lambda: all(upstream.connections[r.connection].ended.is_set() for r in partial), "connections cut")
        assert not any(r.complete for r in partial)
    assert not any("smuggled" in r.target for r in upstream.requests[requests:])
    assert not upstream.errors


def check_seen(seen: Seen, expected: Line) -> None:
    """Compare one request that arrived with a `sees:` line of the case."""
    assert f"{seen.method} {seen.target}" == unescape(expected.value).decode("latin-1")
    for text in expected.all("body"):
        assert seen.body == unescape(text)
    for name in expected.all("absent"):
        assert not seen.all(name), name
    for count in expected.all("trailers"):
        assert len(seen.trailers) == int(count)
    present = [f"{n}: {v}".rstrip(" ") for n, v in seen.headers]
    for text in expected.all("header"):
        wanted = unescape(text).decode("latin-1")
        assert wanted in present, f"{wanted!r} is not among {present}"
        present.remove(wanted)


@pytest.mark.parametrize("case", VALID, ids=lambda c: c.name)
def test_valid_request_arrives_the_same_however_it_is_split(gateway: Gateway, upstream: Upstream, case: Case) -> None:
    """Statuses, what the upstream sees, and for every split the same answers and not one request more."""
    first = len(upstream.requests)
    [whole] = play(gateway, case, [[case.data]])
    assert [status for status, _ in whole] == [int(word) for word in case.get("answers").split()]
    seen = incomplete(upstream.requests[first:])
    expected = case.all("sees")
    assert len(seen) == len(expected), [r.target for r in seen]
    for request, line in zip(seen, expected, strict=True):
        check_seen(request, line)
    splits = [*halves(case), [bytes([b]) for b in case.data]]
    first = len(upstream.requests)
    for answers in play(gateway, case, splits):
        assert answers == whole
    assert len(incomplete(upstream.requests[first:])) == len(splits) * len(expected)
    assert not upstream.errors


def test_no_refused_byte_is_ever_echoed(gateway: Gateway, upstream: Upstream) -> None:
    """A refusal must not reflect what the client sent: no markup, no header of the client's choice."""
    with gateway.connect() as client:
        answer = client.send(b"GET /<script>alert(1)</script> HTTP/1.1\r\nX : <script>\r\n\r\n").read()
        client.expect_end()
    assert answer.status == 400
    assert b"<" not in answer.body
    assert answer.get("Connection") == "close"


def test_echo_describes_the_request(gateway: Gateway) -> None:
    """The comparison above rests on the echo: it must tell two requests apart."""
    first = json.loads(gateway.fetch("/a", "X-T: 1").body)
    second = json.loads(gateway.fetch("/a", "X-T: 2").body)
    assert first["headers"] != second["headers"]
    assert first["target"] == second["target"] == "/a"
