"""Steps that wait and steps that change a request: nothing is lost, answered twice, or seen half changed."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from accel.endpoints import Endpoint, EndpointMatcher
from accel.http1 import Exchange, PathStep, PyStep, WaitStep
from tests.support.datapath import DataPath, does
from tests.support.gateway import wait_for
from tests.support.upstream import Upstream
from tests.support.wire import Response, get

PROBLEM = {"error": "There was a problem proxying the request"}
CHUNKED = b"POST /api/x HTTP/1.1\r\nHost: g\r\nTransfer-Encoding: chunked\r\nTrailer: T\r\n\r\n3\r\nabc\r\n0\r\nT: 1\r\n\r\n"


@pytest.fixture(scope="module")
def path(upstream: Upstream) -> Iterator[DataPath]:
    with DataPath(upstream, clean_urls=False) as found:
        yield found


def seen(answer: Response) -> dict[str, Any]:
    assert answer.status == 200, (answer.status, answer.body)
    found: dict[str, Any] = json.loads(answer.body)
    return found


def header(answer: Response, name: str) -> list[str]:
    return [value for key, value in seen(answer)["headers"] if key.lower() == name.lower()]


def test_waiting_request_goes_on_once_when_resumed(path: DataPath) -> None:
    calls: list[int] = []

    def step(x: Exchange) -> bool:
        serial = x.serial_number
        calls.append(serial)
        for _ in range(3):
            path.later(lambda: x.resume(serial))
        return True

    path.plan(WaitStep(step), WaitStep(step))
    with path.connect() as client:
        assert seen(client.send(get("/api/1")).read())["target"] == "/1"
        assert seen(client.send(get("/api/2")).read())["target"] == "/2"
    assert len(calls) == 4
    assert len(set(calls)) == 4


def test_resume_before_the_step_returns_is_no_second_run(path: DataPath, upstream: Upstream) -> None:
    def step(x: Exchange) -> bool:
        x.resume(x.serial_number)
        return True

    path.plan(WaitStep(step), WaitStep(step))
    with path.connect() as client:
        client.send(get("/api/early") + get("/api/early2"))
        assert [seen(client.read())["target"] for _ in range(2)] == ["/early", "/early2"]
    assert len(upstream.seen("/early")) == 1


@pytest.mark.parametrize("fails", [lambda x: 1 // 0, lambda x: x.fail(500, PROBLEM["error"])], ids=["raises", "answers"])
def test_failing_step_answers_and_stops_the_chain(path: DataPath, upstream: Upstream, fails: Any) -> None:
    def late(x: Exchange) -> bool:
        serial = x.serial_number
        path.later(lambda: x.resume(serial))
        return True

    for steps in ([does(fails)], [WaitStep(late), does(fails)]):
        path.plan(*steps)
        with path.connect() as client:
            for _ in range(2):
                answer = client.send(get("/api/failing")).read()
                assert (answer.status, json.loads(answer.body)) == (500, PROBLEM)
    assert not upstream.seen("/failing")


def test_owner_notices_a_client_that_left(path: DataPath) -> None:
    waiting: list[tuple[Exchange, int]] = []

    def step(x: Exchange) -> bool:
        waiting.append((x, x.serial_number))
        return True

    path.plan(WaitStep(step))
    client = path.connect().send(get("/api/gone"))
    wait_for(lambda: len(waiting), "the step runs")
    x, serial = waiting[0]
    assert path.call(lambda: x.waits(serial))
    client.reset()
    wait_for(lambda: not path.call(lambda: x.waits(serial)), "the client's end is seen")
    path.call(lambda: x.resume(serial))
    path.plan()
    assert seen(path.fetch("/api/after"))["target"] == "/after"


def test_owner_that_answers_while_the_step_waits_ends_it(path: DataPath, upstream: Upstream) -> None:
    def step(x: Exchange) -> bool:
        serial = x.serial_number

        def answer() -> None:
            x.answer(202, [(b"X-Own", b"1")], b"mine")
            x.resume(serial)

        path.later(answer)
        return True

    path.plan(WaitStep(step))
    with path.connect() as client:
        for _ in range(2):
            answer = client.send(get("/api/answered")).read()
            assert (answer.status, answer.body, answer.get("X-Own")) == (202, b"mine", "1")
    assert not upstream.seen("/answered")


def test_request_timeout_ends_a_wait_that_nobody_ends(upstream: Upstream) -> None:
    with DataPath(upstream, total_ms=300) as path:
        path.plan(WaitStep(lambda x: True))
        assert path.fetch("/api/long").status == 504


def test_new_url_goes_upstream_and_is_what_later_steps_see(path: DataPath) -> None:
    views: list[tuple[bytes, bytes, int]] = []

    def change(x: Exchange) -> None:
        x.set_url(b"/api/n%C3%A9w%2F1", b"b=2", 5)

    def look(x: Exchange) -> None:
        views.append((x.full_path, x.decoded_path, x.route_end))

    path.plan(does(change), does(look))
    assert seen(path.fetch("/api/old?a=1"))["target"] == "/n%C3%A9w%2F1?b=2"
    assert views == [(b"/api/n%C3%A9w%2F1", "/api/néw/1".encode(), 5)]


def test_url_outside_the_listen_path_is_not_cut(path: DataPath) -> None:
    path.plan(does(lambda x: x.set_url(b"/elsewhere/x", b"", 0)))
    assert seen(path.fetch("/api/old?a=1"))["target"] == "/elsewhere/x"


@pytest.mark.parametrize(
    ("new", "query", "end"),
    [
        (b"x", b"", 0), (b"", b"", 0), (b"/a b", b"", 0), (b"/a\r\nX: 1", b"", 0), (b"/a?b", b"", 0), (b"/a#b", b"", 0),
        (b"/a", b"b c", 0), (b"/a", b"b\n", 0), (b"/a", b"#", 0), (b"/\xc3\xa9", b"", 0), (b"/%41", b"", 3), (b"/", b"", -1),
    ],
)  # fmt: skip
def test_url_that_could_split_the_request_is_refused(
    path: DataPath, upstream: Upstream, new: bytes, query: bytes, end: int
) -> None:
    path.plan(does(lambda x: x.set_url(new, query, end)))
    answer = path.fetch("/api/split")
    assert (answer.status, json.loads(answer.body)) == (500, PROBLEM)
    assert not upstream.seen("/split")


def test_path_entries_of_later_steps_meet_the_new_path(path: DataPath) -> None:
    met: list[bytes] = []
    matcher = EndpointMatcher([Endpoint("virtual", b"^/new", [b"GET"], b"new"), Endpoint("virtual", b"^/old", None, b"old")])

    def note(x: Exchange, data: bytes) -> bool:
        met.append(data)
        return False

    step = PathStep("virtual", note)
    change = does(lambda x: x.set_url(b"/api/%6eew/1", b"", 5) if x.method == b"GET" else None)
    path.plan(step, change, step, matcher=matcher)
    assert seen(path.fetch("/api/old/1"))["target"] == "/%6eew/1"
    assert met == [b"old", b"new"]
    met.clear()
    path.fetch("/api/new", method="POST", body=b"")
    assert met == []


def test_path_step_waits_for_the_body_that_it_needs(path: DataPath) -> None:
    class Needs:
        reads_body = True

    bodies: list[bytes | None] = []
    matcher = EndpointMatcher([Endpoint("virtual", b"^/v", None, Needs())])

    def note(x: Exchange, data: Needs) -> bool:
        bodies.append(x.body)
        return False

    path.plan(PathStep("virtual", note), matcher=matcher)
    with path.connect() as client:
        client.send(get("/api/v", method="POST", body=b"abc")[:-1])
        client.send(b"c")
        assert seen(client.read())["body"] == "abc"
        assert seen(client.send(get("/api/v")).read())["body"] == ""
        assert seen(client.send(get("/api/other", method="POST", body=b"x")).read())["body"] == "x"
    assert bodies == [b"abc", None]


@pytest.mark.parametrize("whole", [True, False], ids=["for the plan", "for a step"])
def test_body_of_many_small_pieces_is_whole_for_the_steps(path: DataPath, whole: bool) -> None:
    bodies: list[bytes | None] = []

    def note(x: Exchange) -> None:
        bodies.append(x.body)

    path.plan(PyStep(note, whole_body=not whole), needs_body=whole)
    pieces = [b"%d" % (i % 10) for i in range(3000)]
    head = b"POST /api/x HTTP/1.1\r\nHost: g\r\nTransfer-Encoding: chunked\r\n\r\n"
    with path.connect() as client:
        for _ in range(2):
            client.send_parts([head + b"1\r\n", b"".join(b"1\r\n%b\r\n" % one for one in pieces)[3:], b"0\r\n\r\n"])
            assert seen(client.read())["body"] == b"".join(pieces).decode()
    assert bodies == [b"".join(pieces)] * 2


@pytest.mark.parametrize("sent", [get("/api/x", method="POST", body=b"old body"), CHUNKED], ids=["length", "chunked"])
@pytest.mark.parametrize("new", [b"", b"n", b"\x00\xff" * 50000])
def test_new_body_goes_upstream_with_its_length(path: DataPath, sent: bytes, new: bytes) -> None:
    path.plan(does(lambda x: x.set_body(new)), needs_body=True)
    with path.connect() as client:
        for _ in range(2):
            answer = client.send(sent).read()
            assert seen(answer)["body"] == new.decode("latin-1")
            assert header(answer, "Content-Length") == [str(len(new))]
            assert header(answer, "Transfer-Encoding") == header(answer, "Trailer") == []


def test_request_without_a_body_keeps_none_unless_it_gets_one(path: DataPath) -> None:
    path.plan(does(lambda x: x.set_body(b"")), needs_body=True)
    assert header(path.fetch("/api/x"), "Content-Length") == []
    path.plan(does(lambda x: x.set_body(b"new")))
    answer = path.fetch("/api/x")
    assert (header(answer, "Content-Length"), seen(answer)["body"]) == (["3"], "new")


def test_body_that_still_comes_cannot_be_replaced(path: DataPath, upstream: Upstream) -> None:
    path.plan(does(lambda x: x.set_body(b"new")))
    with path.connect() as client:
        client.send(b"POST /api/half HTTP/1.1\r\nHost: g\r\nContent-Length: 5\r\n\r\nab")
        answer = client.read()
    assert (answer.status, json.loads(answer.body)) == (500, PROBLEM)
    assert not upstream.seen("/half")


def test_step_sees_what_the_client_sent(path: DataPath) -> None:
    views: list[tuple[bytes, bool]] = []

    def change(x: Exchange) -> None:
        x.set_url(b"/api/other", b"", 5)

    path.plan(PyStep(change), does(lambda x: views.append((x.request_target, x.secure))))
    assert seen(path.fetch("/api/a%20b?q=%31"))["target"] == "/other"
    assert views == [(b"/api/a%20b?q=%31", False)]


def test_steps_run_on_the_thread_of_the_loop(path: DataPath) -> None:
    found: list[str] = []
    path.plan(does(lambda x: found.append(threading.current_thread().name)))
    path.fetch("/api/x")
    assert found == [path.call(lambda: threading.current_thread().name)]
