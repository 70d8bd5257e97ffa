"""HTTP/2 as a test sees it: a slow, plain reading of RFC 7541 and RFC 9113, and a server whose every byte a test decides."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

from coprocess.grpc.hpack_tables import CODE_LENGTHS, STATIC

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
ACK = END_STREAM = 1
END_HEADERS = 4
PADDED = 8
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
Fields = list[tuple[bytes, bytes]]


def _codes() -> dict[str, int]:
    """Bits of each symbol's code, from the lengths (RFC 7541 Appendix B is canonical)."""
    codes, code, last = {}, 0, 0
    for length, symbol in sorted((length, symbol) for symbol, length in enumerate(CODE_LENGTHS)):
        code <<= length - last
        codes[f"{code:0{length}b}"] = symbol
        code, last = code + 1, length
    return codes


CODES = _codes()
BITS = {symbol: bits for bits, symbol in CODES.items()}


class Malformed(Exception):
    """The model cannot read it."""


def huffman_encode(text: bytes) -> bytes:
    bits = "".join(BITS[byte] for byte in text)
    bits += "1" * (-len(bits) % 8)
    return bytes(int(bits[i : i + 8], 2) for i in range(0, len(bits), 8))


def huffman_decode(coded: bytes) -> bytes:
    bits = "".join(f"{byte:08b}" for byte in coded)
    out, begin = bytearray(), 0
    for end in range(1, len(bits) + 1):
        symbol = CODES.get(bits[begin:end])
        if symbol == 256:
            raise Malformed("end of string")
        if symbol is not None:
            out.append(symbol)
            begin = end
    if len(bits) - begin > 7 or "0" in bits[begin:]:
        raise Malformed("padding")
    return bytes(out)


def put_integer(value: int, bits: int, flags: int) -> bytes:
    most = (1 << bits) - 1
    if value < most:
        return bytes([flags | value])
    out, value = bytearray([flags | most]), value - most
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def put_string(text: bytes, coded: bool) -> bytes:
    raw = huffman_encode(text) if coded else text
    return put_integer(len(raw), 7, 128 if coded else 0) + raw


def literal(name: bytes, value: bytes, *, coded: bool = False, flags: int = 0) -> bytes:
    """flags: 0x40 with indexing, 0x10 never indexed, 0 without."""
    return bytes([flags]) + put_string(name, coded) + put_string(value, coded)


class Reader:
    """Reads a block of fields, as RFC 7541 says, with a dynamic table of no size."""

    def __init__(self, block: bytes) -> None:
        self.block, self.at = block, 0

    def integer(self, bits: int) -> int:
        most = (1 << bits) - 1
        value, self.at = self.block[self.at] & most, self.at + 1
        if value < most:
            return value
        shift = 0
        while True:
            if self.at >= len(self.block) or shift > 28:
                raise Malformed("integer")
            byte, self.at = self.block[self.at], self.at + 1
            value += (byte & 127) << shift
            shift += 7
            if value > 1 << 28:
                raise Malformed("integer")
            if byte < 128:
                return value

    def string(self) -> bytes:
        if self.at >= len(self.block):
            raise Malformed("string")
        coded = self.block[self.at] >= 128
        length = self.integer(7)
        raw, self.at = self.block[self.at : self.at + length], self.at + length
        if len(raw) < length:
            raise Malformed("string")
        return huffman_decode(raw) if coded else raw

    def fields(self) -> Fields:
        out: Fields = []
        while self.at < len(self.block):
            byte = self.block[self.at]
            if byte & 0x80:
                index = self.integer(7)
                if not 1 <= index <= 61:
                    raise Malformed("index")
                out.append(STATIC[index - 1])
            elif byte & 0xE0 == 0x20:
                if self.integer(5) or out:
                    raise Malformed("size")
            else:
                index = self.integer(6 if byte & 0x40 else 4)
                if index > 61:
                    raise Malformed("index")
                name = STATIC[index - 1][0] if index else self.string()
                out.append((name, self.string()))
        return out


