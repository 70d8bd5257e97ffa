"""The store as the rest of the gateway sees it."""

from __future__ import annotations

import asyncio
import functools
import weakref
from collections.abc import Callable, Sequence
from typing import Any

from core.store.connection import Argument, Callback, Connection, Counters, settle
from core.store.durable import Durability
from core.store.errors import StoreAway, StoreError, StoreReply
from core.store.link import Link
from core.store.script import Script
from core.store.settings import Address, StoreSettings
from core.store.subscription import Subscription

SCAN_COUNT = 1000

__all__ = ["Address", "Script", "Store", "StoreAway", "StoreError", "StoreReply", "StoreSettings", "open_store"]


class Store:
    """One server. All methods are for the loop of the worker that made it; replies are bytes, ints, None and lists.

    send() is the request's way: no task, no future, one write for all commands of a turn of the loop. The others wait.
    """

    def __init__(self, settings: StoreSettings) -> None:
        self.settings = settings
        self._counters = Counters()
        self._loop = asyncio.get_running_loop()
        self._subscriptions: list[Subscription] = []
        self._link = Link(settings, self._locate, self._counters, greet=self._greet)
        self._durability = Durability(settings, self._locate) if settings.embedded else None
        # Which run of the embedded server answered a task last: a later run may have lost what that one acknowledged.
        self._answered: weakref.WeakKeyDictionary[Any, bytes] = weakref.WeakKeyDictionary()

    async def _locate(self) -> Address:
        return self.settings.addresses[0]

    async def _greet(self, connection: Connection) -> None:
        """Refuse a connection by raising; a server that answers is good here."""

    @property
    def available(self) -> bool:
        """Whether commands can be sent."""
        return self._link.available

    async def start(self) -> None:
        """Begin to connect. Returns after the first attempt, however it ended, at the latest after a command's time."""
        self._link.start()
        if self._durability is not None:
            self._durability.start()
        await self._link.settled()

    async def close(self) -> None:
        """End all connections; commands that wait fail."""
        for subscription in self._subscriptions:
            await subscription.close()
        if self._durability is not None:
            await self._durability.close()
        await self._link.close()

    def send(self, callback: Callback, *arguments: Argument) -> None:
        """Send a command; callback gets the reply or a StoreError, later, exactly once. Never raises."""
        self._link.send(callback, arguments)

    async def call(self, *arguments: Argument) -> Any:
        """Send a command and wait for its reply. Raises StoreAway or StoreReply."""
        return (await self._all([arguments]))[0]

    async def pipeline(self, commands: Sequence[Sequence[Argument]]) -> list[Any]:
        """Send commands together; a StoreError stands in the list for one that failed.

        Raises StoreAway when none could be sent or answered.
        """
        try:
            return await self._all(commands, keep=True)
        except StoreAway as error:
            raise StoreAway(str(error)) from None

    async def _all(self, commands: Sequence[Sequence[Argument]], *, keep: bool = False) -> list[Any]:
        run = self._run
        replies: list[Any] = []
        done: asyncio.Future[Any] = self._loop.create_future()
        left = len(commands)
        if not left:
            return replies

        def take(index: int, reply: Any) -> None:
            nonlocal left
            replies[index] = reply
            left -= 1
            if not left:
                settle(done, None)

        replies += [None] * left
        for index, command in enumerate(commands):
            self.send(functools.partial(take, index), *command)
        await done
        if keep:
            if all(isinstance(reply, StoreAway) for reply in replies):
                raise replies[0]
        elif isinstance(replies[0], StoreError):
            raise replies[0]
        self._note(run)
        return replies

    @property
    def _run(self) -> bytes:
        connection = self._link.connection
        return connection.run if connection is not None else b""

    def _note(self, run: bytes) -> None:
        if self._durability is not None:
            self._answered[asyncio.current_task()] = run

    def send_script(
        self, callback: Callback, script: Script, keys: Sequence[str | bytes], arguments: Sequence[Argument]
    ) -> None:
        """Run a script by its SHA-1, and by its source where the server does not know it yet. As send()."""

        def answered(reply: Any) -> None:
            if type(reply) is StoreReply and str(reply).startswith("NOSCRIPT"):
                self.send(callback, b"EVAL", script.source, len(keys), *keys, *arguments)
            else:
                callback(reply)

        self.send(answered, b"EVALSHA", script.sha, len(keys), *keys, *arguments)

    async def script(self, script: Script, keys: Sequence[str | bytes], arguments: Sequence[Argument]) -> Any:
        """Run a script and wait for what it returns. Raises StoreError."""
        run = self._run
        future: asyncio.Future[Any] = self._loop.create_future()
        self.send_script(functools.partial(settle, future), script, keys, arguments)
        reply = await future
        if isinstance(reply, StoreError):
            raise reply
        self._note(run)
        return reply

    async def mget(self, keys: Sequence[str | bytes]) -> list[bytes | None]:
        """The values of keys, None for one that does not exist. Raises StoreError."""
        return [] if not keys else list(await self.call("MGET", *keys))

    async def scan(self, pattern: str | bytes) -> list[bytes]:
        """All keys that fit a pattern, sorted. Raises StoreError."""
        return sorted(await scan_all(self.call, pattern))

    async def durable(self) -> None:
        """Return when what this task was told of as done survives a kill of the embedded server and of the machine.

        Raises StoreAway when that cannot be said. Another server keeps to its own rules: returns at once.
        """
        if self._durability is not None:
            await self._durability.wait(self._answered.get(asyncio.current_task()) or self._run)

    def subscribe(self, channel: str, on_message: Callable[[bytes], None], on_state: Callable[[bool], None]) -> None:
        """Hear a channel for ever, on a connection of its own that is subscribed again when it is lost.

        on_state: told True after each (re)subscription, False when messages may be missed from now on.
        """
        subscription = Subscription(self.settings, self._locate, channel, on_message, on_state)
        self._subscriptions.append(subscription)
        subscription.start()

    async def publish(self, channel: str, message: bytes) -> None:
        """Publish a message. Raises StoreError."""
        await self.call("PUBLISH", channel, message)

    def stats(self) -> dict[str, int]:
        """Numbers for /metrics: totals of commands, error replies, passed deadlines, refused commands and lost
        connections; commands that wait now; 1 if connected; 1 if subscribed to all channels."""
        counters = self._counters
        return {
            "commands": counters.commands,
            "errors": counters.errors,
            "timeouts": counters.timeouts,
            "refused": counters.refused,
            "reconnects": counters.reconnects,
            "waiting": self._waiting(),
            "connected": int(self.available),
            "subscribed": int(all(subscription.available for subscription in self._subscriptions)),
        }

    def _waiting(self) -> int:
        return self._link.connection.waiting if self._link.connection is not None else 0


async def scan_all(call: Callable[..., Any], pattern: str | bytes) -> set[bytes]:
    """All keys of one server that fit a pattern. Raises StoreError."""
    found: set[bytes] = set()
    cursor: Any = b"0"
    while True:
        cursor, keys = await call("SCAN", cursor, "MATCH", pattern, "COUNT", SCAN_COUNT)
        found.update(keys)
        if cursor == b"0":
            return found


def open_store(settings: StoreSettings) -> Store:
    """The store for these settings; it connects when it is started."""
    return Store(settings)
