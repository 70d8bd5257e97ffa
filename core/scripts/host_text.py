"""Texts between scripts and the world. A script's string stands for bytes: those that are no UTF-8 are the lone
surrogates U+DC80 to U+DCFF, so that binary bodies pass through unharmed (tyk-jsvm 14.1)."""

from __future__ import annotations

import json
import re
from typing import Any

import orjson

from core.config.gojson import Obj, decode_document, walk
from core.findings import Finding

_LONE = re.compile("[\ud800-\udfff]")
_NO_BYTE = re.compile("[\ud800-\udc7f\udd00-\udfff]")


def to_bytes(text: str) -> bytes:
    """The bytes that a string stands for; a surrogate that stands for none becomes U+FFFD."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return _NO_BYTE.sub("\ufffd", text).encode("utf-8", "surrogateescape")


def to_text(raw: bytes) -> str:
    """The string for bytes."""
    return raw.decode("utf-8", "surrogateescape")


def readable(text: str) -> str:
    """A text with U+FFFD for each byte that is no UTF-8, as Go writes it into JSON."""
    return text if text.isascii() else _LONE.sub("\ufffd", text)


def dumps(value: Any) -> str:
    """JSON; lone surrogates are escapes."""
    try:
        return orjson.dumps(value).decode()
    except TypeError:
        return json.dumps(value, separators=(",", ":"))


def escaped(text: str) -> bytes:
    """JSON text as bytes: lone surrogates, which UTF-8 cannot hold, as the escapes that mean the same."""
    return _LONE.sub(lambda match: f"\\u{ord(match[0]):04x}", text).encode()


def loads(text: str, schema: Obj, where: str) -> dict[str, Any]:
    """The object in JSON text by the rules of Go (tyk-jsvm 9.2). where: its name in messages. Raises ValueError with
    the first thing that is wrong."""
    value, findings = decode_document(escaped(text), where)
    _raise_first(findings)
    found: dict[str, Any] = walk(value, schema, where, "$", findings)
    _raise_first(findings)
    return found


def body_of(value: Any, where: str) -> bytes:
    """The body in a field that a schema has left as it is, since schemas keep no lone surrogates. Raises ValueError."""
    if value is None:
        return b""
    if not isinstance(value, str):
        raise ValueError(f"{where}: expected a string")
    return to_bytes(value)


def _raise_first(findings: list[Finding]) -> None:
    for finding in findings:
        if finding.severity == "error":
            raise ValueError(f"{finding.path}: {finding.message}" if finding.path else finding.message)


