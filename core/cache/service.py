"""The response cache of one worker: its store, its bounds and what it counts."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from accel import shm
from accel.http1 import CopyBounds
from core.obs.caches import Outcome
from core.store.client import Store
from core.store.errors import StoreError

log = logging.getLogger("preforge.cache")

MOST_SECONDS = 10 * 365 * 86400     # an upstream may say any number
HEAD_BYTES = 256 * 1024             # more than the head of a stored answer has, as base64
QUIET = 10.0                        # seconds between two warnings


class ResponseCache:
    """One per worker, on its loop. A store that is away makes every request a miss: the cache restricts nothing."""

    def __init__(self, store: Store, config: Any) -> None:
        self.store = store
        self.bounds = CopyBounds(0, 0)
        self.most = 0
        self.pattern_bytes = 0
        self._counts = dict.fromkeys(Outcome, 0)
        self._warned_at = float("-inf")
        self.configure(config)

    def configure(self, config: Any) -> None:
        """Take another configuration."""
        ours = config.preforge.cache
        self.bounds.configure(max(0, ours.max_body), max(0, ours.max_copied))
        self.most = self.bounds.each // 3 * 4 + HEAD_BYTES
        self.pattern_bytes = max(0, ours.max_pattern_body)

    def get(self, key: bytes, done: Callable[[bytes | StoreError], None]) -> None:
        """What lies under a name, b"" for nothing; `done` is called later, exactly once. More than `most` bytes mean that
        there are still more, and that they are not wanted."""
        self.store.send(done, b"GETRANGE", key, 0, self.most)

    def put(self, key: bytes, value: bytes, seconds: int, done: Callable[[Any], None]) -> None:
        """Keep a value for so many seconds; `done` gets a StoreError if that failed."""
        self.store.send(done, b"SET", key, value, b"EX", min(seconds, MOST_SECONDS))

    def remove(self, key: bytes) -> None:
        """Forget what lies under a name."""
        self.store.send(_ignore, b"DEL", key)

    def count(self, outcome: Outcome) -> None:
        """Count for the worker; see core.obs.caches for the APIs."""
        self._counts[outcome] += 1

    def warn(self, text: str, *more: object) -> None:
        """Log what went wrong, not for every request."""
        now = time.monotonic()
        if now - self._warned_at > QUIET:
            self._warned_at = now
            log.warning(text, *more)

    def counters(self) -> dict[int, int]:
        """Word of the shared counters -> what this worker has counted."""
        return {
            shm.G_CACHE_HITS: self._counts[Outcome.HIT],
            shm.G_CACHE_MISSES: self._counts[Outcome.MISS],
            shm.G_CACHE_STORED: self._counts[Outcome.STORED],
            shm.G_CACHE_FAILED: self._counts[Outcome.FAILED],
            shm.B_CACHE_BODY: self._counts[Outcome.TOO_LARGE],
        }


def _ignore(reply: Any) -> None:
    """For commands whose failure changes nothing."""
