"""The store as the rest of the gateway sees it, whatever servers are behind it."""

from __future__ import annotations

import asyncio
import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

from core.store.connection import Argument, Callback, Counters, settle
from core.store.errors import StoreAway, StoreError, StoreReply
from core.store.script import Script
from core.store.settings import Address, StoreSettings
from core.store.subscription import Subscription

SCAN_COUNT = 1000


class Store(ABC):
    """All methods are for the loop of the worker that made it; replies are bytes, ints, None and lists.

    send() is the request's way: no task, no future, one write for all commands of a turn of the loop. The others wait.
    """

    def __init__(self, settings: StoreSettings) -> None:
        self.settings = settings
        self._counters = Counters()
        self._loop = asyncio.get_running_loop()
        self._subscriptions: list[Subscription] = []

    @property
    @abstractmethod
    def available(self) -> bool:
        """Whether commands can be sent."""

    @abstractmethod
    async def start(self) -> None:
        """Begin to connect. Returns after the first attempt, however it ended, at the latest after a command's time."""

    async def close(self) -> None:
        """End all connections; commands that wait fail."""
        for subscription in self._subscriptions:
            await subscription.close()

    @abstractmethod
    def send(self, callback: Callback, *arguments: Argument) -> None:
        """Send a command; callback gets the reply or a StoreError, later, exactly once. Never raises."""

    @abstractmethod
    async def _locate(self) -> Address:
        """A server to subscribe at. Raises StoreAway."""

    @abstractmethod
    def _waiting(self) -> int:
        """Commands without a reply."""

    async def call(self, *arguments: Argument) -> Any:
        """Send a command and wait for its reply. Raises StoreAway or StoreReply."""
        future: asyncio.Future[Any] = self._loop.create_future()
        self.send(functools.partial(settle, future), *arguments)
        return await self._reply(future)

    async def pipeline(self, commands: Sequence[Sequence[Argument]]) -> list[Any]:
        """Send commands together; a StoreError stands in the list for one that failed.

        Raises StoreAway when none could be sent or answered.
        """
        replies: list[Any] = [None] * len(commands)
        if not commands:
            return replies
        done: asyncio.Future[Any] = self._loop.create_future()
        left = len(commands)

        def take(index: int, reply: Any) -> None:
            nonlocal left
            replies[index] = reply
            left -= 1
            if not left:
                failed = all(isinstance(one, StoreAway) for one in replies)
                settle(done, reply if failed else None)

        for index, command in enumerate(commands):
            self.send(functools.partial(take, index), *command)
        await self._reply(done)
        return replies

    async def _reply(self, future: asyncio.Future[Any]) -> Any:
        reply = await future
        if isinstance(reply, StoreError):
            raise reply
        return reply

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
        future: asyncio.Future[Any] = self._loop.create_future()
        self.send_script(functools.partial(settle, future), script, keys, arguments)
        return await self._reply(future)

    async def mget(self, keys: Sequence[str | bytes]) -> list[bytes | None]:
        """The values of keys, None for one that does not exist. Raises StoreError."""
        if not keys:
            return []
        reply = await self.call("MGET", *keys)
        if not isinstance(reply, list) or len(reply) != len(keys):
            raise StoreReply("the store did not answer MGET as it should")
        return reply

    async def scan(self, pattern: str | bytes) -> list[bytes]:
        """All keys that fit a pattern, sorted. Raises StoreError."""
        return sorted(await scan_all(self.call, pattern))

    @abstractmethod
    async def durable(self) -> None:
        """Return when what this task was told of as done survives a kill of the embedded server and of the machine.

        Raises StoreAway when that cannot be said. Another server keeps to its own rules: returns at once.
        """

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
        """Numbers for /metrics: the totals of Counters; commands that wait now; 1 if connected; 1 if subscribed to all
        channels."""
        counters = self._counters
        return {
            "commands": counters.commands,
            "errors": counters.errors,
            "timeouts": counters.timeouts,
            "lost": counters.lost,
            "refused": counters.refused,
            "reconnects": counters.reconnects,
            "waiting": self._waiting(),
            "connected": int(self.available),
            "subscribed": int(all(subscription.available for subscription in self._subscriptions)),
        }


async def scan_all(call: Callable[..., Any], pattern: str | bytes) -> set[bytes]:
    """All keys of one server that fit a pattern. call: sends a command to it. Raises StoreError."""
    found: set[bytes] = set()
    cursor: Any = b"0"
    while True:
        reply = await call("SCAN", cursor, "MATCH", pattern, "COUNT", SCAN_COUNT)
        if not isinstance(reply, list) or len(reply) != 2 or not isinstance(reply[1], list):
            raise StoreReply("the store did not answer SCAN as it should")
        cursor, keys = reply
        found.update(keys)
        if cursor == b"0":
            return found
