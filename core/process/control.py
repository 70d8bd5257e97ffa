"""The control socket: `preforge status|reload|upgrade|stop` talk to the master, one JSON line each way."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import socket
import stat
import struct
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

MAX_LINE = 65536
MAX_CLIENTS = 32
CLIENT_SECONDS = 120.0


class ControlError(Exception):
    """The control socket cannot be made or reached; the text says why."""


def default_path(configured: str, pid_file: str, conf: str) -> str:
    """Where the control socket is: as configured, beside the pid file, or in a private directory of the user."""
    if configured:
        return configured
    if pid_file:
        return str(Path(pid_file).with_name("preforge.sock"))
    base = os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()
    name = hashlib.sha256(str(Path(conf).resolve()).encode()).hexdigest()[:16]
    return str(Path(base) / f"preforge-{os.getuid()}" / f"{name}.sock")


class Client:
    """A connected control client. answer() ends it."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.sock = sock
        self.deadline = time.monotonic() + CLIENT_SECONDS
        self._line = bytearray()
        self.asked = False

    def read(self) -> str | None:
        """The verb once its line is whole, "" if the client is gone or talks nonsense, None before."""
        try:
            data = self.sock.recv(4096)
        except BlockingIOError:
            return None
        except OSError:
            return ""
        self._line += data
        if not data or len(self._line) > MAX_LINE:
            return ""
        if b"\n" not in self._line:
            return None
        self.asked = True
        with contextlib.suppress(ValueError, TypeError, AttributeError):
            return str(json.loads(self._line.split(b"\n")[0]).get("verb") or "?")
        return "?"

    def answer(self, reply: dict[str, Any]) -> None:
        """Send the reply and close. A client that does not take it within a second loses it."""
        self.sock.settimeout(1.0)
        with contextlib.suppress(OSError):
            self.sock.sendall(json.dumps(reply).encode() + b"\n")
        self.sock.close()


class ControlServer:
    """The listening end, in the master."""

    def __init__(self, path: str, fd: int = -1) -> None:
        self.path = path
        self.clients: dict[int, Client] = {}
        if fd >= 0:
            self.sock = socket.socket(fileno=fd)
        else:
            self.sock = self._listen()
        self.sock.setblocking(False)

    def _listen(self) -> socket.socket:
        directory = Path(self.path).parent
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            if directory.name == f"preforge-{os.getuid()}":
                found = directory.lstat()
                if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
                    raise ControlError(f"preforge.control_socket: {directory} belongs to another user")
            Path(self.path).unlink(missing_ok=True)
            before = os.umask(0o177)
            try:
                sock.bind(self.path)
            finally:
                os.umask(before)
            sock.listen(MAX_CLIENTS)
        except OSError as error:
            sock.close()
            raise ControlError(f"preforge.control_socket: cannot listen on {self.path}: {error}") from error
        return sock

    def accept(self) -> Client | None:
        """A new client of this user or root, None if there is none or too many."""
        try:
            sock, _ = self.sock.accept()
        except OSError:
            return None
        _, uid, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        if uid not in (0, os.getuid()) or len(self.clients) >= MAX_CLIENTS:
            sock.close()
            return None
        client = Client(sock)
        self.clients[sock.fileno()] = client
        return client

    def forget(self, client: Client) -> None:
        self.clients = {fd: found for fd, found in self.clients.items() if found is not client}

    def close(self, *, unlink: bool) -> None:
        for client in self.clients.values():
            client.sock.close()
        self.sock.close()
        if unlink:
            Path(self.path).unlink(missing_ok=True)


def ask(path: str, verb: str, timeout: float, progress: Callable[[], None] | None = None) -> dict[str, Any]:
    """Send a verb to a running gateway and return its reply. Raises ControlError if none runs or it does not answer."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(timeout)
        try:
            sock.connect(path)
        except OSError as error:
            raise ControlError(f"no gateway answers at {path} ({error.strerror or error})") from error
        if progress is not None:
            progress()
        try:
            sock.sendall(json.dumps({"verb": verb}).encode() + b"\n")
            line = bytearray()
            while not line.endswith(b"\n"):
                data = sock.recv(65536)
                if not data:
                    break
                line += data
        except OSError as error:
            raise ControlError(f"the gateway at {path} did not answer within {timeout:g} s") from error
    if not line:
        raise ControlError(f"the gateway at {path} closed the connection without an answer")
    reply: dict[str, Any] = json.loads(line)
    return reply
