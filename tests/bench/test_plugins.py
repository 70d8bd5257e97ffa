"""The plugins of the benchmark: a server that were wrong or slow would make its figures worthless."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from bench.plugins import grpc_server
from bench.plugins.jsonrpc_plugin import answer
from bench.processes import Child, free_port
from coprocess.driver import Reply
from coprocess.proto import coprocess_object_pb2 as messages
from coprocess.proto import coprocess_object_pb2_grpc as services
from tests.coprocess.grpc.rig import ask, drive, driving, tell
from tests.support.gateway import ROOT


@contextlib.contextmanager
def served(folder: Path, address: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Child]:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    child = Child("plugin", [sys.executable, grpc_server.__file__, address], folder)
    try:
        if address.isdigit():
            child.wait_port(int(address))
        else:
            child.wait_socket(Path(address))
        yield child
    finally:
        child.end()


def call(url: str = "/x", hook: str = "benchPre", body: bytes = b"") -> bytes:
    thing = messages.Object(hook_name=hook)
    thing.request.url = url
    thing.request.raw_body = body
    return bytes(thing.SerializeToString())


def check(reply: Reply, url: str = "/x") -> None:
    assert reply.outcome == "ok", reply
    request = messages.Object.FromString(reply.message).request
    assert dict(request.set_headers) == {"X-Bench": "1"}
    assert list(request.delete_headers) == ["User-Agent"]
    assert dict(request.add_params) == {"bench": "1"}
    assert request.url == url


def test_calls_at_once_get_the_answers_of_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        async with driving(f"unix://{tmp_path}/s") as driver:
            for turn in range(5):
                asked = [ask(driver, call(f"/{turn}/{n}")) for n in range(200)]
                for n, one in enumerate(asked):
                    check(await one.reply(), f"/{turn}/{n}")
            assert driver.counts()["calls"] == 1000

    with served(tmp_path, f"{tmp_path}/s", monkeypatch):
        drive(run())


def test_what_it_cannot_serve_is_answered_like_a_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()

    async def run() -> None:
        async with driving(f"tcp://127.0.0.1:{port}") as driver:
            assert "UNIMPLEMENTED" in (await tell(driver, call(hook="other"))).detail
            assert "RESOURCE_EXHAUSTED" in (await tell(driver, call(body=b"x" * 100_000))).detail
            assert (await tell(driver, b"\xff\xff")).outcome == "error"
            # Near the limit, several at once: more than the first window, and answers that wait for the next one.
            for one in [ask(driver, call(f"/{n}", body=b"x" * 16_000)) for n in range(50)]:
                assert (await one.reply()).outcome == "ok"
            check(await tell(driver, call("/after")), "/after")

    with served(tmp_path, str(port), monkeypatch):
        drive(run())


def test_a_client_that_breaks_the_rules_ends_the_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()

    async def send(data: bytes) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(data)
        with contextlib.suppress(ConnectionError):
            await asyncio.wait_for(reader.read(), 10)       # until it is closed
        writer.close()

    async def run() -> None:
        preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
        for data in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", preface + b"\xff" * 9, preface + b"\0\0\1\1\4\0\0\0\1\xff"):
            await send(data)
        async with driving(f"tcp://127.0.0.1:{port}") as driver:
            check(await tell(driver, call()))

    with served(tmp_path, str(port), monkeypatch) as child:
        drive(run())
        assert child.process.poll() is None


def test_it_speaks_with_the_gateway_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    with served(tmp_path, str(port), monkeypatch), grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = services.DispatcherStub(channel)  # type: ignore[no-untyped-call]
        for n in range(3):
            found = stub.Dispatch(messages.Object.FromString(call(f"/{n}")), timeout=20, wait_for_ready=True)
            assert found.hook_name == "benchPre"
            check(Reply("ok", found.SerializeToString()), f"/{n}")


def test_the_plugin_over_pipes_has_another_hook() -> None:
    thing = {"hook_name": "benchPre", "request": {"set_headers": {}, "delete_headers": [], "add_params": {}, "url": "/x"}}
    assert answer({"id": 7, "params": thing}) == {"jsonrpc": "2.0", "id": 7, "result": {"hook_name": "benchPre", "request": {
        "set_headers": {"X-Bench": "1"}, "delete_headers": ["User-Agent"], "add_params": {"bench": "1"}, "url": "/x",
    }}}  # fmt: skip
    assert answer({"id": 8, "params": {**thing, "hook_name": "other"}})["error"]["code"] == -32601
