"""A gRPC server with few hooks, cheap enough that the gateway is what a benchmark measures.

It serves coprocess.Dispatcher/Dispatch over HTTP/2 (RFC 9113) as far as small calls need it: each Object is decoded with the
generated classes, changed and encoded again. A request or reply that does not fit one frame is answered with
RESOURCE_EXHAUSTED, another method or hook with UNIMPLEMENTED, and a connection that breaks the rules is closed.
"""

from __future__ import annotations

import asyncio
import struct
import sys
from collections import deque
from typing import cast

import uvloop
from google.protobuf.message import DecodeError

from coprocess.grpc import hpack
from coprocess.proto import coprocess_object_pb2 as messages

HOOK, MARK, LET_IN = "benchPre", "mark", "letIn"
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RESET, _SETTINGS, _PING, _WINDOW = 0, 1, 3, 4, 6, 8
_END_STREAM, _END_HEADERS, _PADDED, _PRIORITY, _ACK = 1, 4, 8, 32, 1
_FRAME = 16384                  # bytes of a frame's payload that everybody takes
_WIDE = (1 << 31) - 1           # the largest window
_TABLE_SIZE, _INITIAL_WINDOW = 1, 4
_REFILL = 1 << 30               # bytes after which the client's window is filled up again
_KEPT = 256                     # blocks of fields that are remembered
_DISPATCH = b"/coprocess.Dispatcher/Dispatch"
_BEGIN = hpack.encode([(b":status", b"200"), (b"content-type", b"application/grpc")])
_OK = hpack.encode([(b"grpc-status", b"0")])
_EXHAUSTED, _INVALID, _UNIMPLEMENTED = 8, 3, 12     # grpc-status


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """RFC 9113 4.1."""
    return struct.pack(">IBI", len(payload) << 8 | kind, flags, stream) + payload


def answer(message: bytes) -> bytes | int:
    """Call a hook. message: an Object. Returns an Object, or a grpc-status."""
    try:
        thing = messages.Object.FromString(message)
    except DecodeError:
        return _INVALID
    request = thing.request
    if thing.hook_name == HOOK:     # what pre.js does
        request.set_headers["X-Bench"] = "1"
        request.delete_headers.append("User-Agent")
        request.add_params["bench"] = "1"
    elif thing.hook_name in (MARK, LET_IN):
        request.set_headers["X-Token"] = request.url.rpartition("/")[2]     # tells the upstream what the plugin was asked about
        if thing.hook_name == LET_IN:
            thing.session.rate, thing.session.per = 1e9, 1
            thing.session.metadata["token"] = "bench"
    else:
        return _UNIMPLEMENTED
    return bytes(thing.SerializeToString())


