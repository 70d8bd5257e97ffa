"""Decoding one definition: a fast path for good files, a slow one that names what is wrong.

The result is a sparse dict: only the keys of the document that the schema knows, in the schema's spelling.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from core.apidef.schema import DEFINITION
from core.config.gojson import (
    Anything,
    Bool,
    Int,
    ListOf,
    MapOf,
    Num,
    Obj,
    Schema,
    Str,
    decode_document,
    kind,
    walk,
)
from core.findings import Finding

Definition = dict[str, Any]
_Check = Callable[[Any], Any]
_INT_LIMIT = 2**63


class _Mismatch(Exception):
    """The fast path met something that only the slow path can judge."""


def _string(value: Any) -> Any:
    if type(value) is not str:
        raise _Mismatch
    return value


def _bool(value: Any) -> Any:
    if type(value) is not bool:
        raise _Mismatch
    return value


def _integer(value: Any) -> Any:
    if type(value) is not int or not -_INT_LIMIT <= value < _INT_LIMIT:
        raise _Mismatch
    return value


def _number(value: Any) -> Any:
    if type(value) is not int and type(value) is not float:
        raise _Mismatch
    return float(value)


def _as_is(value: Any) -> Any:
    return value


_LEAVES: dict[type, _Check] = {Str: _string, Bool: _bool, Int: _integer, Num: _number, Anything: _as_is}


def _checker(schema: Schema) -> _Check:
    match schema:
        case ListOf():
            return _list_checker(_checker(schema.item))
        case MapOf():
            return _map_checker(_checker(schema.value))
        case Obj():
            return _object_checker(schema)
        case _:
            return _LEAVES[type(schema)]


def _list_checker(item: _Check) -> _Check:
    def check(value: Any) -> Any:
        if type(value) is not list:
            raise _Mismatch
        return [item(one) for one in value]

    return check


def _map_checker(item: _Check) -> _Check:
    def check(value: Any) -> Any:
        if type(value) is not dict:
            raise _Mismatch
        return {key: item(one) for key, one in value.items()}

    return check


def _object_checker(schema: Obj) -> _Check:
    members = {name: _checker(sub) for name, sub in schema.fields.items()}

    def check(value: Any) -> Any:
        if type(value) is not dict:
            raise _Mismatch
        result: dict[str, Any] = {}
        for key, one in value.items():
            name = key if key in members else schema.find(key)
            if name is None or one is None:
                continue
            if name in result:
                raise _Mismatch
            result[name] = members[name](one)
        return result

    return check


_CHECK_DEFINITION = _checker(DEFINITION)


def decode(raw: bytes, file: str) -> tuple[Definition | None, list[Finding]]:
    """Decode a definition. Returns (definition, []) or (None, findings with at least one error)."""
    try:
        return _CHECK_DEFINITION(orjson.loads(raw)), []
    except (orjson.JSONDecodeError, _Mismatch):
        return decode_thoroughly(raw, file)


def decode_thoroughly(raw: bytes, file: str) -> tuple[Definition | None, list[Finding]]:
    """Decode a definition and report everything, unknown and duplicate keys included. None on errors."""
    value, findings = decode_document(raw, file)
    if any(finding.severity == "error" for finding in findings):
        return None, findings
    if not isinstance(value, dict):
        return None, [*findings, Finding("error", file, "$", f"expected an object, got {kind(value)}")]
    definition = walk(value, DEFINITION, file, "$", findings)
    if any(finding.severity == "error" for finding in findings):
        return None, findings
    return definition, findings
