"""JSON values of a message with strict checks: what is read from a plugin's reply, and what a session is written as."""

from __future__ import annotations

import math
from binascii import Error, a2b_base64
from collections.abc import Callable
from typing import Any, TypeVar

from coprocess.codec.replies import MOST_ENTRIES, CodecError, member, wrong
from coprocess.codec.schema import EXPECTED

T = TypeVar("T")
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


def base64(value: Any, path: str) -> bytes:
    """Bytes in base64 with padding (RFC 4648 section 4)."""
    if type(value) is not str:
        raise wrong(path, "base64", value)
    try:
        return a2b_base64(value, strict_mode=True) if value else b""
    except (Error, ValueError):
        raise wrong(path, "base64", value) from None


def texts(value: Any, path: str) -> list[str]:
    """A list of strings."""
    return [text(item, f"{path}[{at}]") for at, item in enumerate(items(value, path))]


def pairs(value: Any, path: str) -> dict[str, str]:
    """An object of strings."""
    found = mapping(value, path)
    for key, item in found.items():
        if type(item) is not str:
            raise wrong(member(path, key), EXPECTED["string"], item)
    return found


def pair_list(value: Any, path: str) -> list[tuple[str, str]]:
    """The same as a list."""
    return list(pairs(value, path).items())


class Members:
    """The members of one object; what is missing or null has its zero value."""

    __slots__ = ("_path", "_values")

    def __init__(self, value: Any, path: str) -> None:
        self._values = mapping(value, path)
        self._path = path

    def get(self, name: str, read: Callable[[Any, str], T], default: Callable[[], T]) -> T:
        """One member, read with one of the functions above. default: makes the zero value."""
        found = self.find(name, read)
        return default() if found is None else found

    def find(self, name: str, read: Callable[[Any, str], T]) -> T | None:
        """The same, None where it is missing."""
        value = self._values.get(name)
        return None if value is None else read(value, f"{self._path}.{name}" if self._path else name)
