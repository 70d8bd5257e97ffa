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
    to_bytes,
)

__all__ = [
    "HookResult", "Overrides", "ResponseResult", "ResultError", "VirtualResult", "decode_hook", "decode_response",
    "decode_virtual",
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


# What the usual result consists of: an envelope and a request whose names are written as here.
_ENVELOPE = frozenset(("Request", "SessionMeta", "$plain", "$same"))
_EDITED = frozenset(
    (
        "SetHeaders", "DeleteHeaders", "Body", "URL", "AddParams", "ExtendedParams", "DeleteParams", "ReturnOverrides",
        "IgnoreBody", "Headers", "Params", "Method", "RequestURI", "Scheme",
    )
)  # fmt: skip
_READ_ONLY = (("Headers", list_map), ("Params", list_map), ("Method", text), ("RequestURI", text), ("Scheme", text))
_UNTOUCHED = {"ResponseCode": 0, "ResponseError": "", "ResponseBody": "", "ResponseHeaders": None, "OverrideError": False}


def decode_hook(returned: bytes) -> HookResult:
    """Read what DoProcessRequest returned. Raises ResultError."""
    value = parse(returned)
    found = _usual(value) if type(value) is dict else None
    return _unusual(value) if found is None else found


def _usual(value: dict[str, Any]) -> HookResult | None:
    """The quick way for results that are as most are, None for others."""
    request = value.get("Request")
    same = value.get("$same") is True
    if (
        type(request) is not dict
        or not (same or value.get("$plain") is True)
        or not (value.keys() <= _ENVELOPE and request.keys() <= _EDITED)
    ):
        return None
    get = request.get
    url, ignore, body, said = get("URL"), get("IgnoreBody", False), get("Body", ""), get("ReturnOverrides")
    deletes, sets = get("DeleteHeaders"), get("SetHeaders")
    drops, adds, extends = get("DeleteParams"), get("AddParams"), get("ExtendedParams")
    meta = value.get("SessionMeta")
    if not (
        type(url) is str
        and type(body) is str
        and type(ignore) is bool
        and type(deletes) is list
        and type(sets) is dict
        and type(drops) is list
        and type(adds) is dict
        and type(extends) is dict
        and (meta is None or type(meta) is dict)
    ):
        return None
    try:
        if deletes:
            deletes = text_list(deletes)
        if sets:
            sets = text_map(sets)
        if drops:
            drops = text_list(drops)
        if adds:
            adds = text_map(adds)
        if extends:
            extends = list_map(extends)
        for name, reader in _READ_ONLY:
            if name in request:
                reader(request[name])
        overrides = None if said == _UNTOUCHED or said is None else _overrides(_OVERRIDES(said))
    except ResultError:
        return None     # the other way says where
    return HookResult(
        None if same or ignore else to_bytes(body),
        url,
        deletes,
        sets,
        drops,
        adds,
        extends,
        overrides,
        {} if meta is None else meta,
        None,
        "",
    )


def _unusual(value: Any) -> HookResult:
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
