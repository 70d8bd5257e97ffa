"""Gateways with a plugin server beside them."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from coprocess.proto import coprocess_object_pb2 as messages
from tests.support.gateway import ROOT, Json, api, free_port, merge

PROGRAM = ROOT / "tests" / "plugins" / "plugin_server.py"


class ServerProcess:
    """A plugin server that writes a record; it can be killed and started again at the same address."""

    def __init__(self, folder: Path, address: str = "") -> None:
        """address: of the listener, a free port without."""
        folder.mkdir()
        self.address = address or f"127.0.0.1:{free_port()}"
        self.record = folder / "record"
        self.record.touch()
        self._log = folder / "log"
        self.process: subprocess.Popen[str] | None = None

    def command(self) -> list[str]:
        """Of a process that serves at `address`, appends to `record`, and prints ready."""
        raise NotImplementedError

    @property
    def target(self) -> str:
        """For coprocess_grpc_server."""
        return self.address if "://" in self.address or self.address.startswith("unix:") else f"tcp://{self.address}"

    def start(self) -> None:
        with self._log.open("a") as log:
            environ = {"PYTHONPATH": str(ROOT), "PATH": ""}
            self.process = subprocess.Popen(
                self.command(), cwd=ROOT, env=environ, stdout=subprocess.PIPE, stderr=log, text=True
            )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n", self._log.read_text()

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            assert self.process.stdout is not None
            self.process.stdout.close()
            self.process = None

    def notes(self) -> list[Json]:
        """What happened at the server, in order."""
        return [json.loads(line) for line in self.record.read_text().splitlines()]

    def seen(self, hook: str) -> list[Any]:
        """The Objects that a hook was given."""
        return [
            messages.Object.FromString(base64.b64decode(note["object"])) for note in self.notes() if note.get("hook") == hook
        ]

    def last(self, hook: str) -> Any:
        return self.seen(hook)[-1]

    def events(self, name: str) -> list[Json]:
        """The events that a handler was sent."""
        return [note["event"] for note in self.notes() if note.get("event", {}).get("handler_name") == name]

    def ended(self, hook: str) -> list[Json]:
        """How calls of a hook have ended for the server."""
        return [note for note in self.notes() if note.get("ended") == hook]


class PluginServer(ServerProcess):
    """A process that runs plugin_server.py."""

    def __init__(self, folder: Path, hooks: str, address: str = "") -> None:
        """hooks: source of the functions."""
        super().__init__(folder, address)
        self._hooks = folder / "hooks.py"
        self._hooks.write_text(textwrap.dedent(hooks))

    def command(self) -> list[str]:
        return [sys.executable, str(PROGRAM), self.address, str(self._hooks), str(self.record)]


@contextmanager
def plugin_server(folder: Path, hooks: str, address: str = "") -> Iterator[PluginServer]:
    """A server that ends with the block."""
    server = PluginServer(folder, hooks, address)
    try:
        server.start()
        yield server
    finally:
        server.kill()


def plugged(api_id: str, target: str, *, driver: str = "grpc", definition: Json | None = None, **hooks: Any) -> Json:
    """An API at /<api_id>/ without keys. hooks: kind -> name of one hook, or its whole object, or a list of them."""
    section: Json = {"driver": driver}
    for kind, given in hooks.items():
        several = [given] if isinstance(given, str | dict) else given
        entries = [{"name": one} if isinstance(one, str) else one for one in several]
        section[kind] = entries[0] if kind == "auth_check" else entries
    return merge(api(api_id, f"/{api_id}/", target), {"custom_middleware": section, **(definition or {})})


def grpc_conf(server: ServerProcess, **more: Any) -> Json:
    """The part of tyk.conf that names a plugin server."""
    return merge({"coprocess_options": {"enable_coprocess": True, "coprocess_grpc_server": server.target}}, more)
