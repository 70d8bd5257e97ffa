"""What scripts are given: the parts of a payload that not every request has (tyk-jsvm 7, 12.1, 12.2).

The payloads themselves are written by jsvm_pool.envelope. `extra` is an addition to Tyk's objects.
"""

from __future__ import annotations

import json
from typing import Any

import orjson

from accel.http1 import Exchange
from core.edits.query import parse, texts
from core.scripts.places import Place

_FORMS = frozenset((b"POST", b"PUT", b"PATCH"))
_FORM = b"application/x-www-form-urlencoded"
NO_PARAMS = b"0"


def url_text(x: Exchange) -> str:
    """Path, with the listen path, and query as scripts see them."""
    query = x.full_query
    return (x.full_path + b"?" + query if query else x.full_path).decode("utf-8", "replace")


def place_text(x: Exchange, place: Place) -> bytes:
    """JSON of the version of the API, the path of the entry that a request meets and the values of its variables."""
    path, params = place
    version = x.version.decode("utf-8", "replace")
    members = ["" if version == "Non Versioned" else version, path, params or 0]
    return orjson.dumps(members)[1:-1]


def query_params(x: Exchange) -> bytes:
    """The values of the query, JSON."""
    query = x.full_query
    return orjson.dumps(texts(parse(query))) if query else NO_PARAMS


def form_params(x: Exchange) -> bytes:
    """The values of the query, behind those of a form in the body, JSON (tyk-jsvm 12.1)."""
    kind = (x.header(b"Content-Type") or b"").partition(b";")[0].strip().lower()
    if x.method not in _FORMS or kind != _FORM:
        return query_params(x)
    values = parse(x.body or b"")
    for name, more in parse(x.full_query).items():
        values.setdefault(name, []).extend(more)
    return orjson.dumps(texts(values))


def response_text(status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> bytes:
    """The response object of response hooks, JSON."""
    return orjson.dumps(
        {
            "StatusCode": status,
            "Body": _body_value(body),
            "Headers": _header_lists(headers),
            "SetHeaders": {},
            "DeleteHeaders": [],
        }
    )


def _body_value(body: bytes) -> Any:
    """A body as a JSON text; bytes that are not UTF-8 become lone surrogates, U+DC80 to U+DCFF."""
    try:
        return body.decode()
    except UnicodeDecodeError:
        return orjson.Fragment(json.dumps(body.decode("utf-8", "surrogateescape")))


def _header_lists(fields: list[tuple[bytes, bytes]]) -> dict[str, list[str]]:
    """Values by name, sorted by name; bytes that are not UTF-8 become U+FFFD."""
    found: dict[str, list[str]] = {}
    for name, value in sorted(fields, key=lambda field: field[0]):
        found.setdefault(name.decode("latin-1"), []).append(value.decode("utf-8", "replace"))
    return found
