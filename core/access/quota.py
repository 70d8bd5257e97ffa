"""Quotas between this node's counters and the store (tyk-core 5.5; accel/limits.pxd for the division of work)."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Callable
from typing import Any, Literal

from accel.http1 import Exchange, Grant
from accel.limits import BLOCKED, PASS, clock_ms
from core.access.answers import Answers
from core.access.scripts import QUOTA
from core.store.client import Store
from core.store.connection import settle
from core.store.errors import StoreAway, StoreError

log = logging.getLogger("preforge.access")

MOST_RENEWAL = 10**10       # seconds: centuries, and still a time to live that the store takes
Verdict = Literal["pass", "over", "full", "away"]   # full: no counter is free; away: the store does not say


class QuotaKeeper:
    """Asks the store for the requests that need it, and reports the others to it in batches."""

    def __init__(self, store: Store, answers: Answers, interval: float) -> None:
        """interval: seconds between reports."""
        self.dirty: list[Grant] = []
        self.asked = 0
        self.reported = 0
        self.alone = 0
        self._store = store
        self._answers = answers
        self._interval = interval
        self._timer: asyncio.TimerHandle | None = None
        self._in_flight = 0

    def start(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._interval, self._tick)

    def _tick(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._interval, self._tick)
        self.report()

    async def close(self, grace: float) -> None:
        """Report what is left, for at most `grace` seconds."""
        if self._timer is not None:
            self._timer.cancel()
        end = asyncio.get_running_loop().time() + grace
        self.report()
        while self._in_flight and asyncio.get_running_loop().time() < end:
            await asyncio.sleep(0.01)

    def ask(self, x: Exchange, grant: Grant) -> None:
        """Count one request in the store; later let it go on, or answer it."""
        serial = x.serial_number

        def decided(verdict: Verdict) -> None:
            if not x.waits(serial):
                return
            if verdict == "pass":
                x.note_quota()
                x.resume(serial)
            elif verdict == "over":
                self._answers.quota_exceeded(x)
            elif verdict == "full":
                x.cannot_count()
            else:
                self._answers.store_away(x)

        self._ask(grant, decided)

    def take(self, grant: Grant, now: int) -> bool:
        """Count one request on this node if that is enough; False: ask with count(). now: monotonic milliseconds."""
        quota = grant.quota
        if quota is None or quota.try_take(now) != PASS:
            return False
        self._list(grant)
        return True

    async def count(self, grant: Grant) -> Verdict:
        """Count one request in the store; a count that this node knows goes on while the store is away."""
        found: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()
        self._ask(grant, functools.partial(settle, found))
        return await found

    def _ask(self, grant: Grant, decided: Callable[[Verdict], None]) -> None:
        """decided: called later, once, also when the request has ended meanwhile."""
        quota = grant.quota
        if quota is None:
            raise ValueError("a grant without a quota has nothing to ask for")
        added, period = quota.hand_over(clock_ms())
        self.asked += 1

        def counted(reply: Any) -> None:
            if isinstance(reply, StoreError):
                quota.give_back(added, period)
                decided(self._without_store(grant, reply))
            elif not quota.answered(reply[0], reply[1], added, clock_ms(), period):
                decided("full")
            else:
                decided("over" if quota.used > quota.max else "pass")

        self._store.send_script(counted, QUOTA, [grant.data.quota_key], [added + 1, _renewal(grant)])

    def _without_store(self, grant: Grant, error: StoreError) -> Verdict:
        """A key whose count this node knows goes on with that; nothing else passes."""
        if not isinstance(error, StoreAway):
            log.error("a quota cannot be counted: %s", error)
        quota = grant.quota
        if quota is None:
            return "away"
        self.alone += 1
        said = quota.alone(clock_ms(), _renewal(grant) * 1000)
        self._list(grant)
        if said == PASS:
            return "pass"
        return "over" if said == BLOCKED else "away"

    def _list(self, grant: Grant) -> None:
        """Report what this grant has counted with the next batch."""
        quota = grant.quota
        if quota is not None and quota.pending and not quota.listed:
            quota.listed = True
            self.dirty.append(grant)

    def report(self) -> None:
        """Tell the store what was counted without it."""
        if not self.dirty:
            return
        now = clock_ms()
        grants, self.dirty[:] = list(self.dirty), []
        for grant in grants:
            quota = grant.quota
            if quota is None:
                continue
            quota.listed = False
            added, period = quota.hand_over(now)
            if not added:
                continue
            self._in_flight += 1
            self.reported += added
            callback = self._reporter(grant, added, period)
            self._store.send_script(callback, QUOTA, [grant.data.quota_key], [added, _renewal(grant)])

    def _reporter(self, grant: Grant, added: int, period: int) -> Callable[[Any], None]:
        def counted(reply: Any) -> None:
            self._in_flight -= 1
            quota = grant.quota
            if quota is None:
                return
            if isinstance(reply, StoreError):
                quota.give_back(added, period)
                self._list(grant)
            else:
                quota.answered(reply[0], reply[1], added, clock_ms(), period)

        return counted


def _renewal(grant: Grant) -> int:
    """Seconds of a period, 0 and below for ever."""
    return min(int(grant.data.quota_renewal), MOST_RENEWAL)
