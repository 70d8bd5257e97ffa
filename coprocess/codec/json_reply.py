"""What comes back from a plugin as JSON, read into a PluginReply; OBJECT.md has its form."""

from __future__ import annotations

from typing import Any

import orjson

from coprocess.codec.plain import Members, base64, flag, integer, items, mapping, pair_list, pairs, text, texts
from coprocess.codec.replies import CodecError, Overrides, PluginReply, RequestReply, ResponseReply


def decode_json(message: bytes) -> PluginReply:
    """The PluginReply of a message. Raises CodecError."""
    try:
        value = orjson.loads(message)
    except orjson.JSONDecodeError as error:
        raise CodecError("", f"not JSON: {error}") from None
    members = Members(value, "")
    return PluginReply(
        members.find("request", _request),
        members.find("session", _session),
        members.get("metadata", pairs, dict),
        members.find("response", _response),
    )


def _session(value: Any, path: str) -> bytes:
    return orjson.dumps(mapping(value, path))


def _request(value: Any, path: str) -> RequestReply:
    members = Members(value, path)
    return RequestReply(
        members.get("url", text, str),
        members.get("method", text, str),
        members.get("raw_body", base64, bytes),
        members.get("set_headers", pair_list, list),
        members.get("delete_headers", texts, list),
        members.get("add_params", pair_list, list),
        members.get("delete_params", texts, list),
        members.find("return_overrides", _overrides),
    )


def _overrides(value: Any, path: str) -> Overrides:
    members = Members(value, path)
    return Overrides(
        members.get("response_code", _int32, int),
        members.get("response_error", text, str),
        members.get("headers", pair_list, list),
        members.get("override_error", flag, bool),
        members.get("response_body", text, str),
    )


def _response(value: Any, path: str) -> ResponseReply:
    members = Members(value, path)
    return ResponseReply(
        members.get("status_code", _int32, int),
        members.get("raw_body", base64, bytes),
        members.get("headers", pair_list, list),
        members.get("multivalue_headers", _multivalue, list),
    )


def _multivalue(value: Any, path: str) -> list[tuple[str, list[str]]]:
    found: list[tuple[str, list[str]]] = []
    for at, item in enumerate(items(value, path)):
        members = Members(item, f"{path}[{at}]")
        found.append((members.get("key", text, str), members.get("values", texts, list)))
    return found


def _int32(value: Any, path: str) -> int:
    return integer(value, path, 32)
