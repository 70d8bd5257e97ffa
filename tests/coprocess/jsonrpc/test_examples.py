"""The examples do what they say, run as they are."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

import coprocess.jsonrpc
from coprocess.driver import Reply
from tests.coprocess.children.child_support import until
from tests.coprocess.jsonrpc.rpc_support import Bench, bench

EXAMPLES = Path(coprocess.jsonrpc.__file__).parent / "examples"
NODE = shutil.which("node")
needs_node = pytest.mark.skipif(NODE is None, reason="node is not installed")
COMMANDS = {
    "python": [sys.executable, str(EXAMPLES / "python" / "plugin.py")],
    "node": ["node", str(EXAMPLES / "node" / "plugin.js")],
    "shell": ["sh", str(EXAMPLES / "shell" / "plugin.sh")],
}
ALL = [pytest.param("python"), pytest.param("node", marks=needs_node), pytest.param("shell")]
FULL = ALL[:2]


def thing(hook_type: str, name: str, headers: dict[str, str] | None = None, body: str = "") -> dict[str, Any]:
    """An object as OBJECT.md describes it."""
    found: dict[str, Any] = {
        "hook_type": hook_type,
        "hook_name": name,
        "request": {
            "headers": {"Host": "localhost"} | (headers or {}),
            "set_headers": {},
            "delete_headers": [],
            "body": body,
            "raw_body": "",
            "url": '/x?"set_headers":{}',
            "params": {'"set_headers"': "{}"},
            "add_params": {},
            "extended_params": {},
            "delete_params": [],
            "return_overrides": {
                "response_code": -1, "response_error": "", "headers": {}, "override_error": False, "response_body": "",
            },
            "method": "GET",
            "request_uri": "/x",
            "scheme": "http",
        },
        "metadata": {},
        "spec": {"OrgID": "o", "APIID": "a"},
    }  # fmt: skip
    if hook_type == "response":
        found["response"] = {"status_code": 200, "body": "", "raw_body": "aGk=", "headers": {"A": "b"}}
        found["response"]["multivalue_headers"] = [{"key": "A", "values": ["b", "c"]}]
    return found


async def call(b: Bench, given: dict[str, Any]) -> Reply:
    """Dispatch an object, written as the gateway writes it."""
    future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
    b.driver.dispatch(json.dumps(given, ensure_ascii=False, separators=(",", ":")).encode(), 30.0, future.set_result)
    reply = await future
    b.ended += 1
    return reply


def example(language: str, use: Callable[[Bench], Awaitable[None]]) -> None:
    """Run it; it has to leave by itself when its input ends."""
    made = bench(use, command=COMMANDS[language], framing="length" if language == "node" else "newline", grace=0.0)
    counts = made.driver.counts()
    assert (counts["violations"], counts["restarts"]) == (0, 0)


@pytest.mark.parametrize("language", ALL)
def test_the_pre_hook_sets_one_header_and_leaves_the_rest_as_it_was(language: str) -> None:
    async def use(b: Bench) -> None:
        given = [thing("pre", "AddHeader", {"X-N": str(i)}, '"set_headers":{} \\ ü \u2028\n') for i in range(30)]
        replies = await asyncio.gather(*(call(b, one) for one in given))
        for one, reply in zip(given, replies, strict=True):
            one["request"]["set_headers"] = {"X-Plugin": language}
            assert reply.outcome == "ok", reply
            assert json.loads(reply.message) == one

    example(language, use)


@pytest.mark.parametrize("language", ALL)
def test_a_hook_that_is_not_there_is_an_error_of_that_call_only(language: str) -> None:
    async def use(b: Bench) -> None:
        bad, good = await asyncio.gather(call(b, thing("post", "Nothing")), call(b, thing("pre", "AddHeader")))
        assert (bad.outcome, good.outcome) == ("error", "ok")
        assert "error -32601: " in bad.detail

    example(language, use)


@pytest.mark.parametrize("language", FULL)
def test_the_auth_hook_lets_in_who_has_a_token(language: str) -> None:
    async def use(b: Bench) -> None:
        reply = json.loads((await call(b, thing("customkeycheck", "CheckToken", {"Authorization": "let-me-in"}))).message)
        assert reply["session"]["metadata"] == {"user": "alice"}
        assert reply["metadata"] == {"token": "let-me-in"}
        assert reply["request"]["return_overrides"]["response_code"] == -1
        for headers in ({}, {"Authorization": "x"}, {"Authorization": "__proto__"}):
            reply = json.loads((await call(b, thing("customkeycheck", "CheckToken", headers))).message)
            assert reply["request"]["return_overrides"]["response_code"] == 401
            assert "session" not in reply

    example(language, use)


@pytest.mark.parametrize("language", FULL)
def test_the_response_hook_adds_a_header(language: str) -> None:
    async def use(b: Bench) -> None:
        given = thing("response", "MarkResponse")
        reply = json.loads((await call(b, given)).message)
        given["response"]["headers"]["X-Plugin-Response"] = language
        assert reply == given

    example(language, use)


@pytest.mark.parametrize("language", FULL)
def test_events_are_logged_one_by_one_and_in_batches(language: str) -> None:
    async def use(b: Bench) -> None:
        for kind in ("AuthFailure", "KeyExpired", "BreakerTripped"):
            b.driver.event(json.dumps({"message": {"Type": kind, "Meta": {}}, "handler_name": "audit", "spec": {}}).encode())
        await until(lambda: b.said("event BreakerTripped for audit"))
        b.driver.event(b'{"message":{"Type":"HostUp"},"handler_name":"audit","spec":{}}')
        await until(lambda: b.said("event HostUp for audit"))
        assert b.said("event AuthFailure for audit")
        assert b.said("event KeyExpired for audit")

    example(language, use)


def test_the_shell_example_passes_over_events() -> None:
    async def use(b: Bench) -> None:
        b.driver.event(b'{"message":{"Type":"HostUp"}}')
        await asyncio.sleep(0)
        b.driver.event(b"{}")
        b.driver.event(b"{}")
        assert (await call(b, thing("pre", "AddHeader"))).outcome == "ok"
        assert b.driver.counts()["events"] == 3

    example("shell", use)


@pytest.mark.parametrize("language", FULL)
def test_a_body_of_twenty_megabytes_passes(language: str) -> None:
    async def use(b: Bench) -> None:
        given = thing("pre", "AddHeader")
        given["request"]["raw_body"] = "QUJD" * (5 << 20)
        reply = await call(b, given)
        assert reply.outcome == "ok", reply
        assert json.loads(reply.message)["request"]["raw_body"] == given["request"]["raw_body"]

    example(language, use)
