"""Messages about real exchanges: a step of a data path builds them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from accel.http1 import Exchange, WaitStep
from coprocess.codec import CodecError, HookFrame, SessionWire
from coprocess.driver import Format
from coprocess.proto.coprocess_object_pb2 import Object
from tests.support.datapath import DataPath

PRE, POST, POST_KEY_AUTH, CUSTOM_KEY_CHECK, RESPONSE = 1, 2, 3, 4, 5
SPEC = {"OrgID": "org", "APIID": "api", "bundle_hash": "d41d8cd98f00b204e9800998ecf8427e", "config_data": '{"a":"\u00e9"}'}
OVERRIDES = {"response_code": -1, "response_error": "", "headers": {}, "override_error": False, "response_body": ""}
Json = dict[str, Any]


def frame(format: Format, hook_type: int = PRE, raw_body_only: bool = False) -> HookFrame:
    return HookFrame(hook_type, "hook", SPEC, raw_body_only, format)


def request_of(x: Exchange, hook: HookFrame, session: SessionWire | None = None) -> bytes:
    query = x.full_query
    url = x.full_path + b"?" + query if query else x.full_path
    return hook.request(x, url, x.method, x.body or b"", session)


def built(path: DataPath, make: Callable[[Exchange], bytes], target: str = "/api/x", *lines: str, **more: Any) -> bytes:
    """What `make` returns for one exchange; raises what it raises."""
    found: list[bytes | CodecError] = []

    def step(x: Exchange) -> bool:
        try:
            found.append(make(x))
        except CodecError as error:
            found.append(error)
        return False

    path.plan(WaitStep(step, whole_body=True))
    assert path.fetch(target, *lines, **more).status == 200
    (message,) = found
    if isinstance(message, CodecError):
        raise message
    return message


def as_dict(format: Format, message: bytes) -> Json:
    """The object of either format in the form of the JSON one. Protocol Buffers are read by their own library."""
    if format == "json":
        found: Json = json.loads(message)
        return found
    told: Json = plain(Object.FromString(message))
    return told


def plain(message: Any) -> Any:
    """A protobuf message as JSON has it; sub-messages that are not set are left out."""
    found: Json = {}
    for field in message.DESCRIPTOR.fields:
        value = getattr(message, field.name)
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            values = field.message_type.fields_by_name["value"]
            found[field.name] = {key: plain(value[key]) if values.message_type else value[key] for key in value}
        elif field.is_repeated:
            found[field.name] = [plain(item) if field.message_type else item for item in value]
        elif field.message_type is not None:
            if message.HasField(field.name):
                found[field.name] = plain(value)
        elif field.enum_type is not None:
            found[field.name] = field.enum_type.values_by_number[value].name.lower()
        else:
            found[field.name] = value
    return found
