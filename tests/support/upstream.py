"""A scriptable upstream on raw sockets that records every byte it receives.

Behaviour is chosen by path, when a request head has arrived, so that connections which the gateway keeps
in its pool never carry the script of an earlier test. Without a script the upstream echoes, as JSON, what
it saw.
"""

from __future__ import annotations

import contextlib
import json
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from tests.support.wire import parse_fields

REQUEST_LINE = re.compile(r"([!#$%&'*+\-.^_`|~0-9A-Za-z]+) ([\x21-\x7e]+) HTTP/1\.([01])")


class PeerClosed(Exception):
    """The gateway closed the connection."""


@dataclass
class Seen:
    """One request as it arrived. `complete` is set when the body's end was seen."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    connection: int
    body: bytes = b""
    trailers: list[tuple[str, str]] = field(default_factory=list)
    complete: bool = False

    def all(self, name: str) -> list[str]:
        """Every value of a header."""
        return [v for n, v in self.headers if n.lower() == name.lower()]

    def get(self, name: str) -> str | None:
        """The only value of a header, or None."""
        values = self.all(name)
        assert len(values) < 2, f"{name} arrived {len(values)} times: {values}"
        return values[0] if values else None

    def describe(self) -> bytes:
        """The JSON text that the echo sends back."""
        return json.dumps(
            {
                "method": self.method,
                "target": self.target,
                "headers": self.headers,
                "body": self.body.decode("latin-1"),
                "trailers": self.trailers,
            }
        ).encode()


Handler = Callable[["Connection", Seen], bool]
"""Called with the head read and the body unread; returns whether the connection goes on."""


class Connection:
    """One accepted connection: everything received is kept in `received`."""

    def __init__(self, sock: socket.socket, number: int, keep_bytes: int) -> None:
        self.sock = sock
        self.number = number
        self.received = bytearray()
        self.count = 0
        self.ended = threading.Event()
        self._keep = keep_bytes
        self._buffer = b""

    def receive(self, size: int = 262144) -> bytes:
        """Bytes as they come; PeerClosed at the end of the connection."""
        if self._buffer:
            data, self._buffer = self._buffer, b""
            return data
        try:
            data = self.sock.recv(size)
        except OSError:
            data = b""
        if not data:
            self.ended.set()
            raise PeerClosed
        self.count += len(data)
        if len(self.received) < self._keep:
            self.received += data[: self._keep - len(self.received)]
        return data

    def until(self, mark: bytes) -> bytes:
        """Bytes before `mark`, which is consumed."""
        data = self._buffer
        self._buffer = b""
        while (at := data.find(mark)) < 0:
            data += self.receive()
        self._buffer = data[at + len(mark) :]
        return data[:at]

    def exactly(self, count: int) -> bytes:
        """Exactly `count` bytes."""
        data = bytearray()
        while len(data) < count:
            data += self.receive()
        self._buffer = bytes(data[count:]) + self._buffer
        return bytes(data[:count])

    def read_body(self, seen: Seen) -> bytes:
        """Read the body of `seen` after its own framing; also fills its trailers."""
        if seen.get("Transfer-Encoding") is not None:
            assert seen.get("Transfer-Encoding") == "chunked", seen
            assert seen.get("Content-Length") is None, seen
            while size := int(self.until(b"\r\n"), 16):
                seen.body += self.exactly(size)
                assert self.exactly(2) == b"\r\n"
            lines = []
            while line := self.until(b"\r\n"):
                lines.append(line)
            seen.trailers = parse_fields(b"\r\n".join(lines))
        else:
            seen.body = self.exactly(int(seen.get("Content-Length") or 0))
        seen.complete = True
        return seen.body

    def send(self, *parts: bytes, pause: float = 0.002) -> None:
        """Send each part as a segment of its own."""
        for i, part in enumerate(parts):
            if i:
                time.sleep(pause)
            try:
                self.sock.sendall(part)
            except OSError:
                raise PeerClosed from None

    def reset(self) -> None:
        """Close with RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        self.sock.close()

    def wait_end(self, timeout: float = 15.0) -> bool:
        """Read and drop until the gateway closes; False when it does not within `timeout` seconds."""
        deadline = time.monotonic() + timeout
        try:
            while time.monotonic() < deadline:
                self.sock.settimeout(max(0.001, deadline - time.monotonic()))
                self.receive()
        except PeerClosed:
            return True
        return False


