"""When to tell the store that sessions are in use, so that they live on there."""

from __future__ import annotations

from accel.http1 import KeyCache
from accel.limits import clock_ms

PARTS = 32  # of a lifetime: one of them passes between two times, or a second, or half of a lifetime that is as short
LOOK_MS = 10_000  # for a session that is kept for ever: settings change


class Terms:
    """One per worker. It knows of as many sessions as the cache may hold; of others the store is told again."""

    __slots__ = ("_cache", "_ends")

    def __init__(self, cache: KeyCache) -> None:
        self._cache = cache
        self._ends: dict[bytes, int] = {}

    def over(self, name: bytes) -> bool:
        """Whether it is time to tell the store of the session with this name."""
        end = self._ends.get(name)
        return end is None or clock_ms() >= end

    def begin(self, name: bytes, lifetime: int) -> None:
        """The store was told. lifetime: seconds that the session now has, 0 and below for ever."""
        if len(self._ends) >= self._cache.most:
            self._ends.clear()
        self._ends[name] = clock_ms() + (max(min(1000, lifetime * 500), lifetime * 1000 // PARTS) if lifetime > 0 else LOOK_MS)
