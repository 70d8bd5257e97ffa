"""What contexts and scripts take of memory: proportional set sizes of two workers and the master, summed."""

from __future__ import annotations

import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bench.load.engine import Engine
from bench.scripts import apis
from bench.scripts.scene import BODY, Scene, Upstreams, get, request

WORKERS = 2
APIS = 200
MOST_MB = 400.0             # of 200 APIs with JavaScript in 2 workers
CONTEXT_MB = 1.5            # of one context, when it is ready; what scripts leave in it until it rests is theirs
FEW, MANY = 2, 10           # contexts of a worker
SETTLE = 1.5                # seconds without requests before memory is read


@dataclass(frozen=True, slots=True)
class Row:
    """One state of a gateway: MB of workers and master, MB of the embedded store, contexts of all workers."""

    name: str
    pss: float
    store: float
    contexts: int


@dataclass(slots=True)
class Memory:
    """All states, and what follows from them: MB for one context and KB for one API with JavaScript in one worker."""

    rows: list[Row] = field(default_factory=list)
    context_ready: float = 0.0
    context_used: float = 0.0
    engine: float = 0.0         # MB of V8 and the first contexts, in one worker
    api_kb: float = 0.0
    plain_api_kb: float = 0.0

    def pss(self, name: str) -> float:
        return next(row.pss for row in self.rows if row.name == name)


class _Measured:
    """Starts gateways one after the other and notes what they take."""

    def __init__(self, upstreams: Upstreams, found: Memory) -> None:
        self.upstreams = upstreams
        self.found = found

    def note(self, scene: Scene, name: str) -> None:
        time.sleep(SETTLE)
        held = scene.held()
        row = Row(name, held.pss, held.store, scene.metrics().get("preforge_script_contexts", 0))
        self.found.rows.append(row)
        print(f"memory: {name}: {row.pss:.1f} MB", file=sys.stderr, flush=True)

    def start(self, folder: Path, made: dict[str, apis.Fields], contexts: int = FEW) -> Scene:
        return Scene(folder, self.upstreams.url, made, contexts, contexts if contexts > FEW else 16, WORKERS)


def _call(scene: Scene, paths: list[str]) -> None:
    """Ask for each path once on each worker."""
    for connection in scene.connections().values():
        for path in paths:
            get(connection, path)
        connection.close()


def run(seconds: float) -> tuple[Memory, list[str]]:
    """All states. seconds: of load where there is any. Returns what was found and what is wrong with it."""
    found = Memory()
    problems: list[str] = []
    upstreams = Upstreams()
    measured = _Measured(upstreams, found)
    try:
        with tempfile.TemporaryDirectory(prefix="preforge-scripts-") as name:
            folder = Path(name)
            _small(measured, folder)
            _contexts(measured, folder, min(seconds, 5.0), problems)
            _many(measured, folder, min(seconds, 10.0), problems)
    finally:
        upstreams.stop()
    found.engine = (found.pss("1 API with JS, called") - found.pss("no scripts")) / WORKERS
    found.context_ready = (found.pss(f"1 API with JS, {MANY} contexts ready") - found.pss("1 API with JS, ready")) / (
        WORKERS * (MANY - FEW)
    )
    used = found.pss(f"{MANY} contexts that were all busy") - found.pss(f"{MANY} contexts, none busy yet")
    found.context_used = found.context_ready + used / (WORKERS * MANY)
    with_js = found.pss(f"{APIS} APIs with JS, called") - found.pss("1 API with JS, called")
    plain = found.pss(f"{APIS} APIs without JS, called") - found.pss("no scripts")
    found.api_kb = with_js / (APIS - 1) / WORKERS * 1000
    found.plain_api_kb = plain / APIS / WORKERS * 1000
    for row in found.rows:
        if row.name.startswith(f"{APIS} APIs with JS") and row.pss > MOST_MB:
            problems.append(f"{row.name}: {row.pss:.0f} MB are more than {MOST_MB:g} MB")
    if found.context_ready > CONTEXT_MB:
        problems.append(f"a context takes {found.context_ready:.2f} MB, more than {CONTEXT_MB:g} MB")
    return found, problems


