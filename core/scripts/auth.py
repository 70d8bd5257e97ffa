"""Keys that auth hooks find (tyk-jsvm 11): sessions that a script made, used like those of tokens."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from accel.http1 import Exchange, KeyCache, KeyEntry
from accel.limits import clock_ms
from core.scripts.context import Worker, state_of
from core.sessions.keyspace import KeySpace
from core.sessions.model import SessionData, SessionError, encode, from_value
from core.store.errors import StoreError
from jsvm_pool.decoding import to_bytes

log = logging.getLogger("preforge.scripts")


@dataclass(frozen=True, slots=True)
class Made:
    """What KeyEntry.raw is for a key that a script made. value: the session as it was returned; meta: its meta data, which
    hooks behind it may have replaced since; owner: whose key it is."""

    value: dict[str, Any]
    meta: dict[str, Any]
    owner: AuthKeys


class AuthKeys:
    """The keys that the auth hook of one API has found. They lie in the worker's key cache, apart from those of tokens."""

    def __init__(
        self,
        worker: Worker,
        keyspace: KeySpace,
        cache: KeyCache,
        api_id: str,
        lifetime: Callable[[SessionData, int], int],
        *,
        base: bool,
    ) -> None:
        """lifetime: seconds that a session is kept in the store, with the unix time; base: whether these keys are the
        client's identity, and not those of another method (base_identity_provided_by)."""
        self._worker = worker
        self._keyspace = keyspace
        self._cache = cache
        self._prefix = b"\x01script\0" + api_id.encode() + b"\0"
        self._lifetime = lifetime
        self._base = base

    def known(self, x: Exchange) -> bool:
        """Whether the request has shown its key before: it comes back from a loop. Otherwise it has none here."""
        made = None if x.key is None else x.key.raw
        if isinstance(made, Made) and made.owner is self:
            return True
        x.key = None
        x.grant = None
        return False

    def take(self, x: Exchange, value: dict[str, Any], auth_value: str) -> Coroutine[Any, Any, None] | None:
        """Let a session be the request's; returns what keeps it in the store, None if nothing is to do. Only a session
        with an AuthValue is kept. Raises SessionError for a session that cannot be read."""
        if not self._base:
            return None
        token = to_bytes(auth_value)
        key = self._prefix + token
        entry = self._cache.get(key)
        now = clock_ms()
        if entry is not None and self._same(entry, value):
            if token and now - entry.loaded >= self._cache.fresh:
                entry.loaded = now
                self._worker.spawn(self._keep(entry))
            work = None
        else:
            session = from_value(value, "Session")
            name = self._keyspace.name_of(token.decode("utf-8", "surrogateescape"))
            entry = KeyEntry(token, name.encode("utf-8", "surrogateescape"), session, now)
            entry.raw = Made(value, session["meta_data"], self)
            self._cache.put(key, entry)
            work = self._keep(entry) if token else None
        x.key = entry
        x.grant = None
        state_of(x).identity = entry
        return work

    def _same(self, entry: KeyEntry, value: dict[str, Any]) -> bool:
        made: Made = entry.raw
        return made.owner is self and made.value == value and entry.session["meta_data"] is made.meta

    async def _keep(self, entry: KeyEntry) -> None:
        name = entry.name.decode("utf-8", "surrogateescape")
        try:
            if not await self._stored(name, entry):
                await self._keyspace.save(name, entry.session, self._lifetime(entry.session, int(time.time())))
        except (StoreError, ValueError) as error:
            log.error("a key that a script has made could not be stored: %s", error)

    async def _stored(self, name: str, entry: KeyEntry) -> bool:
        try:
            found = await self._keyspace.load_name(name)
        except SessionError:
            return False    # it is not readable, so it is written anew
        return found is not None and encode(found.session) == encode(entry.session)


def keep_identity(x: Exchange) -> None:
    """For a step behind token auth: the key that the auth hook has found is the request's after all."""
    identity = state_of(x).identity
    if identity is not None:
        x.key = identity
        x.grant = None
