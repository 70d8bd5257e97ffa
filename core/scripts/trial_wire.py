"""A client's connection inside the process: what the gateway is sent, and what it answers."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterable
from http.client import HTTPException, HTTPResponse
from typing import Any

from core.scripts.trial_case import Message

PEER = ("127.0.0.1", 0)
_OURS = frozenset(("connection", "date", "keep-alive"))


class Pipe(asyncio.Transport):
    """The gateway's end of a connection. `written` is what it sent, `ended` is set when it closes."""

    def __init__(self, *, secure: bool) -> None:
        super().__init__({"peername": PEER, "ssl_object": self if secure else None})
        self.written = bytearray()
        self.ended = asyncio.get_running_loop().create_future()

    def write(self, data: Any) -> None:
        self.written += data

    def writelines(self, list_of_data: Iterable[Any]) -> None:
        for data in list_of_data:
            self.written += data

    def close(self) -> None:
        if not self.ended.done():
            self.ended.set_result(None)

    def abort(self) -> None:
        self.close()

    def is_closing(self) -> bool:
        return bool(self.ended.done())

    def can_write_eof(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Nothing ever waits to be written."""

    def pause_reading(self) -> None:
        """The whole request has been given at once."""

    def resume_reading(self) -> None:
        """See pause_reading."""


class _Wire:
    """What HTTPResponse needs of a socket."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, *_: Any) -> io.BytesIO:
        return io.BytesIO(self._data)


def read_response(raw: bytes, method: str) -> Message | None:
    """A response without the fields of its connection, None if there is none."""
    response = HTTPResponse(_Wire(raw), method=method)  # type: ignore[arg-type]  # it only calls makefile
    try:
        response.begin()
        body = response.read()
    except (HTTPException, OSError, ValueError):
        return None
    fields = tuple((name, _utf8(value)) for name, value in response.getheaders() if name.lower() not in _OURS)
    return Message(f"{response.status} {response.reason}".rstrip(), fields, body)


def _utf8(value: str) -> str:
    return value.encode("latin-1", "replace").decode("utf-8", "replace")