def _small(measured: _Measured, folder: Path) -> None:
    scene = measured.start(folder / "none", {})
    try:
        _call(scene, ["/api/x"])
        measured.note(scene, "no scripts")
    finally:
        scene.end()
    scene = measured.start(folder / "one", {"js0": apis.realistic(folder, 0)})
    try:
        measured.note(scene, "1 API with JS, ready")
        _call(scene, ["/js0/x"])
        measured.note(scene, "1 API with JS, called")
    finally:
        scene.end()
    scene = measured.start(folder / "ten", {"js0": apis.realistic(folder, 0)}, MANY)
    try:
        measured.note(scene, f"1 API with JS, {MANY} contexts ready")
    finally:
        scene.end()


def _contexts(measured: _Measured, folder: Path, seconds: float, problems: list[str]) -> None:
    """Slow scripts of two APIs, since one API does not get all contexts, keep all of them busy."""
    slow = apis.mixed(("waitShort",), measured.upstreams.url, measured.upstreams.slow_url)
    scene = measured.start(folder / "busy", {"slow0": slow, "slow1": slow, "js0": apis.realistic(folder, 0)}, MANY)
    try:
        _call(scene, ["/slow0/waitShort", "/slow1/waitShort", "/js0/x"])
        measured.note(scene, f"{MANY} contexts, none busy yet")
        requests = [request(scene.port, f"/slow{number}/waitShort", apis.MIXED_ANSWER) for number in (0, 1)]
        engine = Engine("127.0.0.1", scene.port, requests, 16 * WORKERS, others=(500, 503))
        engine.run(max(3.0, seconds))
        _judge("busy contexts", engine, problems)
        measured.note(scene, f"{MANY} contexts that were all busy")
    finally:
        scene.end()


def _many(measured: _Measured, folder: Path, seconds: float, problems: list[str]) -> None:
    scene = measured.start(folder / "plain", {f"plain{number}": {} for number in range(APIS)})
    try:
        _call(scene, [f"/plain{number}/x" for number in range(APIS)])
        measured.note(scene, f"{APIS} APIs without JS, called")
    finally:
        scene.end()
    scene = measured.start(folder / "many", {f"js{number}": apis.realistic(folder, number) for number in range(APIS)})
    try:
        measured.note(scene, f"{APIS} APIs with JS, ready")
        _call(scene, [f"/js{number}/x" for number in range(APIS)])
        measured.note(scene, f"{APIS} APIs with JS, called")
        requests = [request(scene.port, f"/js{number}/x", BODY) for number in range(APIS)]
        engine = Engine("127.0.0.1", scene.port, requests, 64)
        engine.run(seconds)
        _judge("load on all APIs", engine, problems)
        measured.note(scene, f"{APIS} APIs with JS, after load")
    finally:
        scene.end()


def _judge(name: str, engine: Engine, problems: list[str]) -> None:
    counters = engine.counters()
    if counters["failures"] or not counters["requests"]:
        problems.append(f"{name}: {counters['requests']} requests, failures {counters['failures']}")


def table(found: Memory) -> str:
    """The states and figures as Markdown."""
    lines = [f"| {WORKERS} workers | contexts | workers and master, MB PSS | store, MB PSS |", "|---|---|---|---|"]
    lines += [f"| {row.name} | {row.contexts} | {row.pss:.1f} | {row.store:.1f} |" for row in found.rows]
    return "\n".join([
        *lines,
        "",
        "| figure | value | bound |",
        "|---|---|---|",
        f"| V8, {FEW} contexts and one script, in one worker | {found.engine:.1f} MB | |",
        f"| one more context, ready | {found.context_ready:.2f} MB | {CONTEXT_MB:g} MB |",
        f"| one more context, after it was busy | {found.context_used:.2f} MB | |",
        f"| one more API with JS, in one worker | {found.api_kb:.0f} KB | |",
        f"| one more API without JS, in one worker | {found.plain_api_kb:.0f} KB | |",
        f"| {APIS} APIs with JS, {WORKERS} workers | "
        f"{max(row.pss for row in found.rows if row.name.startswith(f'{APIS} APIs with JS')):.0f} MB | {MOST_MB:g} MB |",
    ])  # fmt: skip


def as_json(found: Memory) -> dict[str, Any]:
    return asdict(found)
