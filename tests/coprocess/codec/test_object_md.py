"""What OBJECT.md says is what happens."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from accel.http1 import Exchange
from coprocess import codec
from coprocess.codec import CodecError, decode, session_from_wire, session_to_wire
from tests.coprocess.codec.exchanges import RESPONSE, as_dict, built, frame
from tests.support.datapath import DataPath
from tests.support.upstream import Upstream

TEXT = (Path(codec.__file__).parent / "OBJECT.md").read_text(encoding="utf-8")
ERRORS = re.findall(r"^\| `(\{.*?\})`[^|]*\| `(.*?)` \|$", TEXT, re.MULTILINE)
SAMPLE = json.loads(re.findall(r"```json\n(.*?)```", TEXT, re.DOTALL)[0])


@pytest.fixture(scope="module")
def path(upstream: Upstream) -> Iterator[DataPath]:
    with DataPath(upstream) as found:
        yield found


def test_there_are_examples_of_errors() -> None:
    assert len(ERRORS) == 6


@pytest.mark.parametrize(("reply", "error"), ERRORS)
def test_an_error_is_as_described(reply: str, error: str) -> None:
    def read() -> None:
        found = decode("json", reply.encode())
        session_from_wire("json", found.session or b"{}")

    with pytest.raises(CodecError) as caught:
        read()
    assert str(caught.value) == error


def test_the_sample_has_the_members_that_are_sent(path: DataPath) -> None:
    session = session_to_wire({"rate": 100, "per": 60, "meta_data": {"plan": "gold"}}, "k", "json")

    def make(x: Exchange) -> bytes:
        cookies = [(b"Set-Cookie", b"a=1"), (b"Set-Cookie", b"b=2")]
        return frame("json", RESPONSE).response(x, b"/orders/7?full=1", b"POST", b"hello", session, 200, cookies, b"hi")

    sent = as_dict("json", built(path, make, "/api/orders/7?full=1"))
    assert list(sent) == list(SAMPLE)
    assert list(sent["request"]) == list(SAMPLE["request"])
    assert sent["response"] == SAMPLE["response"]
    assert sent["metadata"] == SAMPLE["metadata"]
    assert {name: sent["session"][name] for name in SAMPLE["session"]} == SAMPLE["session"]
    for name in ("return_overrides", "body", "raw_body", "params", "method", "set_headers", "delete_headers"):
        assert sent["request"][name] == SAMPLE["request"][name]
    assert decode("json", json.dumps(SAMPLE).encode()).request is not None
