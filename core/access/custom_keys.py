"""Keys that custom authentication finds: sessions that a script or plugin made, used like those of tokens
(tyk-jsvm 11, tyk-plugins 4.1, 4.2)."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Protocol

from accel.http1 import Exchange, KeyCache, KeyEntry
from accel.limits import clock_ms
from core.access.answers import PROBLEM, Answers
from core.access.loader import LONG_AGO, SessionLoader
from core.access.state import state_of
from core.access.tasks import Tasks
from core.apidef.extractors import CustomAuthSpec
from core.sessions import lifetime
from core.sessions.keyspace import KeySpace
from core.sessions.model import SessionData, SessionError, encode, from_value
from core.sessions.policies import PolicyError, apply
from core.store.errors import StoreAway, StoreError
from jsvm_pool.decoding import to_bytes

log = logging.getLogger("preforge.access")

MOST_SECONDS = 100 * 366 * 86400    # that the store keeps anything; it refuses very large numbers

Credential = Callable[[Exchange], bytes]
"""Says what a client showed as its key."""


@dataclass(slots=True)
class Extraction:
    """What the ID extractors of a worker did. found: requests whose session was found without their plugin; too_large: texts
    in which nothing was looked for."""

    found: int = 0
    too_large: int = 0


class KeyServices(Protocol):
    """What custom authentication needs of a worker: core.services.Services."""

    @property
    def keyspace(self) -> KeySpace: ...
    @property
    def cache(self) -> KeyCache: ...
    @property
    def sessions(self) -> SessionLoader: ...
    @property
    def answers(self) -> Answers: ...
    @property
    def extraction(self) -> Extraction: ...


@dataclass(slots=True)
class Made:
    """What KeyEntry.raw is for a key that custom authentication made. value: the session as it was returned; stored: as the
    store has it, without what its policies say; meta: its meta data, which hooks behind may have replaced since; work: what
    brings it into the store, None once it is there."""

    value: dict[str, Any]
    stored: SessionData
    meta: dict[str, Any]
    work: asyncio.Task[KeyEntry] | None = None


class CustomKeys:
    """The keys that custom authentication has found at one API. They lie in the worker's key cache, apart from those of tokens.

    A session is in the store before the request that brought it goes on; the same one is not written again.
    """

    def __init__(
        self,
        services: KeyServices,
        tasks: Tasks,
        config: Callable[[], Any],
        api: tuple[str, str],
        spec: CustomAuthSpec,
        *,
        carries: bool,
    ) -> None:
        """config: of now; api: (org_id, api_id); carries: what a stored session counts stays when a plugin returns another one
        for its key, as rich plugins have it and scripts do not."""
        self._services = services
        self._tasks = tasks
        self._config = config
        self.org, api_id = api
        self._prefix = b"\0".join((b"\x01custom", self.org.encode(), api_id.encode(), b""))
        self._spec = spec
        self._carries = carries

    @property
    def base(self) -> bool:
        """Whether these keys are the client's identity, and not those of another method."""
        return self._spec.gives_identity

    def known(self, x: Exchange) -> bool:
        """Whether the request has shown its key before: it comes back from a loop. Otherwise it has none here."""
        state = state_of(x)
        if state.owner is self and x.key is not None and x.key is state.identity:
            return True
        x.key = None
        x.grant = None
        return False

    def give(self, x: Exchange, entry: KeyEntry) -> None:
        """Let a key be the request's."""
        x.key = entry
        x.grant = None
        state = state_of(x)
        state.identity, state.owner = entry, self

    def take(self, x: Exchange, value: dict[str, Any], token: str, credential: Credential) -> Coroutine[Any, Any, None] | None:
        """Let a session be the request's, or refuse it; returns what has to be done for that before the request goes on.

        token: the key that the session stands for, and under which it is kept, "" for none; credential: what the client
        showed, for the event of a refusal. Raises SessionError for what cannot be kept.
        """
        try:
            entry = self._entry(value, to_bytes(token))
        except PolicyError as error:
            self._forbidden(x, error, credential)
            return None
        except UnicodeError:
            raise SessionError("Session: the key, or a text in it, is not UTF-8") from None
        if entry is None:
            return None
        work = entry.raw.work
        if work is not None:
            return self._when_kept(x, work, credential)
        self.give(x, entry)
        return None

    def _entry(self, value: dict[str, Any], token: bytes) -> KeyEntry | None:
        """The key, None where it is not the client's identity."""
        if not self.base:
            self._applied(self._session(value))
            return None
        cache = self._services.cache
        key = self._prefix + token
        now = clock_ms()
        entry = cache.get(key)
        if entry is None or entry.loaded <= LONG_AGO or not (cache.current(entry) and self._same(entry, value)):
            stored = self._session(value)
            encode(stored)
            entry = self._put(token, value, stored)
            if token:
                entry.raw.work = self._tasks.start(self._keep(entry, entry.raw))
        elif token and entry.raw.work is None:
            self.in_use(entry, entry.raw.stored)
            if now - entry.loaded >= cache.fresh:
                # It may have been removed unheard; nobody waits for this look.
                entry.loaded = now
                self._tasks.spawn(self._keep_again(entry, entry.raw))
        return entry

    def _put(self, token: bytes, value: dict[str, Any], stored: SessionData) -> KeyEntry:
        name = self._services.keyspace.name_of(token.decode())
        entry = KeyEntry(token, name.encode(), self._applied(stored), clock_ms())
        entry.raw = Made(value, stored, entry.session["meta_data"])
        self._services.cache.put(self._prefix + token, entry)
        return entry

    def _same(self, entry: KeyEntry, value: dict[str, Any]) -> bool:
        made: Made = entry.raw
        return made.value == value and entry.session["meta_data"] is made.meta

    def _session(self, value: dict[str, Any]) -> SessionData:
        """The session as it is kept: it belongs to the API's organisation, whatever the plugin says (tyk-plugins 4.1)."""
        return {**from_value(value, "Session"), "org_id": self.org}

    def _applied(self, stored: SessionData) -> SessionData:
        return apply(stored, self._services.sessions.policies, org=self.org)

    async def _when_kept(self, x: Exchange, work: asyncio.Task[KeyEntry], credential: Credential) -> None:
        serial = x.serial_number
        try:
            entry = await asyncio.shield(work)      # others wait for it too
        except Exception as error:
            if x.waits(serial):
                self._not_kept(x, error, credential)
            return
        if x.waits(serial):
            self.give(x, entry)

    def _not_kept(self, x: Exchange, error: Exception, credential: Credential) -> None:
        if isinstance(error, PolicyError):
            self._forbidden(x, error, credential)
        elif isinstance(error, StoreError):
            self._services.answers.store_away(x)
        else:
            log.error("API %s: a key could not be kept", x.plan.api_id.decode(), exc_info=error)
            x.fail(500, PROBLEM)

    def _forbidden(self, x: Exchange, error: PolicyError, credential: Credential) -> None:
        log.warning("API %s: a key is refused: %s", x.plan.api_id.decode(), error)
        self._services.answers.forbidden(x, credential(x))

    async def _keep(self, entry: KeyEntry, made: Made) -> KeyEntry:
        """Bring a session into the store; returns the key, with what the store has counted for it. Raises StoreError and
        PolicyError."""
        cache, key = self._services.cache, self._prefix + entry.token
        try:
            found = await self._found(entry)
            if found is not None and self._carries:
                stored = carried(made.stored, found)
                if stored != made.stored:
                    entry = self._put(entry.token, made.value, stored)
                    entry.raw.work = made.work      # who comes meanwhile waits, too
            await self._write(entry, entry.raw, found)
        except BaseException:
            cache.forget(key)   # the next request tries again
            raise
        finally:
            made.work = entry.raw.work = None
        return entry

    async def _keep_again(self, entry: KeyEntry, made: Made) -> None:
        try:
            await self._write(entry, made, await self._found(entry))
        except StoreError as error:
            log.error("a key that a plugin or script has made could not be stored: %s", error)

    async def _found(self, entry: KeyEntry) -> SessionData | None:
        """The session under a key's name; one that is not readable is written anew."""
        try:
            found = await self._services.keyspace.load_name(entry.name.decode())
        except SessionError:
            return None
        return None if found is None else found.session

    async def _write(self, entry: KeyEntry, made: Made, found: SessionData | None) -> None:
        if found is None or encode(found) != encode(made.stored):
            seconds = self._lifetime(made.stored)
            await self._services.keyspace.save(entry.name.decode(), made.stored, seconds)
            self._services.sessions.terms.begin(entry.name, seconds)
        else:
            self.in_use(entry, found)

    def in_use(self, entry: KeyEntry, stored: SessionData) -> None:
        """A session that the store has is used again: its time there begins anew (tyk-plugins 4.1 step 10, 4.3). Nobody waits
        for that."""
        if self._services.sessions.terms.over(entry.name):
            seconds = self._lifetime(stored)
            self._services.sessions.terms.begin(entry.name, seconds)
            if seconds > 0:
                self._tasks.spawn(self._prolong(entry.name.decode(), seconds))

    async def _prolong(self, name: str, lifetime: int) -> None:
        try:
            await self._services.keyspace.prolong(name, lifetime)
        except StoreAway:
            return      # the session ends a little earlier
        except StoreError as error:
            log.error("the lifetime of a key could not be prolonged: %s", error)

    def _lifetime(self, session: SessionData) -> int:
        """Seconds in the store (tyk-plugins 4.2)."""
        api = self._spec.lifetime, self._spec.respects_expiration
        return min(lifetime.seconds(session, [api], self._config(), int(time.time())), MOST_SECONDS)


def carried(session: SessionData, stored: SessionData) -> SessionData:
    """A session with what another one for its key has counted (tyk-plugins 4.1 step 8)."""
    rights = {
        api: {**right, "limit": {**right["limit"], **_counts(stored["access_rights"][api]["limit"])}}
        if api in stored["access_rights"] and any(right["limit"].values())
        else right
        for api, right in session["access_rights"].items()
    }
    return {**session, **_counts(stored), "access_rights": rights}


def _counts(limit: dict[str, Any]) -> dict[str, Any]:
    return {key: limit[key] for key in ("quota_renews", "quota_remaining")}
