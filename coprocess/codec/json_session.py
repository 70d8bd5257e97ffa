"""A session as JSON with the field names of SessionState, to and from the JSON of Tyk's store."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from coprocess.codec.plain import flag, integer, items, mapping, number, text
from coprocess.codec.replies import CodecError, member
from coprocess.codec.schema import Field

_READ: dict[str, Callable[[Any, str], Any]] = {"int64": integer, "double": number, "bool": flag, "string": text}
_ZERO: dict[str, Any] = {"int64": 0, "double": 0.0, "bool": False, "string": ""}


def encode_session(fields: tuple[Field, ...], session: dict[str, Any]) -> bytes:
    """The JSON text of a session. Raises CodecError, naming the field, for what it cannot hold."""
    return orjson.dumps(_walk(session, fields, "session", write=True))


def decode_session(fields: tuple[Field, ...], message: bytes) -> dict[str, Any]:
    """The session, every field of it. Raises CodecError."""
    try:
        value = orjson.loads(message)
    except orjson.JSONDecodeError as error:
        raise CodecError("session", f"not JSON: {error}") from None
    return _walk(value, fields, "session", write=False)


def _walk(value: Any, fields: tuple[Field, ...], path: str, *, write: bool) -> dict[str, Any]:
    """One message with the other names. write: from the store's names to the wire's, without fields that are not sent."""
    given = mapping(value, path)
    found: dict[str, Any] = {}
    for field in fields:
        source, target = (field.name, field.wire) if write else (field.wire, field.name)
        if write and not field.sent:
            continue
        found[target] = _member(given.get(source), field, f"{path}.{field.wire}", write)
    return found


def _member(value: Any, field: Field, path: str, write: bool) -> Any:
    if field.label == "list":
        many = [] if value is None else items(value, path)
        return [_one(item, field, f"{path}[{at}]", write) for at, item in enumerate(many)]
    if field.label == "map":
        entries = {} if value is None else mapping(value, path)
        return {key: _one(item, field, member(path, key), write) for key, item in entries.items()}
    if value is None:
        return _walk({}, field.fields, path, write=write) if field.kind == "message" else _ZERO[field.kind]
    return _one(value, field, path, write)


def _one(value: Any, field: Field, path: str, write: bool) -> Any:
    if field.kind == "message":
        return _walk({} if value is None else value, field.fields, path, write=write)
    return _READ[field.kind](value, path)
