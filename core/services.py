"""What the parts of one worker share: the store, keys, limits, events and analytics, built once and configured anew
with every swap."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Coroutine, Mapping
from typing import Any

from accel import shm
from accel.endpoints import VerdictMemo
from accel.http1 import Exchange, KeyCache
from accel.limits import LimitTable
from accel.shm import SharedCounters
from core.access.answers import Answers
from core.access.breaker import RESET, TRIPPED
from core.access.custom_keys import Extraction
from core.access.loader import FRESH_MS, SessionLoader
from core.access.nodes import Nodes
from core.access.quota import QuotaKeeper
from core.access.rates import RateKeeper, RateSettings
from core.analytics.service import Analytics
from core.cache import clearing
from core.cache.service import ResponseCache
from core.errors.messages import overrides_of, with_overrides
from core.events.event import Event
from core.events.hub import ApiEvents, EventHub
from core.findings import Finding
from core.plugins.service import PluginService
from core.scripts.service import ScriptService
from core.sessions.keyspace import KeySpace
from core.sessions.notifications import CHANNEL, Notification, Signer
from core.sessions.policies import Policies
from core.store.client import Store, open_store
from core.store.errors import StoreError
from core.store.settings import StoreSettings

log = logging.getLogger("preforge")

START_SECONDS = 5.0     # that a worker waits for the embedded store before it serves


class Services:
    """One per worker. start() begins to talk to the store, which may be away; close() finishes what is pending."""

    def __init__(
        self, config: Any, limits: LimitTable, shared: SharedCounters, *, leader: bool, node_id: str, socket_path: str,
        request_reload: Any,
    ) -> None:  # fmt: skip
        """leader: this worker speaks for the node; request_reload: asks the master, returns an error text or ""."""
        self.store: Store = open_store(StoreSettings.from_config(config, socket=socket_path))
        self.limits = limits
        self._embedded = bool(socket_path)
        self.signer = Signer.from_config(config)
        self.keyspace = KeySpace(self.store, config, self.signer)
        self.events = EventHub(self.store, config)
        self.answers = Answers(self.fire)
        self.cache = KeyCache(config.preforge.sessions.max_cached, FRESH_MS, limits)
        self.sessions = SessionLoader(self.keyspace, self.cache, self.answers)
        self.extraction = Extraction()
        self.quota = QuotaKeeper(
            self.store,
            limits,
            self.answers,
            config.preforge.quota.report_interval,
            shared=not socket_path,
            timeout=config.preforge.storage.command_timeout,
        )
        self.keyspace.resetting = self.quota.resetting
        limiter = self.store
        if config.enable_rate_limiter_storage:
            limiter = open_store(StoreSettings.from_config(config, "rate_limiter_storage", socket_path))
        self.rates = RateKeeper(limiter, self.answers, RateSettings.from_config(config))
        self.nodes = Nodes(self.store, self.signer, limits, leader=leader, node_id=node_id)
        self.policies = Policies()
        records = open_store(StoreSettings.from_config(config, "analytics_storage", socket_path))
        self.analytics = Analytics(config, records, self.keyspace, shared)
        # Large answers on a connection of their own, so that keys do not wait behind them.
        self.responses = ResponseCache(open_store(StoreSettings.from_config(config, "cache_storage", socket_path)), config)
        self._own = list(dict.fromkeys((self.store, limiter, self.responses.store)))
        self._stores = [*self._own, records]
        self.breaker_trips = 0
        self.named_hosts_dropped = 0
        self.path_memo = VerdictMemo(config.preforge.limits.max_path_results)
        self.scripts: ScriptService
        self.plugins: PluginService
        self._leader = leader
        self._request_reload = request_reload
        self._listens = not config.suppress_redis_signal_reload
        self._tasks: set[asyncio.Task[Any]] = set()

    async def start(self) -> None:
        """Connect in the background; requests that need the store meanwhile are refused."""
        await asyncio.gather(*(store.start() for store in self._own), self.analytics.start())
        if self._embedded:
            # The master keeps it running, so it will be there; a worker without it would only refuse.
            await self._connected(START_SECONDS)
        self.quota.start()
        if self._listens:
            self.store.subscribe(CHANNEL, self._notified, self.sessions.heard)
        self.nodes.start()

    async def _connected(self, seconds: float) -> None:
        """Wait until the store is connected, for at most `seconds`."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while not self.store.available and loop.time() < end:
            await asyncio.sleep(0.02)

    def configure(self, config: Any, policies: Policies, handlers: Mapping[str, ApiEvents]) -> list[Finding]:
        """Take another configuration. handlers: api_id -> its event_handlers."""
        findings: list[Finding] = []
        overrides = overrides_of(config.override_messages, "tyk.conf", findings)
        messages, found = with_overrides(overrides, "tyk.conf")
        findings += found
        self.answers.configure(messages)
        self.events.configure(config, handlers)     # the loader has reported what cannot be used: core.events.check
        self.policies = policies
        self.path_memo.configure(config.preforge.limits.max_path_results)
        self.sessions.configure(config, policies)
        self.rates.settings = RateSettings.from_config(config)
        self.responses.configure(config)
        self.nodes.configure(config)
        findings += self.analytics.configure(config)
        return findings

    def _of_stores(self) -> Counter[str]:
        """The numbers of all stores together; connected: the one of the keys is."""
        found: Counter[str] = Counter()
        for store in self._stores:
            found.update(store.stats())
        found["connected"] = int(self.store.available)
        return found

    def counters(self) -> dict[int, int]:
        """Word of the shared counters -> what this worker has counted."""
        store = self._of_stores()
        return {
            shm.G_STORE_COMMANDS: store["commands"],
            shm.G_STORE_ERRORS: store["errors"],
            shm.G_STORE_TIMEOUTS: store["timeouts"],
            shm.G_STORE_REFUSED: store["refused"],
            shm.G_STORE_RECONNECTS: store["reconnects"],
            shm.G_KEYS_LOADED: self.sessions.loads,
            shm.G_KEYS_UNKNOWN: self.sessions.unknown,
            shm.G_KEYS_STALE: self.sessions.stale,
            shm.G_KEYS_EXTRACTED: self.extraction.found,
            shm.B_EXTRACTED_TEXT: self.extraction.too_large,
            shm.G_KEYS_EVICTED: self.cache.evicted,
            shm.G_QUOTA_ASKED: self.quota.asked,
            shm.G_QUOTA_REPORTED: self.quota.reported,
            shm.G_QUOTA_ALONE: self.quota.alone,
            shm.G_RATE_ASKED: self.rates.asked,
            shm.G_RATE_WAITED: self.rates.waited,
            shm.G_NOTIFICATIONS_REFUSED: self.signer.refused,
            **self.analytics.counters(),
            shm.G_EVENTS_FIRED: self.events.fired,
            shm.G_HOOKS_SENT: self.events.sender.sent,
            shm.G_HOOKS_FAILED: self.events.sender.failed,
            shm.G_HOOKS_SUPPRESSED: self.events.sender.suppressed,
            shm.B_EVENTS: self.events.sender.dropped,
            shm.B_EVENT_SCRIPTS: self.events.scripts.dropped,
            shm.G_PATH_RESULTS_CLEARED: self.path_memo.cleared,
            shm.G_BREAKER_TRIPS: self.breaker_trips,
            shm.G_NAMED_HOSTS_DROPPED: self.named_hosts_dropped,
            **self.responses.counters(),
            **self.scripts.counters(),
            **self.plugins.counters(),
        }

    def gauges(self) -> dict[int, int]:
        """Word of the shared counters -> how it is now."""
        store = self._of_stores()
        return {
            shm.G_STORE_CONNECTED: store["connected"],
            shm.G_STORE_WAITING: store["waiting"],
            shm.G_KEYS_CACHED: len(self.cache),
            **self.scripts.gauges(),
            **self.plugins.gauges(),
        }

    async def close(self, grace: float) -> None:
        self.nodes.close()
        await asyncio.gather(self.quota.close(grace), self.analytics.close(grace), self.events.close(grace))
        # Events run scripts and reach plugins until they have ended.
        await asyncio.gather(self.scripts.close(grace), self.plugins.close(grace))
        await asyncio.gather(*(store.close() for store in self._own))

    # -- notifications -------------------------------------------------------------------

    def _notified(self, message: bytes) -> None:
        notification = self.signer.verify(message)
        if notification is None:
            return
        if notification.reloads:
            self._spawn(self._request_reload())
        elif notification.command == clearing.COMMAND:
            if self._leader:
                self._spawn(self._clear(notification.payload))
        elif notification.command == "KeySpaceUpdateNotification":
            for name in self.keyspace.names_of(notification):
                self.sessions.changed(name)
        else:
            self.nodes.notified(notification)

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _clear(self, api_id: str) -> None:
        try:
            await clearing.clear(self.responses.store, api_id)
        except StoreError as error:
            log.warning("the cached answers of API %s were not removed as another gateway asked: %s", api_id, error)

    async def publish(self, notification: Notification) -> None:
        """Tell all workers of all nodes, this one included."""
        await self.store.publish(CHANNEL, self.signer.sign(notification))

    # -- events --------------------------------------------------------------------------

    def named_host_dropped(self) -> None:
        """The connections to a host that rewrites named were given up."""
        self.named_hosts_dropped += 1

    def breaker_changed(self, api_id: str, path: str, what: int) -> None:
        """Fire the events of a circuit breaker (tyk-core C.1). what: core.access.breaker.TRIPPED or RESET."""
        self.breaker_trips += what == TRIPPED
        name, message = ("BreakerTripped", "Breaker Tripped") if what == TRIPPED else ("BreakerReset", "Breaker Reset")
        meta = {"Message": message, "OriginatingRequest": "", "Path": path, "APIID": api_id, "CircuitEvent": int(what == RESET)}
        for one in (name, "BreakerTriggered"):
            self.events.fire(api_id, Event(one, meta, time.time_ns()))

    def fire(self, name: str, x: Exchange, message: str, more: Mapping[str, Any]) -> None:
        """Fire an event about a request."""
        key = x.key.token.decode("utf-8", "replace") if x.key is not None else ""
        self.events.request(name, x, message, key, more)
