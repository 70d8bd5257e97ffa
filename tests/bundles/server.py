"""A bundle server on loopback whose answers a test chooses, byte by byte where it matters."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable
from types import TracebackType

Answer = Callable[[socket.socket], None]


def reply(body: bytes, status: str = "200 OK", *lines: str, length: int | None = None) -> bytes:
    """One HTTP answer; ``length`` claims another length than the body has."""
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body) if length is None else length}", *lines, "", ""]
    return "\r\n".join(head).encode() + body


class BundleServer:
    """Serves ``answers`` by path; a list is used up one by one, the last stays. ``requests``: heads as received."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.answers: dict[str, list[bytes | Answer]] = {}
        self.requests: list[str] = []
        self._context = context
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        self.url = f"{'https' if context else 'http'}://localhost:{self.port}/"
        self.stopped = threading.Event()
        self._threads: list[threading.Thread] = []
        self._accepting = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> BundleServer:
        self._accepting.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.stopped.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._accepting.join(10)
        for thread in self._threads:
            thread.join(10)

    def put(self, path: str, *answers: bytes | Answer) -> None:
        """Answer requests for a path, one after the other."""
        self.answers[path] = list(answers)

    def paths(self) -> list[str]:
        """The targets that were asked for, in order."""
        return [head.split(" ")[1] for head in self.requests]

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(client,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError), client:
            client.settimeout(10)
            if self._context:
                client = self._context.wrap_socket(client, server_side=True)
            with client:
                head = b""
                while b"\r\n\r\n" not in head:
                    piece = client.recv(65536)
                    if not piece:
                        return
                    head += piece
                text = head.decode("latin-1")
                path = text.split(" ")[1].partition("?")[0]
                with self._lock:
                    self.requests.append(text)
                    waiting = self.answers.get(path, [reply(b"", "404 Not Found")])
                    answer = waiting.pop(0) if len(waiting) > 1 else waiting[0]
                if callable(answer):
                    answer(client)
                else:
                    client.sendall(answer)
