"""A store on one server, which may be the embedded one."""

from __future__ import annotations

import asyncio
import weakref
from typing import Any

from core.store.base import Store
from core.store.connection import Argument, Callback
from core.store.durable import Durability
from core.store.link import Link
from core.store.settings import Address, StoreSettings

DEMOTED_SECONDS = 2.0  # between two new connections for that reason: reads go on meanwhile


class SingleStore(Store):
    """One server at a fixed address."""

    def __init__(self, settings: StoreSettings) -> None:
        super().__init__(settings)
        self._link = Link(settings, self._locate, self._counters, on_demoted=self._demoted)
        self._demoted_at = -DEMOTED_SECONDS

    async def _locate(self) -> Address:
        return self.settings.addresses[0]

    def _demoted(self) -> None:
        """The server may not be written to any more: its name may stand for another one by now."""
        now = self._loop.time()
        if now - self._demoted_at >= DEMOTED_SECONDS:
            self._demoted_at = now
            self._renew("the server is not in charge any more")

    def _renew(self, reason: str, to: Address | None = None) -> None:
        self._link.renew(reason, to)
        for subscription in self._subscriptions:
            subscription.renew(reason, to)

    @property
    def available(self) -> bool:
        return self._link.available

    async def start(self) -> None:
        self._link.start()
        await self._link.settled()

    async def close(self) -> None:
        await super().close()
        await self._link.close()

    def send(self, callback: Callback, *arguments: Argument) -> None:
        self._link.send(callback, arguments)

    async def durable(self) -> None:
        """A server of someone else's keeps what it acknowledges as its owner has set it up."""

    def _waiting(self) -> int:
        return self._link.connection.waiting if self._link.connection is not None else 0


class EmbeddedStore(SingleStore):
    """The server that this gateway runs: it can be told to sync."""

    def __init__(self, settings: StoreSettings) -> None:
        super().__init__(settings)
        self._durability = Durability(settings, self._locate)
        # Which run of the server answered a task last: a later run may have lost what that one acknowledged.
        self._answered: weakref.WeakKeyDictionary[asyncio.Task[Any], bytes] = weakref.WeakKeyDictionary()

    async def start(self) -> None:
        self._durability.start()
        await super().start()

    async def close(self) -> None:
        await self._durability.close()
        await super().close()

    async def _reply(self, future: asyncio.Future[Any]) -> Any:
        run = self._run
        reply = await super()._reply(future)
        task = asyncio.current_task()
        if task is not None:
            self._answered[task] = run
        return reply

    async def durable(self) -> None:
        task = asyncio.current_task()
        await self._durability.wait((self._answered.get(task) if task is not None else None) or self._run)

    @property
    def _run(self) -> bytes:
        return self._link.connection.run if self._link.connection is not None else b""
