"""`make soak`: reloads, a rolling upgrade and killed workers under load, with every answer checked.

The load is a closed loop of keep-alive connections; every request carries a token in a header and in its path, and the
upstream echoes both, so an answer that belongs to another request is found out. The run fails unless nothing fails but
requests that were on their way through a worker that was killed, no token is wrong, and memory stays flat.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench import gateway
from bench.load.engine import Engine
from bench.processes import Child, free_port, rss_bytes
from bench.upstream.server import Server

CONNECTIONS = 64
WORKERS = 2
GROWTH_MB = 16.0
TOKEN = b"0" * 16


@dataclass(slots=True)
class Phase:
    """What happened in one phase. allowed: failed requests that the phase may cause."""

    name: str
    seconds: float
    requests: int = 0
    failed: dict[str, int] = field(default_factory=dict)
    allowed: int = 0
    rss_before: float = 0.0
    rss_after: float = 0.0
    events: int = 0

    @property
    def ok(self) -> bool:
        wrong = sum(n for kind, n in self.failed.items() if "token" in kind)
        return wrong == 0 and sum(self.failed.values()) <= self.allowed and self.requests > 0


def upstream() -> tuple[Server, threading.Thread]:
    """The echo upstream, in a thread of its own (it does not hold the interpreter)."""
    server = Server(echo=True)
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    return server, thread


def request(port: int) -> tuple[bytes, tuple[int, ...], int]:
    """The request of the engine: bytes, where the token goes, expected length of the answer."""
    text = b"GET /api/" + TOKEN + b" HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nX-Token: " % port + TOKEN + b"\r\n\r\n"
    return text, (text.index(TOKEN), text.rindex(TOKEN)), 2 * len(TOKEN)


class Soak:
    """One gateway under one load."""

    def __init__(self, folder: Path) -> None:
        self.server, self.thread = upstream()
        self.port = free_port()
        self.conf = gateway.write(folder, "soak", self.port, f"http://127.0.0.1:{self.server.port}/", WORKERS)
        self.apps = self.conf.parent / "apps"
        self.child = Child("preforge", gateway.command(self.conf), folder)
        self.child.wait_port(self.port)
        self.engine = Engine("127.0.0.1", self.port, [request(self.port)], CONNECTIONS)
        self.load = threading.Thread(target=self.engine.run, args=(86400.0,), daemon=True)

    def command(self, verb: str, *more: str) -> subprocess.CompletedProcess[str]:
        """Run `preforge VERB`. Raises RuntimeError if it fails."""
        done = subprocess.run(
            [gateway.command(self.conf)[0], verb, "--conf", str(self.conf), *more],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"preforge {verb}: {done.stderr or done.stdout}")
        return done

    def workers(self) -> list[dict[str, Any]]:
        status = json.loads(self.command("status", "--json").stdout)
        return [w for w in status["workers"] if w["state"] == "ready"]

    def memory(self) -> float:
        """Megabytes of the largest worker."""
        return max(rss_bytes(w["pid"]) for w in self.workers()) / 1e6

    def phase(self, name: str, seconds: float, act: Callable[[Phase], None], allowed: int = 0) -> Phase:
        """Run `act` for a phase and take the differences of the counters."""
        found = Phase(name, seconds, allowed=allowed, rss_before=self.memory())
        before = self.engine.counters()
        began = time.monotonic()
        act(found)
        while time.monotonic() - began < seconds:
            time.sleep(0.05)
        after = self.engine.counters()
        found.seconds = time.monotonic() - began
        found.requests = after["requests"] - before["requests"]
        found.failed = {
            kind: count - before["failures"].get(kind, 0)
            for kind, count in after["failures"].items()
            if count > before["failures"].get(kind, 0)
        }
        found.rss_after = self.memory()
        return found

    def end(self) -> None:
        self.engine.stop()
        self.load.join(15)
        self.child.end()
        self.server.stop()
        self.thread.join(2)


def run(seconds: float, folder: Path) -> list[Phase]:
    """All phases; `seconds` is the length of the reload phase."""
    soak = Soak(folder)
    extra = soak.apps / "extra.json"

    def reloads(found: Phase) -> None:
        count = max(1, int(seconds))
        for number in range(count):
            due = time.monotonic() + seconds / count
            if number % 3 == 2:
                extra.unlink()
            else:
                target = f"http://127.0.0.1:{soak.server.port}/{number}/"
                extra.write_text(json.dumps(gateway.definition("extra", "/extra/", target)))
            soak.command("reload")
            found.events += 1
            time.sleep(max(0.0, due - time.monotonic()))

    def upgrade(found: Phase) -> None:
        pids = {w["pid"] for w in soak.workers()}
        soak.command("upgrade")
        if pids & {w["pid"] for w in soak.workers()}:
            raise RuntimeError("the upgrade left old workers behind")
        found.events = 1

    def kills(found: Phase) -> None:
        for slot in range(WORKERS):
            victim = next(w for w in soak.workers() if w["slot"] == slot)
            os.kill(victim["pid"], signal.SIGKILL)
            found.events += 1
            deadline = time.monotonic() + 20
            while all(w["slot"] != slot or w["pid"] == victim["pid"] for w in soak.workers()):
                if time.monotonic() > deadline:
                    raise RuntimeError(f"worker {slot} was not replaced")
                time.sleep(0.05)
            time.sleep(1)

    try:
        soak.load.start()
        time.sleep(1)
        return [
            soak.phase("warm-up", min(5.0, seconds), lambda _: None),
            soak.phase("reloads", seconds, reloads),
            soak.phase("rolling upgrade", min(10.0, seconds), upgrade),
            soak.phase("kill -9 of each worker", min(10.0, seconds), kills, allowed=CONNECTIONS * WORKERS),
        ]
    finally:
        soak.end()


def report(phases: list[Phase]) -> str:
    """The phases as a table."""
    lines = [f"{'phase':<24}{'events':>7}{'requests':>11}{'req/s':>9}{'failed':>8}{'allowed':>9}{'rss MB':>17}  kinds"]
    for p in phases:
        kinds = ", ".join(f"{k} {n}" for k, n in p.failed.items()) or "-"
        lines.append(
            f"{p.name:<24}{p.events:>7}{p.requests:>11}{p.requests / p.seconds:>9.0f}{sum(p.failed.values()):>8}"
            f"{p.allowed:>9}{p.rss_before:>8.1f} -> {p.rss_after:>5.1f}  {kinds}"
        )
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Run and judge; 1 if something failed that must not."""
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="of reloads, one per second (default 60)")
    parser.add_argument("--least-rate", type=float, default=5000.0, help="requests/s that the load must reach")
    options = parser.parse_args(arguments)
    print(f"soak: {WORKERS} workers, {CONNECTIONS} connections, {options.seconds:g} reloads ...", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory(prefix="preforge-soak-") as name:
        phases = run(options.seconds, Path(name))
    print(report(phases))
    problems = [f"{p.name}: more failures than allowed" for p in phases if not p.ok]
    problems += [f"{p.name}: below {options.least_rate:g} requests/s" for p in phases
                 if p.requests / p.seconds < options.least_rate]  # fmt: skip
    flat = phases[1]
    if flat.rss_after - flat.rss_before > GROWTH_MB:
        problems.append(f"memory grew by {flat.rss_after - flat.rss_before:.1f} MB during the reloads")
    for problem in problems:
        print(f"FAILED: {problem}")
    if not problems:
        print("ok: no request failed but those in flight on a killed worker, no answer was mixed up, memory is flat")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
