"""Plugin servers with the same hooks in several languages: grpcio, @grpc/grpc-js and grpc-go."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, TypeVar

from tests.plugins.plugin_site import PluginServer, ServerProcess
from tests.support.toolchains import PROTO, SOURCES, go_server, node_server

Language = Literal["python", "node", "go"]
LANGUAGES: tuple[Language, ...] = ("python", "node", "go")
S = TypeVar("S", bound=ServerProcess)
BUILD_LIMIT = 400
"""Seconds for a test that may have to build a server first; see tests/support/toolchains.py."""


class ForeignServer(ServerProcess):
    """A server of servers/node or servers/go."""

    def __init__(self, program: list[str], folder: Path, address: str, options: list[str]) -> None:
        """program: command and what stands behind the address and the record."""
        super().__init__(folder, address)
        self._program = program
        self._options = options

    def command(self) -> list[str]:
        return [*self._program, self.address, str(self.record), *self._options]

    def terminate(self) -> None:
        """Ask it to stop when what is under way has ended; see `ended`."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)

    def wait(self) -> int:
        """Its exit status, after terminate()."""
        assert self.process is not None
        return self.process.wait(20)


def foreign(
    language: Language, folder: Path, address: str = "", *, streams: int = 0, age_ms: int = 0, tls: tuple[Path, ...] = ()
) -> ForeignServer:
    """A server that is not started. streams: calls at once on one connection; age_ms: until a connection is drained; tls:
    certificate, key, and authority of the clients' certificates. Skips the test if it cannot be built here."""
    given = {"streams": streams, "age": age_ms, "tls": ",".join(map(str, tls))}
    options = [f"--{name}={value}" for name, value in given.items() if value]
    if language == "node":
        return ForeignServer([*node_server()], folder, address, [str(PROTO), *options])
    return ForeignServer([*go_server()], folder, address, options)


def in_language(language: Language, folder: Path) -> ServerProcess:
    """A server that is not started, in any of the languages."""
    if language == "python":
        return PluginServer(folder, (SOURCES / "hooks.py").read_text())
    return foreign(language, folder)


@contextmanager
def serving(server: S) -> Iterator[S]:
    """The server runs as long as the block."""
    try:
        server.start()
        yield server
    finally:
        server.kill()
