"""Keeps one connection to a server open."""

from __future__ import annotations

import asyncio
import logging
import random
import socket
import ssl
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Literal

from coprocess.grpc.http2 import Connection
from coprocess.grpc.settings import GrpcSettings, SettingsError
from coprocess.grpc.tls import PROTOCOL, client_context, file_marks

if TYPE_CHECKING:
    from coprocess.grpc.driver import GrpcDriver

logger = logging.getLogger("preforge.grpc")

GROWTH = 1.6
JITTER = 0.2
MOST_DRAINED = 5
"""Connections that a server may end one after the other, without an error and before they were of use, while calls wait for the
next one: it lets connections live for a short time, or a balancer leads to servers that are being stopped."""
TLS_GOODBYE = 0.5
"""Seconds that a server has to answer the end of TLS."""
KERNEL_KEEPALIVE = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 30_000}
"""Seconds, seconds, probes, milliseconds: a peer that is gone is noticed while no call is under way, too."""
MOST_ADDRESSES = 64
"""Of one name that are tried or used."""

Address = tuple[str, int]
"""(IP address, port), or (path, 0) of a unix socket."""


async def look_up(loop: asyncio.AbstractEventLoop, host: str, port: int) -> list[str]:
    """The addresses of a name, by the loop, which keeps the wait for it off its thread."""
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(where[0]) for *_, where in found))


class Unreachable(Exception):
    """No connection came about; the text says why."""


class Dialer:
    """Opens connections to addresses of one server, over TLS if it is set."""

    def __init__(self, driver: GrpcDriver, settings: GrpcSettings) -> None:
        """Raises SettingsError for TLS files that cannot be used."""
        self._driver = driver
        self._settings = settings
        self._target = settings.address()
        self._context = client_context(settings)
        self._marks = file_marks(settings)

    async def resolve(self) -> list[Address]:
        """The addresses of the target. Raises Unreachable."""
        target = self._target
        if target.path:
            return [(target.path, 0)]
        if not target.is_name:
            return [(target.host, target.port)]
        try:
            async with asyncio.timeout(self._settings.connect_timeout):
                found = await look_up(self._driver.loop, target.host, target.port)
        except (OSError, TimeoutError, UnicodeError) as e:
            raise Unreachable(f"{target.host} has no address: {_say(e)}") from e
        return [(address, target.port) for address in found[:MOST_ADDRESSES]]

    async def open(self, address: Address) -> Connection:
        """A connection on which the server has said its settings. Raises Unreachable."""
        connection = Connection(self._driver)
        self._driver.keep(connection)
        opened = False
        try:
            async with asyncio.timeout(self._settings.connect_timeout):
                await self._transport(connection, address)
                refused = await connection.opened
            opened = True
        except (OSError, TimeoutError, SettingsError, ValueError, Unreachable) as e:
            raise Unreachable(f"{_name(address)}: {_say(e)}") from e
        finally:
            if not opened:
                connection.close("it was not opened in time")
        if refused:
            raise Unreachable(f"{_name(address)}: {refused}")
        return connection

    async def _transport(self, connection: Connection, address: Address) -> None:
        loop, context = self._driver.loop, self._tls_context()
        tls_options: dict[str, Any] = {}
        if context is not None:
            name = self._settings.server_name or self._target.host or "localhost"
            tls_options = {"ssl": context, "server_hostname": name, "ssl_shutdown_timeout": TLS_GOODBYE}
        if self._target.path:
            transport, _ = await loop.create_unix_connection(lambda: connection, address[0], **tls_options)
        else:
            transport, _ = await loop.create_connection(lambda: connection, *address, **tls_options)
            raw = transport.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for name, value in KERNEL_KEEPALIVE.items():
                if hasattr(socket, name):
                    raw.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        if context is not None:
            tls = transport.get_extra_info("ssl_object")
            if tls.selected_alpn_protocol() != PROTOCOL:
                raise Unreachable("the server does not offer HTTP/2 by ALPN")

    def _tls_context(self) -> ssl.SSLContext | None:
        """Files that have changed are read anew."""
        if self._context is not None:
            try:
                if (marks := file_marks(self._settings)) != self._marks:
                    self._context, self._marks = client_context(self._settings), marks
            except OSError as e:
                raise Unreachable(f"a file of its TLS settings: {_say(e)}") from e
        return self._context


class Link:
    """One connection, opened again whenever it ends. After a failure `status` is down until a connection is up."""

    def __init__(self, driver: GrpcDriver, dialer: Dialer, addresses: Callable[[], Awaitable[list[Address]]]) -> None:
        """addresses: asked before each attempt; the first one that answers is used."""
        self.status: Literal["connecting", "up", "down"] = "connecting"
        self.detail = ""
        self.connection: Connection | None = None
        self._driver = driver
        self._dialer = dialer
        self._addresses = addresses

    async def run(self) -> None:
        """Until it is cancelled."""
        settings, loop = self._driver.settings, self._driver.loop
        failures = 0
        while True:
            try:
                self.connection = await self._open()
            except Exception as e:
                if not isinstance(e, Unreachable):
                    logger.exception('gRPC server "%s": opening a connection', settings.name)
                failures += 1
                self._driver.connect_failed()
                self._set("down", str(e))
            else:
                began = loop.time()
                self._set("up", "")
                detail = await self.connection.ended
                useful = self.connection.useful or loop.time() - began > settings.backoff_max
                failures = 0 if useful else failures + 1
                if failures < 2:
                    self._set("connecting", detail)
                    continue
                self._set("connecting" if self.connection.drained and failures < MOST_DRAINED else "down", detail)
            delay = min(settings.backoff_max, settings.backoff_min * GROWTH ** min(failures - 1, 50))
            await asyncio.sleep(delay * random.uniform(1 - JITTER, 1 + JITTER))

    async def _open(self) -> Connection:
        reasons = []
        for address in await self._addresses():
            try:
                return await self._dialer.open(address)
            except Unreachable as e:
                reasons.append(str(e))
        raise Unreachable("; ".join(reasons[:4]) or "no address")

    def _set(self, status: Literal["connecting", "up", "down"], detail: str) -> None:
        self.status, self.detail = status, detail
        self._driver.link_changed(self)


def _name(address: Address) -> str:
    host, port = address
    if not port:
        return f"unix:{host}"
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _say(e: BaseException) -> str:
    if isinstance(e, TimeoutError) and not e.args:
        return "no answer in time"
    return str(e) or type(e).__name__
