"""Whether the store does its work, asked at intervals (tyk-core 8.1)."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

from core.store.client import Store
from core.store.errors import StoreError

log = logging.getLogger("preforge.admin")

KEY = "tyk-liveness-probe"
KEY_SECONDS = 10
DEFAULT_SECONDS = 10.0
SHORTEST_SECONDS = 0.1


class StoreProbe:
    """Writes a key, since a store that only can be read is of no use for counters. One per worker."""

    def __init__(self, store: Store, check_duration: int) -> None:
        """check_duration: nanoseconds between probes, 0 for the default."""
        self._store = store
        self._seconds = DEFAULT_SECONDS
        self._error = ""
        self._time = 0.0
        self._task: asyncio.Task[None] | None = None
        self.configure(check_duration)

    def configure(self, check_duration: int) -> None:
        """Use another interval, from the next probe on."""
        seconds = check_duration / 1e9 if check_duration > 0 else DEFAULT_SECONDS
        self._seconds = max(SHORTEST_SECONDS, seconds)

    def start(self) -> None:
        """Probe at once, and then for ever."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    def close(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        while True:
            await self.probe()
            await asyncio.sleep(self._seconds)

    async def probe(self) -> None:
        """Ask the store once."""
        before = self._error
        try:
            await self._store.call("SET", KEY, KEY, "EX", KEY_SECONDS)
            self._error = ""
        except StoreError as error:
            self._error = str(error) or "the store does not answer"
        self._time = time.time()
        if bool(before) != bool(self._error):
            log.warning("the store %s", f"fails: {self._error}" if self._error else "works again")

    @property
    def ok(self) -> bool:
        """Whether the last probe succeeded and the store is connected still."""
        return bool(self._time) and not self._error and self._store.available

    def details(self) -> dict[str, Any]:
        """The `details` of /hello; empty before the first probe."""
        if not self._time:
            return {}
        found: dict[str, Any] = {"status": "pass" if self.ok else "fail", "componentType": "datastore"}
        if not self.ok:
            found["output"] = self._error or "not connected"
        found["time"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self._time))
        return {"redis": found}
