"""Rate limits that the store counts for all nodes (tyk-core 5.6), and waiting for a place (throttling)."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from accel.http1 import Exchange, note_rate_of
from accel.limits import PASS, RateWindow, clock_ms
from core.access.answers import Answers
from core.access.scripts import FIXED, ROLLING
from core.store.client import Store
from core.store.errors import StoreAway, StoreError

log = logging.getLogger("preforge.access")

Algorithm = Literal["local", "fixed", "sentinel", "rolling"]


@dataclass(frozen=True, slots=True)
class RateSettings:
    """always: the algorithm of every limit, "local" if they are counted on the node; shared: what a small limit uses
    when several nodes share it; threshold: requests per second and node up to which a limit is small."""

    always: Algorithm
    shared: Algorithm
    threshold: float

    @classmethod
    def from_config(cls, config: Any) -> RateSettings:
        """In Tyk's order: fixed window, sentinel, rolling, else per node."""
        always: Algorithm = "local"
        if config.enable_fixed_window_rate_limiter:
            always = "fixed"
        elif config.enable_sentinel_rate_limiter:
            always = "sentinel"
        elif config.enable_redis_rolling_limiter:
            always = "rolling"
        shared: Algorithm = "sentinel" if config.drl_enable_sentinel_rate_limiter else "rolling"
        return cls(always, shared, config.drl_threshold or 5.0)


