"""Results that only edit headers and parameters go a short way; it does what the long one does."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Iterator
from typing import Any

import pytest

from tests.scripts.test_hooks_gateway import Scripts, request_hook
from tests.support.gateway import Gateway
from tests.support.site import open_site

NAMES = [
    "X-One", "x-one", "X-Two", "Content-Type", "Accept", "Host", "content-length", "Transfer-Encoding", "X-\u00e9", "", "a b",
    "X-A:", "\udc80",
]  # fmt: skip
VALUES: list[Any] = [
    "", "one", " two ", "\tthree\t", "a,b", "a\r\nX-Evil: 1", "a\nb", "\x00", "\x7f", "caf\u00e9", "\u20ac", "\udc80\udcff",
    "\ud800", 5, 1.5, True, None, [], {}, ["x"],
]  # fmt: skip
PARAMS = ["a", "b", "z", "", "a b", "\u00e9", "a&b", "a=b", "\udc80", "-._~"]
METAS: list[Any] = [None, {}, {"a": 1}, {"a": "\udc80"}, "text", 5, [], True]
QUERIES = ["", "?", "?z=1&a=%7e&z=2", "?b", "?bad=%zz", "?a+b=1"]
PLAN = """
    var plan = JSON.parse(b64dec(request.Headers["X-Plan"][0]));
    request.DeleteHeaders.push("X-Plan");
    for (var name in plan[0]) request.SetHeaders[name] = plan[0][name];
    for (var i = 0; i < plan[1].length; i++) request.DeleteHeaders.push(plan[1][i]);
    for (var key in plan[2]) request.AddParams[key] = plan[2][key];
    for (var n = 0; n < (plan[5] || 0); n++) request.SetHeaders["X-" + n] = "" + n;
    var result = {Request: request, SessionMeta: plan[3]};
    if (plan[4]) result.more = 1;       // the long way
"""


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with open_site(tmp_path_factory.mktemp("site")) as site:
        scripts = Scripts(site.directory / "scripts", site.upstream.url)
        scripts.open("plan", pre=request_hook(PLAN, "result"))
        yield site.gateway(*scripts.apis, enable_jsvm=True, jsvm_timeout=2)


def _outcome(gateway: Gateway, plan: list[Any], query: str, lines: list[str]) -> tuple[int, Any]:
    text = base64.b64encode(json.dumps(plan).encode()).decode()
    answer = gateway.fetch(f"/plan/x{query}", f"X-Plan: {text}", *lines)
    found: Any = json.loads(answer.body)
    if answer.status == 200:
        found["headers"] = [pair for pair in found["headers"] if pair[0].lower() != "x-request-id"]
    return answer.status, found


def _both(gateway: Gateway, plan: list[Any], query: str, lines: list[str]) -> int:
    short, long = (_outcome(gateway, [*plan[:4], slow, *plan[4:]], query, lines) for slow in (False, True))
    assert short == long, (plan, query, lines)
    return short[0]


def test_the_short_way_does_what_the_long_one_does(gateway: Gateway) -> None:
    some = random.Random(5)
    lines = ["X-One: 1", "x-one: 2", "Accept: text/plain", "X-Two: 3"]
    passed = 0
    for round_ in range(300):
        names, values, metas = (NAMES[:8], VALUES[:5], METAS[:3]) if round_ % 2 else (NAMES, VALUES, METAS)
        sets = {some.choice(names): some.choice(values) for _ in range(some.randrange(4))}
        deletes = [some.choice(names) for _ in range(some.randrange(3))]
        added = {some.choice(PARAMS): some.choice(values) for _ in range(some.randrange(3))}
        plan = [sets, deletes, added, some.choice(metas)]
        passed += _both(gateway, plan, some.choice(QUERIES), lines[: some.randrange(5)]) == 200
    assert 150 <= passed < 300


@pytest.mark.parametrize("count", [1, 64, 65, 200])
def test_many_fields_are_set_the_same_way(gateway: Gateway, count: int) -> None:
    assert _both(gateway, [{"X-1": "one"}, ["X-1", "Accept"], {}, {}, count], "", ["Accept: text/plain"]) == 200


@pytest.mark.parametrize("value", ["\udc80\udcff", "\ud800", "caf\u00e9"])
def test_a_value_with_bytes_that_are_not_utf_8_does_not_refuse_the_request(gateway: Gateway, value: str) -> None:
    assert _both(gateway, [{"X-Bytes": value}, [], {"b": value}, {"m": value}], "", []) == 200


@pytest.mark.parametrize("meta", ["text", 5, [], True])
def test_a_session_meta_that_is_no_object_is_refused(gateway: Gateway, meta: Any) -> None:
    assert _both(gateway, [{"X-One": "1"}, [], {}, meta], "", []) == 500
