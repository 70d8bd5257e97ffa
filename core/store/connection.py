"""One connection: commands go out in batches, replies come back in their order."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Any

import hiredis

from core.store.errors import StoreAway, StoreError, StoreReply

log = logging.getLogger("preforge.store")

Argument = bytes | str | int | float
Callback = Callable[[Any], None]
AWAY = ("LOADING", "MASTERDOWN", "CLUSTERDOWN", "READONLY", "BUSY ")


class Connection(asyncio.Protocol):
    """The protocol of one connection. `lost` is called once when it ends.

    Every callback is called exactly once: with the reply, a StoreReply for an error reply, or StoreAway. After a
    deadline has passed the connection ends, so that a late reply can never be taken for another command's.
    """

    def __init__(self, lost: Callable[[Connection], None], timeout: float, on_push: Callback | None = None) -> None:
        """timeout: seconds for each command; on_push: takes every reply of a connection that subscribes."""
        self.sent = 0
        self._lost = lost
        self._timeout = timeout
        self._push = on_push
        self._reader = hiredis.Reader(notEnoughData=_NOTHING)
        self._waiting: deque[tuple[Callback, float]] = deque()
        self._out: list[bytes] = []
        self._transport: asyncio.Transport | None = None
        self._loop = asyncio.get_running_loop()
        self._flush_due = False
        self._timer: asyncio.TimerHandle | None = None
        self._reason = "the connection was closed"
        self.paused = False

    @property
    def waiting(self) -> int:
        """Commands without a reply."""
        return len(self._waiting)

    @property
    def open(self) -> bool:
        return self._transport is not None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport     # type: ignore[assignment]

    def send(self, callback: Callback, arguments: tuple[Argument, ...]) -> None:
        """Send one command with the next batch. The connection must be open."""
        self._out.append(hiredis.pack_command(arguments))  # type: ignore[arg-type]
        now = self._loop.time()
        self._waiting.append((callback, now + self._timeout))
        self.sent += 1
        if not self._flush_due:
            self._flush_due = True
            self._loop.call_soon(self._flush)
        if self._timer is None:
            self._timer = self._loop.call_later(self._timeout, self._check)

    def _flush(self) -> None:
        self._flush_due = False
        if self._transport is not None and self._out:
            data = self._out[0] if len(self._out) == 1 else b"".join(self._out)
            self._out.clear()
            self._transport.write(data)

    def _check(self) -> None:
        """One timer for all: it looks at the oldest command."""
        self._timer = None
        if not self._waiting:
            return
        left = self._waiting[0][1] - self._loop.time()
        if left <= 0:
            self.close(f"no answer within {self._timeout:g} s")
        else:
            self._timer = self._loop.call_later(left, self._check)

    def data_received(self, data: bytes) -> None:
        reader = self._reader
        try:
            reader.feed(data)
            while (reply := reader.gets()) is not _NOTHING:
                if self._push is not None and isinstance(reply, list) and reply and reply[0] == b"message":
                    self._push(reply)
                    continue
                if not self._waiting:
                    self.close("a reply that nobody waits for")
                    return
                callback = self._waiting.popleft()[0]
                if isinstance(reply, hiredis.ReplyError):
                    text = str(reply)
                    callback(StoreAway(text) if text.startswith(AWAY) else StoreReply(text))
                else:
                    callback(reply)
        except hiredis.ProtocolError as error:
            self.close(f"the server does not speak RESP: {error}")
        except Exception:
            log.exception("a reply could not be handled")

    def pause_writing(self) -> None:
        self.paused = True

    def resume_writing(self) -> None:
        self.paused = False

    def close(self, reason: str) -> None:
        """End the connection; commands without a reply fail with StoreAway."""
        self._reason = reason
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._out.clear()
        failure = StoreAway(str(error) if error else self._reason)
        waiting, self._waiting = self._waiting, deque()
        self._lost(self)
        for callback, _ in waiting:
            callback(failure)

    async def call(self, *arguments: Argument) -> Any:
        """One command. Raises StoreError."""
        future: asyncio.Future[Any] = self._loop.create_future()
        self.send(lambda reply: _settle(future, reply), arguments)
        return await future


def _settle(future: asyncio.Future[Any], reply: Any) -> None:
    if future.done():
        return
    if isinstance(reply, StoreError):
        future.set_exception(reply)
    else:
        future.set_result(reply)


_NOTHING = object()
