"""Quotas between this node's counters and the store (tyk-core 5.5; accel/limits for the division of work)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from accel.http1 import Exchange, Grant
from accel.limits import BLOCKED, PASS, LimitTable, QuotaWindow, clock_ms
from core.access.answers import Answers
from core.access.scripts import QUOTA
from core.store.client import Store
from core.store.errors import StoreAway, StoreError

log = logging.getLogger("preforge.access")

LONGEST_RENEWAL = 10**9     # seconds; what the store and the counters can hold
PATIENCE = 0.002            # seconds between two looks at a flight of another worker
SPARE_MS = 2_000            # a flight is given up so long after its command has

Verdict = Literal["pass", "over", "full", "away"]   # full: no counter is free; away: the store does not say
Done = Callable[[Verdict], None]


@dataclass(slots=True)
class _Queue:
    """Requests of this worker that wait for one quota."""

    grant: Grant
    quota: QuotaWindow
    waiting: list[tuple[QuotaWindow, Done]] = field(default_factory=list)


class QuotaKeeper:
    """Speaks to the store about the quotas of one worker: for requests that cannot be decided here, and to report."""

    def __init__(
        self, store: Store, table: LimitTable, answers: Answers, interval: float, *, shared: bool, timeout: float
    ) -> None:
        """interval: seconds between reports; shared: other nodes may use the store; timeout: of its commands, seconds."""
        self.dirty: list[Grant] = []
        self.asked = 0
        self.reported = 0
        self.alone = 0
        self._store = store
        self._table = table
        self._answers = answers
        self._interval = interval
        self._shared = shared
        self._longest_ms = int(timeout * 1000) + SPARE_MS
        self._timer: asyncio.TimerHandle | None = None
        self._queues: dict[tuple[str, int], _Queue] = {}
        self._in_flight = 0

    def window(self, quota_key: str, most: int) -> QuotaWindow:
        """The counter of a quota; quota_key: its name in the store."""
        return QuotaWindow(self._table, f"quota:{quota_key}".encode(), most, not self._shared)

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
        while (self._in_flight or self.dirty) and asyncio.get_running_loop().time() < end:
            await asyncio.sleep(0.01)
            self.report()

    def unreported(self, quota_key: str) -> int:
        """Requests that this node has let through and the store does not count yet."""
        return self.window(quota_key, 1).unacked()

    @asynccontextmanager
    async def resetting(self, quota_key: str) -> AsyncIterator[None]:
        """Forget what this node counts, while the count is removed from the store: nobody reports it meanwhile, because a
        report that came to the store after the removal would begin the new count."""
        window = self.window(quota_key, 1)
        ticket: int | None = None
        while window.known() and ticket is None:
            begun = window.begin(clock_ms(), self._longest_ms)
            if begun is None:
                await asyncio.sleep(PATIENCE)
            else:
                ticket = begun[1]
        try:
            yield
        except BaseException:
            if ticket is not None:
                window.land(ticket, 0, -1, 0, clock_ms())
            raise
        window.reset()

    # -- requests ------------------------------------------------------------------------

    def ask(self, x: Exchange, grant: Grant) -> None:
        """Count one request with the help of the store; later let it go on, or answer it."""
        serial = x.serial_number

        def done(said: Verdict) -> None:
            if not x.waits(serial):
                return
            if said == "pass":
                x.note_quota()
                x.resume(serial)
            elif said == "over":
                self._answers.quota_exceeded(x)
            elif said == "full":
                x.cannot_count()
            else:
                self._answers.store_away(x)

        self._enqueue(grant, done)

    def take(self, grant: Grant, now: int) -> Verdict | None:
        """Count one request on this node if that is enough; None: ask with count(). now: monotonic milliseconds."""
        quota = grant.quota
        if quota is None:
            return "pass"
        said = quota.try_take(now)
        if said == PASS:
            self._list(grant, quota)
            return "pass"
        return "over" if said == BLOCKED else None

    async def count(self, grant: Grant) -> Verdict:
        """Count one request with the help of the store; a count that this node knows goes on while the store is away."""
        future: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()

        def done(said: Verdict) -> None:
            if not future.done():
                future.set_result(said)

        self._enqueue(grant, done)
        return await future

    def _enqueue(self, grant: Grant, done: Done) -> None:
        quota = grant.quota
        if quota is None:
            raise ValueError("a grant without a quota has nothing to ask for")
        self.asked += 1
        name = grant.data.quota_key, quota.max
        queue = self._queues.get(name)
        if queue is not None:
            queue.waiting.append((quota, done))
            return
        self._queues[name] = _Queue(grant, quota, [(quota, done)])
        self._fly(name)

    def _fly(self, name: tuple[str, int]) -> None:
        """Speak to the store for all that wait, once nobody else does."""
        queue = self._queues[name]
        now = clock_ms()
        self._decide(queue, now)
        if not queue.waiting:
            del self._queues[name]
            return
        try:
            begun = queue.quota.begin(now, self._longest_ms)
        except MemoryError:
            self._all(self._queues.pop(name), "full")
            return
        if begun is None:
            asyncio.get_running_loop().call_later(PATIENCE, self._fly, name)
            return
        added, ticket = begun
        # A node that is alone decides by itself, once it knows what the store counts.
        wanted = len(queue.waiting) if self._shared else 0

        def landed(reply: Any) -> None:
            at = clock_ms()
            if isinstance(reply, StoreError):
                queue.quota.land(ticket, added, -1, 0, at)
                self._without_store(self._queues.pop(name), reply, at)
                return
            count, left, granted = reply
            queue.quota.land(ticket, added, count, left, at)
            # An answered request may be followed by another one at once, which joins the queue.
            asked, queue.waiting = queue.waiting[:wanted], queue.waiting[wanted:]
            for number, (quota, done) in enumerate(asked):
                quota.used, quota.ends = min(count, count - granted + number + 1), queue.quota.ends
                done("pass" if number < granted else "over")
            self._fly(name)

        keys, arguments = [name[0]], [added, wanted, queue.quota.max, _renewal(queue.grant)]
        self._store.send_script(landed, QUOTA, keys, arguments)

    def _decide(self, queue: _Queue, now: int) -> None:
        """Answer those of a queue that need not ask any more."""
        still: list[tuple[QuotaWindow, Done]] = []
        waiting, queue.waiting = queue.waiting, []
        for quota, done in waiting:
            said = quota.try_take(now)
            if said == PASS:
                self._list(queue.grant, queue.quota)
                done("pass")
            elif said == BLOCKED:
                done("over")
            else:
                still.append((quota, done))
        queue.waiting = still + queue.waiting

    @staticmethod
    def _all(queue: _Queue, said: Verdict) -> None:
        for _, done in queue.waiting:
            done(said)

    def _without_store(self, queue: _Queue, error: StoreError, now: int) -> None:
        """A key whose count this node knows goes on with that; nothing else passes."""
        if not isinstance(error, StoreAway):
            log.error("quota %s: %s", queue.grant.data.quota_key, error)
        renewal_ms = _renewal(queue.grant) * 1000
        for quota, done in queue.waiting:
            self.alone += 1
            said = quota.away(now, renewal_ms)
            if said == PASS:
                self._list(queue.grant, queue.quota)
                done("pass")
            else:
                done("over" if said == BLOCKED else "away")

    # -- reports -------------------------------------------------------------------------

    def _list(self, grant: Grant, quota: QuotaWindow) -> None:
        if not quota.listed:
            quota.listed = True
            self.dirty.append(grant)

    def report(self) -> None:
        """Tell the store what was counted without it."""
        if not self.dirty:
            return
        grants, self.dirty[:] = list(self.dirty), []
        now = clock_ms()
        for grant in grants:
            quota = grant.quota
            if quota is not None:
                quota.listed = False
                self._report(grant, quota, now)

    def _report(self, grant: Grant, quota: QuotaWindow, now: int) -> None:
        if not quota.unacked():
            return
        try:
            begun = quota.begin(now, self._longest_ms)
        except MemoryError:
            begun = None
        if begun is None:
            self._list(grant, quota)
            return
        added, ticket = begun
        if not added:
            quota.land(ticket, 0, -1, 0, now)
            return
        self._in_flight += 1
        self.reported += added

        def landed(reply: Any) -> None:
            self._in_flight -= 1
            if isinstance(reply, StoreError):
                quota.land(ticket, added, -1, 0, clock_ms())
                self._list(grant, quota)
            else:
                quota.land(ticket, added, reply[0], reply[1], clock_ms())

        self._store.send_script(landed, QUOTA, [grant.data.quota_key], [added, 0, quota.max, _renewal(grant)])


def _renewal(grant: Grant) -> int:
    """Seconds of a period, 0 for one that never ends."""
    return max(0, min(int(grant.data.quota_renewal), LONGEST_RENEWAL))
