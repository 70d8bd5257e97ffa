"""Making sure that what the embedded server has acknowledged is on its disk.

The server appends to its file before it answers, but syncs once a second, and puts the append itself off while a sync
is slow: an answer alone does not promise that the data survives. WAITAOF (Valkey and Redis 7.2) waits for the sync;
switching to `appendfsync always` for a moment makes it come at once instead of within a second.
"""

from __future__ import annotations

import asyncio
from typing import Any

from core.store.connection import Connection, Counters, settle
from core.store.errors import StoreAway, StoreError
from core.store.link import Link, Locate
from core.store.settings import StoreSettings

WAIT_SECONDS = 5.0
CALM_SECONDS = 0.1  # without a request for so long, syncs go back to once a second
MARK = "preforge-sync"  # written and deleted in one transaction: WAITAOF speaks of writes of its own connection


class Durability:
    """Answers all who ask meanwhile with one sync. Has a connection of its own, which WAITAOF blocks."""

    def __init__(self, settings: StoreSettings, locate: Locate) -> None:
        timeout = WAIT_SECONDS + settings.command_timeout
        self._link = Link(settings, locate, Counters(), name="", greet=self._greet, timeout=timeout)
        self._waiting: list[tuple[asyncio.Future[Any], bytes]] = []
        self._running: asyncio.Task[None] | None = None
        self._calm: asyncio.TimerHandle | None = None
        self._knows_waitaof = True

    def start(self) -> None:
        self._link.start()

    async def close(self) -> None:
        if self._calm is not None:
            self._calm.cancel()
        await self._link.close()

    async def _greet(self, connection: Connection) -> None:
        # A server that does not know the command was started with `appendfsync always`.
        (known,) = await connection.call("COMMAND", "INFO", "WAITAOF")
        self._knows_waitaof = bool(known)

    async def wait(self, run: bytes) -> None:
        """Return when all that `run` of the server has acknowledged is on the disk. Raises StoreAway if that is open."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append((future, run))
        if self._running is None:
            self._running = asyncio.get_running_loop().create_task(self._rounds())
        error = await future
        if error is not None:
            raise error

    async def _rounds(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting, []
                run, error = await self._sync()
                for future, wanted in batch:
                    if error is None and wanted != run:
                        text = "the store was started anew before what it had acknowledged was on its disk"
                        settle(future, StoreAway(text))
                    else:
                        settle(future, error)
        finally:
            self._running = None
            for future, _ in self._waiting:
                settle(future, StoreAway("the store is closed"))

    async def _sync(self) -> tuple[bytes, StoreError | None]:
        """Sync once: (run of the server, what went wrong)."""
        connection = self._link.connection
        if connection is None:
            return b"", StoreAway("the store is not connected")
        run = connection.run
        if not self._knows_waitaof:
            return run, None
        if self._calm is not None:
            self._calm.cancel()
        commands: tuple[tuple[str | int, ...], ...] = (
            ("MULTI",), ("CONFIG", "SET", "appendfsync", "always"), ("SET", MARK, 1), ("DEL", MARK), ("EXEC",),
            ("WAITAOF", 1, 0, int(WAIT_SECONDS * 1000)),
        )  # fmt: skip
        replies: list[Any] = await asyncio.gather(
            *(connection.call(*command) for command in commands), return_exceptions=True
        )
        self._calm = asyncio.get_running_loop().call_later(CALM_SECONDS, self._relax)
        for reply in replies:
            if isinstance(reply, BaseException):
                return run, reply if isinstance(reply, StoreError) else StoreAway(str(reply))
        executed, (synced, _) = replies[-2], replies[-1]
        if not synced or any(isinstance(reply, StoreError) for reply in executed):
            return run, StoreAway(f"the store did not write to its disk within {WAIT_SECONDS:g} s")
        return run, None

    def _relax(self) -> None:
        self._calm = None
        self._link.send(lambda _: None, ("CONFIG", "SET", "appendfsync", "everysec"))
