"""Analytics of one worker: what is recorded, where it goes, and the numbers of /tyk/health."""

from __future__ import annotations

import asyncio
import logging
import weakref
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any

from accel import shm
from accel.analytics import Recorder, RecordPlan
from accel.shm import SharedCounters
from core.analytics.address import AddressOf, client_address
from core.analytics.health import HealthSampler
from core.analytics.keys import anonymous, key_record
from core.analytics.settings import DEFAULT_BATCH, RecordSettings, findings
from core.analytics.writer import RecordWriter
from core.apidef.recording import USUAL
from core.apidef.specs import PlanSpec
from core.findings import Finding
from core.sessions.keyspace import KeySpace
from core.sessions.model import SessionError
from core.store.client import Store
from core.store.errors import StoreError

log = logging.getLogger("preforge.analytics")

ORG_SECONDS = 10.0      # between looks at the sessions of organisations
BATCH_BYTES = 1 << 20
MOST = 1_000_000        # records of a list that nobody fetches
MOST_EMBEDDED = 100_000


class Analytics:
    """`recorder` is for the data path; the store may be away at any time."""

    def __init__(self, config: Any, store: Store, keyspace: KeySpace, counters: SharedCounters) -> None:
        """store: of analytics, for this alone; keyspace: where the sessions of organisations are."""
        ours = config.preforge.analytics
        most = config.preforge.storage.max_queued_bytes
        self.recorder = Recorder(
            max(1, ours.max_buffered_records),
            max(65536, ours.max_buffered_bytes),
            batch_records=config.analytics_config.records_buffer_size
            if config.analytics_config.records_buffer_size > 0 else DEFAULT_BATCH,
            batch_bytes=max(4096, min(BATCH_BYTES, most // 4)),
            max_body=max(0, min(ours.max_recorded_body_bytes, most // 8)),
        )  # fmt: skip
        self.recorder.describe = key_record
        self.settings = RecordSettings()
        self.address: AddressOf | None = None
        self.health = HealthSampler(counters)
        self._store = store
        self._keyspace = keyspace
        self._writer = RecordWriter(store, self.recorder)
        self._orgs: dict[str, weakref.WeakSet[RecordPlan]] = {}
        self._org_task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Connect in the background and begin to write."""
        await self._store.start()
        self._writer.start()

    def configure(self, config: Any) -> list[Finding]:
        """Take other settings for the requests from now on; plans are to be made anew when `settings` is another."""
        self.settings = settings = RecordSettings.from_config(config)
        self.address = client_address(settings.trusted, settings.depth)
        self.recorder.configure(
            anonymous=anonymous(settings.hash_keys),
            ignored=settings.ignored,
            node_tags=settings.node_tags,
            normalise=_normaliser(settings),
            address=self.address,
        )
        self._writer.configure(
            multiple_keys=settings.multiple_keys,
            expiration=settings.expiration,
            max_list=settings.max_list or (MOST_EMBEDDED if self._store.settings.embedded else MOST),
        )
        self.health.configure(
            config.health_check.enable_health_checks, config.health_check.health_check_value_timeouts
        )
        wanted = settings.enabled and (settings.org_expiry or settings.org_details)
        if wanted and self._org_task is None:
            self._org_task = asyncio.get_running_loop().create_task(self._follow_organisations())
        elif not wanted and self._org_task is not None:
            self._org_task.cancel()
            self._org_task = None
        return [finding for finding in findings(config, "tyk.conf") if finding.severity == "error"]

    def plan(self, spec: PlanSpec) -> RecordPlan | None:
        """What the records of an API have in common; None when its requests are not recorded."""
        own = spec.recording or USUAL
        if not self.settings.enabled or own.off:
            return None
        plan = RecordPlan(
            spec.api_id,
            name=spec.name,
            org_id=spec.org_id,
            listen_path=spec.listen_path,
            host=_host(spec),
            tags=own.tags,
            tag_headers=own.tag_headers,
            expires_after=own.expires_after,
            detailed=own.detailed or self.settings.detailed,
        )
        if self.settings.org_expiry or self.settings.org_details:
            self._orgs.setdefault(spec.org_id, weakref.WeakSet()).add(plan)
        return plan

    def health_of(self, api_id: str) -> Awaitable[Mapping[str, float]] | None:
        """The numbers of an API for /tyk/health (HealthSampler.numbers), None while none are kept."""
        numbers = self.health.numbers(api_id)
        return None if numbers is None else _ready(numbers)

    def counters(self) -> dict[int, int]:
        """Word of the shared counters -> what this worker has counted."""
        return {
            shm.G_RECORDS: self._writer.written,
            shm.G_RECORD_RETRIES: self._writer.retries,
            shm.B_RECORDS: self._writer.dropped + self.recorder.dropped,
        }

    async def close(self, grace: float) -> None:
        """Write what is left, for at most `grace` seconds."""
        self.health.close()
        if self._org_task is not None:
            self._org_task.cancel()
        await self._writer.close(grace)
        await self._store.close()

    # -- organisations -------------------------------------------------------------------

    async def _follow_organisations(self) -> None:
        """Apply what the sessions of organisations say about records (tyk-core 6, ExpireAt and detailed recording)."""
        while True:
            for org, plans in self._living():
                try:
                    session = await self._keyspace.load_org(org)
                except (StoreError, SessionError) as error:
                    log.warning("the session of organisation %s cannot be read, its records stay as they are: %s", org, error)
                    continue
                for plan in plans:
                    self._apply(plan, session)
            await asyncio.sleep(ORG_SECONDS)

    def _living(self) -> Iterator[tuple[str, list[RecordPlan]]]:
        for org in list(self._orgs):
            plans = list(self._orgs[org])
            if plans:
                yield org, plans
            else:
                del self._orgs[org]

    def _apply(self, plan: RecordPlan, session: dict[str, Any] | None) -> None:
        expires, detailed = plan.own_expiry, False
        if session is not None:
            if self.settings.org_expiry:
                expires = session["data_expires"]
            if self.settings.org_details:
                detailed = session["enable_detail_recording"] or session["enable_detailed_recording"]
        plan.organisation(expires, detailed)


async def _ready(numbers: Mapping[str, float]) -> Mapping[str, float]:
    return numbers


def _normaliser(settings: RecordSettings) -> Callable[[bytes], bytes] | None:
    rules = settings.rules
    if not rules:
        return None

    def normalise(path: bytes) -> bytes:
        for pattern, replacement in rules:
            path = pattern.sub(replacement, path)
        return path

    return normalise


def _host(spec: PlanSpec) -> str:
    """Of the target's URL, as it is written there."""
    if not spec.targets:
        return ""
    target = spec.targets[0]
    host = f"[{target.host}]" if ":" in target.host else target.host
    return host if target.port == (443 if target.scheme == "https" else 80) else f"{host}:{target.port}"
