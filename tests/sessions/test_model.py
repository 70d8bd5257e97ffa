"""A session that is read otherwise than Tyk reads it gives rights that nobody gave."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.config.gojson import Anything, Bool, Int, ListOf, MapOf, Num, Schema, Str, walk
from core.sessions import model
from core.sessions.model import ACCESS, SESSION, SessionError, decode, encode, from_value, new, output

ORDER_OF_TYK = (
    "last_check", "allowance", "rate", "per", "throttle_interval", "throttle_retry_limit", "max_query_depth", "date_created",
    "expires", "quota_max", "quota_renews", "quota_remaining", "quota_renewal_rate", "access_rights", "org_id",
    "oauth_client_id", "oauth_keys", "certificate", "basic_auth_data", "jwt_data", "hmac_enabled",
    "enable_http_signature_validation", "hmac_string", "rsa_certificate_id", "is_inactive", "apply_policy_id",
    "apply_policies", "data_expires", "monitor", "enable_detail_recording", "enable_detailed_recording", "meta_data", "tags",
    "alias", "last_updated", "id_extractor_deadline", "session_lifetime",
)  # fmt: skip
FULL_LIMIT = {
    "rate": 1.5, "per": 2, "throttle_interval": 3, "throttle_retry_limit": 4, "max_query_depth": 5, "quota_max": 6,
    "quota_renews": 7, "quota_remaining": 8, "quota_renewal_rate": 9,
}  # fmt: skip


def values(schema: Schema) -> st.SearchStrategy[Any]:
    """JSON values of a schema, some of them null, absent or unknown to it."""
    match schema:
        case Str():
            return st.none() | st.text(max_size=8)
        case Int():
            return st.none() | st.integers(-(2**63), 2**63 - 1)
        case Num():
            return st.none() | st.integers(-(2**53), 2**53) | st.floats(-1e9, 1e9)
        case Bool():
            return st.none() | st.booleans()
        case Anything():
            return st.none() | st.text(max_size=3) | st.lists(st.integers(0, 9), max_size=2)
        case ListOf():
            return st.none() | st.lists(values(schema.item), max_size=3)
        case MapOf():
            return st.none() | st.dictionaries(st.text(max_size=4), values(schema.value), max_size=3)
    some = {name: values(sub) for name, sub in schema.fields.items() if name not in ("smoothing", "date_created")}
    return st.none() | st.fixed_dictionaries({}, optional={**some, "unknown": st.integers(0, 3)})


SESSIONS = values(SESSION).filter(lambda value: value is not None)


@settings(max_examples=60, deadline=None)
@given(SESSIONS)
def test_both_ways_to_read_agree(value: dict[str, Any]) -> None:
    """The quick way is checked against the walk that reads all other documents."""
    expected = walk(value, SESSION, "session", "$", [])
    assert decode(orjson.dumps(value)) == expected
    assert from_value(value) == expected


@settings(max_examples=60, deadline=None)
@given(SESSIONS, st.booleans())
def test_spelling_of_names_does_not_matter(value: dict[str, Any], upper: bool) -> None:
    spelled = {key.upper() if upper else key.title(): one for key, one in value.items()}
    assert decode(orjson.dumps(spelled)) == decode(orjson.dumps(value))


@settings(max_examples=60, deadline=None)
@given(SESSIONS)
def test_session_survives_the_store(value: dict[str, Any]) -> None:
    session = decode(orjson.dumps(value))
    stored = decode(encode(session))
    for key in ("key_id", "date_created"):
        stored[key] = session[key]
    assert _settled(stored) == _settled(session)
    assert encode(stored) == encode(session)


def _settled(value: Any) -> Any:
    """Null and empty values are one here: of a free form only what is not empty is written."""
    if isinstance(value, dict):
        return {key: _settled(one) for key, one in value.items()} or None
    if isinstance(value, list):
        return [_settled(one) for one in value] or None
    return value or None


def test_every_field_is_there() -> None:
    session = new()
    assert session == decode(b"{}") == decode(b'{"access_rights":null,"tags":null,"meta_data":null}')
    assert session["basic_auth_data"] == {"password": "", "hash_type": ""}
    assert session["monitor"] == {"trigger_limits": []}
    right = decode(b'{"access_rights":{"a":null}}')["access_rights"]["a"]
    assert right["limit"]["quota_max"] == 0
    assert (right["endpoints"], right["api_id"], right["limit"]["smoothing"]) == ([], "", None)


def test_sessions_share_nothing() -> None:
    first, second = decode(b'{"access_rights":{"a":{}}}'), decode(b'{"access_rights":{"a":{}}}')
    for holder in (first, first["access_rights"]["a"]):
        for value in holder.values():
            if isinstance(value, dict):
                value["x"] = 1
            elif isinstance(value, list):
                value.append("x")
    first["access_rights"]["a"]["limit"]["rate"] = 9.0
    assert second == decode(b'{"access_rights":{"a":{}}}') != first


def test_order_and_form_are_those_of_tyk() -> None:
    found = json.loads(encode(new()))
    assert tuple(found) == ORDER_OF_TYK
    assert found["date_created"] == "0001-01-01T00:00:00Z"
    assert (found["oauth_keys"], found["apply_policies"], found["monitor"]) == (None, None, {"trigger_limits": None})
    assert (found["meta_data"], found["tags"], found["access_rights"]) == ({}, [], {})


def test_access_right_has_the_form_of_tyk() -> None:
    session = from_value({"access_rights": {"b": {"api_id": "b", "versions": ["Default"], "limit": FULL_LIMIT}, "a": {}}})
    assert encode(session).decode().partition('"access_rights":')[2].partition(',"org_id"')[0] == (
        '{"a":{"api_name":"","api_id":"","versions":null,"allowed_urls":null,"restricted_types":null,"limit":{"rate":0,"per":0,'
        '"throttle_interval":0,"throttle_retry_limit":0,"max_query_depth":0,"quota_max":0,"quota_renews":0,"quota_remaining":0,'
        '"quota_renewal_rate":0},"allowance_scope":""},"b":{"api_name":"","api_id":"b","versions":["Default"],'
        '"allowed_urls":null,"restricted_types":null,"limit":{"rate":1.5,"per":2,"throttle_interval":3,"throttle_retry_limit":4,'
        '"max_query_depth":5,"quota_max":6,"quota_renews":7,"quota_remaining":8,"quota_renewal_rate":9},"allowance_scope":""}}'
    )


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("post_expiry_action", "retain"),
        ("post_expiry_grace_period", -1),
        ("mtls_static_certificate_bindings", ["x"]),
        ("smoothing", {"enabled": True, "threshold": 1, "trigger": 0.5, "step": 1, "delay": 1}),
    ],
)
def test_newer_fields_are_written_only_when_they_say_something(field: str, value: Any) -> None:
    assert json.loads(encode(from_value({field: value})))[field] == value
    assert field not in json.loads(encode(new()))


def test_stored_session_does_not_hold_its_key() -> None:
    session = from_value({"key_id": "secret-key"})
    assert b"secret-key" not in encode(session)
    assert output(session)["key_id"] == "secret-key"
    assert output(new(), "other-key")["key_id"] == "other-key"
    assert "key_id" not in output(new())


def test_output_is_plain_json_for_every_encoder() -> None:
    session = from_value({"rate": 5.0, "access_rights": {"a": {"limit": FULL_LIMIT}}, "meta_data": {"z": {"deep": [1, None]}}})
    shown = output(session, "k")
    assert orjson.loads(orjson.dumps(shown)) == json.loads(json.dumps(shown)) == shown
    assert '"rate":5,' in orjson.dumps(shown).decode()


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("[]", "expected an object"),
        ("7", "expected an object"),
        ('"x"', "expected an object"),
        ("", "line 1"),
        ('{"rate": 1', "line 1"),
        ('{"rate": "fast"}', "$.rate"),
        ('{"expires": 1.5}', "$.expires"),
        ('{"expires": 9223372036854775808}', "$.expires"),
        ('{"expires": 1e30}', "$.expires"),
        ('{"rate": 1e999}', "1e999 is too large"),
        ('{"meta_data": {"x": [1e999]}}', "1e999 is too large"),
        ('{"access_rights": {"a": {"versions": "Default"}}}', '$.access_rights.a.versions'),
        ('{"access_rights": {"a": {"allowed_urls": [{"url": 7}]}}}', "$.access_rights.a.allowed_urls[0].url"),
        ('{"access_rights": {"a": {"limit": {"smoothing": 7}}}}', "limit.smoothing"),
        ('{"smoothing": {"step": "x"}}', "$.smoothing.step"),
        ('{"is_inactive": "no"}', "$.is_inactive"),
        ('{"tags": [1]}', "$.tags[0]"),
        ('{"monitor": []}', "$.monitor"),
        ('{"date_created": "yesterday"}', "$.date_created"),
        ('{"meta_data": ' + "[" * 300 + "]" * 300 + "}", "nested"),
        ("[" * 5000, "nested"),
        ('{"a":' * 400 + "1" + "}" * 400, "nested"),
    ],
)
def test_broken_session_is_refused_with_the_place(text: str, place: str) -> None:
    with pytest.raises(SessionError) as caught:
        decode(text.encode(), "apikey-x")
    assert "apikey-x" in str(caught.value)
    assert place in str(caught.value)


@pytest.mark.parametrize(
    ("value", "place"),
    [
        ({"meta_data": {"x": [float("inf")]}}, "$.meta_data"),
        ({"access_rights": {"a": {"mcp_primitives": [float("nan")]}}}, "mcp_primitives"),
        ({"access_rights": {"a": {"allowed_urls": [{"conditions": float("-inf")}]}}}, "allowed_urls"),
    ],
)
def test_number_that_json_cannot_hold_is_refused(value: dict[str, Any], place: str) -> None:
    with pytest.raises(SessionError) as caught:
        from_value(value)
    assert place in str(caught.value)


def test_session_that_is_too_large_is_refused() -> None:
    with pytest.raises(SessionError, match="at most"):
        decode(b'{"alias":"' + b"x" * model.MAX_BYTES + b'"}')


@pytest.mark.parametrize(
    ("text", "field", "value"),
    [
        ('{"expires": 5.0}', "expires", 5),
        ('{"quota_max": -1.0}', "quota_max", -1),
        ('{"Expires": 7}', "expires", 7),
        ('{"expires": 1, "EXPIRES": 2}', "expires", 2),
        ('{"alias": "a", "alias": "b"}', "alias", "b"),
        ('{"alias": "\\ud800"}', "alias", "\ufffd"),
        ('{"rate": null}', "rate", 0.0),
        ('{"date_created": "2024-01-31T12:00:00.5+02:00"}', "date_created", "2024-01-31T12:00:00.5+02:00"),
        (' {"alias": "x"} \n', "alias", "x"),
    ],
)
def test_what_go_reads_is_read(text: str, field: str, value: Any) -> None:
    assert decode(text.encode())[field] == value


def test_many_rights_are_no_deep_nesting() -> None:
    text = json.dumps({"access_rights": {f"api{n}": {"api_id": f"api{n}", "versions": ["Default"]} for n in range(500)}})
    assert len(decode(text.encode())["access_rights"]) == 500


def test_schema_names_every_field_of_a_right() -> None:
    assert set(ACCESS.fields) >= {"allowed_urls", "limit", "endpoints", "allowance_scope", "field_access_rights"}
