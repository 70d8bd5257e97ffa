"""What scripts return: Go's rules for reading it, and messages that name the field."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jsvm_pool.results import (
    HookResult,
    Overrides,
    ResultError,
    decode_hook,
    decode_response,
    decode_virtual,
)

UNTOUCHED: dict[str, Any] = {
    "SetHeaders": {},
    "DeleteHeaders": [],
    "Body": "",
    "URL": "/a?b=1",
    "AddParams": {},
    "ExtendedParams": {},
    "DeleteParams": [],
    "ReturnOverrides": {
        "ResponseCode": 0, "ResponseError": "", "ResponseBody": "", "ResponseHeaders": None, "OverrideError": False,
    },
    "IgnoreBody": False,
}  # fmt: skip


def plain(request: Any, **more: Any) -> HookResult:
    """Decode a result of the built-in DoProcessRequest."""
    return decode_hook(json.dumps({"$plain": True, "Request": request, **more}).encode())


def own(request: Any, **more: Any) -> HookResult:
    """Decode a result of a DoProcessRequest that the script brought."""
    return decode_hook(json.dumps({"Request": request, **more}).encode())


def problem(request: Any, **more: Any) -> str:
    """The message for a request that cannot be used, the same on both ways to it."""
    said = []
    for fields in (request, {**UNTOUCHED, **request} if isinstance(request, dict) else request):
        with pytest.raises(ResultError) as caught:
            plain(fields, **more)
        said.append(str(caught.value))
    assert said[0] == said[1]
    return said[0]


def test_an_untouched_request_asks_for_nothing() -> None:
    assert plain(UNTOUCHED, SessionMeta={"a": "1"}) == HookResult(
        b"", "/a?b=1", [], {}, [], {}, {}, None, {"a": "1"}, None, ""
    )


def test_missing_fields_are_zero() -> None:
    assert own({}) == HookResult(b"", "", [], {}, [], {}, {}, None, {}, None, "")
    assert decode_hook(b"{}") == own({})


def test_null_is_zero_and_inside_a_map_the_empty_text() -> None:
    nulls = own(dict.fromkeys([*UNTOUCHED, "Headers", "Method"]), SessionMeta=None, Session=None, AuthValue=None)
    assert nulls == own({})
    found = plain(
        {
            **UNTOUCHED,
            "SetHeaders": {"A": None, "B": "b"},
            "DeleteHeaders": [None, "C"],
            "ExtendedParams": {"p": None, "q": [None, "2"]},
        }
    )
    assert (found.set_headers, found.delete_headers) == ({"A": "", "B": "b"}, ["", "C"])
    assert found.extended_params == {"p": [], "q": ["", "2"]}


@pytest.mark.parametrize("name", ["setheaders", "SETHEADERS", "\u017fetHeaders"])
def test_names_count_without_regard_to_case(name: str) -> None:
    assert own({name: {"A": "1"}}).set_headers == {"A": "1"}
    assert plain({**UNTOUCHED, name: {"A": "1"}}).set_headers == {"A": "1"}


def test_underscores_count() -> None:
    assert own({"set_headers": {"A": "1"}}).set_headers == {}


def test_the_later_name_wins_and_maps_merge() -> None:
    assert own({"URL": "/1", "url": "/2"}).url == "/2"
    assert own({"url": "/2", "URL": "/1"}).url == "/1"
    assert own({"URL": "/1", "url": None}).url == "/1"
    assert own({"SetHeaders": {"A": "1", "B": "1"}, "setheaders": {"B": "2"}}).set_headers == {"A": "1", "B": "2"}
    assert own({"SetHeaders": {"A": "1"}, "setheaders": None}).set_headers == {}
    both = decode_hook(b'{"Request": {"URL": "/1", "AddParams": {"a": "1"}}, "request": {"url": "/2"}}')
    assert (both.url, both.add_params) == ("/2", {"a": "1"})


def test_a_wrong_type_is_seen_even_where_a_later_name_wins() -> None:
    with pytest.raises(ResultError, match="URL: expected a text, got a number"):
        own({"URL": 5, "url": "/2"})


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"SetHeaders": {"X": 5}}, 'Request.SetHeaders["X"]: expected a text, got a number'),
        ({"SetHeaders": {"X": True}}, 'Request.SetHeaders["X"]: expected a text, got a boolean'),
        ({"SetHeaders": {"X": ["a"]}}, 'Request.SetHeaders["X"]: expected a text, got an array'),
        ({"SetHeaders": []}, "Request.SetHeaders: expected an object of texts, got an array"),
        ({"DeleteHeaders": "X"}, "Request.DeleteHeaders: expected an array of texts, got a text"),
        ({"DeleteHeaders": ["a", 1]}, "Request.DeleteHeaders[1]: expected a text, got a number"),
        ({"DeleteParams": [None, {}]}, "Request.DeleteParams[1]: expected a text, got an object"),
        ({"AddParams": {"n": 5}}, 'Request.AddParams["n"]: expected a text, got a number'),
        ({"ExtendedParams": {"n": "5"}}, 'Request.ExtendedParams["n"]: expected an array of texts, got a text'),
        ({"ExtendedParams": {"n": [5]}}, 'Request.ExtendedParams["n"][0]: expected a text, got a number'),
        ({"Body": {}}, "Request.Body: expected a text, got an object"),
        ({"URL": 1.5}, "Request.URL: expected a text, got a number"),
        ({"IgnoreBody": "true"}, "Request.IgnoreBody: expected true or false, got a text"),
        ({"Method": 1}, "Request.Method: expected a text, got a number"),
        ({"Headers": {"A": "b"}}, 'Request.Headers["A"]: expected an array of texts, got a text'),
        ({"ReturnOverrides": 5}, "Request.ReturnOverrides: expected an object, got a number"),
        ({"ReturnOverrides": {"ResponseCode": "400"}}, "Request.ReturnOverrides.ResponseCode: expected an integer, got a text"),
        (
            {"ReturnOverrides": {"ResponseCode": 200.5}},
            "Request.ReturnOverrides.ResponseCode: expected an integer, got the number 200.5",
        ),
        (
            {"ReturnOverrides": {"ResponseCode": True}},
            "Request.ReturnOverrides.ResponseCode: expected an integer, got a boolean",
        ),
        (
            {"ReturnOverrides": {"ResponseHeaders": {"A": [1]}}},
            'Request.ReturnOverrides.ResponseHeaders["A"][0]: expected a text, got a number',
        ),
        (
            {"ReturnOverrides": {"headers": {"A": {}}}},
            'Request.ReturnOverrides.headers["A"]: expected a text, got an object',
        ),
        (
            {"ReturnOverrides": {"response_code": "5"}},
            "Request.ReturnOverrides.response_code: expected an integer, got a text",
        ),
    ],
)  # fmt: skip
def test_a_wrong_type_fails_the_result_and_the_message_names_the_field(request_: Any, message: str) -> None:
    assert problem(request_) == message


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (b"undefined", "expected JSON, got 'undefined'"),
        (b"", "expected JSON, got ''"),
        (b"[object Promise]", "expected JSON, got '[object Promise]'"),
        (b'"text"', "expected an object, got a text"),
        (b"null", "expected an object, got null"),
        (b'{"Request": {}} x', "expected JSON, got '{\"Request\": {}} x'"),
        (b'{"Request": {"Body": NaN}}', "expected JSON, got '{\"Request\": {\"Body\": NaN}}'"),
        (b'{"Request": []}', "Request: expected an object, got an array"),
        (b'{"Session": "malformed"}', "Session: expected an object, got a text"),
        (b'{"SessionMeta": [1]}', "SessionMeta: expected an object, got an array"),
        (b'{"AuthValue": 7}', "AuthValue: expected a text, got a number"),
        (b'{"Request": {"Body": "a"}}', "Request.Body: expected standard base64 with padding"),
        (b'{"Request": {"Body": "a-_="}}', "Request.Body: expected standard base64 with padding"),
        (b'{"Request": {"Body": 5}}', "Request.Body: expected a base64 text, got a number"),
        (b"[" * 100_000, "expected JSON, got '" + "[" * 60 + "'..."),
    ],
)
def test_what_is_no_result_is_refused_and_shown(returned: bytes, message: str) -> None:
    with pytest.raises(ResultError) as caught:
        decode_hook(returned)
    assert str(caught.value) == message


def test_integers_have_64_bits() -> None:
    with pytest.raises(ResultError, match="expected an integer, got the number 1e"):
        own({"ReturnOverrides": {"ResponseCode": 1e21}})
    with pytest.raises(ResultError, match="expected an integer"):
        decode_hook(b'{"Request": {"ReturnOverrides": {"ResponseCode": 9223372036854775808}}}')


def test_a_body_of_an_own_handler_is_base64_and_may_have_line_ends() -> None:
    assert own({"Body": base64.b64encode(b"\xff\x00a").decode()}).body == b"\xff\x00a"
    assert own({"Body": "YW\r\nJj"}).body == b"abc"


def test_a_marked_body_is_text() -> None:
    assert plain({**UNTOUCHED, "Body": "caf\u00e9"}).body == "caf\u00e9".encode()


def test_a_body_that_is_the_same_or_ignored_is_left() -> None:
    assert plain({**UNTOUCHED, "Body": "x", "IgnoreBody": True}).body is None
    assert own({"Body": "eA==", "IgnoreBody": True}).body is None
    same = {key: value for key, value in UNTOUCHED.items() if key != "Body"}
    assert plain(same, **{"$same": True}).body is None
    assert own({"URL": "/"}, **{"$same": True}).body is None


@given(st.binary(max_size=200))
def test_bytes_that_are_not_utf8_come_back_as_they_were(body: bytes) -> None:
    returned = {**UNTOUCHED, "Body": body.decode("utf-8", "surrogateescape")}
    assert plain(returned).body == body
    assert plain({**returned, "unknown": 1}).body == body


def test_other_halves_of_surrogate_pairs_are_replaced() -> None:
    assert plain({**UNTOUCHED, "Body": "a\ud800\udc7f\udcffb"}).body == b"a\xf0\x90\x81\xbf\xffb"
    assert plain({**UNTOUCHED, "Body": "a\ud800b\udcff"}).body == "a\ufffdb".encode() + b"\xff"


def test_overrides_answer_only_with_a_code() -> None:
    assert own({"ReturnOverrides": {"ResponseBody": "x", "ResponseHeaders": {"A": "1"}}}).overrides is None
    assert own({"ReturnOverrides": {"ResponseCode": 204}}).overrides == Overrides(204)


def test_the_error_text_goes_before_the_body() -> None:
    said = {"ResponseCode": 403, "ResponseError": "error", "ResponseBody": "body", "OverrideError": True}
    assert own({"ReturnOverrides": said}).overrides == Overrides(403, b"error", [], True)
    assert plain({**UNTOUCHED, "ReturnOverrides": {**said, "ResponseError": ""}}).overrides == Overrides(403, b"body", [], True)


def test_overrides_in_the_spelling_of_the_guide() -> None:
    said = {"response_code": 401, "response_error": "no", "headers": {"A": "1"}, "override_error": True}
    untouched = {**UNTOUCHED, "ReturnOverrides": {**UNTOUCHED["ReturnOverrides"], **said}}
    assert plain(untouched).overrides == Overrides(401, b"no", [("A", "1")], True)
    assert own({"ReturnOverrides": {"response_code": 200, "response_body": "b"}}).overrides == Overrides(200, b"b")


def test_the_usual_spelling_goes_before_the_one_of_the_guide() -> None:
    said = {
        "ResponseCode": 401, "response_code": 402, "ResponseBody": "b", "response_body": "c",
        "ResponseHeaders": {"A": "1"}, "headers": {"A": "2"},
    }  # fmt: skip
    assert own({"ReturnOverrides": said}).overrides == Overrides(401, b"b", [("A", "1")])


def test_a_response_header_may_stand_there_several_times() -> None:
    said = {"ResponseCode": 200, "ResponseHeaders": {"Set-Cookie": ["a=1", None, "b=2"], "X": None}}
    assert own({"ReturnOverrides": said}).overrides == Overrides(
        200, b"", [("Set-Cookie", "a=1"), ("Set-Cookie", ""), ("Set-Cookie", "b=2"), ("X", "")]
    )


def test_the_session_of_an_auth_hook_is_handed_on_as_it_is() -> None:
    found = plain(UNTOUCHED, Session={"rate": 5}, AuthValue="tok")
    assert (found.session, found.auth_value) == ({"rate": 5}, "tok")


def test_meta_data_may_hold_any_values() -> None:
    assert plain(UNTOUCHED, SessionMeta={"n": 5, "deep": {"x": [1]}}).session_meta == {"n": 5, "deep": {"x": [1]}}


def virtual(value: Any) -> Any:
    return decode_virtual(json.dumps(value).encode())


def test_a_virtual_response() -> None:
    found = virtual({"Response": {"Body": "b", "Code": 202, "Headers": {"A": "1", "B": ["2", "3"]}}, "SessionMeta": {"n": 1}})
    assert (found.code, found.body, found.session_meta) == (202, b"b", {"n": 1})
    assert found.headers == [("A", "1"), ("B", "2"), ("B", "3")]


def test_a_virtual_response_in_lower_case() -> None:
    found = virtual({"response": {"body": "b", "code": 203, "headers": {"A": "1"}}})
    assert (found.code, found.body, found.headers) == (203, b"b", [("A", "1")])


def test_a_virtual_response_without_fields() -> None:
    found = virtual({"Response": {"Headers": None}})
    assert (found.code, found.body, found.headers, found.session_meta) == (0, b"", [], {})


@pytest.mark.parametrize(
    ("response", "message"),
    [
        ({"Body": {"a": 1}}, "Response.Body: expected a text, got an object"),
        ({"Headers": {"X-N": 5}}, 'Response.Headers["X-N"]: expected a text, got a number'),
        ({"Code": "200"}, "Response.Code: expected an integer, got a text"),
    ],
)
def test_a_virtual_response_of_wrong_types_is_refused(response: Any, message: str) -> None:
    with pytest.raises(ResultError) as caught:
        virtual({"Response": response})
    assert str(caught.value) == message


def test_the_body_of_a_virtual_response_may_hold_any_bytes() -> None:
    assert virtual({"Response": {"Body": b"\x89PNG\xff".decode("utf-8", "surrogateescape")}}).body == b"\x89PNG\xff"


def test_a_changed_response() -> None:
    text = json.dumps(
        {
            "Response": {
                "StatusCode": 201, "Body": "b", "Headers": {"Ignored": 5}, "SetHeaders": {"A": ["1", "2"]},
                "DeleteHeaders": ["B"],
            },
            "SessionMeta": None,
        }
    )  # fmt: skip
    found = decode_response(text.encode())
    assert (found.status, found.body, found.delete_headers) == (201, b"b", ["B"])
    assert found.set_headers == [("A", "1"), ("A", "2")]


def test_a_response_whose_body_is_the_same_keeps_it() -> None:
    assert decode_response(b'{"$same":true,"Response":{}}').body is None


def test_a_response_without_a_body_empties_it() -> None:
    assert decode_response(b'{"Response": {}}').body == b""


def test_a_response_of_wrong_types_is_refused() -> None:
    with pytest.raises(ResultError, match=r"Response\.StatusCode: expected an integer, got a text"):
        decode_response(b'{"Response": {"StatusCode": "201"}}')
    with pytest.raises(ResultError, match="SessionMeta: expected an object, got a number"):
        decode_response(b'{"Response": {}, "SessionMeta": 5}')
