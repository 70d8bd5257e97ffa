"""`make faults`: the store killed, paused and slowed under load, and what clients see.

Two closed loops run against one gateway all the time: one with a key that is in use, one with keys that do not exist,
each of which has to be looked up in the store. The run fails if an unknown key ever passes, if anything but 200, 403, 429
and 503 is answered, or if both loops are not back to normal within the time to recover, with no restart of the gateway.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from bench import gateway
from bench.load.engine import Engine
from bench.processes import Child, free_port
from bench.upstream.server import Server
from core.store.embedded import find_program

if TYPE_CHECKING:
    from bench.load.engine import Counters

RECOVER = 3.0
TOKEN = b"0" * 16
CONNECTIONS = 32
STOPPED, RUNNING = 0.095, 0.005     # seconds: a store that gets a twentieth of its time


@dataclass(slots=True)
class Phase:
    """What both loops saw in one phase: status -> answers, and failures by kind."""

    name: str
    seconds: float
    known: dict[int, int] = field(default_factory=dict)
    unknown: dict[int, int] = field(default_factory=dict)
    failed: dict[str, int] = field(default_factory=dict)


class Store:
    """A server of our own, on TCP, that can be hurt; its data survive in an append-only file."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._folder = folder
        self._command = [
            find_program(""), "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "yes",
            "--appendfsync", "always", "--dir", str(folder),
        ]  # fmt: skip
        self.child = self._start()

    def _start(self) -> Child:
        child = Child("store", self._command, self._folder)
        child.wait_port(self.port)
        return child

    def kill(self) -> None:
        self.child.process.kill()
        self.child.process.wait()

    def restart(self) -> None:
        self.child = self._start()

    def pause(self) -> None:
        os.kill(self.child.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.child.pid, signal.SIGCONT)

    def end(self) -> None:
        self.resume()
        self.child.end()


class Scene:
    """One gateway, its store, and the two loops."""

    def __init__(self, folder: Path, workers: int) -> None:
        self.server = Server(body_bytes=13)
        threading.Thread(target=self.server.serve, daemon=True).start()
        self.store = Store(folder)
        port = free_port()
        storage = {"storage": {"type": "redis", "host": "127.0.0.1", "port": self.store.port}}
        conf = gateway.write(
            folder, "faults", port, f"http://127.0.0.1:{self.server.port}/", workers, api=gateway.keyed(), options=storage
        )
        self.gateway = Child("preforge", gateway.command(conf), folder)
        self.gateway.wait_port(port)
        key = gateway.create_key(port, gateway.session(1e6, 1, 10**12))
        head = f"GET /api/x HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: ".encode()
        text = head + TOKEN + b"\r\n\r\n"
        self.known = Engine("127.0.0.1", port, [(head + key.encode() + b"\r\n\r\n", (), -1)], CONNECTIONS, others=(503,))
        self.unknown = Engine("127.0.0.1", port, [(text, (len(head),), -1)], CONNECTIONS, others=(403, 503))
        self.threads = [
            threading.Thread(target=engine.run, args=(86400.0,), daemon=True) for engine in (self.known, self.unknown)
        ]

    def phase(self, name: str, seconds: float, act: Callable[[float], None] = time.sleep) -> Phase:
        """Run `act` for a phase; what both loops saw meanwhile."""
        before = self.known.counters(), self.unknown.counters()
        act(seconds)
        after = self.known.counters(), self.unknown.counters()
        found = Phase(name, seconds)
        for begin, end, into in zip(before, after, (found.known, found.unknown), strict=True):
            into.update(_more(begin, end))
            for kind, number in end["failures"].items():
                if number > begin["failures"].get(kind, 0):
                    found.failed[kind] = found.failed.get(kind, 0) + number - begin["failures"].get(kind, 0)
        return found

    def slow(self, seconds: float) -> None:
        """Stop the store for most of the time."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.store.pause()
            time.sleep(STOPPED)
            self.store.resume()
            time.sleep(RUNNING)

    def end(self) -> None:
        for engine in (self.known, self.unknown):
            engine.stop()
        self.gateway.end()
        self.store.end()
        self.server.stop()


def _more(before: Counters, after: Counters) -> dict[int, int]:
    found = {status: number - before["statuses"].get(status, 0) for status, number in after["statuses"].items()}
    return {status: number for status, number in sorted(found.items()) if number}


def run(seconds: float, workers: int, folder: Path) -> list[Phase]:
    """All phases."""
    scene = Scene(folder, workers)
    store = scene.store
    try:
        for thread in scene.threads:
            thread.start()
        time.sleep(1)
        found = [scene.phase("before", seconds)]
        store.kill()
        found.append(scene.phase("killed", seconds))
        store.restart()
        found.append(scene.phase("recovering", RECOVER))
        found.append(scene.phase("after the kill", seconds))
        store.pause()
        found.append(scene.phase("paused", seconds))
        store.resume()
        found.append(scene.phase("recovering", RECOVER))
        found.append(scene.phase("after the pause", seconds))
        found.append(scene.phase("slowed to 1/20", seconds, scene.slow))
        found.append(scene.phase("recovering", RECOVER))
        found.append(scene.phase("after it was slow", seconds))
        return found
    finally:
        scene.end()


def judge(phases: list[Phase]) -> list[str]:
    """What went wrong."""
    problems = []
    for phase in phases:
        if phase.unknown.get(200):
            problems.append(f"{phase.name}: {phase.unknown[200]} requests with unknown keys passed")
        if phase.failed:
            problems.append(f"{phase.name}: {phase.failed}")
        if phase.name.startswith(("before", "after")):
            if set(phase.known) != {200}:
                problems.append(f"{phase.name}: the known key got {phase.known}")
            if set(phase.unknown) != {403}:
                problems.append(f"{phase.name}: unknown keys got {phase.unknown}")
        elif not phase.known:
            problems.append(f"{phase.name}: the known key got no answer at all")
    return problems


def main(arguments: list[str] | None = None) -> int:
    """Hurt the store, print what clients saw; 1 if it was not as it has to be."""
    parser = argparse.ArgumentParser(prog="python -m bench.faults", description=__doc__)
    parser.add_argument("--seconds", type=float, default=8.0, help="of each phase (default 8)")
    parser.add_argument("--workers", type=int, default=2, help="(default 2)")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="preforge-faults-") as name:
        phases = run(options.seconds, options.workers, Path(name))
    print(f"{'phase':<20}{'s':>5}  {'the key in use':<34}{'unknown keys':<34}failures")
    for phase in phases:
        known, unknown = (
            ", ".join(f"{status}: {number}" for status, number in one.items()) or "no answers"
            for one in (phase.known, phase.unknown)
        )
        print(f"{phase.name:<20}{phase.seconds:>5g}  {known:<34}{unknown:<34}{phase.failed or '-'}")
    problems = judge(phases)
    for problem in problems:
        print(f"FAILED: {problem}")
    if not problems:
        print("ok: no unknown key ever passed, all failures were 503, and the gateway healed by itself")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
