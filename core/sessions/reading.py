"""The quick way from decoded JSON to a document of a schema, for what is read on the request path.

Where core.config.gojson says what is wrong and where, this only says that something is: the caller walks again then.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from core.config.gojson import Anything, Bool, Int, ListOf, MapOf, Num, Obj, Schema, Str, zero

Reader = Callable[[Any], Any]

_LEAST, _MOST = -(2**63), 2**63 - 1
_PLAIN: dict[type, type] = {Str: str, Bool: bool}


class Unusual(Exception):
    """The value is not what the schema says, or says it in another case or type."""


def reader(schema: Schema) -> Reader:
    """A function that does what gojson.walk does with a value that orjson decoded; it raises Unusual instead of
    reporting. Its result shares nothing with the schema, but what is under Anything with the value."""
    match schema:
        case Anything():
            return _same
        case Num():
            return _number
        case ListOf():
            return _list(schema)
        case MapOf():
            return _map(schema)
        case Obj():
            return _object(schema)
        case Int():
            return _integer
    return _scalar(_PLAIN[type(schema)], zero(schema))


def _same(value: Any) -> Any:
    return value


def _number(value: Any) -> float:
    if type(value) is float:
        return value
    if type(value) is int:
        return float(value)
    if value is None:
        return 0.0
    raise Unusual


def _integer(value: Any) -> int:
    if type(value) is int and _LEAST <= value <= _MOST:
        return value
    if value is None:
        return 0
    raise Unusual


def _scalar(wanted: type, empty: Any) -> Reader:
    def read(value: Any) -> Any:
        if value is None:
            return empty
        if type(value) is not wanted:
            raise Unusual
        return value

    return read


def _list(schema: ListOf) -> Reader:
    item = reader(schema.item)

    def read(value: Any) -> Any:
        if type(value) is list:
            return [item(one) for one in value]
        if value is None:
            return []
        raise Unusual

    return read


def _map(schema: MapOf) -> Reader:
    inner = reader(schema.value)

    def read(value: Any) -> Any:
        if type(value) is dict:
            return {key: inner(one) for key, one in value.items()}
        if value is None:
            return {}
        raise Unusual

    return read


def _object(schema: Obj) -> Reader:
    blank = zero(schema)
    readers = {name: reader(sub) for name, sub in schema.fields.items()}
    makers = [(name, _maker(sub)) for name, sub in schema.fields.items() if isinstance(blank[name], dict | list)]

    def read(value: Any) -> Any:
        if value is None:
            value = {}
        elif type(value) is not dict:
            raise Unusual
        found = blank.copy()
        for key, one in value.items():
            inner = readers.get(key)
            if inner is not None:
                found[key] = inner(one)
            elif schema.find(key) is not None:
                raise Unusual
        for name, make in makers:
            if name not in value:
                found[name] = make()
        return found

    return read


def _maker(schema: Schema) -> Callable[[], Any]:
    empty = zero(schema)
    if isinstance(empty, dict) and any(isinstance(one, dict | list) for one in empty.values()):
        return lambda: zero(schema)
    return empty.copy  # type: ignore[no-any-return]
