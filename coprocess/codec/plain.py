"""Strict checks of single JSON values."""

from __future__ import annotations

import math
from typing import Any

from coprocess.codec.replies import MOST_ENTRIES, CodecError, wrong
from coprocess.codec.schema import EXPECTED

_EXACT = 2.0**53    # floats below it that have no fraction are integers


def text(value: Any, path: str) -> str:
    """A string that UTF-8 can hold."""
    if type(value) is not str:
        raise wrong(path, EXPECTED["string"], value)
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise CodecError(path, "expected text without lone surrogates") from None
    return value


def integer(value: Any, path: str, bits: int = 64) -> int:
    """An integer of so many bits; 5.0 is one, because JSON knows only one kind of numbers."""
    if type(value) is float and value.is_integer() and abs(value) < _EXACT:
        value = int(value)
    if type(value) is not int or not -(1 << bits - 1) <= value < 1 << bits - 1:
        raise wrong(path, f"an integer of {bits} bits", value)
    return value


def number(value: Any, path: str) -> float:
    """A finite number, as a float."""
    try:
        if type(value) in (int, float) and math.isfinite(found := float(value)):
            return found
    except OverflowError:
        pass
    raise wrong(path, EXPECTED["double"], value)


def flag(value: Any, path: str) -> bool:
    """true or false."""
    if type(value) is not bool:
        raise wrong(path, EXPECTED["bool"], value)
    return value


def mapping(value: Any, path: str) -> dict[str, Any]:
    """An object."""
    if type(value) is not dict:
        raise wrong(path, EXPECTED["map"], value)
    if len(value) > MOST_ENTRIES:
        raise CodecError(path, f"more than {MOST_ENTRIES} entries")
    return value


def items(value: Any, path: str) -> list[Any]:
    """A list."""
    if type(value) is not list:
        raise wrong(path, EXPECTED["list"], value)
    if len(value) > MOST_ENTRIES:
        raise CodecError(path, f"more than {MOST_ENTRIES} entries")
    return value
