"""Sessions on their way from the store into a worker's cache, and out of it again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from accel.http1 import Exchange, KeyCache, KeyEntry
from accel.limits import clock_ms
from core.access.answers import Answers
from core.sessions.keyspace import Found, KeySpace
from core.sessions.model import SessionError
from core.sessions.policies import Policies, PolicyError, apply
from core.sessions.tokens import too_short
from core.store.errors import StoreAway, StoreError

log = logging.getLogger("preforge.access")

FRESH_MS = 10_000           # as Tyk's local session cache (tyk-core 5.3)
REFRESH_MS = 5_000          # older entries are looked up again beside the request
MOST_TRIES = 3
UNHEARD_MS = 1_000          # the same while no notifications arrive, so that a deleted key ends within 2 s


class SessionLoader:
    """Fills one worker's KeyCache. Notifications empty it; without the store what is there goes on for a while."""

    def __init__(self, keyspace: KeySpace, cache: KeyCache, answers: Answers) -> None:
        self.cache = cache
        self.loads = 0
        self.unknown = 0
        self.stale = 0
        self._keyspace = keyspace
        self._answers = answers
        self._policies = Policies()
        self._max_stale_ms = 0
        self._min_length = 0
        self._fresh_ms = FRESH_MS
        self._changes = 0
        self._loading: dict[bytes, asyncio.Task[KeyEntry | None]] = {}

    def configure(self, config: Any, policies: Policies) -> None:
        """Use other policies and settings from now on; every key is looked at anew."""
        self._keyspace.configure(config)
        self._policies = policies
        self._max_stale_ms = int(config.preforge.sessions.max_stale * 1000)
        self._min_length = config.min_token_length
        fresh = 0 if config.local_session_cache.disable_cached_session_state else FRESH_MS
        self._fresh_ms = fresh
        self.cache.configure(config.preforge.sessions.max_cached, fresh)
        self.cache.expire()

    def heard(self, hears: bool) -> None:
        """Whether notifications of other nodes and workers arrive. What was missed is unknown, so all is looked up."""
        self.cache.configure(self.cache.most, self._fresh_ms if hears else min(self._fresh_ms, UNHEARD_MS))
        self.cache.expire()

    def changed(self, name: str) -> None:
        """A notification: the key that the store calls `name` is not what it was."""
        self._changes += 1
        for entry in self.cache.named(name.encode()):
            for grant in entry.grants.values():
                if grant.quota is not None:
                    grant.quota.forget()
        self.cache.forget_name(name.encode())

    def for_api(self, org: str) -> tuple[bytes, Callable[[Exchange, bytes], Any], Callable[[Exchange, bytes], None]]:
        """Prefix, load and refresh for the TokenAuth step of an API of this organisation."""
        prefix = org.encode() + b"\0"

        async def load(x: Exchange, token: bytes) -> None:
            await self._load(x, prefix, org, token)

        def refresh(x: Exchange, token: bytes) -> None:
            self._start(prefix + token, org, token)

        return prefix, load, refresh

    async def _load(self, x: Exchange, prefix: bytes, org: str, token: bytes) -> None:
        serial = x.serial_number
        if too_short(token, self._min_length):
            self.unknown += 1
            self._answers.unknown_token(x, token)
            return
        key = prefix + token
        try:
            # The task goes on for the others when this client goes away.
            entry = await asyncio.shield(self._start(key, org, token))
        except StoreError as error:
            if not isinstance(error, StoreAway):
                log.error("the session of a key cannot be read: %s", error)
            entry = self._cached(key)
            if entry is None:
                if x.waits(serial):
                    self._answers.store_away(x)
                return
        if not x.waits(serial):
            return
        if entry is None:
            self.unknown += 1
            self._answers.unknown_token(x, token)
        else:
            x.key = entry

    def _cached(self, key: bytes) -> KeyEntry | None:
        """An entry that is old but was valid, for while the store is away; policies as they are now."""
        entry = self.cache.get(key)
        if entry is None or clock_ms() - entry.fetched > self._max_stale_ms:
            return None
        self.stale += 1
        return self._entry(key, entry.token, entry.raw, entry.fetched)

    def _start(self, key: bytes, org: str, token: bytes) -> asyncio.Task[KeyEntry | None]:
        """One look-up at a time for each key."""
        task = self._loading.get(key)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._fetch(key, org, token))
            self._loading[key] = task
            task.add_done_callback(lambda done: self._ended(key, done))
        return task

    def _ended(self, key: bytes, task: asyncio.Task[KeyEntry | None]) -> None:
        self._loading.pop(key, None)
        old = self.cache.get(key)
        if old is not None:
            old.refreshing = False
        if not task.cancelled():
            task.exception()    # whoever waits has it; a refresh beside a request tries again with the next one

    async def _fetch(self, key: bytes, org: str, token: bytes) -> KeyEntry | None:
        found = None
        for _ in range(MOST_TRIES):
            self.loads += 1
            changes = self._changes
            try:
                found = await self._keyspace.load(token.decode("utf-8", "surrogateescape"), org)
            except (SessionError, UnicodeError) as error:
                log.error("the session of a key cannot be used: %s", error)
                found = None
            if changes == self._changes:
                break
            # A key was changed meanwhile; what was read may be from before.
        entry = None if found is None else self._entry(key, token, found, clock_ms())
        if entry is None:
            self.cache.forget(key)
        return entry

    def _entry(self, key: bytes, token: bytes, found: Found, loaded: int) -> KeyEntry | None:
        try:
            session = apply(found.session, self._policies, org=key.partition(b"\0")[0].decode())
        except PolicyError as error:
            log.warning("a key is refused: %s", error)
            return None
        entry = KeyEntry(token, found.name.encode("utf-8", "surrogateescape"), session, loaded)
        entry.raw = found
        self.cache.put(key, entry)
        return entry
