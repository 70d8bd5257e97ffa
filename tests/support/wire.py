"""A raw HTTP/1.1 client for tests: bytes in, strictly parsed answers out.

The parser shares no code with the gateway, accepts only what RFC 9112 allows a sender to produce, and
says how a message was framed, so that a test can tell a complete body from one that was cut.
"""

from __future__ import annotations

import re
import socket
import ssl
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2}) ([\t\x20-\x7e\x80-\xff]*)")
FIELD_LINE = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([\t\x20-\x7e\x80-\xff]*?)[ \t]*")
CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,16})")
DEADLINE = 15.0
NO_BODY = frozenset({204, 304})


class WireError(AssertionError):
    """The peer sent something that is not a valid HTTP/1.1 message."""


class Truncated(WireError):
    """The connection ended, or was reset, inside a message. `partial` is what had arrived of it."""

    def __init__(self, message: str, partial: Response | None = None) -> None:
        super().__init__(message)
        self.partial = partial


@dataclass
class Response:
    """One parsed answer. `framing` is "length", "chunked", "close", or "none" when there can be no body."""

    status: int
    reason: str
    headers: list[tuple[str, str]]
    body: bytes = b""
    framing: str = "none"
    trailers: list[tuple[str, str]] = field(default_factory=list)
    version: str = "1.1"

    def all(self, name: str) -> list[str]:
        """Every value of a header, in order; the name in any case."""
        return [v for n, v in self.headers if n.lower() == name.lower()]

    def get(self, name: str) -> str | None:
        """The only value of a header, None when absent; a repeated header fails the test."""
        values = self.all(name)
        if len(values) > 1:
            raise WireError(f"header {name} came {len(values)} times: {values}")
        return values[0] if values else None

    @property
    def closes(self) -> bool:
        """Whether the sender announced that it closes the connection."""
        return any("close" in v.lower() for v in self.all("Connection"))


def parse_fields(block: bytes) -> list[tuple[str, str]]:
    """Field lines, each with its CRLF already removed between lines; WireError on anything else."""
    found = []
    for line in block.split(b"\r\n") if block else []:
        match = FIELD_LINE.fullmatch(line)
        if not match:
            raise WireError(f"bad field line {line!r}")
        found.append((match[1].decode("ascii"), match[2].decode("latin-1")))
    return found


def body_framing(status: int, headers: list[tuple[str, str]], method: str) -> tuple[str, int]:
    """(framing, length) of an answer after RFC 9112 6.3; WireError when the head contradicts itself."""
    lengths = [v for n, v in headers if n.lower() == "content-length"]
    codings = [v.lower() for n, v in headers if n.lower() == "transfer-encoding"]
    if lengths and codings:
        raise WireError("Content-Length beside Transfer-Encoding")
    if len(lengths) > 1 or (lengths and not re.fullmatch("[0-9]+", lengths[0])):
        raise WireError(f"bad Content-Length {lengths}")
    if codings and codings != ["chunked"]:
        raise WireError(f"bad Transfer-Encoding {codings}")
    if status < 200 or status == 204:
        if lengths or codings:
            raise WireError(f"framing fields in a {status} answer")
        return "none", 0
    if status == 304 or method == "HEAD":
        return "none", 0
    if codings:
        return "chunked", 0
    return ("length", int(lengths[0])) if lengths else ("close", 0)


