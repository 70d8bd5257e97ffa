"""Replies in JSON."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given, settings

from coprocess.codec import CodecError, Overrides, PluginReply, RequestReply, ResponseReply, decode
from coprocess.codec.replies import MOST_ENTRIES
from tests.coprocess.codec.exchanges import plain
from tests.coprocess.codec.messages import objects, ordered, reply


def encoded(value: Any) -> Any:
    """The object with its bodies in base64."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, dict):
        return {key: encoded(item) for key, item in value.items()}
    return value


@given(objects)
@settings(max_examples=200, deadline=None)
def test_the_same_object_reads_the_same_in_both_formats(message: Any) -> None:
    found, wanted = decode("json", json.dumps(encoded(plain(message))).encode()), reply(message)
    assert (found.session is None) == (wanted.session is None)
    found.session = wanted.session = None
    assert ordered(found) == ordered(wanted)


def read(value: Any) -> PluginReply:
    return decode("json", json.dumps(value).encode())


def test_what_is_missing_or_null_is_none_or_zero() -> None:
    assert read({}) == read({"request": None, "session": None, "metadata": None, "response": None}) == PluginReply()
    assert read({"request": {}, "response": {}}) == PluginReply(RequestReply(), None, {}, ResponseReply())
    nulls = dict.fromkeys(("url", "set_headers", "raw_body", "return_overrides", "delete_params"))
    assert read({"request": nulls}).request == RequestReply()
    found = read({"request": {"return_overrides": {}}, "session": {}})
    assert found.request is not None
    assert (found.request.overrides, found.session) == (Overrides(), b"{}")


def test_members_that_are_not_known_are_passed_over() -> None:
    value = {"x": [1], "hook_type": 7, "request": {"y": {}, "headers": 5, "body": 6, "method": "GET"}}
    found = read(value)
    assert found.request is not None
    assert found.request.method == "GET"


def test_whole_floats_are_integers() -> None:
    found = read({"request": {"return_overrides": {"response_code": 403.0}}, "response": {"status_code": 201.0}})
    assert found.request is not None
    assert found.response is not None
    assert (found.request.overrides, found.response.status_code) == (Overrides(403), 201)


@pytest.mark.parametrize(
    ("value", "error"),
    [
        ({"request": {"set_headers": {"X-A": 3}}}, "request.set_headers.X-A: expected a string, found 3"),
        ({"request": {"set_headers": {"X-A": None}}}, "request.set_headers.X-A: expected a string, found null"),
        ({"request": {"set_headers": {"a\nb": True}}}, r"request.set_headers.'a\nb': expected a string, found true"),
        ({"request": {"set_headers": {"x" * 500: 1}}}, f"request.set_headers.{'x' * 100}...: expected a string, found 1"),
        ({"request": {"set_headers": []}}, "request.set_headers: expected an object, found a list"),
        ({"request": {"delete_headers": {}}}, "request.delete_headers: expected a list, found an object"),
        ({"request": {"delete_headers": ["a", 1.5]}}, "request.delete_headers[1]: expected a string, found 1.5"),
        ({"request": {"delete_params": "a"}}, "request.delete_params: expected a list, found 'a'"),
        ({"request": {"url": 1}}, "request.url: expected a string, found 1"),
        ({"request": {"url": {}}}, "request.url: expected a string, found an object"),
        ({"request": {"raw_body": "not base64"}}, "request.raw_body: expected base64, found 'not base64'"),
        ({"request": {"raw_body": "YQ"}}, "request.raw_body: expected base64, found 'YQ'"),
        ({"request": {"raw_body": "\u00e9"}}, "request.raw_body: expected base64, found '\u00e9'"),
        ({"request": {"raw_body": 1}}, "request.raw_body: expected base64, found 1"),
        ({"request": {"return_overrides": []}}, "request.return_overrides: expected an object, found a list"),
        (
            {"request": {"return_overrides": {"response_code": 4294967296}}},
            "request.return_overrides.response_code: expected an integer of 32 bits, found 4294967296",
        ),
        (
            {"request": {"return_overrides": {"response_code": True}}},
            "request.return_overrides.response_code: expected an integer of 32 bits, found true",
        ),
        (
            {"request": {"return_overrides": {"response_code": 1.5}}},
            "request.return_overrides.response_code: expected an integer of 32 bits, found 1.5",
        ),
        (
            {"request": {"return_overrides": {"override_error": 1}}},
            "request.return_overrides.override_error: expected true or false, found 1",
        ),
        ({"request": 1}, "request: expected an object, found 1"),
        ({"session": []}, "session: expected an object, found a list"),
        ({"metadata": {"token": 5}}, "metadata.token: expected a string, found 5"),
        ({"response": {"status_code": "200"}}, "response.status_code: expected an integer of 32 bits, found '200'"),
        (
            {"response": {"multivalue_headers": [{"key": "A", "values": [None]}]}},
            "response.multivalue_headers[0].values[0]: expected a string, found null",
        ),
        ({"response": {"multivalue_headers": ["A"]}}, "response.multivalue_headers[0]: expected an object, found 'A'"),
        ([], "expected an object, found a list"),
    ],
)
def test_another_type_is_named(value: Any, error: str) -> None:
    with pytest.raises(CodecError) as caught:
        read(value)
    assert str(caught.value) == error
    assert str(caught.value).startswith(caught.value.field)


@pytest.mark.parametrize(
    "message", [b"", b"{", b"\xff", b'{"request": {"url": "\\ud800"}}', b'{"a": NaN}', b"[" * 100_000, b'{"a": 1} x']
)
def test_what_is_not_json_is_refused(message: bytes) -> None:
    with pytest.raises(CodecError, match="not JSON"):
        decode("json", message)


def test_endless_lists_and_maps_are_refused() -> None:
    names = [str(at) for at in range(MOST_ENTRIES + 1)]
    for name, many in (("set_headers", dict.fromkeys(names, "")), ("delete_headers", names)):
        with pytest.raises(CodecError, match="more than 65536 entries") as caught:
            read({"request": {name: many}})
        assert caught.value.field == f"request.{name}"
    assert read({"request": {"delete_headers": names[1:]}}).request is not None
