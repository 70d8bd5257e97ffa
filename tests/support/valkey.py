"""Real Valkey servers for tests, with whatever options a test wants."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hiredis

from core.store.embedded import find_program
from tests.support.gateway import free_port


class Valkey:
    """One server, on a port of 127.0.0.1. Its data is kept in `directory` over restarts."""

    def __init__(self, directory: Path, *options: str, port: int = 0) -> None:
        """options: more of the command line, such as "--requirepass", "x"."""
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.port = port or free_port()
        self.options = options
        self.log_path = directory / "valkey.log"
        self.login: tuple[str, ...] = ()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        address = ["--bind", "127.0.0.1", "--port", str(self.port)]
        return [find_program(""), *address, "--dir", str(self.directory), "--save", "", "--daemonize", "no", *self.options]

    def start(self, *, loaded: bool = True) -> None:
        """Start and wait until it answers (and, if `loaded`, has loaded its data)."""
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, cwd=self.directory
            )
        deadline = time.monotonic() + 20
        while True:
            assert self.process.poll() is None, self.log()
            with contextlib.suppress(OSError, ConnectionError):
                answer = self.ask("PING")
                if not (loaded and isinstance(answer, Exception) and str(answer).startswith("LOADING")):
                    return
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.01)

    def log(self) -> str:
        return self.log_path.read_text(errors="replace")[-4000:]

    def ask(self, *words: str | bytes | int) -> Any:
        """One command on a connection of its own; an error reply is returned as an exception object."""
        return self.ask_all(words)[0]

    def ask_all(self, *commands: tuple[str | bytes | int, ...]) -> list[Any]:
        """Commands on one connection of their own, after the log-in."""
        commands = (*([("AUTH", *self.login)] if self.login else []), *commands)
        with contextlib.ExitStack() as stack:
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", self.port), timeout=5))
            reader = hiredis.Reader()
            sock.sendall(b"".join(hiredis.pack_command(command) for command in commands))  # type: ignore[arg-type]
            replies: list[Any] = []
            while len(replies) < len(commands):
                reply = reader.gets()
                if reply is False:
                    data = sock.recv(65536)
                    if not data:
                        raise ConnectionError("the server closed the connection")
                    reader.feed(data)
                else:
                    replies.append(reply)
        return replies[1:] if self.login else replies

    def pause(self) -> None:
        """SIGSTOP: connections stay, nothing is answered."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL."""
        self._signal(signal.SIGKILL)
        assert self.process is not None
        self.process.wait()

    def _signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        os.kill(self.process.pid, number)

    def stop(self) -> None:
        """End it if it runs."""
        process, self.process = self.process, None
        if process is not None and process.poll() is None:
            process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait()


@contextlib.contextmanager
def valkey(directory: Path, *options: str, **more: Any) -> Iterator[Valkey]:
    """A started server, ended afterwards."""
    server = Valkey(directory, *options, **more)
    try:
        server.start()
        yield server
    finally:
        server.stop()