class RateKeeper:
    """Answers for the RateLimit steps of one worker."""

    def __init__(self, store: Store, answers: Answers, settings: RateSettings) -> None:
        self.asked = 0
        self.waited = 0
        self.settings = settings
        self._store = store
        self._answers = answers

    # -- the node's own count is over ------------------------------------------------------

    def blocked(self, x: Exchange, window: RateWindow) -> Any:
        """A key's limit is reached: try again later if the key may, else answer."""
        grant = x.grant
        if grant is not None and grant.throttle_retries > 0 and grant.throttle_interval > 0:
            return self._again(x, window, grant.throttle_retries, grant.throttle_interval)
        self._answers.rate_limited(x)
        return None

    def api_blocked(self, x: Exchange, window: RateWindow) -> None:
        """An API's limit is reached."""
        self._answers.api_rate_limited(x)

    async def _again(self, x: Exchange, window: RateWindow, retries: int, interval: float) -> None:
        self.waited += 1
        for _ in range(retries):
            await asyncio.sleep(interval)
            if x.answered or window.take(clock_ms()) == PASS:
                return
        self._answers.rate_limited(x)

    def in_store(self, window: RateWindow, nodes: int) -> bool:
        """Whether a limit is counted in the store: always, or because several nodes share it and it is small."""
        settings = self.settings
        small = window.rate * 1000 <= settings.threshold * nodes * window.per
        return settings.always != "local" or (nodes > 1 and small)

    async def count(self, window: RateWindow) -> bool:
        """Count one request in the store; False: over the rate. Without the store this node counts by itself."""
        found: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self.asked += 1

        def decided(passes: bool, left: int, reset_ms: int) -> None:
            if not found.done():
                found.set_result(passes)

        def failed(error: StoreError) -> None:
            if not isinstance(error, StoreAway):
                log.error("a rate cannot be counted: %s", error)
            if not found.done():
                found.set_result(window.take(clock_ms()) == PASS)

        getattr(self, f"_{self._algorithm()}")(window, decided, failed)
        return await found

    def _algorithm(self) -> Algorithm:
        return self.settings.always if self.settings.always != "local" else self.settings.shared

    # -- counted in the store ----------------------------------------------------------------

    def remote(self, x: Exchange, window: RateWindow) -> None:
        """Count a key's request in the store; later let it go on, or answer."""
        self._remote(x, window, self._answers.rate_limited)

    def api_remote(self, x: Exchange, window: RateWindow) -> None:
        """The same for a limit of a whole API."""
        self._remote(x, window, self._answers.api_rate_limited)

    def _remote(self, x: Exchange, window: RateWindow, refuse: Callable[[Exchange], None]) -> None:
        serial = x.serial_number
        self.asked += 1

        def decided(passes: bool, left: int, reset_ms: int) -> None:
            if not x.waits(serial):
                return
            note_rate_of(x, window, left, reset_ms)
            if passes:
                x.resume(serial)
                return
            grant = x.grant
            if refuse == self._answers.rate_limited and grant and grant.throttle_retries > 0 < grant.throttle_interval:
                task = asyncio.get_running_loop().create_task(self._poll(x, window, serial))
                task.add_done_callback(lambda done: done.exception())
            else:
                refuse(x)

        def failed(error: StoreError) -> None:
            if x.waits(serial):
                self._without_store(x, window, serial, error, refuse)

        getattr(self, f"_{self._algorithm()}")(window, decided, failed)

    async def _poll(self, x: Exchange, window: RateWindow, serial: int) -> None:
        """Throttling with a limit in the store: take a place when there is one."""
        grant = x.grant
        self.waited += 1
        for _ in range(grant.throttle_retries if grant is not None else 0):
            await asyncio.sleep(grant.throttle_interval if grant is not None else 1)
            if not x.waits(serial):
                return
            try:
                passes = await self._place(window)
            except StoreError:
                break
            if passes:
                x.resume(serial)
                return
        if x.waits(serial):
            self._answers.rate_limited(x)

    async def _place(self, window: RateWindow) -> bool:
        """Count a request that waits, if there is room: all that wait look at once, and each must see the others."""
        most = _most(window)
        if self._algorithm() == "fixed":
            key, _ = _aligned(window)
            return bool(await self._store.script(FIXED, [key], [window.per]) <= most)
        return bool(await self._store.script(ROLLING, [str(window.store_key)], [*_window(window), most]) < most)

    def _without_store(
        self, x: Exchange, window: RateWindow, serial: int, error: StoreError, refuse: Callable[[Exchange], None]
    ) -> None:
        """The store is away: the node counts by itself meanwhile, so the limit still holds here."""
        if not isinstance(error, StoreAway):
            log.error("rate limit of API %s: %s", x.plan.api_id.decode(), error)
        if window.take(clock_ms()) == PASS:
            x.resume(serial)
        else:
            refuse(x)

    def _rolling(
        self, window: RateWindow, decided: Callable[[bool, int, int], None], failed: Callable[[StoreError], None]
    ) -> None:
        rate, per = _most(window), window.per

        def counted(reply: Any) -> None:
            if isinstance(reply, StoreError):
                failed(reply)
            else:
                decided(reply <= rate - 1, rate - reply - 1, clock_ms() + per)

        self._store.send_script(counted, ROLLING, [str(window.store_key)], [*_window(window), -1])

    def _sentinel(
        self, window: RateWindow, decided: Callable[[bool, int, int], None], failed: Callable[[StoreError], None]
    ) -> None:
        mark = f"{window.store_key}.BLOCKED"
        per = window.per

        def seen(reply: Any) -> None:
            if isinstance(reply, StoreError):
                failed(reply)
            else:
                decided(reply <= -2, 0, clock_ms() + per)

        self._store.send(seen, "PTTL", mark)
        # Off the request's way, as in Tyk: one or more requests pass before the mark is set. Log and mark have slots of
        # their own in a cluster, so no script may touch both.
        arguments = [*_window(window), -1]
        overflows = _most(window) - 2

        def logged(reply: Any) -> None:
            if not isinstance(reply, StoreError) and reply > overflows:
                self._store.send(_ignore, "SET", mark, 1, "EX", arguments[2])

        self._store.send_script(logged, ROLLING, [str(window.store_key)], arguments)

    def _fixed(
        self, window: RateWindow, decided: Callable[[bool, int, int], None], failed: Callable[[StoreError], None]
    ) -> None:
        key, left_ms = _aligned(window)
        rate = _most(window)

        def counted(reply: Any) -> None:
            if isinstance(reply, StoreError):
                failed(reply)
            else:
                decided(reply <= rate, rate - reply, clock_ms() + left_ms)

        self._store.send_script(counted, FIXED, [key], [window.per])


def _ignore(_: Any) -> None:
    """The mark of a sentinel decides about later requests; an error shows in the store's counters."""


def _aligned(window: RateWindow) -> tuple[str, int]:
    """The counter of the fixed window that runs now, and the milliseconds until its end."""
    now = int(time.time() * 1000)
    number = now // window.per
    return f"{window.store_key}-{number}", (number + 1) * window.per - now


def _most(window: RateWindow) -> int:
    """Requests in a window: at least one, however small the rate is (tyk-core 5.6, min token value)."""
    return max(1, int(window.rate))


def _window(window: RateWindow) -> list[int]:
    """Now, the length in nanoseconds and in seconds, and how many entries decide."""
    return [time.time_ns(), window.per * 1_000_000, max(1, -(-window.per // 1000)), max(2, _most(window) * 2)]
