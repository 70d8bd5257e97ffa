"""Hearing a channel for ever, on a connection of its own."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from core.store.connection import Connection, Counters
from core.store.link import Link, Locate
from core.store.settings import Address, StoreSettings

log = logging.getLogger("preforge.store")

BEAT_SECONDS = 0.5  # a silent connection is found dead after this and the command timeout


class Subscription:
    """Subscribes again after each loss of the connection. What is published in between is lost."""

    def __init__(
        self,
        settings: StoreSettings,
        locate: Locate,
        channel: str,
        on_message: Callable[[bytes], None],
        on_state: Callable[[bool], None],
        name: str = "the store",
    ) -> None:
        """on_state: told True after each (re)subscription and False when messages may be missed from now on."""
        self._channel = channel
        self._on_message = on_message
        self._on_state = on_state
        self._link = Link(
            settings,
            locate,
            Counters(),
            name=f"{name} (channel {channel})",
            on_push=self._pushed,
            greet=self._greet,
            on_change=self._changed,
        )
        self._beat: asyncio.TimerHandle | None = None

    @property
    def available(self) -> bool:
        """Whether messages arrive."""
        return self._link.available

    def start(self) -> None:
        self._link.start()
        self._ping()

    def _ping(self) -> None:
        self._beat = asyncio.get_running_loop().call_later(BEAT_SECONDS, self._ping)
        if self._link.connection is not None and not self._link.connection.waiting:
            self._link.send(_ignore, ("PING",))

    async def _greet(self, connection: Connection) -> None:
        await connection.call("SUBSCRIBE", self._channel)

    def _pushed(self, reply: list[bytes]) -> None:
        self._on_message(reply[2])

    def _changed(self, up: bool) -> None:
        try:
            self._on_state(up)
        except Exception:
            log.exception("channel %s: a change of state could not be handled", self._channel)

    def renew(self, reason: str, to: Address | None = None) -> None:
        """Locate the server anew and subscribe there; to: not if it is this one already."""
        self._link.renew(reason, to)

    async def close(self) -> None:
        if self._beat is not None:
            self._beat.cancel()
        self._on_state = _ignore
        await self._link.close()


def _ignore(_: Any) -> None:
    """The reply to a PING only has to come."""
