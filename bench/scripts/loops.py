"""How much the scripts of one API disturb others: latencies alone, and while clients keep calling scripts that do not end.

The gateway has the first CPU, generator and upstreams the last one. Latencies are those of two APIs that are asked at a steady
rate: one with a quick pre hook, one without scripts.
"""

from __future__ import annotations

import os
import sys
import tempfile
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.load.engine import Engine
from bench.scripts import apis, probe
from bench.scripts.scene import Scene, Upstreams, request

RATE = 300.0            # requests per second and API
CLIENTS = 8             # that keep calling
DISTURBING = {
    "": ("alone", 200),
    "failLoop": (f"{CLIENTS} clients call scripts that loop for ever", 500),
    "failMemory": (f"{CLIENTS} clients call scripts that fill the memory", 500),
    "waitShort": (f"{CLIENTS} clients call scripts that wait 0.5 s for an upstream", 200),
}


@dataclass(frozen=True, slots=True)
class Row:
    """Latencies of one API in one phase, ms. disturbing: answers that the other API's clients got, by status."""

    phase: str
    api: str
    requests: int
    p50: float
    p99: float
    most: float
    disturbing: dict[int, int]
    replaced: int
    failed: dict[str, int]


@dataclass(slots=True)
class Loops:
    """All phases."""

    workers: int
    rows: list[Row]

    def rise(self, row: Row) -> float:
        """By how many ms p99 is above that of the same API alone."""
        return row.p99 - min(one.p99 for one in self.rows if one.api == row.api and one.phase == DISTURBING[""][0])


def run(seconds: float, workers: int) -> tuple[Loops, list[str]]:
    """seconds: of each phase. Returns what was found and what is wrong with it."""
    found = Loops(workers, [])
    problems: list[str] = []
    cpus = sorted(os.sched_getaffinity(0))
    upstreams = Upstreams()
    os.sched_setaffinity(0, {cpus[-1]})
    with tempfile.TemporaryDirectory(prefix="preforge-scripts-") as name:
        scene = None
        try:
            scene = Scene(
                Path(name), upstreams.url,
                {
                    "quick": apis.quick(),
                    "bad": apis.mixed(tuple(name for name in DISTURBING if name), upstreams.url, upstreams.slow_url),
                },
                workers=workers, cpus={cpus[0]} if workers == 1 else set(cpus),
            )  # fmt: skip
            probe.measure(scene.port, ["/quick/x", "/api/x"], RATE, min(3.0, seconds))
            for function in (*DISTURBING, ""):      # alone twice: the better one counts, for the machine disturbs too
                _phase(scene, function, seconds, found, problems)
            if scene.lost():
                problems.append("a worker has ended")
        finally:
            if scene is not None:
                scene.end()
            upstreams.stop()
            os.sched_setaffinity(0, set(cpus))
    return found, problems


def _phase(scene: Scene, function: str, seconds: float, found: Loops, problems: list[str]) -> None:
    name, expected = DISTURBING[function]
    print(f"loops: {name} ...", file=sys.stderr, flush=True)
    before = scene.metrics()["preforge_contexts_replaced_total"]
    engine = None
    if function:
        asked = [request(scene.port, f"/bad/{function}")]
        engine = Engine("127.0.0.1", scene.port, asked, CLIENTS, status=expected, others=(503,))
        thread = threading.Thread(target=engine.run, args=(seconds + 60,), daemon=True)
        thread.start()
    try:
        measured = probe.measure(scene.port, ["/quick/x", "/api/x"], RATE, seconds)
    finally:
        if engine is not None:
            engine.stop()
            thread.join(30)
    counters = engine.counters() if engine is not None else None
    replaced = scene.metrics()["preforge_contexts_replaced_total"] - before
    if counters is not None and (counters["failures"] or not counters["statuses"].get(expected)):
        problems.append(f"{name}: these clients got {counters['statuses']}, failures {counters['failures']}")
    for api, one in zip(("quick pre hook", "no scripts"), measured, strict=True):
        found.rows.append(Row(
            name, api, len(one.found), one.at(0.5), one.at(0.99), one.at(1.0),
            counters["statuses"] if counters is not None else {}, replaced, one.failed,
        ))  # fmt: skip
        if one.failed or not one.found:
            problems.append(f"{name}, {api}: {len(one.found)} answers, failures {one.failed}")


def table(found: Loops) -> str:
    """The latencies as Markdown."""
    lines = [
        f"| {found.workers} worker{'s' if found.workers > 1 else ''}, {RATE:g} requests/s to each API | API | requests "
        "| p50 ms | p99 ms | max ms | p99 rises by | answers to those clients | contexts replaced | failed |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in found.rows:
        answers = ", ".join(f"{status}: {number}" for status, number in sorted(row.disturbing.items())) or "-"
        lines.append(
            f"| {row.phase} | {row.api} | {row.requests:,} | {row.p50:.2f} | {row.p99:.2f} | {row.most:.2f} "
            f"| {found.rise(row):+.2f} ms | {answers} | {row.replaced} | {sum(row.failed.values())} |"
        )
    return "\n".join(lines)


def as_json(found: Loops) -> dict[str, Any]:
    return {"workers": found.workers, "rows": [{**asdict(row), "rise": found.rise(row)} for row in found.rows]}
