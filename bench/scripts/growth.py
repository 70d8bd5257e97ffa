"""Whether memory, descriptors or threads grow over many calls, of scripts that succeed, fail, wait and are ended.

The load comes in segments. Between two segments all is quiet for a moment, and what the workers hold is noted then, so that
rows differ only by what was left behind. While the main load runs, which has to be answered correctly throughout, one
connection calls a script that throws, and another one scripts that have to be ended, each of which costs a context.
"""

from __future__ import annotations

import sys
import tempfile
import threading
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bench.load.engine import Engine
from bench.scripts import apis
from bench.scripts.scene import BODY, Failed, Held, Scene, Upstreams, request

SEGMENTS = 16               # after those that warm up
WARM = 2
WORKERS = 2
CONNECTIONS = 64
QUIET = 2.0                 # seconds before a row is noted
MOST_MB = 16.0              # that all may grow by in all segments, along the fitted line
MOST_DESCRIPTORS = 16
MOST_THREADS = 4            # besides those of contexts
WARM_SECONDS = 30.0         # that warm up at least, for contexts come and grow by time
GOOD = ("leakGlobals", "leakRequest", "leakPromise", "leakFetch", "leakNothing")
BAD = ("failThrow", "failLoop", "failMemory", "failWait")


@dataclass(frozen=True, slots=True)
class Row:
    """How it was after a segment. calls, ended, replaced: since the start; failed: answers that must not be."""

    calls: int
    seconds: float
    contexts: int
    ended: int
    replaced: int
    held: Held
    failed: int


@dataclass(slots=True)
class Growth:
    """The series without what warmed up, and its slope."""

    rows: list[Row] = field(default_factory=list)
    requests: int = 0
    seconds: float = 0.0
    kb_per_million: float = 0.0     # PSS of all processes
    growth_mb: float = 0.0          # over the whole series, along the fitted line


def slope(points: list[tuple[float, float]]) -> float:
    """The slope of the line with the least squares; 0 for fewer than two points."""
    if len(points) < 2:
        return 0.0
    middle = sum(x for x, _ in points) / len(points), sum(y for _, y in points) / len(points)
    square = sum((x - middle[0]) ** 2 for x, _ in points)
    return sum((x - middle[0]) * (y - middle[1]) for x, y in points) / square if square else 0.0


def mixture(port: int) -> list[tuple[bytes, tuple[int, ...], int]]:
    """100 requests that lead to 140 calls: 40 of a hook, 40 of a hook and a virtual endpoint, 20 of other paths."""
    others = [
        *(["leakGlobals"] * 12), *(["leakNothing"] * 2), *(["leakRequest"] * 2), *(["leakPromise"] * 2), *(["leakFetch"] * 2),
    ]  # fmt: skip
    found = []
    for name in others:
        pair = [request(port, "/quick/x", BODY), request(port, "/both/x", apis.VIRTUAL_ANSWER)]
        found += [*pair, *pair, request(port, f"/good/{name}", apis.MIXED_ANSWER)]
    return found


CALLS_PER_REQUEST = 1.4


class _Load:
    """One segment of load, and the two that go along with it."""

    def __init__(self, port: int, requests: int) -> None:
        ended = [request(port, f"/bad/{name}") for name in BAD[1:]]
        self.main = Engine("127.0.0.1", port, mixture(port), CONNECTIONS, limit=requests, timeout=30.0)
        self.aside = [
            Engine("127.0.0.1", port, [request(port, f"/bad/{BAD[0]}")], 1, status=500),
            Engine("127.0.0.1", port, ended, 1, status=500),
        ]

    def run(self, most: float) -> None:
        """Until the main load has sent its requests, for `most` seconds at most."""
        threads = [threading.Thread(target=engine.run, args=(most,), daemon=True) for engine in self.aside]
        for thread in threads:
            thread.start()
        self.main.run(most)
        for engine in self.aside:
            engine.stop()
        for thread in threads:
            thread.join(30)

    def problems(self, number: int) -> list[str]:
        found = []
        names = "main load", "scripts that throw", "scripts that are ended"
        for name, engine in zip(names, (self.main, *self.aside), strict=True):
            counters = engine.counters()
            if counters["failures"] or not counters["requests"]:
                found.append(f"segment {number}, {name}: answers {counters['statuses']}, failures {counters['failures']}")
        return found

    def failed(self) -> int:
        return sum(sum(engine.counters()["failures"].values()) for engine in (self.main, *self.aside))


