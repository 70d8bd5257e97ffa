"""Steps that see whole responses: nothing is cut, mixed up or sent twice, whatever the other sides do meanwhile."""

from __future__ import annotations

import asyncio
import gzip
import os
from collections.abc import Iterator
from typing import Any

import pytest

from accel.http1 import Exchange, HeaderEdit, PyStep, WaitStep
from accel.shm import B_BUFFERED_RESPONSE, G_CLIENT_ABORTS
from tests.support.datapath import DataPath, Waits, does, message, whole
from tests.support.gateway import wait_for
from tests.support.upstream import Connection, Handler, Seen, Upstream, head, reply
from tests.support.wire import get

PROBLEM = "There was a problem proxying the request"
BINARY = bytes(range(256)) * 40
LIMIT = 100_000
TWICE = ("Set-Cookie: a=1", "Set-Cookie: b=2", "Content-Type: app/x", "X-Old: 1")


@pytest.fixture(scope="module")
def path(upstream: Upstream) -> Iterator[DataPath]:
    with DataPath(upstream, max_held=LIMIT) as found:
        yield found


def chunks(body: bytes, size: int) -> bytes:
    pieces = [body[i : i + size] for i in range(0, len(body), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\nX-Trailer: 1\r\n\r\n"


FRAMINGS: dict[str, Handler] = {
    "length": reply(head("200 OK", f"Content-Length: {len(BINARY)}", *TWICE), BINARY[:1000], BINARY[1000:]),
    "chunked": reply(head("200 OK", "Transfer-Encoding: chunked", *TWICE) + chunks(BINARY, 77)),
    "close": reply(head("200 OK", "Connection: close", *TWICE), BINARY, keep=False),
}


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_whole_body_is_seen_and_sent_byte_for_byte(path: DataPath, upstream: Upstream, framing: str, version: str) -> None:
    views: list[tuple[int, bytes | None, bytes | None]] = []
    upstream.on("/bytes", FRAMINGS[framing])
    edit = HeaderEdit([b"X-Old"], [(b"X-New", b"1")], response=True)
    path.plan(response=[edit, whole(lambda x: views.append((x.status_code, x.response_body, x.res.get(b"X-New"))))])
    with path.connect() as client:
        for _ in range(2):
            answer = client.send(get("/api/bytes", "g", "Connection: keep-alive", version=version)).read()
            assert (answer.status, answer.body, answer.framing) == (200, BINARY, "length")
            assert answer.all("Set-Cookie") == ["a=1", "b=2"]
            assert (answer.get("X-New"), answer.get("X-Old"), answer.get("Content-Type")) == ("1", None, "app/x")
            assert answer.get("X-Ratelimit-Limit") == "0"
    assert views == [(200, BINARY, b"1")] * 2


@pytest.mark.parametrize("body", [b"", b"new", BINARY * 20])
def test_replaced_body_gets_its_own_length(path: DataPath, upstream: Upstream, body: bytes) -> None:
    upstream.on("/bytes", FRAMINGS["chunked"])
    path.plan(response=[whole(lambda x: x.set_response(207, (x.response_body or b"")[:0] + body))])
    with path.connect() as client:
        for _ in range(2):
            answer = client.send(get("/api/bytes")).read()
            assert (answer.status, answer.body, answer.get("Content-Length")) == (207, body, str(len(body)))


def test_steps_see_what_the_steps_before_them_left(path: DataPath) -> None:
    def add(letter: bytes) -> PyStep:
        return whole(lambda x: x.set_response(x.status_code + 1, (x.response_body or b"") + letter))

    path.plan(response=[whole(lambda x: x.set_response(200, b"")), add(b"a"), add(b"b")])
    answer = path.fetch("/api/x")
    assert (answer.status, answer.body) == (202, b"ab")


def test_framing_fields_of_a_step_do_not_reach_the_client(path: DataPath) -> None:
    def edit(x: Exchange) -> None:
        for name in (b"content-length", b"transfer-ENCODING", b"connection"):
            x.res.add(name, b"1")

    path.plan(response=[whole(edit)])
    with path.connect() as client:
        for _ in range(2):
            answer = client.send(get("/api/x")).read()
            assert (answer.framing, answer.all("Connection"), answer.all("Transfer-Encoding")) == ("length", [], [])


def test_response_waits_with_its_own_head_while_its_connection_serves_others(path: DataPath, upstream: Upstream) -> None:
    for name in ("one", "two"):
        upstream.on(f"/{name}", reply(head("200 OK", "Content-Length: 3", f"X-Name: {name}") + name.encode()))
    waits = Waits()
    path.plan(response=[waits.step()])
    with path.connect() as first, path.connect() as second:
        first.send(get("/api/one"))
        waits.wait(1)
        second.send(get("/api/two"))
        waits.wait(2)
        assert upstream.seen("/one")[-1].connection == upstream.seen("/two")[-1].connection
        waits.go(path)
        answer = first.read()
        assert (answer.body, answer.get("X-Name")) == (b"one", "one")
        waits.go(path)
        answer = second.read()
        assert (answer.body, answer.get("X-Name")) == (b"two", "two")


def test_response_of_a_task_goes_on_when_the_task_ends(path: DataPath) -> None:
    async def later(x: Exchange) -> None:
        await asyncio.sleep(0)
        x.set_response(200, b"task")

    path.plan(response=[PyStep(later, whole_body=True), PyStep(later, whole_body=True)])
    with path.connect() as client:
        client.send(get("/api/1") + get("/api/2"))
        assert [client.read().body for _ in range(2)] == [b"task", b"task"]


def test_late_resume_of_a_request_step_does_not_move_its_response(path: DataPath) -> None:
    request, response = Waits(), Waits()
    path.plan(WaitStep(request), response=[response.step()])
    with path.connect() as client:
        client.send(get("/api/x"))
        request.wait()
        x, serial = request.held[0]
        request.go(path)
        response.wait()
        path.call(lambda: x.resume(serial))
        assert path.call(lambda: (x.waits(serial), x.waits(response.held[0][1]))) == (False, True)
        response.go(path)
        assert client.read().status == 200


# -- what has no body -------------------------------------------------------------


def test_head_keeps_the_length_that_the_upstream_says_unless_the_body_may_change(path: DataPath, upstream: Upstream) -> None:
    bodies: list[bytes | None] = []
    upstream.on("/head", reply(head("200 OK", "Content-Length: 5", "Content-Type: a/b")))
    path.plan(response=[whole(lambda x: bodies.append(x.response_body))])
    with path.connect() as client:
        assert [client.send(get("/api/head", method="HEAD")).read("HEAD").get("Content-Length") for _ in range(2)] == ["5"] * 2
    path.plan(response=[whole(lambda x: x.set_response(200, b"new"))])
    with path.connect() as client:
        assert [client.send(get("/api/head", method="HEAD")).read("HEAD").get("Content-Length") for _ in range(2)] == [None] * 2
    assert bodies == [b"", b""]


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_response_without_a_body_can_get_one(path: DataPath, upstream: Upstream, status: str) -> None:
    upstream.on("/none", reply(head(status, "X-Up: 1")))
    path.plan(response=[whole(lambda x: None)])
    with path.connect() as client:
        for _ in range(2):
            answer = client.send(get("/api/none")).read()
            assert (answer.status, answer.body, answer.get("X-Up")) == (int(status[:3]), b"", "1")
    path.plan(response=[whole(lambda x: x.set_response(200, b"now"))])
    with path.connect() as client:
        assert [client.send(get("/api/none")).read().body for _ in range(2)] == [b"now", b"now"]


@pytest.mark.parametrize("status", [204, 304])
def test_response_that_loses_its_body_says_no_length(path: DataPath, upstream: Upstream, status: int) -> None:
    upstream.on("/bytes", FRAMINGS["length"])
    path.plan(response=[whole(lambda x: x.set_response(status, b"dropped"))])
    with path.connect() as client:
        for _ in range(2):
            answer = client.send(get("/api/bytes")).read()
            assert (answer.status, answer.get("Content-Length"), answer.body) == (status, None, b"")


def test_type_is_found_for_a_body_without_one(path: DataPath) -> None:
    def change(x: Exchange) -> None:
        x.res.remove(b"Content-Type")
        x.set_response(200, b"<html>")

    path.plan(response=[whole(change)])
    assert path.fetch("/api/x").get("Content-Type") == "text/html; charset=utf-8"


# -- gzip -------------------------------------------------------------------------


def zipped(body: bytes) -> Handler:
    packed = gzip.compress(body)
    return reply(head("200 OK", "Content-Encoding: gzip", f"Content-Length: {len(packed)}", "Content-Type: a/b") + packed)


def test_gzip_is_unpacked_for_steps_only_if_the_client_did_not_ask_for_it(path: DataPath, upstream: Upstream) -> None:
    views: list[tuple[bytes | None, bytes | None]] = []
    upstream.on("/zip", zipped(b"text"))
    path.plan(response=[whole(lambda x: views.append((x.response_body, x.res.get(b"Content-Encoding"))))])
    answer = path.fetch("/api/zip")
    assert (answer.body, answer.get("Content-Encoding")) == (b"text", None)
    answer = path.fetch("/api/zip", "Accept-Encoding: gzip")
    assert (gzip.decompress(answer.body), answer.get("Content-Encoding")) == (b"text", "gzip")
    assert (views[0], gzip.decompress(views[1][0] or b""), views[1][1]) == ((b"text", None), b"text", b"gzip")


@pytest.mark.parametrize(("cut", "junk"), [(-6, b""), (20, b"\xff" * 40)], ids=["cut", "broken"])
def test_broken_gzip_is_an_error_page(path: DataPath, upstream: Upstream, cut: int, junk: bytes) -> None:
    packed = gzip.compress(os.urandom(200))[:cut] + junk
    upstream.on("/bad", reply(head("200 OK", "Content-Encoding: gzip", f"Content-Length: {len(packed)}") + packed))
    path.plan(response=[whole(lambda x: None)])
    with path.connect() as client:
        for _ in range(2):
            answer = client.send(get("/api/bad")).read()
            assert (answer.status, message(answer)) == (500, PROBLEM)


# -- bounds -----------------------------------------------------------------------


def endless(connection: Connection, seen: Seen) -> bool:
    connection.read_body(seen)
    connection.send(head("200 OK", "Transfer-Encoding: chunked"))
    while True:
        connection.send(b"1000\r\n" + b"x" * 4096 + b"\r\n")


def promised(connection: Connection, seen: Seen) -> bool:
    connection.read_body(seen)
    connection.send(head("200 OK", f"Content-Length: {LIMIT + 1}"))
    assert connection.wait_end()
    return False


@pytest.mark.parametrize("handler", [endless, promised, zipped(b"\0" * 50_000_000)], ids=["endless", "promised", "bomb"])
def test_response_over_the_bound_is_an_error_page_and_counted(path: DataPath, upstream: Upstream, handler: Handler) -> None:
    upstream.on("/big", handler)
    path.plan(response=[whole(lambda x: None)])
    before = path.region.value(B_BUFFERED_RESPONSE)
    with path.connect() as client:
        for _ in range(2):
            answer = client.send(get("/api/big")).read()
            assert (answer.status, message(answer)) == (500, PROBLEM)
    assert path.region.value(B_BUFFERED_RESPONSE) == before + 2
    assert any("max_buffered_response_bytes" in line for line in path.log.texts)
    assert upstream.seen("/big")[-1].connection != upstream.seen("/big")[-2].connection


def test_response_at_the_bound_passes(path: DataPath, upstream: Upstream) -> None:
    upstream.on("/full", reply(head("200 OK", f"Content-Length: {LIMIT}") + b"x" * LIMIT))
    path.plan(response=[whole(lambda x: None)])
    assert path.fetch("/api/full").body == b"x" * LIMIT


# -- failures ---------------------------------------------------------------------


@pytest.mark.parametrize("framing", ["Content-Length: 100", "Transfer-Encoding: chunked"])
def test_upstream_that_dies_in_the_body_is_an_error_page(path: DataPath, upstream: Upstream, framing: str) -> None:
    upstream.on("/dies", reply(head("200 OK", framing, "X-Up: 1"), b"5\r\nabcde\r\n", keep=False))
    path.plan(response=[whole(lambda x: None)])
    with path.connect() as client:
        for _ in range(2):
            answer = client.send(get("/api/dies")).read()
            assert (answer.status, message(answer), answer.get("X-Up")) == (500, PROBLEM, None)


def test_hard_timeout_counts_for_the_whole_body(path: DataPath, upstream: Upstream) -> None:
    def stalls(connection: Connection, seen: Seen) -> bool:
        connection.send(head("200 OK", "Content-Length: 10") + b"abc")
        connection.wait_end()
        return False

    upstream.on("/stalls", stalls)
    path.plan(response=[whole(lambda x: None)], exchange_timeout_ms=300)
    assert path.fetch("/api/stalls").status == 504


def test_request_timeout_counts_while_a_response_waits(upstream: Upstream) -> None:
    with DataPath(upstream, total_ms=400) as path:
        waits = Waits()
        path.plan(response=[waits.step()])
        with path.connect() as client:
            client.send(get("/api/x"))
            assert client.read().status == 504
            waits.go(path)
            path.plan()
            assert client.send(get("/api/y")).read().status == 200


def test_client_that_leaves_while_its_response_waits_is_noticed(path: DataPath, upstream: Upstream) -> None:
    waits = Waits()
    path.plan(response=[waits.step()])
    gone = path.region.value(G_CLIENT_ABORTS)
    client = path.connect().send(get("/api/leaves"))
    waits.wait()
    x, serial = waits.held[0]
    client.reset()
    wait_for(lambda: not path.call(lambda: x.waits(serial)), "the client's end is seen")
    assert path.region.value(G_CLIENT_ABORTS) == gone + 1
    waits.go(path)
    path.plan()
    path.fetch("/api/after")
    assert upstream.seen("/leaves")[-1].connection == upstream.seen("/after")[-1].connection


def test_client_that_leaves_while_its_response_is_collected_frees_the_upstream(path: DataPath, upstream: Upstream) -> None:
    ended: list[bool] = []

    def stalls(connection: Connection, seen: Seen) -> bool:
        connection.send(head("200 OK", "Content-Length: 10") + b"abc")
        ended.append(connection.wait_end())
        return False

    upstream.on("/stalls", stalls)
    path.plan(response=[whole(lambda x: None)])
    client = path.connect().send(get("/api/stalls"))
    wait_for(lambda: upstream.seen("/stalls"), "the request arrives")
    client.reset()
    assert wait_for(lambda: ended, "the upstream's connection ends") == [True]


@pytest.mark.parametrize(
    ("fails", "expected"),
    [
        (lambda x: 1 // 0, PROBLEM),
        (lambda x: x.fail(500, "Middleware error"), "Middleware error"),
        (lambda x: x.set_response(199, b""), PROBLEM),
        (lambda x: x.set_response(600, b""), PROBLEM),
        (lambda x: x.res.set(b"X-A", b"a\r\nb"), PROBLEM),
        (lambda x: x.respond(200, [], b"again"), PROBLEM),
    ],
    ids=["raises", "fails", "interim status", "unknown status", "header", "responds"],
)
def test_failing_step_hides_the_response(path: DataPath, upstream: Upstream, fails: Any, expected: str) -> None:
    upstream.on("/secret", reply(head("200 OK", "Content-Length: 6", "X-Secret: 1") + b"secret"))
    late = whole(lambda x: x.set_response(200, b"late"))

    def wait(x: Exchange) -> bool:
        serial = x.serial_number
        path.later(lambda: x.resume(serial))
        return True

    for steps in ([whole(fails), late], [WaitStep(wait, whole_body=True), does(fails), late]):
        path.plan(response=steps)
        with path.connect() as client:
            for _ in range(2):
                answer = client.send(get("/api/secret")).read()
                assert (answer.status, message(answer), answer.get("X-Secret")) == (500, expected, None)


def test_step_that_waits_without_being_made_for_it_is_an_error_page(path: DataPath) -> None:
    path.plan(response=[WaitStep(lambda x: True)])
    with path.connect() as client:
        for _ in range(2):
            answer = client.send(get("/api/x")).read()
            assert (answer.status, message(answer)) == (500, PROBLEM)


def test_response_that_comes_before_the_request_is_whole_closes(path: DataPath, upstream: Upstream) -> None:
    def early(connection: Connection, seen: Seen) -> bool:
        connection.send(head("403 Forbidden", "Content-Length: 2") + b"no")
        connection.wait_end()
        return False

    upstream.on("/early", early)
    path.plan(response=[whole(lambda x: x.set_response(403, b"no!"))])
    with path.connect() as client:
        client.send(b"POST /api/early HTTP/1.1\r\nHost: g\r\nContent-Length: 1000000\r\n\r\nabc")
        answer = client.read()
        assert (answer.status, answer.body, answer.closes) == (403, b"no!", True)


def test_draining_lets_a_waiting_response_end_and_closes(upstream: Upstream) -> None:
    with DataPath(upstream) as path:
        waits = Waits()
        path.plan(response=[waits.step()])
        with path.connect() as client:
            client.send(get("/api/x"))
            waits.wait()
            path.call(lambda: path.gateway.loop.create_task(path.gateway.drain(10)))
            wait_for(lambda: path.gateway.draining, "draining begins")
            waits.go(path)
            answer = client.read()
            assert (answer.status, answer.closes) == (200, True)
            client.expect_end()


def test_other_responses_pass_while_they_come(path: DataPath, upstream: Upstream) -> None:
    """Header edits alone hold nothing."""
    more: list[bool] = []

    def slow(connection: Connection, seen: Seen) -> bool:
        connection.send(head("200 OK", "Content-Length: 6") + b"abc")
        wait_for(lambda: more, "the client has the first part")
        connection.send(b"def")
        return True

    upstream.on("/slow", slow)
    path.plan(response=[HeaderEdit([], [(b"X-New", b"1")], response=True), does(lambda x: None)])
    with path.connect() as client:
        client.send(get("/api/slow"))
        answer = client.read_head()
        assert client.exactly(3) == b"abc"
        more.append(True)
        assert (client.exactly(3), answer.get("X-New")) == (b"def", "1")
