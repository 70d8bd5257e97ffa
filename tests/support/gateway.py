"""A real gateway process for tests: configuration in a scratch directory, started, watched and stopped."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from tests.support.wire import Client, Response, WireError, fetch, get

ROOT = Path(__file__).resolve().parents[2]
Json = dict[str, Any]
T = TypeVar("T")
SAMPLE = re.compile(r"^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? ([^ ]+)$")


# Below the ports that the kernel gives to outgoing connections, and another part of them for each process of the suite:
# gateways share ports (SO_REUSEPORT), so two with the same one would answer each other's requests. Cluster nodes use a
# second port, 10,000 above.
FIRST_PORT, PORTS = 11000, 9000
_COUNT = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
_PART = PORTS // _COUNT
_next = itertools.count(os.getpid())


def free_port(host: str = "127.0.0.1") -> int:
    """A port that was free a moment ago, and that no other process of the suite is given."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    for _ in range(_PART):
        port = FIRST_PORT + number * _PART + next(_next) % _PART
        with socket.socket(family, socket.SOCK_STREAM) as probe, contextlib.suppress(OSError):
            probe.bind((host, port))
            return port
    raise OSError(f"no port from {FIRST_PORT} to {FIRST_PORT + PORTS} is free")


def wait_for(check: Callable[[], T], what: str, timeout: float = 15.0) -> T:
    """Poll until `check` returns something true and return that; the deadline only bounds a failing test."""
    deadline = time.monotonic() + timeout
    while not (value := check()):
        assert time.monotonic() < deadline, f"{what}: did not happen within {timeout} s"
        time.sleep(0.02)
    return value


def merge(base: Json, more: Json) -> Json:
    """`base` with `more` laid over it, object by object."""
    merged = dict(base)
    for key, value in more.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = merge(merged[key], value) if both else value
    return merged


def api(api_id: str, listen_path: str, target: str, **more: Any) -> Json:
    """A keyless classic definition; `more` is merged in; `version` goes to its only version."""
    version = {"name": "Default", **more.pop("version", {})}
    base: Json = {
        "name": api_id,
        "api_id": api_id,
        "org_id": "default",
        "use_keyless": True,
        "active": True,
        "proxy": {"listen_path": listen_path, "target_url": target, "strip_listen_path": True},
        "version_data": {"not_versioned": True, "versions": {"Default": version}},
    }
    return merge(base, more)