def run(calls: int, most: float) -> tuple[Growth, list[str]]:
    """calls: of scripts, after those that warm up; most: seconds for all of it. Returns what was found and what is wrong."""
    found = Growth()
    problems: list[str] = []
    upstreams = Upstreams()
    with tempfile.TemporaryDirectory(prefix="preforge-scripts-") as name:
        scene = None
        try:
            scene = Scene(
                Path(name), upstreams.url,
                {
                    "quick": apis.quick(),
                    "both": apis.both(),
                    "good": apis.mixed(GOOD, upstreams.url, upstreams.slow_url),
                    "bad": apis.mixed(BAD, upstreams.url, upstreams.slow_url),
                },
                workers=WORKERS,
            )  # fmt: skip
            _segments(scene, found, problems, calls, time.monotonic() + most)
        finally:
            if scene is not None:
                scene.end()
            upstreams.stop()
    _judge(found, problems, calls)
    return found, problems


def _segments(scene: Scene, found: Growth, problems: list[str], calls: int, deadline: float) -> None:
    each = max(1, round(calls / CALLS_PER_REQUEST / SEGMENTS))
    began = time.monotonic()
    for number in range(-WARM, SEGMENTS):
        if time.monotonic() > deadline:
            problems.append(f"only {number} of {SEGMENTS} segments fit into the time: fewer --calls or more --most are needed")
            return
        load = _Load(scene.port, each)
        start = time.monotonic()
        load.run(max(1.0, deadline - start))
        while number < 0 and time.monotonic() - start < WARM_SECONDS / WARM:
            more = _Load(scene.port, each)
            more.run(max(1.0, deadline - start))
            problems.extend(more.problems(number))
        took = time.monotonic() - start
        time.sleep(QUIET)
        counted = scene.metrics()
        row = Row(
            counted["preforge_script_calls_total"], time.monotonic() - began, counted["preforge_script_contexts"],
            counted["preforge_scripts_ended_total"], counted["preforge_contexts_replaced_total"], scene.held(), load.failed(),
        )  # fmt: skip
        print(
            f"growth: segment {number + WARM + 1} of {SEGMENTS + WARM}, {row.calls:,} calls, {row.held.pss:.1f} MB",
            file=sys.stderr, flush=True,
        )  # fmt: skip
        problems.extend(load.problems(number))
        if scene.lost():
            raise Failed("a worker has ended")
        if number >= 0:
            found.requests += load.main.counters()["requests"]
            found.seconds += took
        if number >= -1:                # how it was before the first segment is a row too
            found.rows.append(row)


def _judge(found: Growth, problems: list[str], calls: int) -> None:
    if len(found.rows) < 2:
        return
    first, last = found.rows[0], found.rows[-1]
    found.kb_per_million = slope([(row.calls / 1e6, row.held.pss * 1000) for row in found.rows])
    found.growth_mb = found.kb_per_million * (last.calls - first.calls) / 1e6 / 1000
    if found.growth_mb > MOST_MB:
        problems.append(f"memory grew by {found.growth_mb:.1f} MB, more than {MOST_MB:g} MB")
    if last.held.descriptors - first.held.descriptors > MOST_DESCRIPTORS:
        problems.append(f"descriptors grew from {first.held.descriptors} to {last.held.descriptors}")
    if (last.held.threads - last.contexts) - (first.held.threads - first.contexts) > MOST_THREADS:
        problems.append(f"threads grew from {first.held.threads} to {last.held.threads}")
    if last.replaced <= first.replaced:
        problems.append("no context was replaced, so what that leaves behind was not seen")
    if last.calls - first.calls < 0.99 * calls:
        problems.append(f"{last.calls - first.calls:,} calls are fewer than {calls:,}")


def table(found: Growth) -> str:
    """The series and its slope as Markdown."""
    lines = [
        "| calls | seconds | PSS of all, MB | RSS of the largest worker, MB | descriptors | threads | contexts | ended scripts "
        "| replaced contexts | failed requests |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in found.rows:
        held = row.held
        lines.append(
            f"| {row.calls:,} | {row.seconds:.0f} | {held.pss:.1f} | {held.rss:.1f} | {held.descriptors} | {held.threads} "
            f"| {row.contexts} | {row.ended} | {row.replaced} | {row.failed} |"
        )
    if len(found.rows) > 1:
        calls, replaced = (found.rows[-1].calls - found.rows[0].calls), found.rows[-1].replaced - found.rows[0].replaced
        lines += [
            "",
            f"{calls:,} calls in {found.requests:,} requests, {found.requests / max(found.seconds, 1e-9):,.0f} requests/s, "
            f"{replaced} contexts replaced; slope {found.kb_per_million:.0f} KB per million calls, "
            f"{found.growth_mb:.1f} MB in all (bound {MOST_MB:g} MB).",
        ]
    return "\n".join(lines)


def as_json(found: Growth) -> dict[str, Any]:
    return asdict(found)
