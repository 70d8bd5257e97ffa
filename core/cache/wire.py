"""An answer as it lies in the store: base64 of its HTTP/1.1 text, "|", unix time of its end (tyk-core 2.7)."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable
from dataclasses import dataclass
from http.client import responses

Fields = list[tuple[bytes, bytes]]
# Fields that end at each hop (RFC 9110 section 7.6.1), with those that frame the text itself.
HOP = frozenset(
    b"connection keep-alive proxy-connection proxy-authenticate proxy-authorization te trailer trailers transfer-encoding"
    b" upgrade".split()
)
NO_BODY = frozenset((204, 304))
_STATUS = re.compile(rb"HTTP/[1-3]\.[0-9] ([2-5][0-9]{2})(?: [\t\x20-\x7e\x80-\xff]*)?\Z")
_FIELD = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[\t ]*([\t\x20-\x7e\x80-\xff]*?)[\t ]*\Z")
_LENGTH = re.compile(rb"[0-9]{1,15}\Z")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,12})[\t ]*(?:;[^\r\n]*)?\r\n")


class BrokenAnswer(ValueError):
    """What lies in the store is not an answer."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer. fields: without those of HOP and without Content-Length; length: what that said, -1 without (it is
    the length of the body, except in answers to HEAD)."""

    status: int
    fields: Fields
    body: bytes
    length: int


def encode(answer: Answer, ends: int) -> bytes:
    """The value for the store. ends: unix time, seconds."""
    lines = [f"HTTP/1.1 {answer.status} {responses.get(answer.status, 'status code')}".encode()]
    if answer.status not in NO_BODY and answer.length >= 0:
        lines.append(b"Content-Length: %d" % answer.length)
    lines += [name + b": " + value for name, value in answer.fields]
    text = b"\r\n".join((*lines, b"", answer.body if answer.status not in NO_BODY else b""))
    return base64.b64encode(text) + b"|%d" % ends


def plain(fields: Iterable[tuple[bytes, bytes]]) -> Fields:
    """The fields that belong to an answer and not to its way."""
    return [(name, value) for name, value in fields if name.lower() not in HOP and name.lower() != b"content-length"]


def decode(value: bytes, now: float, *, head: bool) -> Answer | None:
    """The answer in a value of the store, None when its time is over. head: it is one to HEAD, and has no body.

    Raises BrokenAnswer for what neither Tyk nor this gateway can have stored.
    """
    text, bar, ends = value.partition(b"|")
    if not bar or not _LENGTH.match(ends):
        raise BrokenAnswer("it has no end of its time")
    if int(ends) < now:
        return None
    try:
        wire = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise BrokenAnswer(f"it is not base64: {error}") from None
    top, blank, rest = wire.partition(b"\r\n\r\n")
    if not blank:
        raise BrokenAnswer("its head does not end")
    first, *lines = top.split(b"\r\n")
    status = _STATUS.match(first)
    if status is None:
        raise BrokenAnswer("its first line is not a status line of a final answer")
    fields = []
    for line in lines:
        match = _FIELD.match(line)
        if match is None:
            raise BrokenAnswer("a line of its head is no field")
        fields.append((match[1], match[2]))
    code = int(status[1])
    body, length = _framed(fields, rest, code, head)
    return Answer(code, plain(fields), body, length)


def _framed(fields: Fields, rest: bytes, status: int, head: bool) -> tuple[bytes, int]:
    """The body and its length (RFC 9112 section 6.3)."""
    said = {value for name, value in fields if name.lower() == b"content-length"}
    codings = [value.lower() for name, value in fields if name.lower() == b"transfer-encoding"]
    if len(said) > 1 or any(not _LENGTH.match(value) for value in said):
        raise BrokenAnswer("its Content-Length is none")
    length = int(said.pop()) if said else -1
    if head or status in NO_BODY:
        return b"", length
    if codings:
        if codings != [b"chunked"] or length >= 0:
            raise BrokenAnswer("its Transfer-Encoding cannot be read")
        rest = _unchunked(rest)
    elif length >= 0 and length != len(rest):
        raise BrokenAnswer(f"its body has {len(rest)} bytes and not {length}")
    return rest, len(rest)


def _unchunked(data: bytes) -> bytes:
    """A chunked body without its trailer (RFC 9112 section 7.1)."""
    parts: list[bytes] = []
    at = 0
    while True:
        line = _CHUNK.match(data, at)
        if line is None:
            raise BrokenAnswer("a chunk of its body has no size")
        size, at = int(line[1], 16), line.end()
        if size == 0:
            return b"".join(parts)
        if data[at + size : at + size + 2] != b"\r\n":
            raise BrokenAnswer("a chunk of its body is cut")
        parts.append(data[at : at + size])
        at += size + 2
