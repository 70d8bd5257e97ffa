"""JSON that a script returned, read by the rules of Go's encoding/json (tyk-jsvm 9.2): the parts of a decoder.

A reader takes a decoded JSON value and returns what it stands for; it raises ResultError for a wrong type. `null` never
reaches the reader of a field: it means that the field is absent.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Mapping
from typing import Any, NoReturn, TypeVar

import orjson

Reader = Callable[[Any], Any]
Pairs = list[tuple[str, str]]
_T = TypeVar("_T")

_LEAST, _MOST = -(2**63), 2**63 - 1
_SHOWN = 60
_OTHER_SURROGATES = re.compile("[\ud800-\udc7f\udd00-\udfff]")
_NAMES = {dict: "an object", list: "an array", str: "a text", bool: "a boolean", int: "a number", float: "a number"}


class ResultError(ValueError):
    """What a script returned cannot be used; the text names the field, what was expected, and what it is."""

    def __init__(self, problem: str, where: str = "") -> None:
        super().__init__(problem)
        self.problem = problem
        self.where = where

    def __str__(self) -> str:
        return f"{self.where.lstrip('.')}: {self.problem}" if self.where else self.problem

    def inside(self, outer: str) -> ResultError:
        """The same error, seen from the object that holds the field."""
        return ResultError(self.problem, outer + self.where)


def parse(text: bytes) -> Any:
    """The JSON value of what a script returned. Raises ResultError."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        pass
    try:
        # Slower, but takes halves of surrogate pairs, which stand for bytes that are not UTF-8.
        return json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError):
        shown = text[:_SHOWN].decode("utf-8", "replace")
        raise ResultError(f"expected JSON, got {shown!r}{'...' if len(text) > _SHOWN else ''}") from None


def _no_number(name: str) -> NoReturn:
    raise ValueError(name)


def fold(name: str) -> str:
    """Names of fields that differ only in case fold to the same text (Go's EqualFold, as far as our names need it)."""
    return name.lower().replace("\u017f", "s")


def to_bytes(text: str) -> bytes:
    """The bytes that a script's text stands for: UTF-8, with U+DC80 to U+DCFF for bytes that are none. Other halves of
    surrogate pairs become U+FFFD."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return _OTHER_SURROGATES.sub("\ufffd", text).encode("utf-8", "surrogateescape")


def mismatch(expected: str, value: Any) -> NoReturn:
    """Report a value of the wrong type."""
    name = "null" if value is None else _NAMES[type(value)]
    if name == "a number" and expected == "an integer":
        name = f"the number {value!r}"
    raise ResultError(f"expected {expected}, got {name}")


def text(value: Any) -> str:
    if type(value) is str:
        return value
    mismatch("a text", value)


def boolean(value: Any) -> bool:
    if type(value) is bool:
        return value
    mismatch("true or false", value)


def integer(value: Any) -> int:
    if type(value) is int and _LEAST <= value <= _MOST:
        return value
    mismatch("an integer", value)


def plain_body(value: Any) -> bytes:
    """A body as text."""
    return to_bytes(text(value))


def base64_body(value: Any) -> bytes:
    """A body in standard padded base64, which may be broken into lines."""
    if type(value) is str:
        try:
            return base64.b64decode(value.replace("\r", "").replace("\n", ""), validate=True)
        except (binascii.Error, ValueError):
            raise ResultError("expected standard base64 with padding") from None
    mismatch("a base64 text", value)


def anything(value: Any) -> Any:
    return value


def mapping(value: Any) -> dict[str, Any]:
    """An object with any values."""
    if type(value) is dict:
        return value
    mismatch("an object", value)


def text_list(value: Any) -> list[str]:
    if type(value) is list:
        for at, item in enumerate(value):
            if type(item) is not str:
                if item is not None:
                    _at(text, item, f"[{at}]")
                return [text_or_empty(one, f"[{n}]") for n, one in enumerate(value)]
        return value
    mismatch("an array of texts", value)


def text_map(value: Any) -> dict[str, str]:
    """Texts by name."""
    if type(value) is dict:
        for item in value.values():
            if type(item) is not str:
                return {key: text_or_empty(one, key_path(key)) for key, one in value.items()}
        return value
    mismatch("an object of texts", value)


def list_map(value: Any) -> dict[str, list[str]]:
    """Arrays of texts by name."""
    if type(value) is dict:
        if not value:
            return value
        return {key: [] if one is None else _at(text_list, one, key_path(key)) for key, one in value.items()}
    mismatch("an object of arrays of texts", value)


def header_map(value: Any) -> Pairs:
    """Header fields: an object of texts, or of arrays of texts for names that stand there several times (an addition)."""
    if type(value) is not dict:
        mismatch("an object of texts", value)
    found: Pairs = []
    for key, one in value.items():
        if type(one) is str:
            found.append((key, one))
        elif type(one) is list:
            found += [(key, item) for item in _at(text_list, one, key_path(key))]
        else:
            found.append((key, text_or_empty(one, key_path(key))))
    return found


def text_or_empty(value: Any, where: str) -> str:
    """A text inside an array or object, where null is the empty text."""
    if type(value) is str:
        return value
    return "" if value is None else _at(text, value, where)


def key_path(key: str) -> str:
    """How an error names a member of an object with free keys."""
    return f"[{json.dumps(key[:_SHOWN], ensure_ascii=False)}]"


def _at(reader: Callable[[Any], _T], value: Any, where: str) -> _T:
    try:
        return reader(value)
    except ResultError as error:
        raise error.inside(where) from None


class Shape:
    """An object with known fields, as Go reads a struct: a name counts if it is that of a field, else if it is so without
    regard to case; the later of two that mean the same field wins, and where both are objects they merge."""

    def __init__(self, fields: Mapping[str, Reader]) -> None:
        self._readers = dict(fields)
        self._folded = {fold(name): name for name in fields}

    def __call__(self, value: Any) -> dict[str, Any]:
        """Read the fields that are there and not null. Raises ResultError."""
        if type(value) is not dict:
            mismatch("an object", value)
        found: dict[str, Any] = {}
        readers = self._readers
        key = ""
        try:
            for key, one in value.items():
                reader = readers.get(key)
                if reader is not None and key not in found:
                    if one is not None:
                        found[key] = reader(one)
                    continue
                name = self._folded.get(fold(key))
                if name is None:
                    continue
                self._again(found, name, one)
        except ResultError as error:
            raise error.inside(f".{key}") from None
        return found

    def _again(self, found: dict[str, Any], name: str, value: Any) -> None:
        """Take the value of a field that may have one already."""
        old = found.get(name)
        if value is None:
            if isinstance(old, dict | list) and not isinstance(self._readers[name], Shape):
                del found[name]     # null empties maps and lists, and leaves all else
            return
        new = self._readers[name](value)
        found[name] = {**old, **new} if isinstance(old, dict) and isinstance(new, dict) else new
