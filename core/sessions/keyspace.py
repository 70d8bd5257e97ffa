"""Keys in the store: found, written, listed, ended (tyk-core 5.4)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from core.sessions import tokens
from core.sessions.model import SessionData, decode, encode
from core.sessions.notifications import CHANNEL, KEYS_CHANGED, Notification, Signer
from core.store.client import Store
from core.store.errors import StoreError
from core.store.pattern import literal

PREFIX = "apikey-"
ORG_PREFIX = "orgkey."


@dataclass(frozen=True, slots=True)
class Found:
    """A session as it lies in the store. token: the full one; name: what stands for it there, without prefix; mark: of
    its text, the same only for the same text."""

    token: str
    name: str
    session: SessionData
    mark: bytes = b""


class KeySpace:
    """Keys of one store. resetting: holds what this node counts for a quota while its count is removed from the store.

    All methods raise StoreAway when the store cannot be asked, and SessionError for a session that cannot be read.
    """

    def __init__(self, store: Store, config: Any, signer: Signer) -> None:
        self.resetting: Callable[[str], AbstractAsyncContextManager[None]] = lambda quota_key: nullcontext()
        self._store = store
        self._signer = signer
        self.configure(config)

    def configure(self, config: Any) -> None:
        """Use the key options of a configuration."""
        self.hash_keys: bool = config.hash_keys
        self.hash_function: str = config.hash_key_function
        self._fallback = list(config.hash_key_function_fallback)
        self._by_name = not config.disable_key_actions_by_username

    def name_of(self, token: str) -> str:
        """What stands for a full token in the store."""
        return tokens.hash_key(token, self.hash_keys)

    def full(self, org: str, key_id: str) -> str:
        """The full token of a key id."""
        return tokens.generate(org, key_id, self.hash_function)

    async def load(self, token: str, org: str, known: Found | None = None) -> Found | None:
        """The session that a client's token stands for at an API of an organisation; known: what it was, returned
        itself if nothing has changed, so that nobody has to read it again."""
        full = tokens.candidates(token, org, self.hash_function, self._fallback, by_name=self._by_name)
        names = [self.name_of(one) for one in full]
        # A client's token may be any bytes.
        values = await self._store.mget([(PREFIX + name).encode("utf-8", "surrogateescape") for name in names])
        for one, name, raw in zip(full, names, values, strict=True):
            if raw is not None:
                mark = hashlib.blake2b(raw, digest_size=16).digest()
                if known is not None and (known.token, known.name, known.mark) == (one, name, mark):
                    return known
                return Found(one, name, decode(raw, f"{PREFIX}{name}"), mark)
        return None

    async def load_name(self, name: str) -> Found | None:
        """The session under a name as the store has it."""
        raw = await self._store.call("GET", PREFIX + name)
        return None if raw is None else Found("", name, decode(raw, f"{PREFIX}{name}"))

    async def save(self, name: str, session: SessionData, lifetime: int | None, *, existing: bool = False) -> bool:
        """Write a session and tell everyone; returns when it is safe. lifetime: seconds, 0 and below for ever, None: what is
        left of the one that it has; existing: only if it is still there."""
        command: list[Any] = ["SET", PREFIX + name, encode(session)]
        if lifetime is None:
            command.append("KEEPTTL")
        elif lifetime > 0:
            command += ["EX", lifetime]
        if existing:
            command.append("XX")
        done = await self._store.call(*command)
        await self._store.durable()
        if done is not None:
            await self._changed(name)
        return done is not None

    async def prolong(self, name: str, lifetime: int) -> None:
        """Let a session that is there live for `lifetime` seconds (more than 0) from now on."""
        await self._store.call("EXPIRE", PREFIX + name, lifetime)

    async def delete(self, name: str) -> bool:
        """Remove a session with its quota; False if there was none."""
        removed = await self._store.call("DEL", PREFIX + name)
        await self._remove_count(f"quota-{name}")
        await self._store.durable()
        await self._changed(name)
        return bool(removed)

    async def names(self, org: str = "") -> list[str]:
        """The names of all keys; org: only those that begin with it, in either form of token."""
        found = [raw.decode("utf-8", "replace")[len(PREFIX) :] for raw in await self._store.scan(f"{PREFIX}*")]
        if org and not self.hash_keys:
            return [name for name in found if name.startswith(org) or tokens.org_of(name) == org]
        return found

    async def reset_quota(self, session: SessionData, name: str) -> None:
        """Let every quota of a key begin anew."""
        scopes = {right["allowance_scope"] for right in session["access_rights"].values()} | {""}
        for scope in sorted(scopes):
            key = f"quota-{scope}-{name}" if scope else f"quota-{name}"
            await self._remove_count(key)

    async def _remove_count(self, quota_key: str) -> None:
        async with self.resetting(quota_key):
            await self._store.call("DEL", quota_key)

    async def used(self, quota_key: str) -> int | None:
        """What a quota has counted, None if nothing."""
        raw = await self._store.call("GET", quota_key)
        return None if raw is None else int(raw)

    # -- organisations ---------------------------------------------------------------

    async def load_org(self, org: str) -> SessionData | None:
        raw = await self._store.call("GET", ORG_PREFIX + org)
        return None if raw is None else decode(raw, ORG_PREFIX + org)

    async def save_org(self, org: str, session: SessionData, lifetime: int) -> None:
        command: list[Any] = ["SET", ORG_PREFIX + org, encode(session)]
        if lifetime > 0:
            command += ["EX", lifetime]
        await self._store.call(*command)
        await self._store.durable()

    async def delete_org(self, org: str) -> bool:
        removed = await self._store.call("DEL", ORG_PREFIX + org)
        await self._store.durable()
        return bool(removed)

    async def orgs(self, prefix: str = "") -> list[str]:
        found = await self._store.scan(f"{ORG_PREFIX}{literal(prefix)}*")
        return [raw.decode("utf-8", "replace")[len(ORG_PREFIX) :] for raw in found]

    # -- notifications -----------------------------------------------------------------

    async def _changed(self, name: str) -> None:
        payload = name + (":hashed" if self.hash_keys else "")
        await self._store.publish(CHANNEL, self._signer.sign(Notification(KEYS_CHANGED, payload)))

    def names_of(self, notification: Notification) -> list[str]:
        """The names that a KeySpaceUpdateNotification speaks of; raw keys stand under their hash too."""
        # A key may hold the characters that separate keys; too many names do no harm.
        parts = [notification.payload.removesuffix(":hashed"), *notification.payload.split(",")]
        found = []
        for part in parts:
            for key in (part, part.partition(":")[0]):
                if key:
                    found += [key, self.name_of(key)]
        return list(dict.fromkeys(found))


__all__ = ["CHANNEL", "Found", "KeySpace", "StoreError"]
