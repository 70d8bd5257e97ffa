"""A lasting link to one server: connects, logs in, connects again when it is lost."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable
from typing import Any

from core.store.connection import Callback, Connection
from core.store.errors import StoreAway, StoreError
from core.store.settings import Address, StoreSettings

log = logging.getLogger("preforge.store")

FIRST_PAUSE = 0.05
LONGEST_PAUSE = 2.0
MOST_BYTES = 64 * 1024 * 1024

Locate = Callable[[], Awaitable[Address]]


class Link:
    """One server, or whatever server `locate` names at the time (a sentinel's master)."""

    def __init__(
        self,
        settings: StoreSettings,
        locate: Locate,
        *,
        on_push: Callback | None = None,
        greet: Callable[[Connection], Awaitable[None]] | None = None,
        on_change: Callable[[bool], None] | None = None,
    ) -> None:
        """on_push: takes pushed messages; greet: runs after the log-in; on_change: whether commands can be sent."""
        self.reconnects = 0
        self.refused = 0
        self.timeouts = 0
        self.connection: Connection | None = None
        self._settings = settings
        self._locate = locate
        self._push = on_push
        self._greet = greet
        self._on_change = on_change
        self._tls: ssl.SSLContext | None = None
        self._task: asyncio.Task[None] | None = None
        self._down = asyncio.Event()
        self._first: asyncio.Future[None] | None = None
        self._closed = False
        self._quiet = False

    @property
    def available(self) -> bool:
        return self.connection is not None

    def start(self) -> None:
        """Begin to connect; never fails."""
        if self._task is None:
            loop = asyncio.get_running_loop()
            self._first = loop.create_future()
            self._task = loop.create_task(self._keep())

    async def settled(self, seconds: float) -> None:
        """Wait until the first attempt to connect has ended, at most `seconds`."""
        if self._first is not None and not self._first.done():
            await asyncio.wait([self._first], timeout=seconds)

    def send(self, callback: Callback, arguments: tuple[Any, ...]) -> None:
        """Send a command, or fail it soon. Never raises."""
        connection = self.connection
        if connection is None:
            self.refused += 1
            asyncio.get_running_loop().call_soon(callback, StoreAway("the store is not connected"))
        elif connection.waiting >= self._settings.max_waiting or connection.paused:
            self.refused += 1
            text = "too many commands wait for the store (preforge.storage.max_waiting)"
            asyncio.get_running_loop().call_soon(callback, StoreAway(text))
        else:
            connection.send(callback, arguments)

    async def close(self) -> None:
        self._closed = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self.connection is not None:
            self.connection.close("the store is closed")
            self.connection = None

    async def _keep(self) -> None:
        pause = FIRST_PAUSE
        while not self._closed:
            try:
                connection = await asyncio.wait_for(self._connect(), self._settings.timeout)
            except (OSError, StoreError, asyncio.TimeoutError, ssl.SSLError) as error:
                self._say(error)
                self._settle()
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE)
                continue
            pause = FIRST_PAUSE
            if not connection.open:
                continue
            self._down.clear()
            self.connection = connection
            if self._quiet:
                log.warning("the store is there again")
            self._quiet = False
            self._settle()
            if self._on_change is not None:
                self._on_change(True)
            await self._down.wait()
            self.reconnects += 1

    def _settle(self) -> None:
        if self._first is not None and not self._first.done():
            self._first.set_result(None)

    def _say(self, error: BaseException) -> None:
        if not self._quiet:
            self._quiet = True
            log.error("the store cannot be reached: %s", error or type(error).__name__)

    async def _connect(self) -> Connection:
        loop = asyncio.get_running_loop()
        address = await self._locate()
        settings = self._settings

        def make() -> Connection:
            return Connection(self._lost, settings.command_timeout, self._push)

        if address.port == 0:
            _, connection = await loop.create_unix_connection(make, address.host)
        else:
            if settings.use_ssl and self._tls is None:
                self._tls = settings.tls()
            name = address.host if self._tls is not None else None
            _, connection = await loop.create_connection(
                make, address.host, address.port, ssl=self._tls, server_hostname=name
            )
        try:
            if settings.password:
                login = (settings.username, settings.password) if settings.username else (settings.password,)
                await connection.call("AUTH", *login)
            if settings.database and not settings.cluster:
                await connection.call("SELECT", settings.database)
            await connection.call("PING")
            if self._greet is not None:
                await self._greet(connection)
        except BaseException:
            connection.close("the log-in failed")
            raise
        return connection

    def _lost(self, connection: Connection) -> None:
        if self.connection is connection:
            self.connection = None
            self._down.set()
            if not self._closed:
                self._say(StoreAway("the connection was lost"))
                if self._on_change is not None:
                    self._on_change(False)
