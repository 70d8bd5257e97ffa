"""Every upstream answer of the corpus, whole and split at every byte: what the client gets of it."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from tests.conftest import Start
from tests.support.corpus import Case, cases, unescape
from tests.support.gateway import Gateway, api, wait_for
from tests.support.upstream import Connection, Handler, Seen, Upstream
from tests.support.wire import Client, Response, Truncated, get

INVALID = cases("responses/invalid")
VALID = cases("responses/valid")
BATCH = 48
VARYING = {"date", "x-request-id"}
PROBLEM = b'{\n    "error": "There was a problem proxying the request"\n}'


@pytest.fixture(scope="module")
def gateway(start: Start, upstream: Upstream) -> Gateway:
    """A gateway with default limits and one API at the root."""
    return start([api("root", "/", upstream.url)])


@dataclass
class Outcome:
    """What a client saw: `ending` is "whole" or "cut"."""

    status: int = 0
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    framing: str = ""
    trailers: list[tuple[str, str]] = field(default_factory=list)
    interim: list[int] = field(default_factory=list)
    ending: str = "whole"


def scripted(case: Case) -> Handler:
    """An upstream that sends the case's bytes, cut where the query says, and then does what the case says."""

    def handler(connection: Connection, seen: Seen) -> bool:
        connection.read_body(seen)
        at = int(seen.target.partition("?p=")[2])
        connection.send(*[part for part in (case.data[:at], case.data[at:]) if part])
        if case.get("then") == "reset":
            connection.reset()
        return case.get("then") == "keep"

    return handler


def request_of(case: Case, position: int) -> tuple[str, bytes]:
    """(method, bytes) of the request that fetches the case."""
    method, _, version = case.get("request", "GET").partition(" ")
    return method, get(f"/{case.name}?p={position}", method=method, version=version or "1.1")


def read_outcome(client: Client, method: str) -> Outcome:
    """Read one answer, whole or cut."""
    interim: list[Response] = []
    try:
        answer, ending = client.read(method, interim=interim), "whole"
    except Truncated as error:
        answer, ending = error.partial or Response(0, "", []), "cut"
    headers = sorted((n, v) for n, v in answer.headers if n.lower() not in VARYING)
    return Outcome(
        answer.status,
        headers,
        answer.body,
        answer.framing,
        answer.trailers,
        [r.status for r in interim],
        ending,
    )


def play(gateway: Gateway, case: Case, positions: list[int]) -> list[Outcome]:
    """Fetch the case once per split position, a batch at a time in parallel."""
    outcomes = []
    while positions:
        batch, positions = positions[:BATCH], positions[BATCH:]
        clients = [(gateway.connect(), *request_of(case, position)) for position in batch]
        try:
            for client, _, data in clients:
                client.send(data)
            outcomes += [read_outcome(client, method) for client, method, _ in clients]
        finally:
            for client, _, _ in clients:
                client.sock.close()
    return outcomes


@pytest.mark.parametrize("case", INVALID, ids=lambda c: c.name)
def test_invalid_answer_becomes_the_error_page(gateway: Gateway, upstream: Upstream, case: Case) -> None:
    """500 with the error page, nothing of the bad answer, the upstream's connection never used again."""
    upstream.on(f"/{case.name}", scripted(case))
    for outcome in play(gateway, case, [0, *case.positions()]):
        assert outcome.status == int(case.get("client"))
        assert outcome.body == PROBLEM
        assert outcome.ending == "whole"
        assert not {n.lower() for n, _ in outcome.headers} & {"x", "set-cookie"}
    used = {r.connection for r in upstream.seen(f"/{case.name}")}
    assert used, "the upstream was never asked"
    wait_for(
        lambda: all(upstream.connections[n].ended.is_set() or case.get("then") != "keep" for n in used),
        "the gateway closes the connection",
    )


@pytest.mark.parametrize("case", VALID, ids=lambda c: c.name)
def test_answer_reaches_the_client_the_same_however_it_is_split(gateway: Gateway, upstream: Upstream, case: Case) -> None:
    """Status, body, framing, headers; a cut body never looks whole; only a clean connection is reused."""
    path = f"/{case.name}"
    upstream.on(path, scripted(case))
    [whole] = play(gateway, case, [0])
    connection = upstream.connections[upstream.seen(path)[-1].connection]
    assert gateway.fetch("/after").status == 200
    if case.get("connection") == "reused":
        assert not connection.ended.is_set()
        assert upstream.seen("/after")[-1].connection == connection.number
    elif case.get("connection") == "dropped":
        wait_for(lambda: connection.ended.is_set() or case.get("then") != "keep", "the connection is dropped")
        assert upstream.seen("/after")[-1].connection != connection.number
    # Bytes behind an answer that come in a segment of their own may meet the next request on that connection: HTTP/1.1
    # cannot tell them from its answer, so only their arrival with the answer has one right outcome.
    outcomes = [] if case.name.startswith("extra-bytes") else play(gateway, case, case.positions())
    if case.get("ending") == "whole":
        check_whole(case, whole)
        assert all(outcome == whole for outcome in outcomes)
    elif case.get("ending") == "cut":
        for outcome in [whole, *outcomes]:
            check_cut(case, outcome)


def check_whole(case: Case, outcome: Outcome) -> None:
    """Compare with the case's header lines."""
    assert outcome.ending == "whole"
    assert outcome.status == int(case.get("client"))
    assert outcome.body == unescape(case.get("body"))
    assert outcome.framing == case.get("framing")
    assert outcome.interim == [int(word) for word in case.get("interim").split()]
    present = [f"{n}: {v}" for n, v in outcome.headers]
    for line in case.all("header"):
        assert unescape(line.value).decode("latin-1") in present
    for line in case.all("absent"):
        assert line.value.lower() not in {n.lower() for n, _ in outcome.headers}
    assert [f"{n}: {v}" for n, v in outcome.trailers] == [line.value for line in case.all("trailer")]


def check_cut(case: Case, outcome: Outcome) -> None:
    """The client must be able to tell: its message is incomplete, or it got the error page instead."""
    if outcome.status == 500:
        assert outcome.body == PROBLEM
    else:
        assert outcome.ending == "cut"
        assert unescape(case.get("body")).startswith(outcome.body)
