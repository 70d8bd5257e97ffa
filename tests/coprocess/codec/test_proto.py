"""The generated messages: numbers, types and names are those that plugins for Tyk are built with (tyk-plugins 2.2)."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.descriptor import FieldDescriptor

from coprocess.codec.schema import SESSION, Field
from coprocess.proto import (
    coprocess_common_pb2,
    coprocess_mini_request_object_pb2,
    coprocess_object_pb2,
    coprocess_object_pb2_grpc,
    coprocess_response_object_pb2,
    coprocess_return_overrides_pb2,
    coprocess_session_state_pb2,
)

TYPES = {
    FieldDescriptor.TYPE_STRING: "string", FieldDescriptor.TYPE_BYTES: "bytes", FieldDescriptor.TYPE_INT32: "int32",
    FieldDescriptor.TYPE_INT64: "int64", FieldDescriptor.TYPE_BOOL: "bool", FieldDescriptor.TYPE_DOUBLE: "double",
    FieldDescriptor.TYPE_ENUM: "enum", FieldDescriptor.TYPE_MESSAGE: "message",
}  # fmt: skip
EXPECTED = {
    coprocess_object_pb2.Object: "hook_type:HookType hook_name:string request:MiniRequestObject session:SessionState "
    "metadata:map<string> spec:map<string> response:ResponseObject",
    coprocess_object_pb2.Event: "payload:string",
    coprocess_object_pb2.EventReply: "",
    coprocess_common_pb2.StringSlice: "items:string*",
    coprocess_mini_request_object_pb2.MiniRequestObject: "headers:map<string> set_headers:map<string> delete_headers:string* "
    "body:string url:string params:map<string> add_params:map<string> extended_params:map<string> delete_params:string* "
    "return_overrides:ReturnOverrides method:string request_uri:string scheme:string raw_body:bytes",
    coprocess_return_overrides_pb2.ReturnOverrides: "response_code:int32 response_error:string headers:map<string> "
    "override_error:bool response_body:string",
    coprocess_response_object_pb2.ResponseObject: "status_code:int32 raw_body:bytes body:string headers:map<string> "
    "multivalue_headers:Header*",
    coprocess_response_object_pb2.Header: "key:string values:string*",
    coprocess_session_state_pb2.AccessSpec: "url:string methods:string*",
    coprocess_session_state_pb2.AccessDefinition: "api_name:string api_id:string versions:string* allowed_urls:AccessSpec*",
    coprocess_session_state_pb2.BasicAuthData: "password:string hash:string",
    coprocess_session_state_pb2.JWTData: "secret:string",
    coprocess_session_state_pb2.Monitor: "trigger_limits:double*",
    coprocess_session_state_pb2.SessionState: "last_check:int64 allowance:double rate:double per:double expires:int64 "
    "quota_max:int64 quota_renews:int64 quota_remaining:int64 quota_renewal_rate:int64 access_rights:map<AccessDefinition> "
    "org_id:string oauth_client_id:string oauth_keys:map<string> basic_auth_data:BasicAuthData jwt_data:JWTData "
    "hmac_enabled:bool hmac_secret:string is_inactive:bool apply_policy_id:string data_expires:int64 monitor:Monitor "
    "enable_detailed_recording:bool metadata:map<string> tags:string* alias:string last_updated:string "
    "id_extractor_deadline:int64 session_lifetime:int64 apply_policies:string* certificate:string max_query_depth:int64 "
    "key_id:string post_expiry_action:string post_expiry_grace_period:int64",
}


def type_of(field: Any) -> str:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return f"map<{type_of(field.message_type.fields_by_name['value'])}>"
    named = field.message_type or field.enum_type
    return (named.name if named else TYPES[field.type]) + ("*" if field.is_repeated else "")


@pytest.mark.parametrize("message", EXPECTED, ids=lambda message: str(message.DESCRIPTOR.name))
def test_a_message_is_wire_compatible(message: Any) -> None:
    descriptor = message.DESCRIPTOR
    assert descriptor.full_name.startswith("coprocess.")
    assert " ".join(f"{field.name}:{type_of(field)}" for field in descriptor.fields) == EXPECTED[message]
    assert [field.number for field in descriptor.fields] == list(range(1, len(descriptor.fields) + 1))


def test_hook_types_have_their_numbers() -> None:
    assert dict(coprocess_common_pb2.HookType.items()) == {
        "Unknown": 0, "Pre": 1, "Post": 2, "PostKeyAuth": 3, "CustomKeyCheck": 4, "Response": 5,
    }  # fmt: skip


def test_the_service_has_its_calls() -> None:
    service = coprocess_object_pb2.DESCRIPTOR.services_by_name["Dispatcher"]
    calls = [(call.name, call.input_type.name, call.output_type.name) for call in service.methods]
    assert (service.full_name, calls) == (
        "coprocess.Dispatcher", [("Dispatch", "Object", "Object"), ("DispatchEvent", "Event", "EventReply")],
    )  # fmt: skip
    assert hasattr(coprocess_object_pb2_grpc, "DispatcherServicer")


def check_fields(fields: tuple[Field, ...], descriptor: Any) -> None:
    kinds = {"message": "message", "string": "string", "int64": "int64", "double": "double", "bool": "bool"}
    assert [field.wire for field in fields] == [field.name for field in descriptor.fields]
    for field, told in zip(fields, descriptor.fields, strict=True):
        value = told
        is_map = told.message_type is not None and told.message_type.GetOptions().map_entry
        if is_map:
            value = told.message_type.fields_by_name["value"]
        assert (field.number, kinds[field.kind]) == (told.number, TYPES[value.type])
        assert field.label == ("map" if is_map else "list" if told.is_repeated else "one")
        if field.kind == "message":
            check_fields(field.fields, value.message_type)


def test_the_table_of_a_session_is_that_of_the_message() -> None:
    check_fields(SESSION, coprocess_session_state_pb2.SessionState.DESCRIPTOR)
    assert [field.wire for field in SESSION if not field.sent] == ["certificate", "max_query_depth"]
