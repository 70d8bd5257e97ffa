"""Copies of responses: as the client gets them, within bounds, and never at the client's cost."""

from __future__ import annotations

import gzip
from collections.abc import Iterator

import pytest

from accel.http1 import CopyBounds, Exchange, Plan
from tests.support.datapath import DataPath, Waits, does, whole
from tests.support.gateway import wait_for
from tests.support.upstream import Connection, Seen, Upstream, abort, head, reply
from tests.support.wire import Client, Truncated

BODY = bytes(range(256)) * 40
EACH, TOGETHER = 50_000, 80_000


class Copies:
    """Asks for a copy of every response; `wanted` says whether the body is wanted too."""

    def __init__(self, path: DataPath) -> None:
        self.path = path
        self.bounds = CopyBounds(EACH, TOGETHER)
        self.wanted = True
        self.heads: list[tuple[int, list[tuple[bytes, bytes]]]] = []
        self.bodies: list[bytes | None] = []

    def plan(self, *, response: tuple[object, ...] = ()) -> Plan:
        return self.path.plan(does(self.ask), response=response)    # type: ignore[arg-type]

    def ask(self, x: Exchange) -> None:
        x.copy_response(self.bounds, self.began, self.ended)

    def began(self, x: Exchange) -> bool:
        self.heads.append((x.status_code, x.res.items()))
        return self.wanted

    def ended(self, x: Exchange, body: bytes | None) -> None:
        self.bodies.append(body)

    def nothing_is_held(self) -> bool:
        return self.bounds.held == 0


@pytest.fixture(scope="module")
def path(upstream: Upstream) -> Iterator[DataPath]:
    with DataPath(upstream) as found:
        yield found


@pytest.fixture
def copies(path: DataPath) -> Copies:
    found = Copies(path)
    found.plan()
    return found


FRAMINGS = {
    "length": reply(head("200 OK", f"Content-Length: {len(BODY)}"), BODY[:1000], BODY[1000:]),
    "chunked": reply(head("200 OK", "Transfer-Encoding: chunked"), b"%x\r\n%b\r\n" % (len(BODY), BODY), b"0\r\nA: b\r\n\r\n"),
    "close": reply(head("200 OK", "Connection: close"), BODY, keep=False),
    "gzip": reply(head("200 OK", "Content-Encoding: gzip", "Connection: close"), gzip.compress(BODY), keep=False),
    "empty": reply(head("200 OK", "Content-Length: 0")),
}


@pytest.mark.parametrize("framing", FRAMINGS)
def test_a_copy_is_what_the_client_gets(copies: Copies, upstream: Upstream, framing: str) -> None:
    upstream.on("/copied", FRAMINGS[framing])
    answer = copies.path.fetch("/api/copied")
    assert answer.body == (b"" if framing == "empty" else BODY)
    wait_for(lambda: copies.bodies, "the copy")
    assert copies.bodies == [answer.body]
    assert [status for status, _ in copies.heads] == [200]
    assert copies.nothing_is_held()


def test_a_copy_has_what_response_steps_have_made_of_it(copies: Copies, upstream: Upstream) -> None:
    waits = Waits()
    copies.plan(response=(waits.step(), whole(lambda x: x.set_response(203, (x.response_body or b"") + b"!"))))
    upstream.on("/held", reply(head("200 OK", "Content-Length: 2") + b"ab"))
    with copies.path.connect() as client:
        client.send(b"GET /api/held HTTP/1.1\r\nHost: a\r\n\r\n")
        waits.wait()
        assert copies.heads == []
        waits.go(copies.path)
        assert client.read().body == b"ab!"
    wait_for(lambda: copies.bodies, "the copy")
    assert (copies.heads[0][0], copies.bodies) == (203, [b"ab!"])


def test_an_answer_in_place_of_the_upstream_is_copied_too(copies: Copies) -> None:
    def step(x: Exchange) -> None:
        copies.ask(x)
        x.respond(202, [(b"A", b"b")], b"text")

    copies.path.plan(does(step))
    assert copies.path.fetch("/api/").body == b"text"
    wait_for(lambda: copies.bodies, "the copy")
    assert copies.heads == [(202, [(b"A", b"b"), (b"Content-Length", b"4")])]
    assert copies.bodies == [b"text"]


def test_the_copy_of_a_response_to_head_is_empty(copies: Copies, upstream: Upstream) -> None:
    upstream.on("/head", reply(head("200 OK", "Content-Length: 999999")))
    assert copies.path.fetch("/api/head", method="HEAD").get("Content-Length") == "999999"
    wait_for(lambda: copies.bodies, "the copy")
    assert copies.bodies == [b""]


def test_what_is_not_wanted_is_not_copied(copies: Copies) -> None:
    copies.wanted = False
    assert copies.path.fetch("/api/any").status == 200
    copies.wanted = True
    assert copies.path.fetch("/api/any").status == 200
    wait_for(lambda: copies.bodies, "the second copy")
    assert (len(copies.heads), len(copies.bodies)) == (2, 1)


