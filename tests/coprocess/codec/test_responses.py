"""What a plugin is told about a response."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import pytest

from accel.http1 import Exchange, Plan
from coprocess.codec import CodecError
from coprocess.driver import Format
from coprocess.proto.coprocess_object_pb2 import Object
from tests.coprocess.codec.exchanges import RESPONSE, Json, as_dict, built, frame
from tests.support.datapath import DataPath, whole
from tests.support.upstream import Upstream

Headers = list[tuple[bytes, bytes]]


@pytest.fixture(scope="module")
def path(upstream: Upstream) -> Iterator[DataPath]:
    with DataPath(upstream) as found:
        yield found


@pytest.fixture(params=["protobuf", "json"])
def format(request: pytest.FixtureRequest) -> Format:
    found: Format = request.param
    return found


def told(
    path: DataPath, format: Format, headers: Headers, body: bytes = b"", status: int = 200, raw_body_only: bool = False
) -> Json:
    hook = frame(format, RESPONSE, raw_body_only)
    message = built(path, lambda x: hook.response(x, b"/u", b"GET", b"asked", None, status, headers, body))
    if format == "protobuf":
        assert len(message) == Object.FromString(message).ByteSize()
    found: Json = as_dict(format, message)
    asked = "" if raw_body_only else "asked"
    assert (found["hook_type"], found["request"]["body"], found["request"]["url"]) == ("response", asked, "/u")
    response: Json = found["response"]
    if format == "json":
        response["raw_body"] = base64.b64decode(response["raw_body"], validate=True)
    return response


def test_headers_have_their_first_value_and_all_values(path: DataPath, format: Format) -> None:
    headers = [(b"Set-Cookie", b"a=1"), (b"x-own", b""), (b"set-cookie", b"b=2"), (b"X-Uni", b"\xc3\xa9\"")]
    assert told(path, format, headers, b"caf\xc3\xa9", 404) == {
        "status_code": 404, "raw_body": b"caf\xc3\xa9", "body": "caf\u00e9",
        "headers": {"Set-Cookie": "a=1", "x-own": "", "X-Uni": "\u00e9\""},
        "multivalue_headers": [
            {"key": "Set-Cookie", "values": ["a=1", "b=2"]},
            {"key": "x-own", "values": [""]},
            {"key": "X-Uni", "values": ["\u00e9\""]},
        ],
    }  # fmt: skip


def test_nothing_at_all(path: DataPath, format: Format) -> None:
    assert told(path, format, [], b"", 0) == {
        "status_code": 0, "raw_body": b"", "body": "", "headers": {}, "multivalue_headers": [],
    }  # fmt: skip


@pytest.mark.parametrize(("body", "raw_only"), [(b"\x1f\x8b\x08\xff", False), (b"text", True)])
def test_a_body_that_is_only_raw(path: DataPath, format: Format, body: bytes, raw_only: bool) -> None:
    found = told(path, format, [], body, raw_body_only=raw_only)
    assert (found["body"], found["raw_body"]) == ("", body)


@pytest.mark.parametrize("length", [1, 127, 128, 16383, 16384, 300_000])
def test_lengths_around_the_sizes_of_a_varint(path: DataPath, format: Format, length: int) -> None:
    found = told(path, format, [(b"A", b"v" * min(length, 20_000))], b"x" * length)
    assert (len(found["body"]), len(found["raw_body"])) == (length, length)
    assert found["multivalue_headers"] == [{"key": "A", "values": [found["headers"]["A"]]}]


@pytest.mark.parametrize(
    ("headers", "field"),
    [
        ([(b"A", b"\xe9")], "response.headers.A"),
        ([(b"A", b"1"), (b"a", b"\xe9")], "response.multivalue_headers.A"),
        ([(b"\xe9", b"1")], "response.headers.\ufffd"),
    ],
)
def test_a_header_that_is_not_text_names_itself(path: DataPath, format: Format, headers: Headers, field: str) -> None:
    with pytest.raises(CodecError, match="expected UTF-8 text") as caught:
        told(path, format, headers)
    assert caught.value.field == field


def test_a_response_step_can_tell_of_the_upstreams_response(path: DataPath, format: Format) -> None:
    found: list[bytes] = []

    def step(x: Exchange) -> None:
        body = x.response_body or b""
        found.append(frame(format, RESPONSE).response(x, x.full_path, x.method, b"", None, x.status_code, x.res.items(), body))

    plan = path.plan(response=[whole(step)])
    answer = path.fetch("/api/x", "X-A: 1")
    assert isinstance(plan, Plan)
    message = as_dict(format, found[0])
    assert message["response"]["body"].encode() == answer.body
    assert message["response"]["headers"]["Content-Type"] == answer.get("Content-Type")
    assert message["request"]["headers"]["X-A"] == "1"
