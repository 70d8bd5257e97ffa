"""The two ends of a child's pipes that stay here: never blocking, each with one owner."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
from collections import deque
from collections.abc import Callable

PIPE_SIZE = 256 << 10
READ_SIZE = 256 << 10
JOIN = 128 << 10
"""Pieces are put together up to about this many bytes per write."""


def make_pipe() -> tuple[int, int]:
    """(end to read, end to write), both closed on exec. A larger buffer if the system grants one."""
    ends = os.pipe()
    with contextlib.suppress(OSError):
        fcntl.fcntl(ends[1], fcntl.F_SETPIPE_SZ, PIPE_SIZE)
    return ends


class Outgoing:
    """Writes to a pipe. What the reader does not take waits here; `unsent` is how many bytes.

    Pieces of one turn of the loop go out in one write. on_broken is called once, from the loop, when nobody reads any more.
    """

    __slots__ = ("_broken", "_fd", "_loop", "_on_broken", "_pieces", "_scheduled", "unsent")

    def __init__(self, loop: asyncio.AbstractEventLoop, fd: int, on_broken: Callable[[], None]) -> None:
        os.set_blocking(fd, False)
        self._loop = loop
        self._fd = fd
        self._on_broken = on_broken
        self._pieces: deque[bytes | memoryview] = deque()
        self._scheduled = False
        self._broken = False
        self.unsent = 0

    def write(self, *pieces: bytes) -> None:
        """Send the pieces in order; without effect after close() and once nobody reads."""
        if self._fd < 0 or self._broken:
            return
        for piece in pieces:
            self.unsent += len(piece)
            self._pieces.append(piece)
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._first)

    def _first(self) -> None:
        if self._fd >= 0 and not self._send():
            self._loop.add_writer(self._fd, self._more)

    def _more(self) -> None:
        if self._send() and self._fd >= 0:
            self._loop.remove_writer(self._fd)

    def _send(self) -> bool:
        """One write; True when nothing is left to wait for."""
        pieces = self._pieces
        data = pieces.popleft()
        if pieces and len(data) < JOIN:
            joined = [data]
            size = len(data)
            while pieces and size < JOIN:
                joined.append(pieces.popleft())
                size += len(joined[-1])
            data = b"".join(joined)
        try:
            sent = os.write(self._fd, data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._pieces.clear()
            self.unsent = 0
            self._broken = True
            self._on_broken()
            return True
        self.unsent -= sent
        if sent < len(data):
            pieces.appendleft(memoryview(data)[sent:])
        self._scheduled = bool(pieces)
        return not pieces

    def close(self) -> None:
        """The reader sees the end of its input; what was not sent is given up."""
        if self._fd >= 0:
            self._loop.remove_writer(self._fd)
            os.close(self._fd)
            self._fd = -1
            self._pieces.clear()
            self.unsent = 0


class Incoming:
    """Reads a pipe. on_data gets what one read returned, on_end comes once, both from the loop."""

    __slots__ = ("_fd", "_loop", "_on_data", "_on_end", "_paused")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, fd: int, on_data: Callable[[bytes], None], on_end: Callable[[], None]
    ) -> None:
        os.set_blocking(fd, False)
        self._loop = loop
        self._fd = fd
        self._on_data = on_data
        self._on_end = on_end
        self._paused = False
        loop.add_reader(fd, self._readable)

    def _readable(self) -> None:
        try:
            data = os.read(self._fd, READ_SIZE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self._on_data(data)
        else:
            self.close()
            self._on_end()

    def pause(self, seconds: float) -> None:
        """Read nothing for a while: the writer waits."""
        if self._fd >= 0 and not self._paused:
            self._paused = True
            self._loop.remove_reader(self._fd)
            self._loop.call_later(seconds, self._resume)

    def _resume(self) -> None:
        self._paused = False
        if self._fd >= 0:
            self._loop.add_reader(self._fd, self._readable)

    def drain(self, most: int) -> None:
        """Take what is in the pipe now, about `most` bytes at the most; for a writer that is gone."""
        while self._fd >= 0 and most > 0:
            try:
                data = os.read(self._fd, READ_SIZE)
            except OSError:
                return
            if not data:
                return
            most -= len(data)
            self._on_data(data)

    def close(self) -> None:
        """Give the pipe up; on_end is not called by this."""
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1
