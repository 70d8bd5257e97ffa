"""Answers that no upstream gives pass the response steps too, and every exchange ends, whoever fails."""

from __future__ import annotations

import base64
import contextlib
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import msgpack
import pytest

from accel.accesslog import AccessLog
from accel.analytics import Recorder, RecordPlan
from accel.http1 import Exchange, HeaderEdit, WaitStep
from accel.shm import G_ACTIVE_REQUESTS, G_UPSTREAM_WAITERS
from tests.support.datapath import DataPath, Waits, does, message, whole
from tests.support.gateway import wait_for
from tests.support.upstream import Upstream, head, reply
from tests.support.wire import get

PROBLEM = "There was a problem proxying the request"
BINARY = bytes(range(256)) * 40


@pytest.fixture(scope="module")
def path(upstream: Upstream) -> Iterator[DataPath]:
    with DataPath(upstream) as found:
        yield found


def test_respond_goes_through_the_response_steps(path: DataPath, upstream: Upstream) -> None:
    waits = Waits()
    edit = HeaderEdit([b"X-Old"], [(b"X-New", b"1")], response=True)
    change = whole(lambda x: x.set_response(x.status_code, (x.response_body or b"") + b"!"))
    mine = does(lambda x: x.respond(201, [(b"x-old", b"1"), (b"Set-Cookie", b"a"), (b"Set-Cookie", b"b")], b"mine"))
    path.plan(mine, does(lambda x: x.fail(500, "the chain went on")), response=[edit, waits.step(), change])
    with path.connect() as client:
        for _ in range(2):
            client.send(get("/api/mine"))
            waits.wait()
            waits.go(path)
            answer = client.read()
            assert (answer.status, answer.body, answer.get("X-New"), answer.get("X-Old")) == (201, b"mine!", "1", None)
            assert answer.all("Set-Cookie") == ["a", "b"]
            assert (answer.get("Content-Type"), answer.get("X-Ratelimit-Limit")) == ("text/plain; charset=utf-8", "0")
    assert not upstream.seen("/mine")


def test_respond_later_ends_the_wait(path: DataPath) -> None:
    waits = Waits()
    path.plan(WaitStep(waits), response=[whole(lambda x: None)])
    with path.connect() as client:
        for _ in range(2):
            client.send(get("/api/x"))
            waits.wait()
            x, serial = waits.held.pop()

            def answer(x: Exchange = x, serial: int = serial) -> None:
                x.respond(200, [(b"Content-Type", b"a/b")], b"later")
                x.resume(serial)
                x.respond(500, [], b"again")

            path.call(answer)
            found = client.read()
            assert (found.status, found.body, found.get("Content-Type")) == (200, b"later", "a/b")


def test_respond_to_head_and_with_nothing(path: DataPath) -> None:
    path.plan(does(lambda x: x.respond(200, [], b"body")))
    with path.connect() as client:
        for _ in range(2):
            answer = client.send(get("/api/x", method="HEAD")).read("HEAD")
            assert (answer.get("Content-Length"), answer.get("Content-Type")) == ("4", "text/plain; charset=utf-8")
    path.plan(does(lambda x: x.respond(204, [], b"body")))
    with path.connect() as client:
        assert [client.send(get("/api/x")).read().status for _ in range(2)] == [204, 204]
    path.plan(does(lambda x: x.respond(200, [], b"")))
    answer = path.fetch("/api/x")
    assert (answer.get("Content-Length"), answer.get("Content-Type")) == ("0", None)


@pytest.mark.parametrize(
    ("status", "name", "value"), [(99, b"A", b"b"), (600, b"A", b"b"), (200, b"A", b"\n"), (200, b"", b"")]
)
def test_respond_with_what_cannot_be_sent_is_an_error_page(path: DataPath, status: int, name: bytes, value: bytes) -> None:
    path.plan(does(lambda x: x.respond(status, [(name, value)], b"")))
    answer = path.fetch("/api/x")
    assert (answer.status, message(answer)) == (500, PROBLEM)


