"""From the recorder's buffer to the store: in batches, beside the requests, again when it failed."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections import deque
from typing import Any

from accel.analytics import Recorder
from core.store.client import Store
from core.store.errors import StoreError
from core.store.script import Script

log = logging.getLogger("preforge.analytics")

KEY = "analytics-tyk-system-analytics"      # tyk-core 5.2
KEYS = 10                                   # of them, with enable_multiple_analytics_keys
FLUSH_SECONDS = 0.2
EXPIRE_SECONDS = 1.0                        # between looks at the lists' lifetime
PAUSE_SECONDS = 1.0                         # after a failure
SAY_SECONDS = 30.0                          # between log lines about the same trouble
IN_FLIGHT = 4

# KEYS: a list. ARGV: how many of its newest entries stay. Returns how many went.
SHORTEN = Script(
    "local n = redis.call('LLEN', KEYS[1]) - tonumber(ARGV[1]) "
    "if n > 0 then redis.call('LTRIM', KEYS[1], n, -1) end "
    "return math.max(n, 0)"
)


class RecordWriter:
    """One per worker. A batch that the store did not acknowledge is written again, so records may be there twice.

    written: records in the store; retries: batches that failed; dropped: records that were removed from a list that is
    too long, or left behind at the end.
    """

    def __init__(self, store: Store, recorder: Recorder) -> None:
        self.written = 0
        self.retries = 0
        self.dropped = 0
        self._store = store
        self._recorder = recorder
        self._multiple = False
        self._expiration = 0
        self._max_list = 1
        self._again: deque[list[bytes]] = deque()
        self._in_flight = 0
        self._paused_until = 0.0
        self._said_at = -SAY_SECONDS
        self._looked_at = 0.0
        self._touched: set[str] = set()
        self._scheduled = False
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        recorder.wake = self._wake

    def configure(self, *, multiple_keys: bool, expiration: int, max_list: int) -> None:
        """expiration: seconds that a list lives that nobody fetches, 0 for ever; max_list: records of a list."""
        self._multiple = multiple_keys
        self._expiration = expiration
        self._max_list = max_list

    def start(self) -> None:
        self._timer = self._loop.call_later(FLUSH_SECONDS, self._tick)

    def _tick(self) -> None:
        self._timer = self._loop.call_later(FLUSH_SECONDS, self._tick)
        self._send(partial=True)
        now = self._loop.time()
        if now - self._looked_at >= EXPIRE_SECONDS:
            self._looked_at = now
            self._limit_lifetime()

    def _wake(self) -> None:
        """A batch is full; it is sent after the request that filled it."""
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._woken)

    def _woken(self) -> None:
        self._scheduled = False
        self._send(partial=False)

    # -- batches -------------------------------------------------------------------------

    def _send(self, *, partial: bool) -> None:
        while self._in_flight < IN_FLIGHT and self._store.available and self._loop.time() >= self._paused_until:
            batch = self._again.popleft() if self._again else self._recorder.take(partial)
            if batch is None:
                return
            self._push(batch)

    def _push(self, batch: list[bytes]) -> None:
        key = f"{KEY}_{random.randrange(KEYS)}" if self._multiple else KEY

        def pushed(reply: Any) -> None:
            self._in_flight -= 1
            if isinstance(reply, StoreError):
                self._failed(batch, reply)
                return
            self.written += len(batch)
            self._recorder.release(batch)
            self._touched.add(key)
            if reply > self._max_list:
                self._store.send_script(self._shortened, SHORTEN, [key], [self._max_list])
            self._send(partial=False)

        self._in_flight += 1
        self._store.send(pushed, b"RPUSH", key, *batch)

    def _failed(self, batch: list[bytes], error: StoreError) -> None:
        self.retries += 1
        self._again.append(batch)
        now = self._loop.time()
        self._paused_until = now + PAUSE_SECONDS
        if now - self._said_at >= SAY_SECONDS:
            self._said_at = now
            log.error("records wait, because the store did not take them: %s", error)

    # -- lists ---------------------------------------------------------------------------

    def _shortened(self, reply: Any) -> None:
        """Nobody fetches the records: the oldest have gone."""
        if isinstance(reply, StoreError) or not reply:
            return
        self.dropped += reply
        now = self._loop.time()
        if now - self._said_at >= SAY_SECONDS:
            self._said_at = now
            log.error("nobody fetches the records: the oldest are dropped (preforge.analytics.max_list_length)")

    def _limit_lifetime(self) -> None:
        """Lists without one get a lifetime, so that they end where no Pump runs (tyk-core 6, purger)."""
        touched, self._touched = self._touched, set()
        if not self._expiration:
            return
        for key in touched:
            self._store.send(self._lifetime_of(key), b"TTL", key)

    def _lifetime_of(self, key: str) -> Any:
        def known(reply: Any) -> None:
            if isinstance(reply, StoreError):
                self._touched.add(key)
            elif reply == -1:
                self._store.send(_ignore, b"EXPIRE", key, self._expiration)

        return known

    # -- the end -------------------------------------------------------------------------

    async def close(self, grace: float) -> None:
        """Write what is left, for at most `grace` seconds; the rest is dropped, counted and logged."""
        if self._timer is not None:
            self._timer.cancel()
        end = self._loop.time() + grace
        while self._recorder.held and self._loop.time() < end:
            self._send(partial=True)
            await asyncio.sleep(0.01)
        with contextlib.suppress(StoreError):
            for key in self._touched if self._expiration else ():
                if await self._store.call(b"TTL", key) == -1:
                    await self._store.call(b"EXPIRE", key, self._expiration)
        left = self._recorder.held
        if left:
            self.dropped += left
            log.error("%d records are lost: the store did not take them before the end", left)


def _ignore(_: Any) -> None:
    """The next look at the list will tell whether it was done."""
