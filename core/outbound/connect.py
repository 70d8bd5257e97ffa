"""Connections of outgoing requests: the address that is connected to is the one that is checked."""

from __future__ import annotations

import asyncio
import errno
import socket
from functools import partial

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

from core.outbound.networks import Network, blocks

_Key = tuple[str, int, socket.AddressFamily]


class Guard:
    """Makes the sockets of a connector, none for an address in a blocked network.

    It sees each address right before the connection, so that neither a second look-up nor another spelling gets past.
    """

    def __init__(self, networks: tuple[Network, ...], option: str) -> None:
        """option: the setting that the networks are from, for messages."""
        self.refused = 0
        self._networks = networks
        self._option = option

    def check(self, address: str) -> None:
        """Raise OSError if nothing may be sent there."""
        if blocks(address, self._networks):
            self.refused += 1
            raise OSError(errno.EACCES, f"{address} is in a network of {self._option}")

    def socket(self, address: tuple[int | socket.AddressFamily, int | socket.SocketKind, int, str, tuple[object, ...]]) \
            -> socket.socket:  # fmt: skip
        """What aiohttp calls for each address that it tries."""
        family, kind, protocol, _, place = address
        self.check(str(place[0]))
        return socket.socket(family, kind, protocol)


class Lookups(AbstractResolver):
    """Looks names up in threads. A look-up cannot be cancelled, so those that run are bounded and shared."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._threads = ThreadedResolver()
        self._running: dict[_Key, asyncio.Task[list[ResolveResult]]] = {}

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Raises OSError."""
        key = (host, port, family)
        task = self._running.get(key)
        if task is None:
            if len(self._running) >= self._most:
                raise OSError(errno.EAGAIN, f"{self._most} names are being looked up already")
            task = asyncio.get_running_loop().create_task(self._threads.resolve(host, port, family))
            self._running[key] = task
            task.add_done_callback(partial(self._ended, key))
        return list(await asyncio.shield(task))

    def _ended(self, key: _Key, task: asyncio.Task[list[ResolveResult]]) -> None:
        del self._running[key]
        if not task.cancelled():
            task.exception()

    async def close(self) -> None:
        for task in list(self._running.values()):
            task.cancel()
        await self._threads.close()
