"""Numbers about one API over a sliding window, from the counters that all workers share (tyk-core 8.2)."""

from __future__ import annotations

import asyncio
from collections import deque

from accel import shm
from accel.shm import SharedCounters

DEFAULT_WINDOW = 60
SAMPLES = 10        # in a window; the numbers cover up to a tenth more than it
WORDS = (shm.A_THROTTLED, shm.A_OVER_QUOTA, shm.A_KEY_FAILURES, shm.A_UPSTREAM_COUNT, shm.A_UPSTREAM_US)
NOTHING = (0,) * len(WORDS)

Sample = tuple[float, dict[int, tuple[int, ...]]]


class HealthSampler:
    """Keeps what the counters were, some times in each window; nothing while it is off."""

    def __init__(self, counters: SharedCounters) -> None:
        self._counters = counters
        self._window = 0
        self._samples: deque[Sample] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()

    def configure(self, enabled: bool, window: int) -> None:
        """window: seconds that the numbers cover, 0 for DEFAULT_WINDOW."""
        wanted = (window if window > 0 else DEFAULT_WINDOW) if enabled else 0
        if wanted == self._window:
            return
        self.close()
        self._window = wanted
        if wanted:
            self._tick()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._samples.clear()

    def _tick(self) -> None:
        self._timer = self._loop.call_later(self._window / SAMPLES, self._tick)
        now = self._loop.time()
        before = self._samples[-1][1] if self._samples else {}
        self._samples.append((now, self._read(before)))
        while len(self._samples) > 1 and now - self._samples[1][0] >= self._window:
            self._samples.popleft()

    def _read(self, before: dict[int, tuple[int, ...]]) -> dict[int, tuple[int, ...]]:
        """Row -> WORDS; a row that did not change shares its numbers with the sample before."""
        found = {}
        for row, words in self._counters.row_totals().items():
            picked = tuple(words[word] for word in WORDS)
            known = before.get(row)
            found[row] = known if known == picked else picked
        return found

    def numbers(self, api_id: str) -> dict[str, float] | None:
        """Requests per second and ms, under the names of Tyk's answer; None while nothing is kept."""
        if not self._window:
            return None
        now = self._loop.time()
        began, first = self._samples[0]
        row = self._counters.row_for(api_id)
        latest = self._counters.row_totals().get(row)
        words = NOTHING if latest is None else tuple(latest[word] for word in WORDS)
        more = [new - old for new, old in zip(words, first.get(row, NOTHING), strict=True)]
        throttled, over_quota, failures, served, spent = more
        seconds = max(self._window, now - began)
        return {
            "throttle_reqests_per_second": round(throttled / seconds, 2),     # as Tyk spells it
            "quota_violations_per_second": round(over_quota / seconds, 2),
            "key_failures_per_second": round(failures / seconds, 2),
            "average_upstream_latency": round(spent / served / 1000, 2) if served else 0.0,
            "average_requests_per_second": round(served / seconds, 2),
        }
