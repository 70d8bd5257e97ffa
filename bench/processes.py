"""Processes under test: their CPU time, their start and their end."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
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
        for task in Path(f"/proc/{parent}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                found.extend(int(child) for child in task.read_text().split())
    return found


def cpu_seconds(pid: int) -> float:
    """User and system time of a process tree: the kernel's exact count per process, ended threads included."""
    total = 0
    for one in tree(pid):
        with contextlib.suppress(OSError):
            total += time.clock_gettime_ns((~one << 3) | 2)
    return total / 1e9


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
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                return
            time.sleep(0.05)
        tail = self.log.read_text(errors="replace")[-2000:]
        raise StartError(f"{self.name} does not listen on port {port}:\n{tail}")

    def end(self) -> None:
        """Let it finish; kill it after five seconds."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