class Gateway:
    """One gateway process tree (a master and its workers) over a scratch directory."""

    def __init__(self, directory: Path, apis: list[Json], conf: Json | None = None, *, host: str = "127.0.0.1") -> None:
        self.directory = directory
        self.apps = directory / "apps"
        self.apps.mkdir(parents=True)
        self.host = host
        self.port = free_port(host)
        self.conf_path = directory / "tyk.conf"
        self.log_path = directory / "gateway.log"
        self.process: subprocess.Popen[bytes] | None = None
        base: Json = {
            "listen_address": host,
            "listen_port": self.port,
            "secret": "test-secret",
            "node_secret": "test-secret",
            "app_path": str(self.apps),
            "template_path": str(directory / "templates"),
            "middleware_path": str(directory / "middleware"),
            "pid_file_location": str(directory / "gateway.pid"),
            "storage": {"type": "embedded"},
            "enable_analytics": False,
            "log_level": "info",
            "preforge": {"workers": 1, "access_log": {"path": str(directory / "access.log")}},
        }
        self.conf = merge(base, conf or {})
        self.conf_path.write_text(json.dumps(self.conf, indent=1))
        for definition in apis:
            self.write_api(definition)

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        return self.host, self.port

    def write_api(self, definition: Json) -> Path:
        """Write a definition, atomically as an editor or a deployment would."""
        path = self.apps / f"{definition['api_id']}.json"
        scratch = path.with_suffix(".tmp")
        scratch.write_text(json.dumps(definition, indent=1))
        scratch.replace(path)
        return path

    def command(self) -> list[str]:
        """The command line, with the interpreter that runs the tests."""
        main = "import sys; from core.cli import main; sys.exit(main())"
        return [sys.executable, "-c", main, "start", "--conf", str(self.conf_path)]

    def start(self, ready: Callable[[], bool] | None = None) -> None:
        """Start and wait until it answers (or until `ready` says so)."""
        environ = {**os.environ, "PYTHONPATH": str(ROOT)}
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                self.command(),
                cwd=self.directory,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        deadline = time.monotonic() + 30
        while not (ready or self.answers)():
            assert self.process.poll() is None, f"the gateway stopped: {self.process.returncode}\n{self.log()}"
            assert time.monotonic() < deadline, f"the gateway did not get ready:\n{self.log()}"
            time.sleep(0.05)

    def answers(self) -> bool:
        """Whether /hello answers 200."""
        with contextlib.suppress(OSError, WireError):
            return fetch(self.address, "/hello").status == 200
        return False

    @property
    def pid(self) -> int:
        """The master's process id."""
        assert self.process is not None
        return self.process.pid

    def stop(self) -> None:
        """SIGTERM to the master; anything but a clean end within 20 s fails, with the log."""
        process = self.process
        if process is None:
            return
        self.process = None
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            code = process.wait(20)
        except subprocess.TimeoutExpired:
            for pid in [*children(process.pid), process.pid]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            process.wait()
            raise AssertionError(f"the gateway did not stop on SIGTERM:\n{self.log()}") from None
        assert code == 0, f"the gateway ended with {code}:\n{self.log()}"

    def log(self) -> str:
        """What it wrote to its standard streams, the last 8 KB."""
        return self.log_path.read_text(errors="replace")[-8192:] if self.log_path.exists() else ""

    def reload(self) -> None:
        """Ask for a reload with SIGHUP; wait for its effect with `wait_for`."""
        os.kill(self.pid, signal.SIGHUP)

    def connect(self, **more: Any) -> Client:
        """A client connection."""
        return Client(self.address, **more)

    def fetch(self, target: str, *lines: str, method: str = "GET", body: bytes | None = None) -> Response:
        """One request on its own connection."""
        return fetch(self.address, target, *lines, method=method, body=body)

    def on_one_connection(self, count: int, target: str) -> list[Response]:
        """`count` requests one after the other on one connection."""
        with self.connect() as client:
            return [client.send(get(target)).read() for _ in range(count)]

    def metrics(self) -> dict[str, float]:
        """Samples of /metrics, `name{labels}` -> value."""
        text = self.fetch("/metrics").body.decode()
        return {f"{m[1]}{{{m[2]}}}" if m[2] else m[1]: float(m[3]) for line in text.splitlines() if (m := SAMPLE.match(line))}

    def counters(self, word: str) -> float:
        """The sum of all samples of /metrics whose name or labels contain `word`."""
        return sum(v for k, v in self.metrics().items() if word in k)

    def workers(self) -> list[int]:
        """Process ids of the master's children that run the gateway's program: not the embedded store."""
        program = command_line(self.pid)
        return [pid for pid in children(self.pid) if command_line(pid) == program]


def command_line(pid: int) -> bytes:
    """The command line of a process, b"" when it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def children(pid: int) -> list[int]:
    """Process ids of the children of `pid`."""
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(word) for word in text.split()]


def resident(pid: int) -> int:
    """PSS of a process in bytes."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    match = re.search(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)
    assert match, text
    return int(match[1]) * 1024


@contextlib.contextmanager
def running(
    directory: Path,
    apis: list[Json],
    conf: Json | None = None,
    *,
    host: str = "127.0.0.1",
    ready: Callable[[Gateway], bool] | None = None,
) -> Iterator[Gateway]:
    """A started gateway; it must stop cleanly afterwards."""
    gateway = Gateway(directory, apis, conf, host=host)
    try:
        gateway.start((lambda: ready(gateway)) if ready else None)
        yield gateway
    finally:
        gateway.stop()
