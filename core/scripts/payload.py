"""What scripts are given: the JSON texts that the runtime makes their arguments of (tyk-jsvm 7, 12.1, 12.2).

The texts themselves are written by jsvm_pool.envelope; here are the parts of them that not every request has, and what
is the same for all requests of a hook. `extra` is an addition to Tyk's objects.
"""

from __future__ import annotations

import json
from typing import Any

import orjson

from accel.http1 import Exchange
from core.scripts.places import Place
from core.scripts.query import parse, texts

_FORMS = frozenset((b"POST", b"PUT", b"PATCH"))
_FORM = b"application/x-www-form-urlencoded"
NO_PARAMS = b"{}"


def url_text(x: Exchange) -> str:
    """Path, with the listen path, and query as scripts see them."""
    query = x.full_query
    return (x.full_path + b"?" + query if query else x.full_path).decode("utf-8", "replace")


class Extra:
    """What the scripts of one hook are told beyond Tyk's objects: the members of `extra` that do not change with every
    request, as JSON."""

    def __init__(self, api_id: str, api_name: str, hook: str) -> None:
        """hook: "pre", "virtual", ..."""
        self._fixed = {"APIID": api_id, "APIName": api_name, "Hook": hook}
        self._known: dict[tuple[bytes, str], bytes] = {}

    def text(self, x: Exchange, place: Place) -> bytes:
        """The members for a request, without braces."""
        path, params = place
        key = x.version, path
        known = None if params else self._known.get(key)
        if known is None:
            version = x.version.decode("utf-8", "replace")
            members = {
                **self._fixed, "Version": "" if version == "Non Versioned" else version, "Path": path, "PathParams": params,
            }  # fmt: skip
            known = orjson.dumps(members)[1:-1]
            if not params:
                self._known[key] = known    # as many as there are versions and path entries
        return known


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
