"""The gRPC driver of one worker."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Coroutine

from coprocess.driver import DriverState, Format
from coprocess.grpc.http2 import Caller, Connection
from coprocess.grpc.link import Address, Dialer, Link, Unreachable
from coprocess.grpc.settings import GrpcSettings, SettingsError

logger = logging.getLogger("preforge.grpc")

LEAST_RESOLVE_INTERVAL = 1.0
GOODBYE_TIME = 0.5
"""Seconds that connections have to send what is left in their buffers."""
ABORT_TIME = 0.1


class GrpcDriver(Caller):
    """One plugin server, as one worker sees it; see coprocess.driver.Driver. Calls are Caller's, connections are kept here."""

    format: Format = "protobuf"

    def __init__(self, settings: GrpcSettings) -> None:
        super().__init__(settings)
        self._dialer: Dialer | None = None
        self._links: dict[tuple[Address | None, int], Link] = {}
        self._tasks: dict[Link, asyncio.Task[None]] = {}
        self._balancer: asyncio.Task[None] | None = None
        self._connections: set[Connection] = set()
        self._resolve_now = asyncio.Event()
        self._logged = ""

    async def start(self) -> None:
        """Begin to connect. TLS files that cannot be used disable the driver, which state() tells."""
        self.open(asyncio.get_running_loop(), logger)
        try:
            self._dialer = Dialer(self, self.settings)
        except (SettingsError, OSError) as e:
            logger.error("%s", e)
            self.disable(str(e))
            return
        self.without_connection(True, "")
        if self.settings.round_robin:
            self._balancer = self.loop.create_task(self._balance(self._dialer))
        else:
            for number in range(self.settings.connections):
                self._add(self._dialer, None, number)

    async def close(self, grace: float) -> None:
        """Take no more calls, let those under way end within `grace` seconds, end the others as away."""
        if self._dialer is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.stop(), grace)
            tasks = [*self._tasks.values(), *([self._balancer] if self._balancer else [])]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self.end_all()
            self._links.clear()
            self._tasks.clear()
            await self._close_connections()

    def state(self) -> DriverState:
        """Whether calls would reach the server now."""
        status, detail = self.status
        return DriverState(status, detail)

    def link_changed(self, link: Link) -> None:
        """A connection came or went."""
        if link not in self._tasks:
            return
        links = self._links.values()
        if link.status != "up":
            self._resolve_now.set()
        self.without_connection(any(other.status != "down" for other in links), link.detail)
        status, detail = self.status
        if status != self._logged:
            self._logged = status
            logger.log(
                logging.WARNING if status == "down" else logging.INFO,
                'gRPC server "%s" at %s is %s%s',
                self.settings.name,
                self.settings.target,
                status,
                f": {detail}" if detail else "",
            )

    def _add(self, dialer: Dialer, address: Address | None, number: int) -> None:
        async def only() -> list[Address]:
            return [address] if address else []

        link = Link(self, dialer, only if address else dialer.resolve)
        self._links[address, number] = link
        self._tasks[link] = self._spawn(link.run())

    def keep(self, connection: Connection) -> None:
        """Know a connection as long as it has a transport, or may get one."""
        self._connections.add(connection)
        connection.gone.add_done_callback(lambda _: self._connections.discard(connection))

    async def _close_connections(self) -> None:
        for connection in self._connections:
            connection.close("closing")
        for wait in (GOODBYE_TIME, ABORT_TIME):
            if self._connections:
                await asyncio.wait([connection.gone for connection in self._connections], timeout=wait)
            for connection in self._connections:
                connection.abort()

    def _spawn(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        return self.loop.create_task(work)

    async def _balance(self, dialer: Dialer) -> None:
        """Keep a link for every address of the name."""
        interval = self.settings.resolve_interval or None
        while True:
            self._resolve_now.clear()
            try:
                wanted = await dialer.resolve()
            except Unreachable as e:
                if not self._links:
                    self.connect_failed()
                    self.without_connection(False, str(e))
                delay: float | None = self.settings.backoff_max
            else:
                self._use(dialer, wanted)
                delay = interval
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._resolve_now.wait(), delay)
            await asyncio.sleep(LEAST_RESOLVE_INTERVAL)

    def _use(self, dialer: Dialer, wanted: list[Address]) -> None:
        for address in wanted:
            for number in range(self.settings.connections):
                if (address, number) not in self._links:
                    self._add(dialer, address, number)
        for key in [key for key in self._links if key[0] not in wanted]:
            link = self._links.pop(key)
            self._tasks.pop(link).cancel()
            if link.connection is not None:
                link.connection.drain("its address is none of the name's any more")