def test_answers_of_both_kinds_are_recorded_and_logged(upstream: Upstream, tmp_path: Path) -> None:
    log = AccessLog(tmp_path / "access.log")
    recorder = Recorder()
    recording = RecordPlan("api", detailed=True)
    with DataPath(upstream, log) as path:
        path.gateway.recorder = recorder
        change = whole(lambda x: x.set_response(201, b"changed"))
        path.plan(response=[change], recording=recording)
        path.fetch("/api/up", method="POST", body=b"sent")
        path.plan(does(lambda x: x.respond(200, [], b"own")), response=[change], recording=recording, needs_body=True)
        path.fetch("/api/own", method="POST", body=b"sent")
        wait_for(lambda: recorder.records == 2, "both are recorded")
        wait_for(log.flush, "the log is written")
    lines = (tmp_path / "access.log").read_bytes().splitlines()
    assert [(json.loads(line)["status"], json.loads(line)["path"]) for line in lines] == [(201, "/up"), (201, "/api/own")]
    records = [msgpack.unpackb(record, timestamp=0) for record in recorder.take() or []]
    assert [(record["Path"], record["ResponseCode"]) for record in records] == [("/up", 201), ("/own", 201)]
    for record in records:
        assert base64.b64decode(record["RawRequest"]).endswith(b"\r\n\r\nsent")
        response = base64.b64decode(record["RawResponse"])
        assert response.endswith(b"\r\n\r\nchanged")
        assert b"Content-Length: 7\r\n" in response


def test_waiting_takes_no_upstream_connection(upstream: Upstream) -> None:
    with DataPath(upstream, max_origin=1) as path:
        waits = Waits()
        path.plan(response=[waits.step()])
        clients = [path.connect().send(get("/api/x")) for _ in range(3)]
        waits.wait(3)
        for _ in clients:
            waits.go(path)
        assert [client.read().status for client in clients] == [200] * 3
        for client in clients:
            client.sock.close()


def test_nothing_is_left_behind_when_both_sides_fail_at_random(upstream: Upstream) -> None:
    """Clients that leave, upstreams that die, steps that fail, answer or wait, all at once."""
    dice = random.Random(4)
    upstream.on("/dies", reply(head("200 OK", "Content-Length: 100"), b"abc", keep=False))
    upstream.on("/chunks", reply(head("200 OK", "Transfer-Encoding: chunked") + b"3\r\nabc\r\n0\r\n\r\n"))
    fates: list[Callable[[Exchange], object]] = [
        lambda x: None,
        lambda x: x.fail(500, "chosen"),
        lambda x: x.answer(202),
        lambda x: 1 // 0,
        lambda x: x.respond(200, [], b"own"),
        lambda x: x.set_response(201, b"changed"),
    ]

    def step(x: Exchange) -> bool:
        serial, fate = x.serial_number, dice.choice(fates)
        if dice.random() < 0.3:
            fate(x)
            return False

        def later() -> None:
            if x.waits(serial):
                with contextlib.suppress(ZeroDivisionError, RuntimeError):
                    fate(x)
            x.resume(serial)

        busy.later(later, dice.random() * 0.005)
        return True

    with DataPath(upstream, total_ms=5000) as busy:
        busy.plan(WaitStep(step, whole_body=True), response=[WaitStep(step, whole_body=True)] * 2)
        answered = 0
        for _ in range(60):
            clients = [busy.connect() for _ in range(8)]
            for client in clients:
                target = dice.choice(["/api/x", "/api/dies", "/api/chunks"])
                client.send(get(target) if dice.random() < 0.5 else get(target, method="POST", body=BINARY))
            for client in clients:
                if dice.random() < 0.4:
                    client.reset()
                else:
                    answered += client.read().status >= 200
                    client.sock.close()
        assert answered > 100
        wait_for(lambda: not busy.region.value(G_ACTIVE_REQUESTS), "all requests end")
        assert busy.region.value(G_UPSTREAM_WAITERS) == 0
        assert not [line for line in busy.log.texts if line in {"client connection", "timer"}]
