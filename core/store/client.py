"""The store as the rest of the gateway sees it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any

from core.store.connection import Argument, Callback, Connection
from core.store.errors import StoreAway, StoreError, StoreReply
from core.store.link import Link
from core.store.script import Script
from core.store.settings import Address, StoreSettings

log = logging.getLogger("preforge.store")

BEAT_SECONDS = 0.5      # a silent subscription is found dead after this and the command timeout
DURABLE_MS = 5000


class Store:
    """One server. All methods are for the loop of the worker that made it; replies are bytes, ints and lists."""

    def __init__(self, settings: StoreSettings) -> None:
        self.settings = settings
        self.commands = 0
        self._link = Link(settings, self._where)
        self._subscriptions: list[Subscription] = []
        self._waitaof = True

    async def _where(self) -> Address:
        return self.settings.addresses[0]

    @property
    def available(self) -> bool:
        """Whether commands can be sent."""
        return self._link.available

    async def start(self) -> None:
        """Begin to connect. Returns after the first attempt, however it ended."""
        self._link.start()
        await self._link.settled(self.settings.timeout)

    async def close(self) -> None:
        for subscription in self._subscriptions:
            await subscription.close()
        await self._link.close()

    def send(self, callback: Callback, *arguments: Argument) -> None:
        """Send a command; callback gets the reply or a StoreError, later, once. Never raises."""
        self.commands += 1
        self._link.send(callback, arguments)

    async def call(self, *arguments: Argument) -> Any:
        """Send a command and wait for its reply. Raises StoreAway or StoreReply."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.send(lambda reply: _settle(future, reply), *arguments)
        reply = await future
        if isinstance(reply, StoreError):
            raise reply
        return reply

    async def pipeline(self, commands: Sequence[Sequence[Argument]]) -> list[Any]:
        """Send commands together; a StoreError stands in the list for one that failed. Raises StoreAway if all did."""
        loop = asyncio.get_running_loop()
        futures: list[asyncio.Future[Any]] = []
        for command in commands:
            future: asyncio.Future[Any] = loop.create_future()
            futures.append(future)
            self.send(lambda reply, future=future: _settle(future, reply), *command)  # type: ignore[misc]
        replies = await asyncio.gather(*futures)
        if replies and all(isinstance(reply, StoreAway) for reply in replies):
            raise replies[0]
        return list(replies)

    def send_script(
        self, callback: Callback, script: Script, keys: Sequence[str | bytes], arguments: Sequence[Argument]
    ) -> None:
        """Run a script by its name, and by its source where the server does not know it yet."""

        def named(reply: Any) -> None:
            if isinstance(reply, StoreReply) and str(reply).startswith("NOSCRIPT"):
                self.send(callback, b"EVAL", script.source, len(keys), *keys, *arguments)
            else:
                callback(reply)

        self.send(named, b"EVALSHA", script.sha, len(keys), *keys, *arguments)

    async def script(
        self, script: Script, keys: Sequence[str | bytes], arguments: Sequence[Argument]
    ) -> Any:
        """Run a script and wait. Raises StoreError."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.send_script(lambda reply: _settle(future, reply), script, keys, arguments)
        reply = await future
        if isinstance(reply, StoreError):
            raise reply
        return reply

    async def mget(self, keys: Sequence[str]) -> list[bytes | None]:
        """The values of some keys, None for those that are not there. Raises StoreError."""
        found: list[bytes | None] = await self.call("MGET", *keys)
        return found

    async def scan(self, pattern: str | bytes) -> list[bytes]:
        """All keys that fit a pattern. Raises StoreError."""
        found: set[bytes] = set()
        cursor: Any = b"0"
        while True:
            cursor, keys = await self.call("SCAN", cursor, "MATCH", pattern, "COUNT", 1000)
            found.update(keys)
            if cursor == b"0":
                return sorted(found)

    async def durable(self) -> None:
        """Return when what was acknowledged is on the disk of the embedded server. Raises StoreAway if it is not."""
        if not self.settings.embedded or not self._waitaof:
            return
        try:
            local, _ = await self.call("WAITAOF", 1, 0, int(self.settings.command_timeout * 900))
        except StoreReply as error:
            # A server before 7.2 does not know the command; it runs with appendfsync always.
            if "unknown command" not in str(error).lower():
                raise
            self._waitaof = False
            return
        if not local:
            raise StoreAway("the store did not write to its disk in time")

    def subscribe(self, channel: str, on_message: Callable[[bytes], None], on_state: Callable[[bool], None]) -> None:
        """Hear a channel for ever; on_state: whether messages arrive. What is published in between is lost."""
        subscription = Subscription(self.settings, self._where, channel, on_message, on_state)
        self._subscriptions.append(subscription)
        subscription.start()

    async def publish(self, channel: str, message: bytes) -> None:
        """Raises StoreError."""
        await self.call("PUBLISH", channel, message)

    def stats(self) -> dict[str, int]:
        """Numbers for /metrics."""
        link = self._link
        return {
            "commands": self.commands,
            "refused": link.refused,
            "reconnects": link.reconnects,
            "waiting": link.connection.waiting if link.connection is not None else 0,
            "connected": int(link.available),
        }


class Subscription:
    """A connection of its own that hears one channel, and proves twice a second that it still does."""

    def __init__(
        self,
        settings: StoreSettings,
        locate: Any,
        channel: str,
        on_message: Callable[[bytes], None],
        on_state: Callable[[bool], None],
    ) -> None:
        self._channel = channel
        self._on_message = on_message
        self._link = Link(settings, locate, on_push=self._push, greet=self._greet, on_change=on_state)
        self._beat: asyncio.TimerHandle | None = None

    def start(self) -> None:
        self._link.start()
        self._again()

    def _again(self) -> None:
        self._beat = asyncio.get_running_loop().call_later(BEAT_SECONDS, self._ping)

    def _ping(self) -> None:
        self._again()
        if self._link.connection is not None and not self._link.connection.waiting:
            self._link.send(_ignore, ("PING",))

    async def _greet(self, connection: Connection) -> None:
        await connection.call("SUBSCRIBE", self._channel)

    def _push(self, reply: list[bytes]) -> None:
        try:
            self._on_message(reply[2])
        except Exception:
            log.exception("a notification could not be handled")

    async def close(self) -> None:
        if self._beat is not None:
            self._beat.cancel()
        await self._link.close()


def _ignore(_: Any) -> None:
    """The reply to a PING only has to come."""


def _settle(future: asyncio.Future[Any], reply: Any) -> None:
    if not future.done():
        future.set_result(reply)


def open_store(settings: StoreSettings) -> Store:
    """The store for these settings; it connects when it is started."""
    return Store(settings)
