"""TykStorage*: what scripts keep in the store (tyk-jsvm 6.4)."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from typing import Any

from core.scripts.host_text import to_bytes, to_text
from core.scripts.host_types import Caller, HostError
from core.store.client import Store
from core.store.errors import StoreError
from core.store.script import Script

PREFIX = b"jsvm-store:"
MOST_KEY = 256
MOST_VALUE = 65536
MOST_TTL = 100 * 366 * 86400    # the store refuses very large numbers
SECONDS = 2.0                   # of one operation

# KEYS: the counter. ARGV: its seconds, 0 for ever. They begin with the counter, not with every step. Read
# again, since numbers of a script lose their last digits beyond 2**53.
_INCREMENT = Script(
    """
local count = redis.call('INCR', KEYS[1])
if count == 1 and tonumber(ARGV[1]) > 0 then
  redis.call('EXPIRE', KEYS[1], ARGV[1])
end
return redis.call('GET', KEYS[1])
"""
)


class ScriptStorage:
    """One per worker. All methods raise HostError: for a key, a value or seconds that cannot be, and when the store does
    not answer."""

    def __init__(self, store: Store) -> None:
        self.counts: Counter[str] = Counter()
        self._store = store

    async def get(self, key: str, caller: Caller) -> str | None:
        """The value, None if there is none."""
        raw = await self._ask(caller, "TykStorageGet", "GET", _key(key))
        return None if raw is None else to_text(raw)

    async def set(self, key: str, value: str, ttl: str, caller: Caller) -> None:
        await self._ask(caller, "TykStorageSet", "SET", _key(key), _value(value), *_expiry(ttl))

    async def set_new(self, key: str, value: str, ttl: str, caller: Caller) -> str:
        """ "true" if the key was not there, else "false"."""
        done = await self._ask(caller, "TykStorageSetNX", "SET", _key(key), _value(value), *_expiry(ttl), "NX")
        return "false" if done is None else "true"

    async def delete(self, key: str, caller: Caller) -> None:
        await self._ask(caller, "TykStorageDel", "DEL", _key(key))

    async def ttl(self, key: str, caller: Caller) -> str:
        """Seconds that are left, -1 for a key that stays, -2 for none."""
        return str(await self._ask(caller, "TykStorageTTL", "TTL", _key(key)))

    async def increment(self, key: str, ttl: str, caller: Caller) -> str:
        """The new count; digits, as it may be more than a number of a script can hold."""
        seconds = _seconds(ttl)
        asked = self._store.script(_INCREMENT, [_key(key)], [seconds])
        return to_text(await self._bounded(caller, "TykStorageIncr", asked))

    async def _ask(self, caller: Caller, name: str, *command: Any) -> Any:
        return await self._bounded(caller, name, self._store.call(*command))

    async def _bounded(self, caller: Caller, name: str, asked: Any) -> Any:
        self.counts["asked"] += 1
        seconds = min(SECONDS, max(0.0, caller.deadline - asyncio.get_running_loop().time()))
        try:
            async with asyncio.timeout(seconds):
                return await asked
        except TimeoutError:
            self.counts["failed"] += 1
            raise HostError(f"{name}: the store has not answered within {seconds:.3g} s") from None
        except StoreError as error:
            self.counts["failed"] += 1
            raise HostError(f"{name}: {error}") from None


def _key(text: str) -> bytes:
    raw = to_bytes(text)
    if not 1 <= len(raw) <= MOST_KEY:
        raise HostError(f"the key has {len(raw)} bytes, expected 1 to {MOST_KEY}")
    return PREFIX + raw


def _value(text: str) -> bytes:
    raw = to_bytes(text)
    if len(raw) > MOST_VALUE:
        raise HostError(f"the value has {len(raw)} bytes, at most {MOST_VALUE} are stored")
    return raw


def _expiry(ttl: str) -> tuple[Any, ...]:
    seconds = _seconds(ttl)
    return ("EX", seconds) if seconds else ()


def _seconds(text: str) -> int:
    """A number of seconds as scripts give it; nothing at all is 0. A fraction below one second counts as one: 0 would
    mean for ever."""
    if text.strip() in ("", "undefined", "null"):
        return 0
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number <= MOST_TTL:
        raise HostError(f"the seconds are {text[:40]!r}, expected a number from 0 to {MOST_TTL}")
    return math.ceil(number) if number < 1 else int(number)