@dataclass
class Frame:
    kind: int
    flags: int
    stream: int
    payload: bytes = b""

    def encode(self) -> bytes:
        head = len(self.payload).to_bytes(3, "big") + bytes([self.kind, self.flags])
        return head + self.stream.to_bytes(4, "big") + self.payload


def frame(kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"") -> bytes:
    return Frame(kind, flags, stream, payload).encode()


def settings(**values: int) -> bytes:
    numbers = {"table": 1, "push": 2, "streams": 3, "window": 4, "frame": 5, "fields": 6}
    pairs = [numbers[name].to_bytes(2, "big") + value.to_bytes(4, "big") for name, value in values.items()]
    return frame(SETTINGS, 0, 0, b"".join(pairs))


HEAD = b"\x88" + literal(b"content-type", b"application/grpc")


def trailers(code: bytes = b"0", text: bytes | None = None) -> bytes:
    said = literal(b"grpc-message", text) if text is not None else b""
    return literal(b"grpc-status", code) + said


def response(stream: int, message: bytes, code: bytes = b"0") -> bytes:
    """A whole response."""
    body = b"\0" + len(message).to_bytes(4, "big") + message
    parts = [body[i : i + 16384] for i in range(0, len(body), 16384)]
    return (
        frame(HEADERS, END_HEADERS, stream, HEAD)
        + b"".join(frame(DATA, 0, stream, part) for part in parts)
        + frame(HEADERS, END_HEADERS | END_STREAM, stream, trailers(code))
    )


@dataclass
class Peer:
    """The server's end of one connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    seen: list[Frame] = field(default_factory=list)

    async def preface(self) -> None:
        """What a client sends first."""
        assert await self.reader.readexactly(len(PREFACE)) == PREFACE
        first = await self.frame()
        assert (first.kind, first.flags, first.stream) == (SETTINGS, 0, 0)

    async def greet(self, **values: int) -> None:
        """The beginning of a connection that goes well."""
        await self.preface()
        self.send(settings(**values) + frame(SETTINGS, ACK))

    async def frame(self) -> Frame:
        head = await self.reader.readexactly(9)
        payload = await self.reader.readexactly(int.from_bytes(head[:3], "big"))
        found = Frame(head[3], head[4], int.from_bytes(head[5:], "big"), payload)
        self.seen.append(found)
        return found

    async def find(self, kind: int, flags: int = 0) -> Frame:
        """The next frame of a kind, with at least these flags."""
        while True:
            found = await self.frame()
            if found.kind == kind and found.flags & flags == flags:
                return found

    async def request(self) -> tuple[int, Fields, bytes]:
        """(stream, fields, body) of the next request, read as it stands: requests may not be interleaved."""
        head = await self.find(HEADERS)
        body = b""
        while True:
            part = await self.find(DATA)
            assert part.stream == head.stream
            body += part.payload
            if part.flags & END_STREAM:
                return head.stream, Reader(head.payload).fields(), body

    def send(self, data: bytes) -> None:
        if self.writer.is_closing():
            raise ConnectionResetError
        self.writer.write(data)

    async def rest(self) -> list[Frame]:
        """All frames until the client closes."""
        found = []
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                found.append(await self.frame())
        return found


class Scripted:
    """A server that does for each connection what the test's script says."""

    def __init__(self) -> None:
        self.port = 0
        self.connections = 0
        self.failure: BaseException | None = None

    @property
    def target(self) -> str:
        return f"tcp://127.0.0.1:{self.port}"


@contextlib.asynccontextmanager
async def scripted(script: Callable[[Peer], Awaitable[None]], *, port: int = 0) -> AsyncIterator[Scripted]:
    """Serve with a script. What it asserts fails the test; a connection that the client gave up ends it."""
    state = Scripted()
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        state.connections += 1
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await script(Peer(reader, writer))
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        except BaseException as e:
            state.failure = e
        finally:
            tasks.discard(task)
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", port)
    state.port = server.sockets[0].getsockname()[1]
    try:
        yield state
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        if tasks:
            await asyncio.wait(list(tasks), timeout=5)
    if state.failure is not None:
        raise state.failure
