"""Processes under test: their CPU time, their start and their end."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path


class StartError(Exception):
    """A process of the benchmark did not start; the text says which and why."""


def free_port() -> int:
    """A port of 127.0.0.1 that nobody uses now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def tree(pid: int) -> list[int]:
    """A process and all that descend from it."""
    found = [pid]
    for parent in found:
        found.extend(_children(parent))
    return found


def cpu_seconds(pid: int) -> float:
    """User and system time of a process tree: the kernel's exact count per process, ended threads included."""
    return _cpu_seconds(tree(pid))


def plugin_seconds(pid: int) -> float:
    """The same of plugins(pid)."""
    return _cpu_seconds(plugins(pid))


def plugins(pid: int) -> list[int]:
    """What the children of a process have started: of a gateway, the plugins of its workers."""
    return [below for child in _children(pid) for below in tree(child)[1:]]


def _cpu_seconds(pids: list[int]) -> float:
    total = 0
    for one in pids:
        with contextlib.suppress(OSError):
            total += time.clock_gettime_ns((~one << 3) | 2)
    return total / 1e9


def _children(pid: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found.extend(int(child) for child in task.read_text().split())
    return found


def rss_bytes(pid: int) -> int:
    """Resident memory of one process; 0 if it is gone."""
    with contextlib.suppress(OSError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0


class Child:
    """A process that belongs to the benchmark, pinned to CPUs; its output goes to a file."""

    def __init__(self, name: str, command: list[str], folder: Path, cpus: set[int] | None = None) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        with self.log.open("wb") as out:
            self.process = subprocess.Popen(
                command,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )
        self.pid = self.process.pid
        if cpus:
            os.sched_setaffinity(self.pid, cpus)

    def wait_port(self, port: int, seconds: float = 60.0) -> None:
        """Wait until the process listens. Raises StartError."""
        self._wait(lambda: socket.create_connection(("127.0.0.1", port), 1), f"port {port}", seconds)

    def wait_socket(self, path: Path, seconds: float = 60.0) -> None:
        """Wait until the process listens on a unix socket. Raises StartError."""

        def connect() -> socket.socket:
            sock = socket.socket(socket.AF_UNIX)
            try:
                sock.connect(str(path))
            except OSError:
                sock.close()
                raise
            return sock

        self._wait(connect, str(path), seconds)

    def _wait(self, connect: Callable[[], socket.socket], what: str, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            with contextlib.suppress(OSError), connect():
                return
            time.sleep(0.05)
        tail = self.log.read_text(errors="replace")[-2000:]
        raise StartError(f"{self.name} does not listen on {what}:\n{tail}")

    def end(self) -> None:
        """Let it finish; kill it after five seconds."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
