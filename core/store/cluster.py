"""A store on a cluster: each command goes to the node that has its key, and follows keys that move."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import ssl
from typing import Any

from core.store.base import Store, scan_all
from core.store.connection import Argument, Callback, Counters, settle
from core.store.dial import dial
from core.store.errors import StoreAway, StoreError, StoreReply
from core.store.link import Link
from core.store.settings import Address, StoreSettings
from core.store.slots import LISTED, SLOTS, SUMMED, as_bytes, command_slot, name_of, slot_of, slot_ranges

log = logging.getLogger("preforge.store")

MOST_REDIRECTS = 8
AGAIN_SECONDS = 0.05  # before a command whose keys are on their way is tried again
REFRESH_SECONDS = 30.0
ANXIOUS_SECONDS = 0.5  # between looks at the map while a node is away
LEAST_SECONDS = 0.1
SPARE_SECONDS = 60.0  # that a node without slots stays connected: it may be about to get some


class ClusterStore(Store):
    """Links to all masters, and the map of slots to them, which is read anew when a node says that it is wrong."""

    def __init__(self, settings: StoreSettings) -> None:
        super().__init__(settings)
        self._links: dict[Address, Link] = {}
        self._masters: list[Link] = []
        self._slots: list[Link | None] = [None] * SLOTS
        self._stale = asyncio.Event()
        self._mapped: asyncio.Future[None] = self._loop.create_future()
        self._task: asyncio.Task[None] | None = None
        self._turn = 0
        self._silent = False
        self._spare: dict[Address, float] = {}
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def available(self) -> bool:
        return bool(self._masters) and all(link.available for link in self._masters)

    async def start(self) -> None:
        self._task = self._loop.create_task(self._keep())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.settings.command_timeout):
                await asyncio.wait([self._mapped])
                for link in list(self._masters):
                    await link.settled()

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await super().close()
        for link in list(self._links.values()):
            await link.close()
        await asyncio.gather(*self._closing, return_exceptions=True)

    def _waiting(self) -> int:
        return sum(link.connection.waiting for link in self._links.values() if link.connection is not None)

    # -- commands ----------------------------------------------------------------

    def send(self, callback: Callback, *arguments: Argument) -> None:
        try:
            name = name_of(arguments)
            if len(arguments) > 2 and (name in SUMMED or name in LISTED):
                self._split(callback, name, arguments)
                return
            slot = command_slot(arguments)
        except (ValueError, IndexError) as error:
            self._loop.call_soon(callback, StoreError(f"the command cannot be sent: {error}"))
            return
        link = self._any() if slot is None else self._slots[slot]
        if link is None:
            self._counters.refused += 1
            self._stale.set()
            self._loop.call_soon(callback, StoreAway("no node of the cluster that can be reached has the key"))
        else:
            link.send(_Routed(self, link, callback, arguments), arguments)

    def _any(self) -> Link | None:
        """A node that can be reached, each time another one."""
        for _ in self._masters:
            self._turn += 1
            link = self._masters[self._turn % len(self._masters)]
            if link.available:
                return link
        return None

    def _split(self, callback: Callback, name: str, arguments: tuple[Argument, ...]) -> None:
        """A command of many keys as one command per slot."""
        places: dict[int, list[int]] = {}
        for place, key in enumerate(arguments[1:]):
            places.setdefault(slot_of(as_bytes(key)), []).append(place)
        replies: list[Any] = [None] * (len(arguments) - 1)
        left = len(places)
        total = 0
        failed: StoreError | None = None

        def take(part: list[int], reply: Any) -> None:
            nonlocal left, total, failed
            if isinstance(reply, StoreError):
                failed = failed or reply
            elif name in SUMMED and isinstance(reply, int):
                total += reply
            elif name in LISTED and isinstance(reply, list) and len(reply) == len(part):
                for place, value in zip(part, reply, strict=True):
                    replies[place] = value
            else:
                failed = failed or StoreReply(f"a node of the cluster did not answer {name} as it should")
            left -= 1
            if not left:
                callback(failed or (total if name in SUMMED else replies))

        for slot, part in places.items():
            link = self._slots[slot]
            words = (arguments[0], *(arguments[place + 1] for place in part))
            if link is None:
                self._stale.set()
                away = StoreAway("no node of the cluster that can be reached has the key")
                self._loop.call_soon(functools.partial(take, part), away)
            else:
                link.send(_Routed(self, link, functools.partial(take, part), words), words)

    def redirect(self, routed: _Routed, reply: StoreError) -> bool:
        """Send a command that failed to where it belongs; False if its failure stands."""
        text = str(reply)
        if isinstance(reply, StoreReply):
            kind, _, rest = text.partition(" ")
            if kind not in ("MOVED", "ASK") or routed.tries >= MOST_REDIRECTS:
                return False
            target = _target(rest, routed.link)
            if target is None:
                return False
            slot, address = target
            link = self._link(address)
            link.hurry()
            routed.tries += 1
            routed.link = link
            if kind == "MOVED":
                self._slots[slot] = link
                self._stale.set()
            else:
                link.send(_ignore, ("ASKING",))
            link.send(routed, routed.arguments)
            return True
        if "TRYAGAIN" in text and routed.tries < MOST_REDIRECTS:
            routed.tries += 1
            self._loop.call_later(AGAIN_SECONDS, routed.link.send, routed, routed.arguments)
            return True
        self._stale.set()
        return False

    async def scan(self, pattern: str | bytes) -> list[bytes]:
        """All keys of all masters that fit a pattern, sorted. Raises StoreError if one of them is away."""
        found: set[bytes] = set()
        if not self._masters:
            raise StoreAway("no node of the cluster can be reached")
        for link in list(self._masters):
            found |= await scan_all(functools.partial(self._call_at, link), pattern)
        return sorted(found)

    async def _call_at(self, link: Link, *arguments: Argument) -> Any:
        future: asyncio.Future[Any] = self._loop.create_future()
        link.send(functools.partial(settle, future), arguments)
        return await self._reply(future)

    async def durable(self) -> None:
        """A server of someone else's keeps what it acknowledges as its owner has set it up."""

    async def _locate(self) -> Address:
        nodes = [*self._links, *self.settings.addresses]
        self._turn += 1
        return nodes[self._turn % len(nodes)]

    # -- the map -----------------------------------------------------------------

    def _link(self, address: Address) -> Link:
        self._spare.pop(address, None)
        link = self._links.get(address)
        if link is None:

            async def locate() -> Address:
                return address

            name = f"the store's node {address}"
            link = Link(self.settings, locate, self._counters, name=name, on_change=self._changed)
            self._links[address] = link
            link.start()
        return link

    def _changed(self, _: bool) -> None:
        self._stale.set()

    async def _keep(self) -> None:
        while True:
            try:
                await self._refresh()
                self._silent = False
            except Exception as error:
                if not isinstance(error, StoreError):
                    log.exception("reading the map of the cluster")
                elif not self._silent:
                    log.error("the cluster cannot be reached: %s", error)
                self._silent = True
            if not self._mapped.done():
                self._mapped.set_result(None)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(REFRESH_SECONDS if self.available else ANXIOUS_SECONDS):
                    await self._stale.wait()
            await asyncio.sleep(LEAST_SECONDS)
            self._stale.clear()

    async def _refresh(self) -> None:
        """Read the map from the first node that gives it, each time beginning with another one."""
        problem: Exception = StoreAway("no node answers")
        known = list(self._links.items())
        first = self._turn % max(1, len(known))
        self._turn += 1
        for address, link in [*known[first:], *known[:first]]:
            if link.connection is None:
                continue
            try:
                self._take(await link.connection.call("CLUSTER", "SLOTS"), address)
                return
            except StoreError as error:
                problem = error
        for address in self.settings.addresses:
            try:
                async with asyncio.timeout(self.settings.command_timeout):
                    connection = await dial(self.settings, address, Counters(), _ignore)
                    try:
                        self._take(await connection.call("CLUSTER", "SLOTS"), address)
                    finally:
                        connection.close("it has been asked")
                return
            except (OSError, StoreError, ssl.SSLError) as error:
                problem = StoreAway(f"{address}: {error or 'no answer in time'}")
        raise problem

    def _take(self, reply: Any, asked: Address) -> None:
        """Use an answer to CLUSTER SLOTS. Raises StoreAway for one that makes no sense or has no slots."""
        slots: list[Link | None] = [None] * SLOTS
        masters: dict[Address, Link] = {}
        for first, last, address in slot_ranges(reply, asked):
            link = self._link(address)
            masters[address] = link
            slots[first : last + 1] = [link] * (last + 1 - first)
        if not masters:
            raise StoreAway(f"{asked}: the cluster has no slots")
        self._slots = slots
        self._masters = list(masters.values())
        now = self._loop.time()
        for address in [address for address in self._links if address not in masters]:
            if now - self._spare.setdefault(address, now) < SPARE_SECONDS:
                continue
            del self._spare[address]
            task = self._loop.create_task(self._links.pop(address).close())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)


class _Routed:
    """A command on its way: what the answer of a node is given to."""

    __slots__ = ("arguments", "callback", "link", "store", "tries")

    def __init__(self, store: ClusterStore, link: Link, callback: Callback, arguments: tuple[Argument, ...]) -> None:
        self.store = store
        self.link = link
        self.callback = callback
        self.arguments = arguments
        self.tries = 0

    def __call__(self, reply: Any) -> None:
        if not isinstance(reply, StoreError) or not self.store.redirect(self, reply):
            self.callback(reply)


def _target(text: str, asked: Link) -> tuple[int, Address] | None:
    """Slot and node of a redirection, "slot host:port"; without a host it is that of the node that was asked."""
    slot, _, where = text.partition(" ")
    host, _, port = where.rpartition(":")
    if not host and asked.address is not None:
        host = asked.address.host
    if not (slot.isdigit() and int(slot) < SLOTS and host and port.isdigit()):
        return None
    return int(slot), Address(host, int(port))


def _ignore(_: Any) -> None:
    """The answer to ASKING, and the end of a connection for one question, need no attention."""
