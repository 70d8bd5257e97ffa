"""Which web hooks were sent a moment ago (event_timeout), for all workers and nodes together."""

from __future__ import annotations

import logging
import time

from core.store.client import Store
from core.store.errors import StoreAway, StoreError

log = logging.getLogger("preforge.events")

PREFIX = "webhook.cache."
MOST_LOCAL = 4096


class Cooldown:
    """Asks the store; while it is away this worker remembers by itself, the newest MOST_LOCAL of them."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._until: dict[str, float] = {}      # in the order of the last use

    async def begin(self, checksum: str, seconds: int) -> bool:
        """Begin the cooldown of a request; False if it is running already."""
        if seconds <= 0:
            return True
        now = time.monotonic()
        if self._until.get(checksum, 0.0) > now:
            return False
        free = True
        try:
            free = await self._store.call("SET", PREFIX + checksum, "1", "NX", "EX", seconds) is not None
        except StoreError as error:
            if not isinstance(error, StoreAway):
                log.error("the cooldown of a web hook cannot be stored: %s", error)
        if free:
            self._remember(checksum, now + seconds)
        return free

    def _remember(self, checksum: str, until: float) -> None:
        self._until.pop(checksum, None)
        if len(self._until) >= MOST_LOCAL:
            del self._until[next(iter(self._until))]
        self._until[checksum] = until
