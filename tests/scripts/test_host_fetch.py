"""TykFetch: what a script's fetch() sends and gets, bytes unharmed."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.scripts.host import HostError
from core.scripts.host_text import dumps, escaped, to_bytes, to_text
from tests.scripts.host_support import Host, config, said, with_host
from tests.support.gateway import Json
from tests.support.upstream import Connection, Seen, Upstream, cut, head, reply, silent

EVERY = bytes(range(256))


@pytest.fixture
def server() -> Iterator[Upstream]:
    with Upstream() as found:
        yield found


def fetched(tmp_path: Path, request: Any, **jsvm: Any) -> Any:
    async def use(host: Host) -> Any:
        return await host.value("TykFetch", request)

    return with_host(use, config(tmp_path, **jsvm))


def test_bytes_are_harmed_on_the_way(tmp_path: Path, server: Upstream) -> None:
    def mirror(connection: Connection, seen: Seen) -> bool:
        body = connection.read_body(seen)
        connection.send(head("200 OK", "X-Bytes: \xff", f"Content-Length: {len(body)}") + body)
        return True

    server.on("/x", mirror)
    request = {"url": f"{server.url}/x", "method": "POST", "body": to_text(EVERY)}
    found = fetched(tmp_path, request)
    assert server.requests[0].body == EVERY
    assert to_bytes(found["body"]) == EVERY
    assert found["headers"]["x-bytes"] == ["\udcff"]
    coded = fetched(tmp_path, {**request, "base64": True})
    assert (base64.b64decode(coded["body"]), coded["base64"]) == (EVERY, True)
    assert "base64" not in found


def test_json_that_a_script_wrote_by_hand_loses_bytes(tmp_path: Path, server: Upstream) -> None:
    text = f'{{"url": "{server.url}/x", "body": "\udcff\udc80"}}'
    assert fetched(tmp_path, text)["status"] == 200
    assert server.requests[0].body == b"\xff\x80"


def test_a_request_is_not_what_the_script_says(tmp_path: Path, server: Upstream) -> None:
    headers = {"x-one": "1", "X-Many": ["a", "b"], "none": [], "content-type": "text/x", "host": "evil", "Connection": "close"}
    found = fetched(tmp_path, {"url": f"{server.url}/a b?c d#frag", "method": "delete", "headers": headers, "body": "x"})
    seen = server.requests[0]
    assert (seen.method, seen.target, seen.body) == ("DELETE", "/a%20b?c%20d", b"x")
    assert [(name, value) for name, value in seen.headers if name.startswith(("X-", "Content-T", "Ho"))] == [
        ("Host", server.url[7:]), ("X-One", "1"), ("X-Many", "a"), ("X-Many", "b"), ("Content-Type", "text/x")
    ]  # fmt: skip
    assert (found["status"], found["url"], list(found["headers"])) == (
        200, f"{server.url}/a%20b?c%20d", ["content-type", "content-length"]
    )  # fmt: skip


def test_several_values_of_a_header_become_one(tmp_path: Path, server: Upstream) -> None:
    server.on("/x", reply(head("204 No Content", "Set-Cookie: a=1", "set-cookie: b=2", "X: 1, 2")))
    found = fetched(tmp_path, {"url": f"{server.url}/x"})
    assert (found["status"], found["body"]) == (204, "")
    assert found["headers"] == {"set-cookie": ["a=1", "b=2"], "x": ["1, 2"]}


def test_redirects_are_not_as_the_script_wants(tmp_path: Path, server: Upstream) -> None:
    server.on("/a", reply(head("302 Found", "Location: /b", "Content-Length: 4"), b"away"))
    url = f"{server.url}/a"
    assert fetched(tmp_path, {"url": url})["url"] == f"{server.url}/b"
    manual = fetched(tmp_path, {"url": url, "redirect": "manual"})
    assert (manual["status"], manual["headers"]["location"], manual["body"]) == (302, ["/b"], "away")
    with pytest.raises(HostError, match="redirects"):
        fetched(tmp_path, {"url": url, "redirect": "error"})
    assert len(server.seen("/b")) == 1


@pytest.mark.parametrize(
    "request_",
    [
        "undefined", "", "[]", "{}", {"url": ""}, {"url": "/x"}, {"url": "ftp://h/"}, {"url": 5}, {"url": "SELF", "body": {}},
        {"url": "SELF", "method": "A B"}, {"url": "SELF", "headers": {"a": 1}}, {"url": "SELF", "headers": {"a": ["b", 1]}},
        {"url": "SELF", "headers": {"a": "b\r\nc: d"}}, {"url": "SELF", "headers": {"a b": "c"}},
        {"url": "SELF", "timeout": "1"},
        {"url": "SELF", "timeout": -1}, {"url": "SELF", "redirect": "always"}, {"url": "http://169.254.169.254/"},
        {"url": "SELF/cut"}, {"url": "SELF/large"}, {"url": "SELF/bomb"}, {"url": "SELF/slow", "timeout": 0.1},
    ],
)  # fmt: skip
def test_a_failure_does_not_throw(
    tmp_path: Path, server: Upstream, caplog: pytest.LogCaptureFixture, request_: Any
) -> None:
    bomb = gzip.compress(bytes(5_000_000))
    server.on("/cut", cut)
    server.on("/slow", silent)
    server.on("/large", reply(head("200 OK", "Content-Length: 2000"), bytes(2000)))
    server.on("/bomb", reply(head("200 OK", "Content-Encoding: gzip", f"Content-Length: {len(bomb)}"), bomb))
    text = request_ if isinstance(request_, str) else json.dumps(request_).replace("SELF", server.url)
    with pytest.raises(HostError, match=r"^TykFetch: "):
        fetched(tmp_path, text, max_response_bytes=1000)
    assert said(caplog) == []


def test_fetches_of_one_script_wait_for_each_other(tmp_path: Path, server: Upstream) -> None:
    server.on("/x", silent)

    async def use(host: Host) -> list[str]:
        request = {"url": f"{server.url}/x", "timeout": 20}
        tasks = [asyncio.create_task(host.call("TykFetch", request)) for _ in range(20)]
        _, waiting = await asyncio.wait(tasks, timeout=20, return_when=asyncio.FIRST_COMPLETED)
        while len(server.seen("/x")) < 3:
            await asyncio.sleep(0.005)
        errors = [str(task.exception()) for task in tasks if task.done()]
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        assert host.functions.stats()["http_refused"] == 14
        return errors

    errors = with_host(use, config(tmp_path, max_requests=3))
    assert errors == ["TykFetch: 3 requests run and 3 wait already"] * 14


@given(st.binary())
def test_bytes_do_not_survive_a_string(raw: bytes) -> None:
    assert to_bytes(to_text(raw)) == raw


@given(st.text(st.characters(min_codepoint=0, max_codepoint=0x10FFFF, categories=None)))
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_a_string_is_no_json(text: str) -> None:
    assert json.loads(dumps({"a": text}))["a"] == json.loads(json.dumps(text))
    assert isinstance(to_bytes(text), bytes)
    whole: Json = json.loads(escaped(json.dumps({"a": text}, ensure_ascii=False)))
    assert whole == json.loads(json.dumps({"a": text}))
