"""The host's ends of the pipes to its worker, shared by all threads of the process."""

from __future__ import annotations

import os
import threading
from collections import deque

from coprocess.python.host import wire

READ_BYTES = 65536


class Ended(Exception):
    """The worker closed its ends."""


class Refused(RuntimeError):
    """The gateway did not do what the plugin asked for; the text says why."""

    __module__ = "tyk.gateway"


class Channel:
    """Frames in both directions. One thread at a time reads, for all; each takes what is its own."""

    def __init__(self, source: int, sink: int) -> None:
        """source, sink: descriptors to read from and to write to; both block."""
        self._source = source
        self._sink = sink
        self._buffer = bytearray()
        self._state = threading.Condition(threading.Lock())
        self._sending = threading.Lock()
        self._reading = False
        self._ended = False
        self._calls: deque[tuple[int, int, bytes]] = deque()
        self._answers: dict[int, bytes | None] = {}
        self._questions = 0
        os.register_at_fork(after_in_child=self._forget)

    def _forget(self) -> None:
        """A child made with fork() must not speak in our name."""
        os.close(self._source)
        os.close(self._sink)
        self._source = self._sink = -1
        self._sending = threading.Lock()
        self._state = threading.Condition(threading.Lock())

    def send(self, kind: int, ident: int, *parts: bytes) -> None:
        """Send one frame. Raises Ended."""
        data = b"".join((wire.HEADER.pack(kind, ident, sum(map(len, parts))), *parts))
        try:
            with self._sending:
                sent = os.write(self._sink, data)
                while sent < len(data):
                    sent += os.write(self._sink, memoryview(data)[sent:])
        except OSError as error:
            raise Ended(f"no way to the gateway: {error}") from None

    def next_call(self) -> tuple[int, int, bytes]:
        """Wait for work: (kind, id, payload). Raises Ended."""
        calls = self._calls
        while True:
            with self._state:
                while not calls and self._reading and not self._ended:
                    self._state.wait()
                if calls:
                    return calls.popleft()
                self._begin_reading()
            self._read()

    def ask(self, kind: int, *parts: bytes) -> bytes:
        """Send a question and wait for its answer. Raises Refused, Ended."""
        with self._state:
            self._questions = ident = self._questions % 0xFFFFFFFF + 1
            self._answers[ident] = None
        try:
            self.send(kind, ident, *parts)
            answer = self._await(ident)
        finally:
            with self._state:
                self._answers.pop(ident, None)
        if answer[:1] == b"\x01":
            return answer[1:]
        raise Refused(answer[1:].decode("utf-8", "replace"))

    def _await(self, ident: int) -> bytes:
        while True:
            with self._state:
                while (answer := self._answers[ident]) is None and self._reading and not self._ended:
                    self._state.wait()
                if answer is not None:
                    return answer
                self._begin_reading()
            self._read()

    def _begin_reading(self) -> None:
        if self._ended:
            raise Ended("the gateway closed the connection")
        self._reading = True

    def _read(self) -> None:
        """Read what is there, at least one frame, and hand it out."""
        frames: list[tuple[int, int, bytes]] = []
        try:
            while not frames:
                frames = self._frames()
        except (OSError, Ended):
            self._ended = True
        finally:
            with self._state:
                self._reading = False
                for frame in frames:
                    self._sort(frame)
                self._state.notify_all()

    def _sort(self, frame: tuple[int, int, bytes]) -> None:
        kind, ident, payload = frame
        if kind == wire.ANSWER:
            if ident in self._answers:
                self._answers[ident] = payload
        else:
            self._calls.append(frame)

    def _frames(self) -> list[tuple[int, int, bytes]]:
        data = os.read(self._source, READ_BYTES)
        if not data:
            raise Ended("the gateway closed the connection")
        buffer = self._buffer
        buffer += data
        head, found, start = wire.HEADER, [], 0
        while len(buffer) - start >= head.size:
            kind, ident, length = head.unpack_from(buffer, start)
            end = start + head.size + length
            if len(buffer) < end:
                self._read_to(end)
            with memoryview(buffer) as view:
                found.append((kind, ident, bytes(view[start + head.size : end])))
            start = end
        del buffer[:start]
        return found

    def _read_to(self, end: int) -> None:
        """Read until the buffer holds `end` bytes."""
        start = len(self._buffer)
        self._buffer.extend(bytes(end - start))
        with memoryview(self._buffer) as view:
            while start < end:
                count = os.readv(self._source, [view[start:end]])
                if not count:
                    raise Ended("the gateway closed the connection")
                start += count