class Peer(asyncio.Protocol):
    """One connection."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._rest = b""                                        # of what came: the beginning of a frame
        self._greeted = False
        self._received = 0                                      # bytes of DATA since the window was filled up
        self._streams: dict[int, tuple[bytes, bytes]] = {}      # stream -> method, what has come of the request
        self._methods: dict[bytes, bytes] = {}                  # block of fields -> its :path
        self._room, self._stream_room = 65535, 65535            # the client's windows
        self._held: deque[tuple[int, bytes]] = deque()          # answers that wait for room: bytes of DATA, frames
        self._out: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)      # uvloop's is none by inheritance
        # Without a table (RFC 7541 4.2) a block of fields always means the same and can be remembered.
        settings = frame(_SETTINGS, 0, 0, struct.pack(">HI", _TABLE_SIZE, 0))
        self._transport.write(settings + frame(_WINDOW, 0, 0, struct.pack(">I", _WIDE - 65535)))

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        data = self._rest + data
        if not self._greeted and len(data) < len(_PREFACE):
            self._rest = data
            return
        try:
            self._rest = data[self._frames(data, 0 if self._greeted else len(_PREFACE)) :]
            self._greeted = True
        except (ValueError, struct.error):
            self._transport.abort()
            return
        while self._held and self._held[0][0] <= self._room:
            size, frames = self._held.popleft()
            self._room -= size
            self._out.append(frames)
        if self._out:
            self._transport.write(b"".join(self._out))
            self._out.clear()

    def _frames(self, data: bytes, at: int) -> int:
        """Act on the frames from `at` on; returns where the one begins that is not whole. Raises ValueError."""
        if not self._greeted and not data.startswith(_PREFACE):
            raise ValueError("this is not HTTP/2")
        end = len(data)
        while end - at >= 9:
            head, flags, stream = struct.unpack_from(">IBI", data, at)
            if head >> 8 > _FRAME:
                raise ValueError("a frame that is larger than was allowed")
            stop = at + 9 + (head >> 8)
            if stop > end:
                break
            self._frame(head & 255, flags, stream, data[at + 9 : stop])
            at = stop
        return at

    def _frame(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        """Act on one frame. Raises ValueError for what this server does not take."""
        if kind == _DATA:
            if flags & _PADDED:
                raise ValueError("padding")
            self._data(flags, stream, payload)
        elif kind == _HEADERS:
            if flags & (_PADDED | _PRIORITY) or not flags & _END_HEADERS:
                raise ValueError("fields that are not one plain frame")
            self._streams[stream] = (self._method(payload), b"")
        elif kind == _SETTINGS and not flags & _ACK:
            for name, value in struct.iter_unpack(">HI", payload):
                if name == _INITIAL_WINDOW:
                    self._stream_room = value
            self._out.append(frame(_SETTINGS, _ACK, 0, b""))
        elif kind == _PING and not flags & _ACK:
            self._out.append(frame(_PING, _ACK, 0, payload))
        elif kind == _WINDOW and stream == 0:
            self._room += struct.unpack(">I", payload)[0]
        elif kind == _RESET:
            self._streams.pop(stream, None)

    def _data(self, flags: int, stream: int, payload: bytes) -> None:
        self._received += len(payload)
        if self._received > _REFILL:
            self._out.append(frame(_WINDOW, 0, 0, struct.pack(">I", self._received)))
            self._received = 0
        if stream not in self._streams:
            return
        method, before = self._streams[stream]
        body = before + payload
        if not flags & _END_STREAM and len(body) <= _FRAME:
            self._streams[stream] = (method, body)
            return
        del self._streams[stream]
        self._reply(stream, self._call(method, body))

    def _method(self, block: bytes) -> bytes:
        """The :path of a block of fields. Raises ValueError."""
        found = self._methods.get(block)
        if found is None:
            if len(self._methods) >= _KEPT:
                self._methods.clear()
            found = self._methods[block] = dict(hpack.decode(block, _FRAME)).get(b":path", b"")
        return found

    def _call(self, method: bytes, body: bytes) -> bytes | int:
        """A message without its prefix, or a grpc-status."""
        if method != _DISPATCH:
            return _UNIMPLEMENTED
        if len(body) > _FRAME:
            return _EXHAUSTED
        if len(body) < 5 or body[0] or int.from_bytes(body[1:5], "big") != len(body) - 5:
            return _INVALID
        message = answer(body[5:])
        return _EXHAUSTED if isinstance(message, bytes) and len(message) + 5 > min(_FRAME, self._stream_room) else message

    def _reply(self, stream: int, message: bytes | int) -> None:
        if isinstance(message, int):
            status = hpack.encode([(b"grpc-status", b"%d" % message)])
            self._out.append(frame(_HEADERS, _END_HEADERS | _END_STREAM, stream, _BEGIN + status))
            return
        payload = struct.pack(">BI", 0, len(message)) + message
        self._held.append((
            len(payload),
            frame(_HEADERS, _END_HEADERS, stream, _BEGIN) + frame(_DATA, 0, stream, payload)
            + frame(_HEADERS, _END_HEADERS | _END_STREAM, stream, _OK),
        ))  # fmt: skip


async def serve(address: str) -> None:
    """Serve until the process ends. address: a port of 127.0.0.1, or the path of a socket."""
    loop = asyncio.get_running_loop()
    if address.isdigit():
        server = await loop.create_server(Peer, "127.0.0.1", int(address))
    else:
        server = await loop.create_unix_server(Peer, address)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1]))
