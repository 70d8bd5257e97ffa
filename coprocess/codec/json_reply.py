"""What comes back from a plugin as JSON, read into a PluginReply; OBJECT.md has its form."""

from __future__ import annotations

import orjson

from coprocess.codec.members import Members
from coprocess.codec.replies import CodecError, Overrides, PluginReply, RequestReply, ResponseReply


def decode_json(message: bytes) -> PluginReply:
    """The PluginReply of a message. Raises CodecError."""
    try:
        value = orjson.loads(message)
    except orjson.JSONDecodeError as error:
        raise CodecError("", f"not JSON: {error}") from None
    whole = Members(value, "")
    request, session, response = whole.inner("request"), whole.any_object("session"), whole.inner("response")
    return PluginReply(
        None if request is None else _request(request),
        None if session is None else orjson.dumps(session),
        whole.pairs("metadata"),
        None if response is None else _response(response),
    )


def _request(members: Members) -> RequestReply:
    overrides = members.inner("return_overrides")
    return RequestReply(
        members.text("url"),
        members.text("method"),
        members.base64("raw_body"),
        list(members.pairs("set_headers").items()),
        members.texts("delete_headers"),
        list(members.pairs("add_params").items()),
        members.texts("delete_params"),
        None if overrides is None else _overrides(overrides),
    )


def _overrides(members: Members) -> Overrides:
    return Overrides(
        members.int32("response_code"),
        members.text("response_error"),
        list(members.pairs("headers").items()),
        members.flag("override_error"),
        members.text("response_body"),
    )


def _response(members: Members) -> ResponseReply:
    headers: list[tuple[str, list[str]]] = []
    for at, item in enumerate(members.any_list("multivalue_headers")):
        header = Members(item, f"response.multivalue_headers[{at}]")
        headers.append((header.text("key"), header.texts("values")))
    return ResponseReply(
        members.int32("status_code"), members.base64("raw_body"), list(members.pairs("headers").items()), headers
    )
