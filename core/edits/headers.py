"""Header fields that hooks name: which of them are theirs to change, and how they are spelt."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from accel.edits import FieldNames, RequestEditor
from accel.http1 import Exchange
from core.edits.query import changed
from jsvm_pool.decoding import Pairs, ResultError, key_path, to_bytes

Spell = Callable[[bytes], bytes]
Fields = list[tuple[bytes, bytes]]

# What the gateway writes itself; Go's server and client do not take it from the header map either.
OWN = frozenset(
    (
        b"connection", b"content-length", b"expect", b"host", b"keep-alive", b"proxy-connection", b"te", b"trailer",
        b"transfer-encoding", b"upgrade",
    )
)  # fmt: skip
# Besides, what a script's response has of its own (tyk-jsvm 10).
OWN_RESPONSE = OWN | {b"date", b"server", b"x-ratelimit-limit", b"x-ratelimit-remaining", b"x-ratelimit-reset"}
MOST_SET = 1000     # headers that one hook may set in a request: each is looked for among all others
_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_LINE_END = re.compile(rb"[\r\n]")
_BAD_VALUE = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


def request_editor(spell: Spell) -> RequestEditor:
    """What makes the plain edits of requests; edit_request makes all others."""
    return RequestEditor(FieldNames(request_names(spell)), changed, MOST_SET)


def request_names(spell: Spell) -> Callable[[str], bytes | None]:
    """How a field of a request is spelt: b"" for one of the gateway's own, None for what is no name."""
    return lambda name: _spelt(name, spell, OWN)


def response_names(spell: Spell) -> Callable[[str], bytes | None]:
    """The same for a response."""
    return lambda name: _spelt(name, spell, OWN_RESPONSE)


def _spelt(name: str, spell: Spell, own: frozenset[bytes]) -> bytes | None:
    key = to_bytes(name)
    if not _NAME.fullmatch(key):
        return None
    return b"" if key.lower() in own else spell(key)


def edit_request(x: Exchange, delete: Iterable[str], put: dict[str, str], spell: Spell, where: str) -> None:
    """Delete headers, then set others. where: the field of the result that has those. Raises ResultError, with nothing
    changed, for what is no header field."""
    if len(put) > MOST_SET:
        raise ResultError(f"expected at most {MOST_SET} headers, got {len(put)}", where)
    fields: Fields = []
    for name, value in put.items():
        key, text = to_bytes(name), to_bytes(value).strip(b" \t")
        if not _NAME.fullmatch(key):
            raise ResultError("this is not the name of a header", where + key_path(name))
        if _BAD_VALUE.search(text):
            raise ResultError("the value holds control characters", where + key_path(name))
        if key.lower() not in OWN:
            fields.append((spell(key), text))
    for name in delete:
        key = to_bytes(name)
        if key.lower() not in OWN:
            x.req.remove(key)
    for key, text in fields:
        x.req.set(key, text)


def edit_response(x: Exchange, delete: Iterable[str], put: Pairs, spell: Spell) -> None:
    """Apply DeleteHeaders, then SetHeaders, to the response of an exchange. Raises ResultError, with nothing changed."""
    fields = response_fields(put, spell, "Response.SetHeaders", OWN)
    for name in delete:
        key = to_bytes(name)
        if key.lower() not in OWN:
            x.res.remove(key)
    for key in {key for key, _ in fields}:
        x.res.remove(key)
    for key, text in fields:
        x.res.add(key, text)


def response_fields(pairs: Pairs, spell: Spell, where: str, own: frozenset[bytes] = OWN_RESPONSE) -> Fields:
    """The fields of a response that a hook names. As in Go, line ends in values become spaces, and what is no name is
    left out, as are the gateway's own fields. where: the field of the result; raises ResultError for values with other
    control characters."""
    found: Fields = []
    for name, value in pairs:
        key, text = to_bytes(name), _LINE_END.sub(b" ", to_bytes(value)).strip(b" \t")
        if _BAD_VALUE.search(text):
            raise ResultError("the value holds control characters", where + key_path(name))
        if _NAME.fullmatch(key) and key.lower() not in own:
            found.append((spell(key), text))
    return found

