"""Messages between the master and a worker: pickled tuples behind a length, over a socketpair.

Both ends are our own processes, so pickle is safe here. A message over MAX_MESSAGE bytes ends the connection.
"""

from __future__ import annotations

import pickle
import struct
from socket import socket
from typing import Any

HEADER = struct.Struct("!I")
MAX_MESSAGE = 1 << 30

Message = tuple[Any, ...]


class ChannelClosed(Exception):
    """The other end is gone, or sent something that is not a message."""


def encode(message: Message) -> bytes:
    """One message as bytes."""
    body = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
    if len(body) > MAX_MESSAGE:
        raise ValueError(f"a message of {len(body)} bytes is over the limit of {MAX_MESSAGE}")
    return HEADER.pack(len(body)) + body


class Decoder:
    """Collects bytes and gives the messages in them."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Message]:
        """Messages that `data` completed. Raises ChannelClosed for an impossible length."""
        self._buffer += data
        found: list[Message] = []
        while len(self._buffer) >= HEADER.size:
            (size,) = HEADER.unpack_from(self._buffer)
            if size > MAX_MESSAGE:
                raise ChannelClosed("message too long")
            if len(self._buffer) < HEADER.size + size:
                break
            found.append(pickle.loads(bytes(self._buffer[HEADER.size : HEADER.size + size])))
            del self._buffer[: HEADER.size + size]
        return found


class Channel:
    """The master's end: non-blocking, with an output buffer that its poll loop empties."""

    def __init__(self, sock: socket) -> None:
        sock.setblocking(False)
        self.sock = sock
        self._decoder = Decoder()
        self._out = bytearray()

    @property
    def waiting(self) -> bool:
        """Whether there is output that the socket did not take yet."""
        return bool(self._out)

    def send(self, message: Message) -> None:
        """Queue a message and write what can be written. Raises ChannelClosed if the other end is gone."""
        self._out += encode(message)
        self.flush()

    def flush(self) -> None:
        while self._out:
            try:
                sent = self.sock.send(memoryview(self._out)[:262144])
            except BlockingIOError:
                return
            except OSError as error:
                raise ChannelClosed(str(error)) from error
            del self._out[:sent]

    def receive(self) -> list[Message]:
        """Messages that have arrived. Raises ChannelClosed at the end of the stream."""
        try:
            data = self.sock.recv(262144)
        except BlockingIOError:
            return []
        except OSError as error:
            raise ChannelClosed(str(error)) from error
        if not data:
            raise ChannelClosed("closed")
        return self._decoder.feed(data)

    def close(self) -> None:
        self.sock.close()
