"""Organisations: is one allowed at all, and within its rate and its quota (tyk-core 3.5, 4.7)?"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from accel.http1 import Exchange, Grant, KeyEntry, PyStep
from accel.limits import FULL, PASS, LimitTable, QuotaWindow, RateWindow, clock_ms
from core.access.answers import PROBLEM, Answers
from core.access.quota import QuotaKeeper
from core.access.rates import RateKeeper
from core.apidef.options import CompileOptions
from core.sessions.keyspace import KeySpace
from core.sessions.model import SessionError
from core.sessions.rights import Access, access
from core.store.errors import StoreAway, StoreError

log = logging.getLogger("preforge.access")

FRESH_MS = 1_000    # organisations send no notifications, so a change is seen after this


@dataclass(frozen=True, slots=True)
class _Org:
    """One organisation as the store has it. limits: None for one without a session, which may do everything; triggers:
    percent of the quota at which a monitor is told."""

    loaded: int
    limits: Access | None
    rate: RateWindow | None = None
    quota: Grant | None = None
    triggers: tuple[float, ...] = ()


class OrgKeeper:
    """Makes the check of an organisation for one worker's plans; knows those of the APIs that are loaded."""

    def __init__(
        self,
        keyspace: KeySpace,
        table: LimitTable,
        rates: RateKeeper,
        quotas: QuotaKeeper,
        answers: Answers,
        used: Callable[[str, QuotaWindow, Sequence[float]], None],
    ) -> None:
        """used(organisation, quota, triggers): told of each request that a quota has let through."""
        self._keyspace = keyspace
        self._table = table
        self._rates = rates
        self._quotas = quotas
        self._answers = answers
        self._used = used
        self._max_stale_ms = 0
        self._known: dict[str, _Org] = {}
        self._loading: dict[str, asyncio.Task[_Org]] = {}

    def configure(self, config: Any) -> None:
        """Use other settings from now on; every organisation is looked up anew."""
        self._max_stale_ms = int(config.preforge.sessions.max_stale * 1000)
        self._known.clear()

    def step(self, org: str) -> PyStep:
        """The check of the APIs of one organisation."""

        def check(x: Exchange) -> Awaitable[None] | None:
            known, now = self._known.get(org), clock_ms()
            if known is None or now - known.loaded > FRESH_MS:
                return self._look_up(x, org)
            return self._check(x, known, now)

        return PyStep(check)

    def _check(self, x: Exchange, org: _Org, now: int) -> Awaitable[None] | None:
        """Answer, or let the request go on (None), or say later."""
        if org.limits is None:
            return None
        if org.limits.inactive:
            self._answers.org_disabled(x)
            return None
        if org.rate is not None:
            if self._rates.in_store(org.rate, self._table.nodes):
                return self._rate_in_store(x, org, org.rate)
            said = org.rate.take(now)
            if said == FULL:
                x.cannot_count()
                return None
            if said != PASS:
                self._answers.org_rate_limited(x)
                return None
        return self._check_quota(x, org, now)

    def _check_quota(self, x: Exchange, org: _Org, now: int) -> Awaitable[None] | None:
        if org.quota is None:
            return None
        said = self._quotas.take(org.quota, now)
        if said is None:
            return self._quota_in_store(x, org.quota, org)
        if said == "over":
            self._answers.org_quota_exceeded(x)
        else:
            self._watch(x.plan.org_id.decode(), org)
        return None

    def _watch(self, name: str, org: _Org) -> None:
        if org.quota is not None and org.quota.quota is not None:
            self._used(name, org.quota.quota, org.triggers)

    async def _rate_in_store(self, x: Exchange, org: _Org, window: RateWindow) -> None:
        serial = x.serial_number
        passes = await self._rates.count(window)
        if not x.waits(serial):
            return
        if not passes:
            self._answers.org_rate_limited(x)
            return
        waiting = self._check_quota(x, org, clock_ms())
        if waiting is not None:
            await waiting

    async def _quota_in_store(self, x: Exchange, grant: Grant, org: _Org) -> None:
        serial = x.serial_number
        name = x.plan.org_id.decode()
        said = await self._quotas.count(grant)
        if said == "pass":
            self._watch(name, org)
        if not x.waits(serial) or said == "pass":
            return
        if said == "over":
            self._answers.org_quota_exceeded(x)
        elif said == "full":
            x.cannot_count()
        else:
            self._answers.store_away(x)

    async def _look_up(self, x: Exchange, org: str) -> None:
        serial = x.serial_number
        try:
            # The task goes on for the others when this client goes away.
            known = await asyncio.shield(self._start(org))
        except SessionError as error:
            log.error("the session of an organisation cannot be read, its APIs refuse: %s", error)
            if x.waits(serial):
                x.fail(500, PROBLEM)
            return
        except StoreError as error:
            if not isinstance(error, StoreAway):
                log.error("the session of organisation %.80r cannot be read: %s", org, error)
            stale = self._known.get(org)
            if stale is None or clock_ms() - stale.loaded > self._max_stale_ms:
                if x.waits(serial):
                    self._answers.store_away(x)
                return
            known = stale
        if x.waits(serial):
            waiting = self._check(x, known, clock_ms())
            if waiting is not None:
                await waiting

    def _start(self, org: str) -> asyncio.Task[_Org]:
        """One look-up at a time for each organisation."""
        task = self._loading.get(org)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._load(org))
            self._loading[org] = task
            task.add_done_callback(lambda done: self._ended(org, done))
        return task

    def _ended(self, org: str, task: asyncio.Task[_Org]) -> None:
        self._loading.pop(org, None)
        if not task.cancelled():
            task.exception()    # whoever waits has it

    async def _load(self, org: str) -> _Org:
        started = clock_ms()
        session = await self._keyspace.load_org(org)
        if session is None:
            found = _Org(started, None)
        else:
            name = self._keyspace.name_of(org)
            limits = access(session, "", True, name, CompileOptions())
            quota = self._quota(limits, self._known.get(org), name)
            triggers = tuple(session["monitor"]["trigger_limits"] or ())
            found = _Org(started, limits, self._rate(limits), quota, triggers)
        self._known[org] = found
        return found

    def _rate(self, limits: Access) -> RateWindow | None:
        if limits.rate <= 0 or limits.per <= 0:
            return None
        name = f"rate:{limits.rate_key}:{limits.last_updated}:{limits.rate}:{limits.per}".encode()
        return RateWindow(self._table, name, limits.rate, limits.per, limits.rate_key)

    def _quota(self, limits: Access, before: _Org | None, name: str) -> Grant | None:
        if limits.quota_max <= 0:
            return None
        if before is not None and before.quota is not None and before.limits is not None:
            same = before.limits
            if (same.quota_key, same.quota_max, same.quota_renewal) == (
                limits.quota_key, limits.quota_max, limits.quota_renewal,
            ):  # fmt: skip
                return before.quota     # with what it has counted and not yet reported
        window = self._quotas.window(limits.quota_key, limits.quota_max)
        return Grant(KeyEntry(b"", name.encode(), None, 0), quota=window, quota_max=limits.quota_max, data=limits)
