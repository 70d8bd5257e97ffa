"""Where one message ends and the next begins: one per line, or with a length in front as in LSP 3.17 "Base Protocol"."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal, Protocol

Kind = Literal["newline", "length"]

JOIN = 32 << 10
"""Messages up to this size are copied into one piece."""
MOST_HEAD = 1024
"""Bytes of the header fields of one message."""
_FIELD = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([\x20-\x7e\t]*?)[ \t]*")
_BEGUN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]*(?::[\x20-\x7e\t]*)?\r?\Z")


class FramingError(ValueError):
    """The other side does not keep to the framing; nothing that follows can be read."""


class Framing(Protocol):
    """One direction has no state: wrap(). The other belongs to one stream: feed()."""

    def wrap(self, head: bytes, body: bytes, tail: bytes) -> tuple[bytes, ...]:
        """The pieces to write for the message head + body + tail."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The messages that are whole now. Raises FramingError behind those that were right."""


def framing(kind: Kind, limit: int) -> Framing:
    """For one child. limit: most bytes of a message."""
    return NewlineFraming(limit) if kind == "newline" else LengthFraming(limit)


class NewlineFraming:
    """A message is a line: JSON text without a line feed in it (it needs none), and one behind it."""

    __slots__ = ("_limit", "_parts", "_size")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._parts: list[bytes] = []
        self._size = 0

    def wrap(self, head: bytes, body: bytes, tail: bytes) -> tuple[bytes, ...]:
        """See Framing. Line feeds between the tokens of the body become spaces."""
        if b"\n" in body:
            body = body.replace(b"\n", b" ")
        return (b"%b%b%b\n" % (head, body, tail),) if len(body) <= JOIN else (head, body, tail + b"\n")

    def feed(self, data: bytes) -> Iterator[bytes]:
        """See Framing."""
        *lines, rest = data.split(b"\n")
        for line in lines:
            if self._size + len(line) > self._limit:
                raise FramingError(f"a line is longer than {self._limit} bytes")
            if self._size:
                self._parts.append(line)
                line = b"".join(self._parts)  # noqa: PLW2901 - the line, at last
                self._parts = []
                self._size = 0
            yield line
        if rest:
            self._size += len(rest)
            self._parts.append(rest)
            if self._size > self._limit:
                raise FramingError(f"a line is longer than {self._limit} bytes")


class LengthFraming:
    """Header fields, each ended by CR LF, of which Content-Length is needed; CR LF; that many bytes."""

    __slots__ = ("_buffer", "_limit", "_need")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._buffer = bytearray()
        self._need = -1

    def wrap(self, head: bytes, body: bytes, tail: bytes) -> tuple[bytes, ...]:
        """See Framing."""
        head = b"Content-Length: %d\r\n\r\n%b" % (len(head) + len(body) + len(tail), head)
        return (b"%b%b%b" % (head, body, tail),) if len(body) <= JOIN else (head, body, tail)

    def feed(self, data: bytes) -> Iterator[bytes]:
        """See Framing."""
        buffer = self._buffer
        buffer += data
        at = 0
        while True:
            if self._need < 0:
                end = buffer.find(b"\r\n\r\n", at, at + MOST_HEAD)
                if end < 0:
                    self._check_begun(bytes(buffer[at : at + MOST_HEAD]))
                    break
                self._need = self._length(bytes(buffer[at:end]))
                at = end + 4
            if len(buffer) - at < self._need:
                break
            with memoryview(buffer) as view:
                message = bytes(view[at : at + self._need])
            at += self._need
            self._need = -1
            yield message
        del buffer[:at]

    def _length(self, head: bytes) -> int:
        found = -1
        for line in head.split(b"\r\n"):
            field = _FIELD.fullmatch(line)
            if field is None:
                raise FramingError("a header field in front of a message cannot be read")
            if field[1].lower() == b"content-length":
                if found >= 0 or re.fullmatch(rb"[0-9]{1,15}", field[2]) is None:
                    raise FramingError("Content-Length is not one number")
                found = int(field[2])
        if found < 0:
            raise FramingError("a message has no Content-Length")
        if found > self._limit:
            raise FramingError(f"a message is longer than {self._limit} bytes")
        return found

    @staticmethod
    def _check_begun(head: bytes) -> None:
        """Garbage must not be waited for."""
        if len(head) >= MOST_HEAD:
            raise FramingError(f"the header fields in front of a message are longer than {MOST_HEAD} bytes")
        *lines, last = head.split(b"\r\n")
        if b"\n" in last or any(_FIELD.fullmatch(line) is None for line in lines) or not _BEGUN.match(last):
            raise FramingError("a header field in front of a message cannot be read")
