"""A lasting link to one server: connects, and connects again for ever when the connection is lost."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import hiredis

from core.store.connection import Callback, Connection, Counters
from core.store.dial import dial
from core.store.errors import StoreAway, StoreError
from core.store.settings import Address, StoreSettings

log = logging.getLogger("preforge.store")

FIRST_PAUSE = 0.05
LONGEST_PAUSE = 2.0

Locate = Callable[[], Awaitable[Address]]


class Link:
    """One server, or whatever server `locate` names at the time (a sentinel's master, some node of a cluster)."""

    def __init__(
        self,
        settings: StoreSettings,
        locate: Locate,
        counters: Counters,
        *,
        name: str = "the store",
        on_push: Callback | None = None,
        greet: Callable[[Connection], Awaitable[Any]] | None = None,
        on_change: Callable[[bool], None] | None = None,
        on_demoted: Callable[[], None] | None = None,
        timeout: float = 0.0,
    ) -> None:
        """name: what the log calls it, "" for one that is not spoken of; on_push: takes published messages; greet: runs
        before the connection is used, and refuses it by raising; on_change: told whether commands can be sent;
        on_demoted: told when the server answers that it is not in charge; timeout: seconds for one command, 0 for the
        configured ones."""
        self.connection: Connection | None = None
        self._settings = settings
        self._locate = locate
        self._counters = counters
        self._name = name
        self._push = on_push
        self._greet = greet
        self._on_change = on_change
        self._on_demoted = on_demoted
        self.address: Address | None = None
        self._timeout = timeout
        self._loop = asyncio.get_running_loop()
        self._task: asyncio.Task[None] | None = None
        self._down = asyncio.Event()
        self._hurry = asyncio.Event()
        # Commands from before the end of the first (or a wanted) attempt to connect, None afterwards.
        self._early: list[tuple[Callback, tuple[Any, ...]]] | None = None
        self._first: asyncio.Future[None] = self._loop.create_future()
        self._silent = False
        self._why = "it has not been connected yet"

    @property
    def available(self) -> bool:
        """Whether commands can be sent."""
        return self.connection is not None

    def start(self) -> None:
        """Begin to connect; never fails."""
        if self._task is None:
            self._hold()
            self._task = self._loop.create_task(self._keep())

    def _hold(self) -> None:
        """Keep commands until the attempt to connect that begins now has ended, or for the time of a command."""
        self._early = []
        self._loop.call_later(self._timeout or self._settings.command_timeout, self._first_is_over)

    def hurry(self) -> None:
        """The server is said to be there: try again now, and keep commands meanwhile."""
        if self.connection is None and self._early is None and self._task is not None:
            self._hold()
            self._hurry.set()

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._hurry.wait()
        self._hurry.clear()

    async def settled(self) -> None:
        """Wait until the first attempt has ended, or has taken as long as a command may."""
        await asyncio.wait([self._first])

    def send(self, callback: Callback, arguments: tuple[Any, ...]) -> None:
        """Send a command, or fail it soon. Never raises."""
        connection = self.connection
        if connection is None:
            self._without(callback, arguments)
            return
        try:
            data = hiredis.pack_command(arguments)
        except (TypeError, ValueError) as error:
            self._loop.call_soon(callback, StoreError(f"the command cannot be sent: {error}"))
            return
        self._counters.commands += 1
        if not connection.take(callback, data):
            self._counters.refused += 1
            options = "preforge.storage.max_waiting, max_queued_bytes"
            self._loop.call_soon(callback, StoreAway(f"too many commands wait for the store ({options})"))

    def _without(self, callback: Callback, arguments: tuple[Any, ...]) -> None:
        if self._early is not None and len(self._early) < self._settings.max_waiting:
            self._early.append((callback, arguments))
        else:
            self._counters.refused += 1
            self._loop.call_soon(callback, StoreAway(f"the store cannot be reached: {self._why}"))

    def renew(self, reason: str, to: Address | None = None) -> None:
        """Give the connection up and locate the server anew; to: not if it is this one already."""
        if self.connection is not None and (to is None or self.address != to):
            self.connection.close(reason)

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._why = "it was closed"
        self._silent = True
        self._first_is_over()
        if self.connection is not None:
            self.connection.close(self._why)

    async def _keep(self) -> None:
        pause = FIRST_PAUSE
        while True:
            try:
                async with asyncio.timeout(self._settings.timeout):
                    connection = await self._connect()
            except Exception as error:
                if not isinstance(error, (OSError, StoreError)):
                    log.exception("connecting to %s", self._name)
                where = f"{self.address}: " if self.address is not None else ""
                self._say(where + (str(error) or f"no connection within {self._settings.timeout:g} s"))
                self._first_is_over()
                await self._pause(pause)
                pause = min(pause * 2, LONGEST_PAUSE)
                continue
            if not connection.open:
                await self._pause(pause)
                continue
            pause = FIRST_PAUSE
            self._up(connection)
            await self._down.wait()
            self._counters.reconnects += 1
            await self._pause(FIRST_PAUSE / 2)

    async def _connect(self) -> Connection:
        self.address = address = await self._locate()
        connection = await dial(self._settings, address, self._counters, self._lost, self._push, self._timeout)
        if self._greet is not None:
            try:
                await self._greet(connection)
            except BaseException:
                connection.close("the connection cannot be used")
                raise
        return connection

    def _up(self, connection: Connection) -> None:
        self._down.clear()
        self.connection = connection
        connection.on_demoted = self._on_demoted
        if self._silent and self._name:
            log.warning("%s is there again", self._name)
        self._silent = False
        self._first_is_over()
        if self._on_change is not None:
            self._on_change(True)

    def _first_is_over(self) -> None:
        if not self._first.done():
            self._first.set_result(None)
        early, self._early = self._early, None
        for callback, arguments in early or ():
            self.send(callback, arguments)

    def _say(self, why: str) -> None:
        self._why = why
        if not self._silent and self._name:
            log.error("%s cannot be reached: %s", self._name, why)
        self._silent = True

    def _lost(self, connection: Connection) -> None:
        if self.connection is connection:
            self.connection = None
            self._down.set()
            self._say(connection.reason)
            if self._on_change is not None:
                self._on_change(False)
