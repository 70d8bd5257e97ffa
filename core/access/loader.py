"""Sessions on their way from the store into a worker's cache, and out of it again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from accel.http1 import Exchange, KeyCache, KeyEntry
from accel.limits import clock_ms
from core.access.answers import Answers
from core.access.terms import Terms
from core.sessions.keyspace import Found, KeySpace
from core.sessions.model import SessionError
from core.sessions.policies import Policies, PolicyError, apply
from core.sessions.tokens import too_short
from core.store.errors import StoreAway, StoreError

log = logging.getLogger("preforge.access")

FRESH_MS = 10_000           # as Tyk's local session cache (tyk-core 5.3)
REFRESH_MS = 5_000          # older entries are looked up again beside the request
MOST_TRIES = 3
RETRY_MS = 250              # between two attempts to look up a key that is in use while the store is away
LONG_AGO = -(1 << 60)      # KeyCache.expire
UNHEARD_MS = 1_000          # the same while no notifications arrive, so that a deleted key ends within 2 s


class SessionLoader:
    """Fills one worker's KeyCache. Notifications empty it; without the store what is there goes on for a while."""

    def __init__(self, keyspace: KeySpace, cache: KeyCache, answers: Answers) -> None:
        self.cache = cache
        self.loads = 0
        self.unknown = 0
        self.stale = 0
        self.terms = Terms(cache)
        self._keyspace = keyspace
        self._answers = answers
        self._policies = Policies()
        self._max_stale_ms = 0
        self._min_length = 0
        self._fresh_ms = FRESH_MS
        self._hears = False
        self._changes = 0
        self._loading: dict[bytes, asyncio.Task[KeyEntry | None]] = {}

    def configure(self, config: Any, policies: Policies) -> None:
        """Use other policies and settings from now on; every key is looked at anew."""
        self._keyspace.configure(config)
        self._policies = policies
        self._max_stale_ms = int(config.preforge.sessions.max_stale * 1000)
        self._min_length = config.min_token_length
        self._fresh_ms = 0 if config.local_session_cache.disable_cached_session_state else FRESH_MS
        self._start_over(config.preforge.sessions.max_cached)

    def heard(self, hears: bool) -> None:
        """Whether notifications of other nodes and workers arrive. What was missed is unknown, so all is looked up."""
        self._hears = hears
        self._start_over(self.cache.most)

    def _start_over(self, most: int) -> None:
        """Hold up to `most` keys, each as fresh as it can be kept; what is there is looked up again."""
        self._changes += 1      # what is being looked up in this moment may be from before
        self.cache.configure(most, self._fresh_ms if self._hears else min(self._fresh_ms, UNHEARD_MS))
        self.cache.expire()

    def change(self, name: str) -> None:
        """This worker has changed the key that the store calls `name`: no worker of the node goes by what it knew of it."""
        self.cache.marks.mark(name.encode("utf-8", "surrogateescape"))
        self.changed(name)

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
        try:
            entry = await self.find(org, token)
        except StoreError:
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

    def known(self, org: str, token: bytes) -> KeyEntry | None:
        """The entry of a token if it is in the cache and fresh; an older one is looked up again beside."""
        key = org.encode() + b"\0" + token
        entry = self.cache.get(key)
        age = 0 if entry is None else clock_ms() - entry.loaded
        if entry is None or age >= self.cache.fresh or not self.cache.current(entry):
            return None
        if age >= REFRESH_MS and not entry.refreshing:
            entry.refreshing = True
            self._start(key, org, token)
        return entry

    async def find(self, org: str, token: bytes) -> KeyEntry | None:
        """The entry of a token, None if it stands for no session. Raises StoreError when the store does not say and what is
        in the cache is too old."""
        key = org.encode() + b"\0" + token
        try:
            # The task goes on for the others when this client goes away.
            return await asyncio.shield(self._start(key, org, token))
        except StoreError as error:
            if not isinstance(error, StoreAway):
                log.error("the session of a key cannot be read: %s", error)
            entry = self._cached(key)
            if entry is None:
                raise
            return entry

    @property
    def policies(self) -> Policies:
        """The policies of now."""
        return self._policies

    def _cached(self, key: bytes) -> KeyEntry | None:
        """An entry that is old but was valid, for while the store is away; policies as they are now."""
        entry = self.cache.get(key)
        if entry is None or clock_ms() - entry.fetched > self._max_stale_ms or not self.cache.current(entry):
            return None
        self.stale += 1
        # What it has compiled and counted stays, unless policies or settings are others since.
        expired = entry.loaded <= LONG_AGO
        revived = self._entry(key, entry.token, entry.raw, entry.fetched, entry.seen) if expired else entry
        if revived is not None:
            revived.loaded = clock_ms() - self.cache.fresh + RETRY_MS
            revived.refreshing = True   # the request after RETRY_MS looks it up
        return revived

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
        failed = task.cancelled() or task.exception() is not None    # whoever waits has it
        old = self.cache.get(key)
        if old is None:
            return
        if failed:
            asyncio.get_running_loop().call_later(RETRY_MS / 1000, self._refreshable, old)
        else:
            old.refreshing = False

    @staticmethod
    def _refreshable(entry: KeyEntry) -> None:
        entry.refreshing = False

    async def _fetch(self, key: bytes, org: str, token: bytes) -> KeyEntry | None:
        try:
            text = token.decode()
        except UnicodeDecodeError:
            return None     # no key has such a name
        found = old = None
        changes = seen = 0
        for _ in range(MOST_TRIES):
            self.loads += 1
            changes, seen = self._changes, self.cache.marks.changes
            old = self.cache.get(key)
            try:
                found = await self._keyspace.load(text, org, None if old is None else old.raw)
            except SessionError as error:
                log.error("the session of a key cannot be used: %s", error)
                found = None
            if changes == self._changes and seen == self.cache.marks.changes:
                break
            # A key was changed meanwhile; what was read may be from before.
        entry = None
        if found is not None and old is not None and found is old.raw and old.loaded > LONG_AGO:
            # The same session and the same policies: what was compiled for it is good for as long again.
            entry = old
            entry.loaded = entry.fetched = clock_ms()
            entry.seen = seen
            self.cache.put(key, entry)
        elif found is not None:
            entry = self._entry(key, token, found, clock_ms(), seen)
        if entry is None or changes != self._changes:
            # Keys change so fast that this may be old: good for the requests that wait, not for later ones.
            self.cache.forget(key)
        return entry

    def _entry(self, key: bytes, token: bytes, found: Found, loaded: int, seen: int) -> KeyEntry | None:
        try:
            session = apply(found.session, self._policies, org=key.partition(b"\0")[0].decode())
        except PolicyError as error:
            log.warning("a key is refused: %s", error)
            return None
        entry = KeyEntry(token, found.name.encode("utf-8", "surrogateescape"), session, loaded)
        entry.raw = found
        entry.seen = seen
        self.cache.put(key, entry)
        return entry