@pytest.mark.parametrize(
    "first", [head("200 OK", f"Content-Length: {EACH + 1}"), head("200 OK", "Connection: close")], ids=["said", "found"]
)
def test_a_response_over_the_bound_goes_through_uncopied(copies: Copies, upstream: Upstream, first: bytes) -> None:
    upstream.on("/large", reply(first, bytes(EACH), b"x", keep=False))
    assert len(copies.path.fetch("/api/large").body) == EACH + 1
    wait_for(lambda: copies.bodies, "the end of the copy")
    assert copies.bodies == [None]
    assert copies.nothing_is_held()


def test_a_response_as_large_as_the_bound_is_copied(copies: Copies, upstream: Upstream) -> None:
    upstream.on("/just", reply(head("200 OK", f"Content-Length: {EACH}"), bytes(EACH)))
    assert copies.path.fetch("/api/just").status == 200
    wait_for(lambda: copies.bodies, "the copy")
    assert copies.bodies == [bytes(EACH)]


def test_all_copies_together_have_a_bound(copies: Copies, upstream: Upstream) -> None:
    def slow(connection: Connection, seen: Seen) -> bool:
        connection.read_body(seen)
        connection.send(head("200 OK", f"Content-Length: {EACH}"), bytes(EACH - 1))
        connection.wait_end()
        return False

    upstream.on("/slow", slow)
    upstream.on("/second", reply(head("200 OK", f"Content-Length: {EACH}"), bytes(EACH)))
    with copies.path.connect() as client:
        client.send(b"GET /api/slow HTTP/1.1\r\nHost: a\r\n\r\n")
        client.read_head()
        wait_for(lambda: copies.bounds.held == EACH - 1, "the first copy")
        assert len(copies.path.fetch("/api/second").body) == EACH
        wait_for(lambda: copies.bodies, "the end of the second copy")
        assert copies.bodies == [None]
        client.reset()
    wait_for(copies.nothing_is_held, "the first copy given up with its client")
    assert copies.path.fetch("/api/second").status == 200
    wait_for(lambda: len(copies.bodies) == 2, "a copy that fits again")
    assert copies.bodies == [None, bytes(EACH)]


BROKEN = {
    "length": head("200 OK", "Content-Length: 100") + b"abc",
    "no_chunk": head("200 OK", "Transfer-Encoding: chunked") + b"3\r\nabc\r\nno chunk",
    "no_last_chunk": head("200 OK", "Transfer-Encoding: chunked") + b"3\r\nabc\r\n",
    "in_the_trailer": head("200 OK", "Transfer-Encoding: chunked") + b"3\r\nabc\r\n0\r\nA: b\r\n",
    "reset": head("200 OK", "Connection: close") + b"abc",
}


@pytest.mark.parametrize("end", BROKEN)
def test_a_response_that_breaks_off_leaves_no_copy(copies: Copies, upstream: Upstream, end: str) -> None:
    def breaks(connection: Connection, seen: Seen) -> bool:
        connection.send(BROKEN[end])
        return abort(connection, seen) if end == "reset" else False

    upstream.on("/broken", breaks)
    with copies.path.connect() as client:
        client.send(b"GET /api/broken HTTP/1.1\r\nHost: a\r\n\r\n")
        with pytest.raises(Truncated):
            client.read()
    wait_for(copies.nothing_is_held, "the copy given up")
    assert copies.bodies == []


def test_answers_of_the_gateway_itself_are_not_copied(copies: Copies, upstream: Upstream) -> None:
    upstream.on("/away", abort)
    assert copies.path.fetch("/api/away").status == 500

    def fails(x: Exchange) -> None:
        raise ValueError("no")

    copies.plan(response=(whole(fails),))
    assert copies.path.fetch("/api/any").status == 500
    assert (copies.heads, copies.bodies) == ([], [])


def test_a_copy_belongs_to_one_request_of_a_connection(copies: Copies, upstream: Upstream) -> None:
    asked: list[bytes] = []

    def every_other(x: Exchange) -> None:
        asked.append(x.path)
        if len(asked) % 2:
            copies.ask(x)

    copies.path.plan(does(every_other))
    for name in ("/one", "/two"):
        upstream.on(name, reply(head("200 OK", "Content-Length: 4") + name.encode()))
    requests = b"".join(b"GET /api/%b HTTP/1.1\r\nHost: a\r\n\r\n" % name for name in (b"one", b"two", b"one", b"two"))
    with Client(copies.path.address) as client:
        client.send(requests)
        assert [client.read().body for _ in range(4)] == [b"/one", b"/two", b"/one", b"/two"]
    wait_for(lambda: len(copies.bodies) == 2, "the copies")
    assert copies.bodies == [b"/one", b"/one"]


@pytest.mark.parametrize("which", ["began", "ended"])
def test_a_copy_that_fails_does_not_concern_the_client(path: DataPath, which: str) -> None:
    copies = Copies(path)

    def fails(*_: object) -> bool:
        raise RuntimeError("the copy fails")

    setattr(copies, which, fails)
    copies.plan()
    path.log.texts.clear()
    assert path.fetch("/api/any").status == 200
    wait_for(lambda: any("copied" in text for text in path.log.texts), "the failure in the log")
    assert copies.nothing_is_held()
