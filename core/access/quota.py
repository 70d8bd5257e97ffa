"""Quotas between this node's counters and the store (tyk-core 5.5; accel/limits.pxd for the division of work)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Literal

from accel.http1 import Exchange, Grant
from accel.limits import PASS, clock_ms
from core.access.answers import Answers
from core.access.grants import Limits
from core.access.scripts import QUOTA
from core.store.client import Store
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
        quota = grant.quota
        limits: Limits = grant.data
        if quota is None:
            raise ValueError("a grant without a quota has nothing to ask for")
        added, quota.pending = quota.pending, 0
        serial = x.serial_number
        self.asked += 1

        def counted(reply: Any) -> None:
            now = clock_ms()
            if isinstance(reply, StoreError):
                quota.pending += added
                self._without_store(x, serial, grant, reply, now)
                return
            count, left = reply
            known = quota.answered(count, left, added, now)
            if not x.waits(serial):
                return
            if not known:
                x.cannot_count()
            elif quota.used > quota.max:
                self._answers.quota_exceeded(x)
            else:
                x.note_quota()
                x.resume(serial)

        self._store.send_script(counted, QUOTA, [limits.quota_key], [added + 1, _renewal(grant)])

    def take(self, grant: Grant, now: int) -> bool:
        """Count one request on this node if that is enough; False: ask with count(). now: monotonic milliseconds."""
        quota = grant.quota
        if quota is None or quota.try_take(now) != PASS:
            return False
        if quota.pending == 1:
            self.dirty.append(grant)
        return True

    async def count(self, grant: Grant) -> Verdict:
        """Count one request in the store; a count that this node knows goes on while the store is away."""
        quota = grant.quota
        if quota is None:
            raise ValueError("a grant without a quota has nothing to ask for")
        added, quota.pending = quota.pending, 0
        self.asked += 1
        try:
            count, left = await self._store.script(QUOTA, [grant.data.quota_key], [added + 1, _renewal(grant)])
        except StoreError as error:
            quota.pending += added
            if not isinstance(error, StoreAway):
                log.error("a quota cannot be counted: %s", error)
            self.alone += 1
            if quota.alone(clock_ms(), _renewal(grant) * 1000) == PASS:
                self.dirty.append(grant)
                return "pass"
            return "over" if quota.used >= quota.max and quota.ends else "away"
        if not quota.answered(count, left, added, clock_ms()):
            return "full"
        return "over" if quota.used > quota.max else "pass"

    def _without_store(self, x: Exchange, serial: int, grant: Grant, error: StoreError, now: int) -> None:
        """A key whose count this node knows goes on with that; nothing else passes."""
        if not isinstance(error, StoreAway):
            log.error("quota of API %s: %s", x.plan.api_id.decode(), error)
        quota = grant.quota
        if not x.waits(serial) or quota is None:
            return
        self.alone += 1
        said = quota.alone(now, _renewal(grant) * 1000)
        if said == PASS:
            self.dirty.append(grant)
            x.note_quota()
            x.resume(serial)
        elif quota.used >= quota.max and quota.ends:
            self._answers.quota_exceeded(x)
        else:
            self._answers.store_away(x)

    def report(self) -> None:
        """Tell the store what was counted without it."""
        if not self.dirty:
            return
        grants, self.dirty[:] = list(self.dirty), []
        for grant in grants:
            quota = grant.quota
            if quota is None or not quota.pending:
                continue
            added, quota.pending = quota.pending, 0
            self._in_flight += 1
            self.reported += added
            callback = self._reporter(grant, added)
            self._store.send_script(callback, QUOTA, [grant.data.quota_key], [added, _renewal(grant)])

    def _reporter(self, grant: Grant, added: int) -> Callable[[Any], None]:
        def counted(reply: Any) -> None:
            self._in_flight -= 1
            quota = grant.quota
            if quota is None:
                return
            if isinstance(reply, StoreError):
                quota.pending += added
                self.dirty.append(grant)
            else:
                quota.answered(reply[0], reply[1], added, clock_ms())

        return counted


def _renewal(grant: Grant) -> int:
    """Seconds of a period, 0 and below for ever."""
    return min(int(grant.data.quota_renewal), MOST_RENEWAL)
