"""Requests and replies of the REST API, apart from the data path (tyk-core 4.1)."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from accel.http1 import Exchange

JSON = (b"Content-Type", b"application/json")
TEXT = (b"Content-Type", b"text/plain; charset=utf-8")
_ESCAPED = {char: f"\\u{ord(char):04x}" for char in "<>&\u2028\u2029"}


class Refused(Exception):
    """A request that is not carried out. Nothing was changed."""

    def __init__(self, status: int, message: str, details: list[str] | None = None) -> None:
        """message: as Tyk words it; details: what is wrong with which field."""
        super().__init__(message)
        self.status = status
        self.message = message
        self.details = details or []

    def reply(self) -> Reply:
        body: dict[str, Any] = {"status": "error", "message": self.message}
        if self.details:
            body["details"] = self.details
        return Reply(self.status, body)


@dataclass(frozen=True, slots=True)
class Request:
    """What a handler sees. params: the variable parts of the path; query: the first value of each parameter."""

    method: str
    body: bytes = b""
    params: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer. body: a JSON value, or bytes that are JSON already."""

    status: int
    body: Any

    def raw(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else go_json(self.body)


def done(message: str = "") -> Reply:
    return Reply(200, {"status": "ok", "message": message})


def modified(key: str, action: str, **more: str) -> Reply:
    """What follows a change. action: added, modified, updated or deleted."""
    return Reply(200, {"key": key, "status": "ok", "action": action, **more})


def plain(value: Any) -> Any:
    """Numbers without a fraction as Go writes them, without ".0". Raises ValueError for what is not a JSON number."""
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError("a number is too large")
        return int(value) if value.is_integer() and abs(value) < 1e21 else value
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value


def go_json(value: Any) -> bytes:
    """JSON as Go prints it: compact, `<>&` and line separators escaped, a line feed at the end."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    for char, escaped in _ESCAPED.items():
        text = text.replace(char, escaped)
    return text.encode("utf-8", "replace") + b"\n"


def reply(x: Exchange, status: int, body: Any, *headers: tuple[bytes, bytes]) -> None:
    """Answer an exchange with JSON."""
    x.answer(status, [JSON, *headers], body if isinstance(body, bytes) else go_json(body))
