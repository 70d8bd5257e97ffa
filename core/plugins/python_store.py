"""What Python plugins ask of the gateway: the store, and system events (tyk-plugins 5.4)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from core.store.client import Store

PREFIX = b"coprocess-data:"


class PythonStore:
    """One per worker. Its errors are those of the store."""

    def __init__(self, store: Store, fire: Callable[[str, Mapping[str, Any]], None]) -> None:
        """fire: tells the gateway's own handlers of an event."""
        self._store = store
        self._fire = fire

    async def store_data(self, key: str, value: bytes, ttl: int) -> None:
        """Keep a value for `ttl` seconds, 0 or less: without end."""
        expiry = ("EX", ttl) if ttl > 0 else ()
        await self._store.call("SET", PREFIX + key.encode("utf-8", "surrogateescape"), value, *expiry)

    async def get_data(self, key: str) -> bytes:
        """The value, empty if there is none."""
        found: bytes | None = await self._store.call("GET", PREFIX + key.encode("utf-8", "surrogateescape"))
        return found or b""

    def trigger_event(self, name: str, payload: str) -> None:
        """Fire a system event whose message is the payload."""
        self._fire(name, {"Message": payload, "OriginatingRequest": ""})
