"""What scripts return: from their JSON text to data (tyk-jsvm 9, 10, 12.1, 12.2).

Names of fields are Tyk's, also in the snake case of its guide (`response_code`). Beyond Tyk, header fields of a response
may be arrays of texts, for names that stand there several times.

Between the runtime and this module: `"$plain": true` beside Request says that Request.Body is text, not base64;
`"$same": true` that the body is the one that the script was given, and Request.Body or Response.Body is absent.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from jsvm_pool.decoding import (
    Pairs,
    Reader,
    ResultError,
    Shape,
    anything,
    base64_body,
    boolean,
    header_map,
    integer,
    list_map,
    mapping,
    parse,
    plain_body,
    text,
    text_list,
    text_map,
)

__all__ = [
    "HookResult", "Overrides", "ResponseResult", "ResultError", "VirtualResult", "decode_edits", "decode_hook",
    "decode_response", "decode_virtual",
]  # fmt: skip


@dataclass(slots=True)
class Overrides:
    """An answer instead of the request (ReturnOverrides). code: of the response, not 0; raw: as it is, also where it is
    an error (OverrideError)."""

    code: int
    body: bytes = b""
    headers: Pairs = field(default_factory=list)
    raw: bool = False


@dataclass(slots=True)
class HookResult:
    """What a hook wants of a request.

    body: None: as it was; url: "" for none; session_meta: the meta data of the key from now on, values of any type;
    session, auth_value: of the key that the hook has found, for auth_check; overrides: None: the request goes on.
    """

    body: bytes | None
    url: str
    delete_headers: list[str]
    set_headers: dict[str, str]
    delete_params: list[str]
    add_params: dict[str, str]
    extended_params: dict[str, list[str]]
    overrides: Overrides | None
    session_meta: dict[str, Any]
    session: dict[str, Any] | None
    auth_value: str


@dataclass(slots=True)
class ResponseResult:
    """What a response hook wants of a response. status: 0: as it was; body: None: as it was; set_headers: one name several
    times for several fields."""

    status: int
    body: bytes | None
    delete_headers: list[str]
    set_headers: Pairs


@dataclass(slots=True)
class VirtualResult:
    """The response of a virtual endpoint. code: 0 if it says none."""

    code: int
    body: bytes
    headers: Pairs
    session_meta: dict[str, Any]


_OVERRIDES = Shape(
    {
        "ResponseCode": integer,
        "ResponseError": text,
        "ResponseBody": plain_body,
        "ResponseHeaders": header_map,
        "OverrideError": boolean,
        "response_code": integer,
        "response_error": text,
        "response_body": plain_body,
        "headers": header_map,
        "override_error": boolean,
    }
)


def _request(body: Reader) -> Shape:
    return Shape(
        {
            "Headers": list_map,
            "SetHeaders": text_map,
            "DeleteHeaders": text_list,
            "Body": body,
            "URL": text,
            "Params": list_map,
            "AddParams": text_map,
            "ExtendedParams": list_map,
            "DeleteParams": text_list,
            "ReturnOverrides": _OVERRIDES,
            "IgnoreBody": boolean,
            "Method": text,
            "RequestURI": text,
            "Scheme": text,
        }
    )


def _hook(body: Reader) -> Shape:
    fields: dict[str, Reader] = {"Request": _request(body), "SessionMeta": mapping, "Session": mapping, "AuthValue": text}
    return Shape(fields)


_PLAIN_HOOK, _HOOK = _hook(plain_body), _hook(base64_body)
_RESPONSE = Shape(
    {
        "Response": Shape(
            {
                "StatusCode": integer,
                "Body": plain_body,
                "Headers": anything,
                "SetHeaders": header_map,
                "DeleteHeaders": text_list,
            }
        ),
        "SessionMeta": mapping,
    }
)
_VIRTUAL = Shape(
    {
        "Response": Shape({"Code": integer, "Body": plain_body, "Headers": header_map}),
        "SessionMeta": mapping,
    }
)
_NOTHING: dict[str, Any] = {}


def decode_edits(returned: bytes, url: str) -> HookResult:
    """Read the short form of a result that only edits headers and parameters (runtime/run.js: edits). url: the one that the
    script was given. Raises ResultError."""
    sets, deletes, added, meta = parse(returned)
    request = {"SetHeaders": sets, "DeleteHeaders": deletes, "AddParams": added, "URL": url}
    return _hook_result({"$same": True, "Request": request, "SessionMeta": meta})


def decode_hook(returned: bytes) -> HookResult:
    """Read what DoProcessRequest returned. Raises ResultError."""
    return _hook_result(parse(returned))


def _hook_result(value: Any) -> HookResult:
    marked = type(value) is dict
    found = (_PLAIN_HOOK if marked and value.get("$plain") is True else _HOOK)(value)
    request = found.get("Request", _NOTHING)
    body: bytes | None = request.get("Body", b"")
    if request.get("IgnoreBody") or value.get("$same") is True:
        body = None
    overrides = request.get("ReturnOverrides")
    return HookResult(
        body,
        request.get("URL", ""),
        request.get("DeleteHeaders", []),
        request.get("SetHeaders", {}),
        request.get("DeleteParams", []),
        request.get("AddParams", {}),
        request.get("ExtendedParams", {}),
        None if overrides is None else _overrides(overrides),
        found.get("SessionMeta", {}),
        found.get("Session"),
        found.get("AuthValue", ""),
    )


def _overrides(said: dict[str, Any]) -> Overrides | None:
    code = said.get("ResponseCode") or said.get("response_code")
    if not code:
        return None
    error = said.get("ResponseError") or said.get("response_error")
    return Overrides(
        code,
        plain_body(error) if error else said.get("ResponseBody") or said.get("response_body") or b"",
        said.get("ResponseHeaders") or said.get("headers") or [],
        bool(said.get("OverrideError") or said.get("override_error")),
    )


def decode_response(returned: bytes) -> ResponseResult:
    """Read what DoProcessResponse returned. Raises ResultError."""
    value = parse(returned)
    response = _RESPONSE(value).get("Response", _NOTHING)
    return ResponseResult(
        response.get("StatusCode", 0),
        None if value.get("$same") is True else response.get("Body", b""),
        response.get("DeleteHeaders", []),
        response.get("SetHeaders", []),
    )


def decode_virtual(returned: bytes) -> VirtualResult:
    """Read what a virtual endpoint returned. Raises ResultError."""
    found = _VIRTUAL(parse(returned))
    response = found.get("Response", _NOTHING)
    return VirtualResult(
        response.get("Code", 0), response.get("Body", b""), response.get("Headers", []), found.get("SessionMeta", {})
    )
