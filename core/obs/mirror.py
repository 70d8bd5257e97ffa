"""Counts that a worker keeps in Python, carried over to the counters that all workers share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from accel.shm import Region

SECONDS = 0.25

Read = Callable[[], Mapping[int, int]]


class Mirror:
    """Four times a second adds what has been counted since to the words of a region, and sets the gauges."""

    def __init__(self, region: Region, counters: Read, gauges: Read) -> None:
        """counters, gauges: word -> value now; a counter only grows."""
        self._region = region
        self._counters = counters
        self._gauges = gauges
        self._last: dict[int, int] = {}
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(SECONDS, self._tick)

    def _tick(self) -> None:
        self.copy()
        self.start()

    def copy(self) -> None:
        """Carry over now."""
        for word, value in self._counters().items():
            more = value - self._last.get(word, 0)
            if more > 0:
                self._region.add(word, more)
                self._last[word] = value
        for word, value in self._gauges().items():
            self._region.set(word, value)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self.copy()