class Client:
    """One client connection. Every read has a deadline; reaching it fails the test."""

    def __init__(
        self,
        address: tuple[str, int],
        *,
        tls: ssl.SSLContext | None = None,
        name: str = "localhost",
        receive_buffer: int = 0,
    ) -> None:
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.sock: socket.socket = socket.socket(family, socket.SOCK_STREAM)
        if receive_buffer:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.sock.settimeout(DEADLINE)
        try:
            self.sock.connect(address)
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if tls:
                self.sock = tls.wrap_socket(self.sock, server_hostname=name)
        except BaseException:
            self.sock.close()
            raise
        self.buffer = b""
        self.ended = False
        self.was_reset = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.sock.close()

    def send(self, data: bytes) -> Self:
        """Send everything; a peer that already closed is noticed by the next read, not here."""
        try:
            self.sock.sendall(data)
        except (BrokenPipeError, ConnectionResetError, ssl.SSLEOFError):
            self.was_reset = True
        return self

    def send_parts(self, parts: Iterable[bytes], pause: float = 0.002) -> Self:
        """Send the parts as separate segments."""
        for part in parts:
            self.send(part)
            time.sleep(pause)
        return self

    def half_close(self) -> Self:
        """Send FIN; reading goes on."""
        self.sock.shutdown(socket.SHUT_WR)
        return self

    def reset(self) -> None:
        """Close with RST."""
        linger = b"\x01\x00\x00\x00\x00\x00\x00\x00"
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.sock.close()

    def _fill(self) -> bool:
        if self.ended:
            return False
        try:
            data = self.sock.recv(262144)
        except (ConnectionResetError, ssl.SSLEOFError):
            self.was_reset = True
            data = b""
        except TimeoutError:
            raise WireError(f"nothing came within {DEADLINE} s; unread: {self.buffer[:400]!r}") from None
        if not data:
            self.ended = True
        self.buffer += data
        return bool(data)

    def _until(self, mark: bytes, limit: int = 1 << 20) -> bytes:
        while (at := self.buffer.find(mark)) < 0:
            if len(self.buffer) > limit:
                raise WireError(f"no {mark!r} within {limit} bytes")
            if not self._fill():
                raise Truncated(f"connection ended before {mark!r}; unread: {self.buffer[:400]!r}")
        data, self.buffer = self.buffer[:at], self.buffer[at + len(mark) :]
        return data

    def exactly(self, count: int) -> bytes:
        """Exactly `count` bytes; Truncated when the connection ends first."""
        while len(self.buffer) < count:
            if not self._fill():
                raise Truncated(f"connection ended after {len(self.buffer)} of {count} bytes")
        data, self.buffer = self.buffer[:count], self.buffer[count:]
        return data

    def read_head(self) -> Response:
        """The next head of an answer, interim ones included; its body is left unread."""
        status_line, _, rest = self._until(b"\r\n\r\n").partition(b"\r\n")
        match = STATUS_LINE.fullmatch(status_line)
        if not match:
            raise WireError(f"bad status line {status_line!r}")
        return Response(int(match[2]), match[3].decode("latin-1"), parse_fields(rest), version=f"1.{int(match[1])}")

    def read_body(self, response: Response, method: str = "GET") -> Response:
        """Read the body that belongs to `response`; Truncated.partial holds what came of a cut one."""
        response.framing, length = body_framing(response.status, response.headers, method)
        try:
            if response.framing == "length":
                response.body = self.exactly(length)
            elif response.framing == "chunked":
                if response.version == "1.0":
                    raise WireError("chunked in an HTTP/1.0 answer")
                self._read_chunks(response)
            elif response.framing == "close":
                response.body = self.rest()
                if self.was_reset:
                    raise Truncated("connection was reset inside a body that ends with the connection")
        except Truncated as error:
            if response.framing == "length":
                response.body, self.buffer = self.buffer, b""
            error.partial = response
            raise
        return response

    def _read_chunks(self, response: Response) -> None:
        while True:
            line = self._until(b"\r\n", 100)
            if not CHUNK_SIZE.fullmatch(line):
                raise WireError(f"bad chunk size line {line!r}")
            size = int(line, 16)
            if not size:
                break
            response.body += self.exactly(size)
            if (end := self.exactly(2)) != b"\r\n":
                raise WireError(f"chunk ends with {end!r}")
        lines = []
        while line := self._until(b"\r\n"):
            lines.append(line)
        response.trailers = parse_fields(b"\r\n".join(lines))

    def read(self, method: str = "GET", *, interim: list[Response] | None = None) -> Response:
        """The next final answer; interim answers (1xx) go to `interim`, and fail the test when it is None."""
        while True:
            response = self.read_body(self.read_head(), method)
            if response.status >= 200 or response.status == 101:
                return response
            if interim is None:
                raise WireError(f"unexpected interim answer {response.status}")
            interim.append(response)

    def rest(self) -> bytes:
        """Everything up to the end of the connection (FIN or RST)."""
        while self._fill():
            pass
        data, self.buffer = self.buffer, b""
        return data

    def expect_end(self) -> None:
        """The peer must close without sending another byte."""
        if left := self.rest():
            raise WireError(f"expected the end of the connection, got {left[:400]!r}")

    def expect_open(self, wait: float = 0.05) -> None:
        """The connection must still be open, with nothing unread, after a short while."""
        self.sock.settimeout(wait)
        try:
            data = self.buffer or self.sock.recv(1024)
        except TimeoutError:
            return
        finally:
            self.sock.settimeout(DEADLINE)
        raise WireError(f"expected an open and silent connection, got {data!r}")


def get(
    target: str = "/",
    host: str = "gateway.test",
    *lines: str,
    method: str = "GET",
    version: str = "1.1",
    body: bytes | None = None,
) -> bytes:
    """The bytes of an ordinary request; `lines` are further header lines without CRLF."""
    fields = [f"Host: {host}", *lines]
    if body is not None:
        fields.append(f"Content-Length: {len(body)}")
    lines_out = [f"{method} {target} HTTP/{version}", *fields, "", ""]
    return "\r\n".join(lines_out).encode() + (body or b"")


def fetch(
    address: tuple[str, int],
    target: str = "/",
    *lines: str,
    method: str = "GET",
    body: bytes | None = None,
    tls: ssl.SSLContext | None = None,
    name: str = "localhost",
) -> Response:
    """One request on a connection of its own."""
    with Client(address, tls=tls, name=name) as client:
        client.send(get(target, "gateway.test", *lines, method=method, body=body))
        return client.read(method)
