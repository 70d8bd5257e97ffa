"""What scripts are given: the JSON texts that the runtime makes their arguments of (tyk-jsvm 7, 12.1, 12.2).

    {"request": {...}, "session": {...} or null, "config": {...}, "extra": {...}}

with "response" in front for response hooks. A body is text, with U+DC80 to U+DCFF for bytes that are not UTF-8; the
runtime makes base64 of it where a script expects that. `extra` is an addition to Tyk's objects.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import orjson

from accel.http1 import Exchange
from core.scripts.places import Place
from core.scripts.query import parse, texts

_UNTOUCHED = orjson.Fragment(
    b'{"ResponseCode":0,"ResponseError":"","ResponseBody":"","ResponseHeaders":null,"OverrideError":false}'
)
_FORMS = frozenset((b"POST", b"PUT", b"PATCH"))
_FORM = b"application/x-www-form-urlencoded"


def url_text(x: Exchange) -> str:
    """Path, with the listen path, and query as scripts see them."""
    query = x.full_query
    return (x.full_path + b"?" + query if query else x.full_path).decode("utf-8", "replace")


def extra(x: Exchange, api_id: str, api_name: str, hook: str, place: Place) -> dict[str, Any]:
    """What scripts are told beyond Tyk's objects. hook: "pre", "virtual", ..."""
    version = x.version.decode("utf-8", "replace")
    return {
        "RemoteAddr": x.remote_addr.decode("latin-1"),
        "ClientAddr": x.client_address.decode("latin-1"),
        "RequestID": x.request_id.decode("latin-1"),
        "APIID": api_id,
        "APIName": api_name,
        "Version": "" if version == "Non Versioned" else version,
        "Path": place[0],
        "PathParams": place[1],
        "Hook": hook,
    }


def hook_request(x: Exchange, url: str, body: Any) -> dict[str, Any]:
    """The request object of hooks. url: see url_text; body: text, or None for response hooks."""
    return {
        "Headers": header_lists(x.req.items()),
        "SetHeaders": {},
        "DeleteHeaders": [],
        "Body": body,
        "URL": url,
        "Params": texts(parse(x.full_query)),
        "AddParams": {},
        "ExtendedParams": {},
        "DeleteParams": [],
        "ReturnOverrides": _UNTOUCHED,
        "IgnoreBody": False,
        "Method": x.method.decode("latin-1"),
        "RequestURI": x.request_target.decode("utf-8", "replace"),
        "Scheme": "https" if x.secure else "http",
    }


def virtual_request(x: Exchange) -> dict[str, Any]:
    """The request object of virtual endpoints: without a Host header, with the fields of a form among the parameters."""
    body = x.body or b""
    headers = header_lists(x.req.items())
    headers.pop("Host", None)
    values = parse(x.query)
    kind = (x.header(b"Content-Type") or b"").partition(b";")[0].strip().lower()
    if x.method in _FORMS and kind == _FORM:
        form = parse(body)
        for name, more in values.items():
            form.setdefault(name, []).extend(more)
        values = form
    return {
        "Headers": headers,
        "Body": body_value(body),
        "URL": url_text(x),
        "Params": texts(values),
        "Scheme": "https" if x.secure else "http",
    }


def response_object(status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> dict[str, Any]:
    """The response object of response hooks."""
    return {
        "StatusCode": status,
        "Body": body_value(body),
        "Headers": header_lists(headers),
        "SetHeaders": {},
        "DeleteHeaders": [],
    }


def payload(
    request: Mapping[str, Any],
    session: bytes,
    config: bytes,
    more: Mapping[str, Any],
    response: Mapping[str, Any] | None = None,
) -> bytes:
    """The whole text. session, config: JSON."""
    parts: dict[str, Any] = {} if response is None else {"response": response}
    parts["request"] = request
    parts["session"] = orjson.Fragment(session)
    parts["config"] = orjson.Fragment(config)
    parts["extra"] = more
    return orjson.dumps(parts)


def body_value(body: bytes) -> Any:
    """A body as a JSON text."""
    if not body:
        return ""
    try:
        return body.decode()
    except UnicodeDecodeError:
        return orjson.Fragment(json.dumps(body.decode("utf-8", "surrogateescape")))


def header_lists(fields: list[tuple[bytes, bytes]]) -> dict[str, list[str]]:
    """Values by name, sorted by name; bytes that are not UTF-8 become U+FFFD."""
    found: dict[str, list[str]] = {}
    for name, value in sorted(fields, key=_name):
        found.setdefault(name.decode("latin-1"), []).append(value.decode("utf-8", "replace"))
    return found


def _name(field: tuple[bytes, bytes]) -> bytes:
    return field[0]
