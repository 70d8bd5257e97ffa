"""A store on the master that sentinels watch; it is followed when they choose another one."""

from __future__ import annotations

import asyncio
import logging
import ssl
from typing import Any

from core.store.connection import Connection, Counters
from core.store.dial import dial
from core.store.errors import StoreAway, StoreError
from core.store.link import Link
from core.store.settings import Address, StoreSettings
from core.store.single import SingleStore
from core.store.subscription import Subscription

log = logging.getLogger("preforge.store")

MOST_SENTINELS = 32
SWITCHED = "+switch-master"
ANOTHER = "another master has been chosen"


class Sentinels:
    """Whom to ask who the master is: the sentinels of the configuration, and those they know."""

    def __init__(self, settings: StoreSettings) -> None:
        self.settings = settings.of_sentinels()
        self.name = settings.master
        self._known = list(settings.addresses)
        self._turn = 0

    async def master(self) -> Address:
        """The address of the master. Raises StoreAway if no sentinel tells."""
        why = ""
        for address in list(self._known):
            try:
                async with asyncio.timeout(self.settings.command_timeout):
                    found, others = await self._ask(address)
            except (OSError, StoreError, ssl.SSLError) as error:
                why = f"the sentinel {address}: {error or 'no answer in time'}"
                self._last(address)
                continue
            if found is None:
                why = f"the sentinel {address} watches no master named {self.name!r}"
                continue
            try:
                master = Address(found[0].decode(), int(found[1]))
                self._learn(address, others)
            except (TypeError, ValueError, LookupError, AttributeError):
                why = f"the sentinel {address}: its answer cannot be read"
                continue
            return master
        raise StoreAway(why or "no sentinel answers")

    def _last(self, address: Address) -> None:
        """Ask this one after all others from now on: whoever waits for an answer may not wait for the whole list."""
        self._known.remove(address)
        self._known.append(address)

    async def _ask(self, address: Address) -> tuple[list[bytes] | None, Any]:
        connection = await dial(self.settings, address, Counters(), lambda _: None)
        try:
            found = await connection.call("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.name)
            others = await connection.call("SENTINEL", "SENTINELS", self.name) if found is not None else []
        finally:
            connection.close("it has been asked")
        return found, others

    def _learn(self, address: Address, others: list[list[bytes]]) -> None:
        """Ask this one first from now on, and keep the others that it knows."""
        known = [address]
        for fields in others:
            named = dict(zip(fields[::2], fields[1::2], strict=False))
            known.append(Address(named[b"ip"].decode(), int(named[b"port"])))
        known += self._known
        self._known = list(dict.fromkeys(known))[:MOST_SENTINELS]

    async def sentinel(self) -> Address:
        """A sentinel, each time the next one."""
        self._turn += 1
        return self._known[self._turn % len(self._known)]


class SentinelStore(SingleStore):
    """Commands and subscriptions go to the master of the moment."""

    def __init__(self, settings: StoreSettings) -> None:
        super().__init__(settings)
        self._sentinels = Sentinels(settings)
        self._link = Link(
            settings, self._locate, self._counters, greet=_must_be_master, on_demoted=self._demoted
        )
        self._news = Subscription(
            self._sentinels.settings, self._sentinels.sentinel, SWITCHED, self._switched, self._heard, "the sentinels"
        )
        self._was_heard = False
        self._looking: asyncio.Task[None] | None = None

    async def _locate(self) -> Address:
        return await self._sentinels.master()

    async def start(self) -> None:
        self._news.start()
        await super().start()

    async def close(self) -> None:
        await self._news.close()
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
        await super().close()

    def _switched(self, message: bytes) -> None:
        """"name old-ip old-port new-ip new-port" (documentation of Redis Sentinel, Pub/Sub messages)."""
        name, *where = message.decode("utf-8", "replace").split(" ")
        if name == self._sentinels.name and len(where) == 4 and where[3].isdigit():
            master = Address(where[2], int(where[3]))
            log.warning("the sentinels chose another master: %s", master)
            self._renew(ANOTHER, master)

    def _heard(self, up: bool) -> None:
        # Another master may have been chosen while nobody listened.
        if up and self._was_heard and self._looking is None:
            self._looking = self._loop.create_task(self._look())
        self._was_heard = self._was_heard or up

    async def _look(self) -> None:
        try:
            self._renew(ANOTHER, await self._sentinels.master())
        except StoreAway as error:
            log.debug("who the master is stays open: %s", error)
        finally:
            self._looking = None


async def _must_be_master(connection: Connection) -> None:
    """Sentinels may still name a server that has been demoted."""
    role = (await connection.call("ROLE"))[0]
    if role != b"master":
        raise StoreAway(f"the server that the sentinels name is a {role.decode()}")