class Upstream:
    """The server: a thread for accepting and one per connection."""

    def __init__(self, host: str = "127.0.0.1", *, tls: ssl.SSLContext | None = None, keep_bytes: int = 1 << 22) -> None:
        self.listener = socket.create_server((host, 0), backlog=512, family=socket.AF_INET6 if ":" in host else socket.AF_INET)
        self.host = host
        self.port: int = self.listener.getsockname()[1]
        self.connections: list[Connection] = []
        self.requests: list[Seen] = []
        self.errors: list[str] = []
        self._tls = tls
        self._keep = keep_bytes
        self._handlers: dict[str, Handler] = {}
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """http(s)://host:port of this server."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self._tls else 'http'}://{host}:{self.port}"

    def on(self, path: str, handler: Handler) -> None:
        """Use `handler` for this path (query ignored)."""
        self._handlers[path] = handler

    def seen(self, path: str) -> list[Seen]:
        """The requests for a path, in order of arrival."""
        return [r for r in self.requests if r.target.partition("?")[0] == path]

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls:
                sock = self._tls.wrap_socket(sock, server_side=True)
        except OSError:
            sock.close()
            return
        connection = Connection(sock, len(self.connections), self._keep)
        self.connections.append(connection)
        with sock, contextlib.suppress(PeerClosed, ConnectionError):
            while self._one(connection):
                pass

    def _one(self, connection: Connection) -> bool:
        head = connection.until(b"\r\n\r\n")
        line, _, rest = head.partition(b"\r\n")
        match = REQUEST_LINE.fullmatch(line.decode("latin-1"))
        if not match:
            self.errors.append(f"bad request line {line!r}")
            return False
        seen = Seen(match[1], match[2], parse_fields(rest), connection.number)
        self.requests.append(seen)
        return self._handlers.get(match[2].partition("?")[0], echo)(connection, seen)

    def close(self) -> None:
        """Stop accepting and cut every connection."""
        self.listener.close()
        for connection in self.connections:
            with contextlib.suppress(OSError):
                connection.sock.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def head(status: str, *lines: str) -> bytes:
    """The bytes of an answer's head."""
    return "\r\n".join([f"HTTP/1.1 {status}", *lines, "", ""]).encode("latin-1")


def echo(connection: Connection, seen: Seen) -> bool:
    """Answer with a description of the request."""
    connection.read_body(seen)
    body = seen.describe()
    answer = head("200 OK", "Content-Type: application/json", f"Content-Length: {len(body)}")
    connection.send(answer if seen.method == "HEAD" else answer + body)
    return True


def reply(*parts: bytes, keep: bool = True, pause: float = 0.002) -> Handler:
    """A handler that reads the body and sends these parts, each as a segment of its own."""

    def handler(connection: Connection, seen: Seen) -> bool:
        connection.read_body(seen)
        connection.send(*parts, pause=pause)
        return keep

    return handler


def sequence(handlers: Iterable[Handler]) -> Handler:
    """One handler per request, in order; the last one serves all that follow."""
    left = list(handlers)
    lock = threading.Lock()

    def handler(connection: Connection, seen: Seen) -> bool:
        with lock:
            chosen = left.pop(0) if len(left) > 1 else left[0]
        return chosen(connection, seen)

    return handler


def cut(connection: Connection, seen: Seen) -> bool:
    """Close without an answer, the request read."""
    connection.read_body(seen)
    return False


def abort(connection: Connection, seen: Seen) -> bool:
    """Reset the connection without an answer, the request read."""
    connection.read_body(seen)
    connection.reset()
    return False


def silent(connection: Connection, seen: Seen) -> bool:
    """Never answer; returns when the gateway has closed."""
    connection.read_body(seen)
    connection.wait_end(60)
    return False
