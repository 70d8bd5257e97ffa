"""Objects to be read: strategies that make them with the Protocol Buffers library, and what reading them has to give."""

from __future__ import annotations

from typing import Any

from google.protobuf.unknown_fields import UnknownFieldSet
from hypothesis import strategies as st

from coprocess.codec import CodecError, Overrides, PluginReply, RequestReply, ResponseReply
from coprocess.proto.coprocess_object_pb2 import Object

texts = st.text(st.characters(codec="utf-8"), max_size=12)
int32 = st.integers(-(2**31), 2**31 - 1)
int64 = st.integers(-(2**63), 2**63 - 1)
doubles = st.floats(allow_nan=False, allow_infinity=False)
maps = st.dictionaries(texts, texts, max_size=4)
lists = st.lists(texts, max_size=4)
overrides = st.fixed_dictionaries(
    {},
    optional={
        "response_code": int32, "response_error": texts, "headers": maps, "override_error": st.booleans(),
        "response_body": texts,
    },
)  # fmt: skip
requests = st.fixed_dictionaries(
    {},
    optional={
        "headers": maps, "set_headers": maps, "delete_headers": lists, "body": texts, "url": texts, "params": maps,
        "add_params": maps, "extended_params": maps, "delete_params": lists, "return_overrides": overrides, "method": texts,
        "request_uri": texts, "scheme": texts, "raw_body": st.binary(max_size=300),
    },
)  # fmt: skip
responses = st.fixed_dictionaries(
    {},
    optional={
        "status_code": int32, "raw_body": st.binary(max_size=300), "body": texts, "headers": maps,
        "multivalue_headers": st.lists(st.fixed_dictionaries({}, optional={"key": texts, "values": lists}), max_size=3),
    },
)  # fmt: skip
sessions = st.fixed_dictionaries(
    {},
    optional={
        "last_check": int64, "allowance": doubles, "rate": doubles, "per": doubles, "expires": int64, "quota_max": int64,
        "quota_renews": int64, "quota_remaining": int64, "quota_renewal_rate": int64,
        "access_rights": st.dictionaries(
            texts,
            st.fixed_dictionaries(
                {},
                optional={
                    "api_name": texts, "api_id": texts, "versions": lists,
                    "allowed_urls": st.lists(st.fixed_dictionaries({}, optional={"url": texts, "methods": lists}), max_size=3),
                },
            ),
            max_size=3,
        ),
        "org_id": texts, "oauth_client_id": texts, "oauth_keys": maps,
        "basic_auth_data": st.fixed_dictionaries({}, optional={"password": texts, "hash": texts}),
        "jwt_data": st.fixed_dictionaries({}, optional={"secret": texts}), "hmac_enabled": st.booleans(), "hmac_secret": texts,
        "is_inactive": st.booleans(), "apply_policy_id": texts, "data_expires": int64,
        "monitor": st.fixed_dictionaries({}, optional={"trigger_limits": st.lists(doubles, max_size=4)}),
        "enable_detailed_recording": st.booleans(), "metadata": maps, "tags": lists, "alias": texts, "last_updated": texts,
        "id_extractor_deadline": int64, "session_lifetime": int64, "apply_policies": lists, "certificate": texts,
        "max_query_depth": int64, "key_id": texts, "post_expiry_action": texts, "post_expiry_grace_period": int64,
    },
)  # fmt: skip


def made(values: Any) -> Any:
    return Object(**values)


objects = st.fixed_dictionaries(
    {},
    optional={
        "hook_type": st.integers(0, 5), "hook_name": texts, "request": requests, "session": sessions, "metadata": maps,
        "spec": maps, "response": responses,
    },
).map(made)  # fmt: skip


def reply(message: Any) -> PluginReply:
    """What reading an Object has to give; maps in the order of the library."""
    request = response = None
    if message.HasField("request"):
        told, given = message.request, None
        if told.HasField("return_overrides"):
            over = told.return_overrides
            headers = list(over.headers.items())
            given = Overrides(over.response_code, over.response_error, headers, over.override_error, over.response_body)
        request = RequestReply(
            told.url, told.method, told.raw_body, list(told.set_headers.items()), list(told.delete_headers),
            list(told.add_params.items()), list(told.delete_params), given,
        )  # fmt: skip
    if message.HasField("response"):
        told = message.response
        multivalue = [(header.key, list(header.values)) for header in told.multivalue_headers]
        response = ResponseReply(told.status_code, told.raw_body, list(told.headers.items()), multivalue)
    session = message.session.SerializeToString(deterministic=True) if message.HasField("session") else None
    return PluginReply(request, session, dict(message.metadata), response)


def ordered(found: PluginReply) -> PluginReply:
    """The same with maps in one order."""
    if found.request is not None:
        found.request.set_headers.sort()
        found.request.add_params.sort()
        if found.request.overrides is not None:
            found.request.overrides.headers.sort()
    if found.response is not None:
        found.response.headers.sort()
    return found


def strict(error: CodecError) -> bool:
    """Whether this is refused where the library goes on: numbers of more than 64 bits, of which it drops some (Go's library
    refuses them as well), and numbers that are not finite."""
    return "64 bits" in error.problem or "finite" in error.problem


def kept_aside(message: Any) -> bool:
    """Whether the library holds fields for unknown that it knows: because of their encoding, or entries of maps because of
    unknown fields in them (other libraries read such entries)."""
    if any(field.field_number in message.DESCRIPTOR.fields_by_number for field in UnknownFieldSet(message)):
        return True
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        if field.message_type.GetOptions().map_entry:
            inner = list(value.values()) if field.message_type.fields_by_name["value"].message_type else []
        else:
            inner = list(value) if field.is_repeated else [value]
        if any(kept_aside(item) for item in inner):
            return True
    return False
