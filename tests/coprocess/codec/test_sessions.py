"""Sessions to a plugin and back, in both formats (tyk-plugins 2.4)."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st

from coprocess.codec import CodecError, session_from_wire, session_to_wire
from coprocess.driver import Format
from coprocess.proto.coprocess_session_state_pb2 import SessionState
from core.sessions import model
from tests.coprocess.codec.exchanges import plain
from tests.coprocess.codec.messages import kept_aside, sessions, strict

Json = dict[str, Any]
FULL: Json = {
    "last_check": -1, "allowance": 1.5, "rate": 1000.0, "per": 60, "expires": 1893456000, "quota_max": -1,
    "quota_renews": 2**63 - 1, "quota_remaining": -(2**63), "quota_renewal_rate": 3600,
    "access_rights": {
        "api\u00e9": {
            "api_name": "An API", "api_id": "api", "versions": ["Default", ""],
            "allowed_urls": [{"url": "/a.*", "methods": ["GET", "POST"], "conditions": None}],
            "limit": {"rate": 5.0}, "allowance_scope": "lost",
        },
        "": {},
    },
    "org_id": "org", "oauth_client_id": "client", "oauth_keys": {"a": "b"}, "certificate": "not sent", "max_query_depth": 9,
    "basic_auth_data": {"password": "p", "hash_type": "bcrypt"}, "jwt_data": {"secret": "s"}, "hmac_enabled": True,
    "hmac_string": "h", "is_inactive": True, "apply_policy_id": "one", "apply_policies": ["one", "two"], "data_expires": 7,
    "monitor": {"trigger_limits": [80.0, 0.0, 100]}, "enable_detail_recording": True, "enable_detailed_recording": False,
    "meta_data": {
        "text": "v", "number": 5.0, "object": {"b": "<&>\u2028", "a": [1, 1.5, None, True, 1e21]}, "null": None, "": "",
    },
    "tags": ["a", "a"], "alias": "al", "last_updated": "now", "id_extractor_deadline": 1, "session_lifetime": 2,
    "post_expiry_action": "retain", "post_expiry_grace_period": -1, "throttle_interval": 5.0, "date_created": "",
}  # fmt: skip
METADATA = {
    "text": "v", "number": "5", "null": "null", "": "",
    "object": '{"a":[1,1.5,null,true,1e+21],"b":"\\u003c\\u0026\\u003e\\u2028"}',
}  # fmt: skip
WIRE: Json = {
    **{key: FULL[key] for key in FULL.keys() & {field.name for field in SessionState.DESCRIPTOR.fields}},
    "access_rights": {
        "api\u00e9": {
            "api_name": "An API", "api_id": "api", "versions": ["Default", ""],
            "allowed_urls": [{"url": "/a.*", "methods": ["GET", "POST"]}],
        },
        "": {"api_name": "", "api_id": "", "versions": [], "allowed_urls": []},
    },
    "basic_auth_data": {"password": "p", "hash": "bcrypt"}, "hmac_secret": "h", "metadata": METADATA, "key_id": "the key",
    "enable_detailed_recording": True,
}  # fmt: skip


@pytest.fixture(params=["protobuf", "json"])
def format(request: pytest.FixtureRequest) -> Format:
    found: Format = request.param
    return found


def test_a_plugin_is_told_what_the_message_holds(format: Format) -> None:
    found = session_to_wire(FULL, "the key", format)
    assert (found.format, found.metadata) == (format, METADATA)
    wanted = {key: value for key, value in WIRE.items() if key not in ("certificate", "max_query_depth")}
    if format == "json":
        assert orjson.loads(found.message) == wanted
    else:
        message = SessionState.FromString(found.message)
        assert plain(message) == {**wanted, "certificate": "", "max_query_depth": 0}
        assert len(found.message) == message.ByteSize()


def test_a_session_comes_back_but_for_what_has_no_field(format: Format) -> None:
    found = session_from_wire(format, session_to_wire(FULL, "the key", format).message)
    lost = {"throttle_interval", "date_created", "enable_detail_recording"}
    changed = {
        "access_rights": WIRE["access_rights"], "meta_data": METADATA, "certificate": "", "max_query_depth": 0,
        "key_id": "the key", "enable_detailed_recording": True,
    }  # fmt: skip
    assert found == {**{key: value for key, value in FULL.items() if key not in lost}, **changed}
    assert all(type(found[name]) is float for name in ("allowance", "rate", "per"))
    model.encode(model.from_value(found))


def test_sub_messages_are_always_sent() -> None:
    found = SessionState.FromString(session_to_wire({}, "", "protobuf").message)
    assert [found.HasField(name) for name in ("basic_auth_data", "jwt_data", "monitor")] == [True] * 3
    assert session_to_wire({}, "", "protobuf").message == b"\x72\x00\x7a\x00\xaa\x01\x00"


def test_a_whole_session_of_the_store_can_be_sent(format: Format) -> None:
    session = model.new()
    assert session_from_wire(format, session_to_wire(session, "k", format).message)["key_id"] == "k"


def test_a_plugin_may_set_what_it_is_not_told(format: Format) -> None:
    given = SessionState(certificate="cert", max_query_depth=7)
    raw = given.SerializeToString() if format == "protobuf" else json.dumps(plain(given)).encode()
    found = session_from_wire(format, raw)
    assert (found["certificate"], found["max_query_depth"]) == ("cert", 7)


@given(sessions)
@settings(max_examples=200, deadline=None)
def test_any_session_is_read_as_its_library_reads_it(values: Any) -> None:
    message = SessionState(**values)
    found = session_from_wire("protobuf", message.SerializeToString())
    told = plain(message)
    assert found == session_from_wire("json", json.dumps(told).encode())
    formats: tuple[Format, ...] = ("protobuf", "json")
    for format in formats:
        again = session_to_wire(found, found["key_id"], format)
        assert session_from_wire(format, again.message) == {**found, "certificate": "", "max_query_depth": 0}
    message.certificate = ""
    message.max_query_depth = 0
    for name in ("basic_auth_data", "jwt_data", "monitor"):
        getattr(message, name).SetInParent()
    assert SessionState.FromString(session_to_wire(found, found["key_id"], "protobuf").message) == message


@given(sessions, sessions)
@settings(max_examples=100, deadline=None)
def test_pieces_are_merged_as_the_format_wants_it(one: Json, other: Json) -> None:
    raw = SessionState(**one).SerializeToString() + SessionState(**other).SerializeToString()
    merged = SessionState.FromString(raw).SerializeToString()
    assert session_from_wire("protobuf", raw) == session_from_wire("protobuf", merged)


@given(sessions, st.data())
@settings(max_examples=300, deadline=None)
def test_a_mutated_session_is_read_or_refused(values: Json, data: st.DataObject) -> None:
    raw = bytearray(SessionState(**values).SerializeToString() or b"\x08\x01")
    for _ in range(data.draw(st.integers(0, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    message = bytes(raw[: data.draw(st.integers(0, len(raw)))])
    try:
        wanted = SessionState.FromString(message)
    except DecodeError:
        wanted = None
    found, refused = {}, None
    try:
        found = session_from_wire("protobuf", message)
    except CodecError as error:
        refused = error
    if refused is not None:
        assert wanted is None or kept_aside(wanted) or strict(refused), message
    else:
        assert wanted is not None, message
        assert kept_aside(wanted) or found == session_from_wire("protobuf", wanted.SerializeToString())


def test_numbers_in_a_list_may_come_one_by_one() -> None:
    packed = SessionState(monitor={"trigger_limits": [1.5, 2.5]}).SerializeToString()
    double = {value: SessionState(rate=value).SerializeToString()[1:] for value in (1.5, 2.5)}
    inner = b"\x09" + double[1.5] + b"\x09" + double[2.5]
    loose = b"\xaa\x01" + bytes([len(inner)]) + inner
    assert session_from_wire("protobuf", loose) == session_from_wire("protobuf", packed)
    assert session_from_wire("protobuf", packed)["monitor"]["trigger_limits"] == [1.5, 2.5]


@pytest.mark.parametrize(
    ("session", "error"),
    [
        ({"quota_max": 2**63}, "session.quota_max: expected an integer of 64 bits, found 9223372036854775808"),
        ({"expires": -(2**63) - 1}, "session.expires: expected an integer of 64 bits, found -9223372036854775809"),
        ({"expires": 10**5000}, "session.expires: expected an integer of 64 bits, found a larger one"),
        ({"expires": True}, "session.expires: expected an integer of 64 bits, found true"),
        ({"rate": float("inf")}, "session.rate: expected a finite number, found inf"),
        ({"rate": float("nan")}, "session.rate: expected a finite number, found nan"),
        ({"rate": 10**400}, "session.rate: expected a finite number, found a larger one"),
        ({"rate": "1"}, "session.rate: expected a finite number, found '1'"),
        ({"rate": False}, "session.rate: expected a finite number, found false"),
        (
            {"monitor": {"trigger_limits": [1.0, None]}},
            "session.monitor.trigger_limits[1]: expected a finite number, found null",
        ),
        ({"hmac_enabled": 1}, "session.hmac_enabled: expected true or false, found 1"),
        ({"alias": "\ud800"}, "session.alias: expected text without lone surrogates"),
        ({"alias": 1}, "session.alias: expected a string, found 1"),
        ({"tags": "a"}, "session.tags: expected a list, found 'a'"),
        ({"tags": ["a", 1]}, "session.tags[1]: expected a string, found 1"),
        ({"oauth_keys": []}, "session.oauth_keys: expected an object, found a list"),
        ({"oauth_keys": {"a": 1}}, "session.oauth_keys.a: expected a string, found 1"),
        ({"access_rights": {"api": []}}, "session.access_rights.api: expected an object, found a list"),
        (
            {"access_rights": {"api": {"allowed_urls": [{"url": 1}]}}},
            "session.access_rights.api.allowed_urls[0].url: expected a string, found 1",
        ),
        ({"jwt_data": "s"}, "session.jwt_data: expected an object, found 's'"),
        ({"meta_data": []}, "session.metadata: expected an object, found a list"),
        ({"meta_data": {"a": float("nan")}}, "session.metadata.a: expected what JSON can hold"),
        ({"meta_data": {"a": "\ud800"}}, "session.metadata.a: expected text without lone surrogates"),
    ],
)
def test_what_a_session_cannot_hold_is_named(format: Format, session: Json, error: str) -> None:
    with pytest.raises(CodecError) as caught:
        session_to_wire(session, "", format)
    assert str(caught.value) == error


@pytest.mark.parametrize(
    ("session", "error"),
    [
        ({"rate": "100"}, "session.rate: expected a finite number, found '100'"),
        ({"expires": 1.5}, "session.expires: expected an integer of 64 bits, found 1.5"),
        ({"expires": 2**63}, "session.expires: expected an integer of 64 bits, found 9223372036854775808"),
        ({"expires": 1e300}, "session.expires: expected an integer of 64 bits, found 1e+300"),
        ({"metadata": {"a": 1}}, "session.metadata.a: expected a string, found 1"),
        ({"basic_auth_data": {"hash": 1}}, "session.basic_auth_data.hash: expected a string, found 1"),
        ([], "session: expected an object, found a list"),
    ],
)
def test_json_of_another_type_is_named(session: Any, error: str) -> None:
    with pytest.raises(CodecError) as caught:
        session_from_wire("json", json.dumps(session).encode())
    assert str(caught.value) == error


@pytest.mark.parametrize(
    ("message", "error"),
    [
        (SessionState(rate=float("inf")).SerializeToString(), "session.rate: expected a finite number, found inf"),
        (SessionState(per=float("nan")).SerializeToString(), "session.per: expected a finite number, found nan"),
        (
            SessionState(monitor={"trigger_limits": [float("-inf")]}).SerializeToString(),
            "session.monitor.trigger_limits: expected a finite number, found -inf",
        ),
        (b"\x5a\x01\xff", "session.org_id: expected UTF-8 text"),
        (b"\x52\x05\x12\x03\x0a\x01\xff", "session.access_rights.api_name: expected UTF-8 text"),
        (b"\x0a\x00", "session.last_check: encoding 2 where the field has 0"),
        (b"\x18\x00", "session.rate: encoding 0 where the field has 1"),
        (b"\x19\x00", "session.rate: the message ends within a field"),
        (b"\x80", "session: the message ends within a number"),
    ],
)
def test_a_message_that_is_none_is_named(message: bytes, error: str) -> None:
    with pytest.raises(CodecError) as caught:
        session_from_wire("protobuf", message)
    assert str(caught.value) == error


def test_json_may_leave_out_and_null_and_write_whole_floats() -> None:
    zero = session_from_wire("json", b"{}")
    assert zero == session_from_wire("protobuf", b"")
    assert session_from_wire("json", json.dumps(dict.fromkeys(WIRE)).encode()) == zero
    assert session_from_wire("json", b'{"expires": 5.0, "rate": 5, "unknown": 1}') == {**zero, "expires": 5, "rate": 5.0}


def test_what_is_not_json_is_refused() -> None:
    with pytest.raises(CodecError, match="session: not JSON"):
        session_from_wire("json", b"{")
