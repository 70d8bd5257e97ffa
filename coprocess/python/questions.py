"""What a plugin asks of the gateway through TykGateway, with its bounds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from coprocess.python.host import wire
from coprocess.python.rate import Rate

if TYPE_CHECKING:
    from coprocess.python.settings import PythonServices, PythonSettings

LEVELS = {"debug", "info", "warning", "error"}
MOST_LOG_BYTES = 16384


class Garbage(Exception):
    """A frame that no host program sends."""


class Questions:
    """The requests of one host process; `answer` sends a frame to it."""

    def __init__(
        self,
        settings: PythonSettings,
        services: PythonServices,
        log: Callable[[str, str], None],
        counts: dict[str, int],
        answer: Callable[[int, int, bytes], None],
    ) -> None:
        self._settings = settings
        self._services = services
        self._log = log
        self._counts = counts
        self._answer = answer
        self._rate = Rate(settings.questions_per_second)
        self._notices = Rate(settings.notices_per_second)
        self._tasks: set[asyncio.Task[None]] = set()

    def close(self) -> None:
        """The process is gone."""
        for task in self._tasks:
            task.cancel()

    def frame(self, kind: int, ident: int, payload: bytes) -> None:
        """Handle LOG, STORE, GET or TRIGGER. Raises Garbage."""
        if kind == wire.LOG:
            level, _, text = payload[:MOST_LOG_BYTES].partition(b"\n")
            self.notice(level.decode("ascii", "replace"), text.decode("utf-8", "replace"))
        elif kind == wire.TRIGGER:
            self._trigger(payload)
        elif kind in {wire.STORE, wire.GET}:
            self._ask(kind, ident, payload)
        else:
            raise Garbage(f"frame of kind {kind}")

    def notice(self, level: str, text: str) -> None:
        """Something for the log, within the rate."""
        if self._notices.take():
            self._log(level if level in LEVELS else "info", text)
        else:
            self._counts["notices_dropped"] += 1

    def _trigger(self, payload: bytes) -> None:
        name, text = _split(payload, wire.TRIGGER_HEAD.size, *wire.TRIGGER_HEAD.unpack_from(_long(payload, 4)))
        if len(name) > self._settings.max_key or len(text) > self._settings.max_value:
            self._counts["notices_dropped"] += 1
            self.notice("error", f"trigger_event: {self._too_long()}")
        elif self._notices.take():
            try:
                self._services.trigger_event(name.decode(), text.decode())
            except Exception as error:
                self.notice("error", f"trigger_event: {error}")
        else:
            self._counts["notices_dropped"] += 1

    def _ask(self, kind: int, ident: int, payload: bytes) -> None:
        self._counts["questions"] += 1
        ttl, key, value = 0, payload, b""
        if kind == wire.STORE:
            ttl, length = wire.STORE_HEAD.unpack_from(_long(payload, wire.STORE_HEAD.size))
            key, value = _split(payload, wire.STORE_HEAD.size, length)
        if len(key) > self._settings.max_key or len(value) > self._settings.max_value:
            self._refuse(ident, self._too_long())
        elif not self._rate.take():
            self._refuse(ident, f"more than {self._settings.questions_per_second} store_data() and get_data() in a second")
        elif len(self._tasks) >= self._settings.questions_open:
            self._refuse(ident, f"more than {self._settings.questions_open} store_data() and get_data() without an answer")
        else:
            task = asyncio.get_running_loop().create_task(self._serve(kind, ident, key, value, ttl))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _serve(self, kind: int, ident: int, key: bytes, value: bytes, ttl: int) -> None:
        try:
            found = b""
            if kind == wire.STORE:
                await self._services.store_data(key.decode(), value, ttl)
            else:
                found = await self._services.get_data(key.decode())
        except Exception as error:
            self._refuse(ident, f"{type(error).__name__}: {error}")
        else:
            if len(found) > self._settings.max_value:
                self._refuse(ident, f"what is stored there has {len(found)} bytes; {self._too_long()}")
            else:
                self._answer(wire.ANSWER, ident, b"\x01" + found)

    def _refuse(self, ident: int, reason: str) -> None:
        self._counts["questions_refused"] += 1
        self._answer(wire.ANSWER, ident, b"\x00" + reason.encode("utf-8", "replace")[:1024])

    def _too_long(self) -> str:
        return f"a key has at most {self._settings.max_key} bytes, a value at most {self._settings.max_value}"


def _long(payload: bytes, least: int) -> bytes:
    if len(payload) < least:
        raise Garbage(f"a frame of {len(payload)} bytes")
    return payload


def _split(payload: bytes, start: int, length: int) -> tuple[bytes, bytes]:
    if start + length > len(payload):
        raise Garbage("a length beyond its frame")
    return payload[start : start + length], payload[start + length :]
