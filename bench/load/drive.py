"""One timed load: wrk if it is installed, else our own engine, in a process of its own on given CPUs."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

from bench.load.engine import Engine

_TOTAL = re.compile(r"(\d+) requests in")
_RATE = re.compile(r"Requests/sec:\s+([\d.]+)")
_READ = re.compile(r", ([\d.]+)([KMGT]?)B read")
_UNITS = {"": 1.0, "K": 2.0**10, "M": 2.0**20, "G": 2.0**30, "T": 2.0**40}


class LoadError(Exception):
    """The load met failures, so its figures mean nothing."""


@dataclass(frozen=True, slots=True)
class Result:
    """Requests that were answered as expected, and their rate per second."""

    requests: int
    rate: float


@dataclass(frozen=True, slots=True)
class Latency:
    """Of one connection in a closed loop. p50, p99: microseconds, to 1.6 %; rate: requests per second."""

    p50: float
    p99: float
    rate: float


def tool() -> str:
    """What generates the load."""
    return "wrk" if shutil.which("wrk") else "bench.load.engine"


def drive(
    port: int,
    path: str,
    seconds: float,
    connections: int,
    cpus: set[int],
    body_bytes: int,
    tls: bool = False,
    header: str = "",
) -> Result:
    """Load http(s)://127.0.0.1:port/path, whose answers have a body of body_bytes. header: "Name: value", sent along.

    Raises LoadError if a request failed, answers were too short, or nothing can speak TLS.
    """
    wrk = shutil.which("wrk") if seconds >= 1 or tls else None      # it counts in whole seconds
    if wrk:
        url = f"http{'s' if tls else ''}://127.0.0.1:{port}{path}"
        command = [wrk, "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", *(["-H", header] if header else []), url]
    elif tls:
        raise LoadError("the TLS row needs wrk on PATH")
    else:
        raw = _engine(port, path, seconds, connections, cpus, body_bytes, header)
        return Result(raw["requests"], raw["requests"] / seconds)
    done = _run(command, cpus)
    if "Non-2xx" in done.stdout or "Socket errors" in done.stdout:
        raise LoadError(done.stdout)
    total, rate = _TOTAL.search(done.stdout), _RATE.search(done.stdout)
    if total is None or rate is None:
        raise LoadError(f"wrk printed something unexpected:\n{done.stdout}")
    if not int(total[1]):
        raise LoadError(f"no request was answered in {seconds:g} seconds")
    read = _READ.search(done.stdout)
    if read is None or float(read[1]) * _UNITS[read[2]] < 0.99 * body_bytes * int(total[1]):
        raise LoadError(f"the answers were shorter than {body_bytes} bytes:\n{done.stdout}")
    return Result(int(total[1]), float(rate[1]))


def latency(port: int, path: str, seconds: float, cpus: set[int], body_bytes: int) -> Latency:
    """How long requests take, one after the other on one connection, measured by our own engine. Raises LoadError."""
    raw = _engine(port, path, seconds, 1, cpus, body_bytes, "")
    counts = {int(at): count for at, count in raw["buckets"].items()}
    return Latency(quantile(counts, 0.5), quantile(counts, 0.99), raw["requests"] / seconds)


def quantile(buckets: dict[int, int], share: float) -> float:
    """A quantile of the engine's log-linear histogram (the middle of its bucket), 0 if it is empty."""
    left = share * sum(buckets.values())
    for at in sorted(buckets):
        left -= buckets[at]
        if left <= 0:
            shift = max(0, at // 64 - 1)
            return ((at - 64 * shift) << shift) + ((1 << shift) - 1) / 2
    return 0.0


def _engine(
    port: int, path: str, seconds: float, connections: int, cpus: set[int], body_bytes: int, header: str
) -> dict[str, Any]:
    numbers = [str(seconds), str(connections), str(body_bytes)]
    done = _run([sys.executable, "-m", "bench.load.drive", str(port), path, *numbers, header], cpus)
    raw: dict[str, Any] = json.loads(done.stdout)
    if raw["failed"]:
        raise LoadError(f"failed requests: {raw['failed']}")
    if not raw["requests"]:
        raise LoadError(f"no request was answered in {seconds:g} seconds")
    return raw


def _run(command: list[str], cpus: set[int]) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, preexec_fn=lambda: os.sched_setaffinity(0, cpus)
    )
    if done.returncode:
        raise LoadError(done.stderr.strip() or done.stdout.strip())
    return done


def main(port: int, path: str, seconds: float, connections: int, body_bytes: int, header: str) -> None:
    """Load with our engine and print JSON."""
    line = f"{header}\r\n" if header else ""
    request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{line}\r\n".encode()
    engine = Engine("127.0.0.1", port, [(request, (), body_bytes)], connections)
    engine.run(seconds)
    counters = engine.counters()
    failed = {kind: count for kind, count in counters["failures"].items() if count}
    print(json.dumps({"requests": counters["requests"], "failed": failed, "buckets": counters["buckets"]}))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], float(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5]), sys.argv[6])
