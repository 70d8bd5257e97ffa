"""Plugins that can be killed while they serve.

Each has a hook that puts the last segment of the request's path into the header X-Token. The upstream (bench.upstream, echo)
answers with that header and the segment, so that whoever sent a token there can tell that the plugin was asked about this very
request.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.plugins import setups
from bench.plugins.grpc_server import LET_IN, MARK
from bench.processes import Child, StartError, free_port, plugins

GLANCE = 0.001
"""Seconds between two attempts to connect to a server that starts."""


class Victim:
    """What is killed. api: fields of the definition under test; options: of tyk.conf; refused: the status while it is away;
    supervised: it is below the gateway's workers, which start it again."""

    def __init__(
        self, title: str, api: dict[str, Any], options: dict[str, Any], refused: int = 500, supervised: bool = True
    ) -> None:
        self.title = title
        self.api = api
        self.options = options
        self.refused = refused
        self.supervised = supervised

    def kill(self, gateway: int) -> None:
        """kill -9. gateway: process id of its master."""
        for pid in plugins(gateway):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def start(self) -> None:
        """Start it, and return when it listens. Raises StartError."""

    def end(self) -> None:
        """The run is over."""


class GrpcVictim(Victim):
    """A server of our own, on TCP."""

    def __init__(self, title: str, folder: Path, api: dict[str, Any], refused: int) -> None:
        self._port = free_port()
        self._folder = folder
        self._command = setups.grpc_command(str(self._port))
        self._child: Child | None = None
        super().__init__(title, api, setups.grpc_options(f"tcp://127.0.0.1:{self._port}"), refused, supervised=False)

    def kill(self, gateway: int) -> None:
        assert self._child is not None
        self._child.process.kill()
        self._child.process.wait()

    def start(self) -> None:
        self._child = Child("grpc-plugin", self._command, self._folder)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and self._child.process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._port), 1):
                return
            time.sleep(GLANCE)
        raise StartError(f"grpc-plugin does not listen:\n{self._child.log.read_text(errors='replace')[-2000:]}")

    def end(self) -> None:
        if self._child is not None:
            self._child.end()


def grpc_pre(folder: Path) -> Victim:
    """A server with a pre hook."""
    return GrpcVictim("gRPC server, pre hook", folder, setups.hooked("grpc", MARK), 500)


def grpc_auth(folder: Path) -> Victim:
    """A server that lets everybody in."""
    section = {"driver": "grpc", "auth_check": {"name": LET_IN}}
    api = {"use_keyless": False, "enable_coprocess_auth": True, "custom_middleware": section}
    return GrpcVictim("gRPC server, auth_check", folder, api, 403)


def jsonrpc(folder: Path) -> Victim:
    """A child of each worker, over pipes."""
    made = setups.jsonrpc(folder, set(), MARK)
    return Victim("JSON-RPC child, pre hook", made.api, made.options)


def python(folder: Path) -> Victim:
    """A host process of each worker."""
    made = setups.python(folder, set(), MARK)
    return Victim("Python host, pre hook", made.api, made.options)


VICTIMS: dict[str, Callable[[Path], Victim]] = {"grpc": grpc_pre, "auth": grpc_auth, "jsonrpc": jsonrpc, "python": python}
