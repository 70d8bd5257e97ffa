"""The members of an object that was read from JSON; paths are put together only for errors."""

from __future__ import annotations

from binascii import Error, a2b_base64
from typing import Any

from coprocess.codec.plain import flag, integer, items, mapping
from coprocess.codec.replies import member, wrong
from coprocess.codec.schema import EXPECTED


class Members:
    """One object. What is missing or null has its zero value; each method raises CodecError for another type."""

    __slots__ = ("_path", "_values")

    def __init__(self, value: Any, path: str) -> None:
        self._values = mapping(value, path)
        self._path = path

    def path(self, name: str) -> str:
        """Where a member stands."""
        return f"{self._path}.{name}" if self._path else name

    def any_object(self, name: str) -> dict[str, Any] | None:
        """An object, None if it is missing."""
        value = self._values.get(name)
        return None if value is None else mapping(value, self.path(name))

    def inner(self, name: str) -> Members | None:
        """An object's members, None if it is missing."""
        value = self._values.get(name)
        return None if value is None else Members(value, self.path(name))

    def text(self, name: str) -> str:
        """A string."""
        value = self._values.get(name)
        if type(value) is str:
            return value
        if value is not None:
            raise wrong(self.path(name), EXPECTED["string"], value)
        return ""

    def int32(self, name: str) -> int:
        """An integer of 32 bits."""
        value = self._values.get(name)
        return 0 if value is None else integer(value, self.path(name), 32)

    def flag(self, name: str) -> bool:
        """true or false."""
        value = self._values.get(name)
        return False if value is None else flag(value, self.path(name))

    def base64(self, name: str) -> bytes:
        """Bytes in base64 with padding (RFC 4648 section 4)."""
        value = self._values.get(name)
        if not value and (value is None or value == ""):
            return b""
        if type(value) is str:
            try:
                return a2b_base64(value, strict_mode=True)
            except (Error, ValueError):
                pass
        raise wrong(self.path(name), "base64", value)

    def pairs(self, name: str) -> dict[str, str]:
        """An object of strings."""
        value = self._values.get(name)
        if value is None:
            return {}
        for key, item in mapping(value, self.path(name)).items():
            if type(item) is not str:
                raise wrong(member(self.path(name), key), EXPECTED["string"], item)
        found: dict[str, str] = value
        return found

    def texts(self, name: str) -> list[str]:
        """A list of strings."""
        found: list[str] = self.any_list(name)
        for at, item in enumerate(found):
            if type(item) is not str:
                raise wrong(f"{self.path(name)}[{at}]", EXPECTED["string"], item)
        return found

    def any_list(self, name: str) -> list[Any]:
        """A list."""
        value = self._values.get(name)
        return [] if value is None else items(value, self.path(name))
