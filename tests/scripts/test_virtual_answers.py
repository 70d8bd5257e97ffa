"""Answers of virtual endpoints go a short way where they can; it does what the long one does."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Iterator
from typing import Any

import pytest

from tests.scripts.test_hooks_gateway import Scripts, virtual
from tests.support.gateway import Gateway
from tests.support.site import open_site

CODES: list[Any] = [200, 201, 204, 304, 404, 418, 500, 599, 600, 199, 0, -1, 301, 302, True, 200.0, "200", None, 2**70]
BODIES: list[Any] = [
    "", "text", "<html><body>", '{"a": 1}', "caf\u00e9", "\udc80\udcff", "\ud800", "\x00\x01", "x" * 40000,
    5, None, {},
]  # fmt: skip
NAMES = [
    "X-One", "x-one", "Content-Type", "Content-Encoding", "Server", "Date", "Content-Length", "Location",
    "a b", "\udc80", "",
]  # fmt: skip
VALUES: list[Any] = ["one", " two ", "text/css", "a\r\nX-Evil: 1", "a\n", "\x00", "\u20ac", "\udc80", "", 5, None, ["x", "y"]]
METAS: list[Any] = [None, {}, {"a": 1}, "text", 5, [], True]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with open_site(tmp_path_factory.mktemp("site")) as site:
        scripts = Scripts(site.directory / "scripts", site.upstream.url)
        scripts.open("v", definition=virtual("v", "return b64dec(request.Body);", "/v", "POST"))
        yield site.gateway(*scripts.apis, enable_jsvm=True, jsvm_timeout=2)


def _outcome(gateway: Gateway, result: Any) -> tuple[int, list[tuple[str, str]], bytes]:
    answer = gateway.fetch("/v/v", method="POST", body=base64.b64encode(json.dumps(result).encode()))
    skipped = ("date", "x-request-id")
    return answer.status, [(name, value) for name, value in answer.headers if name.lower() not in skipped], answer.body


def test_the_short_way_answers_as_the_long_one_does(gateway: Gateway) -> None:
    some = random.Random(7)
    passed = 0
    for round_ in range(300):
        tame = round_ % 2
        response: dict[str, Any] = {}
        if some.random() < 0.8:
            response["Code"] = some.choice(CODES[:8] if tame else CODES)
        if some.random() < 0.8:
            response["Body"] = some.choice(BODIES[:5] if tame else BODIES)
        if some.random() < 0.8:
            names, values = (NAMES[:8], VALUES[:3]) if tame else (NAMES, VALUES)
            response["Headers"] = {some.choice(names): some.choice(values) for _ in range(some.randrange(4))}
        result = {"Response": response, "SessionMeta": some.choice(METAS[:3] if tame else METAS)}
        short, long = _outcome(gateway, result), _outcome(gateway, {**result, "more": 1})
        assert short == long, result
        passed += short[0] == response.get("Code", 200)
    assert 150 <= passed < 300
