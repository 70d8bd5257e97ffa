"""The shared counters in the text format of Prometheus, version 0.0.4.

Every number is a sum over all regions, so it is the same whichever worker answers. Source of the format:
Prometheus documentation, "Exposition formats", text-based format.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from accel import shm
from core.obs import caches, hooks
from core.obs.families import FAMILIES

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
CHUNK_ROWS = 256

_LIMITS = {name: name[2:].lower() for name in shm.word_numbers() if name.startswith("B_")}
_REFUSED = {name: name[2:].lower() for name in shm.word_numbers() if name.startswith("R_")}
_CLASSES = ("1xx", "2xx", "3xx", "4xx", "5xx")
_BOUNDS = (*(f"{bound / 1_000_000:g}" for bound in shm.BUCKET_BOUNDS_US), "+Inf")
_PAGE = os.sysconf("SC_PAGESIZE")
_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})

Row = tuple[str, tuple[int, ...]]  # labels without braces, words
Labels = Iterable[tuple[str, str]]


def render(shared: shm.SharedCounters, names: Mapping[str, str], version: str) -> bytes:
    """Return the whole page. See render_chunks."""
    return b"".join(render_chunks(shared, names, version))


def render_chunks(shared: shm.SharedCounters, names: Mapping[str, str], version: str) -> Iterator[bytes]:
    """Yield the page in parts of at most CHUNK_ROWS APIs, so that a caller can serve others in between.

    ``names`` maps the id of each loaded API to its name; an API appears when it is loaded or has traffic.
    ``version`` is that of the gateway. The counters are read once, at the start.
    """
    totals = shared.totals()
    rows = _rows(shared, names)
    yield "".join(_general(totals, version, _workers(shared))).encode()
    by_class = _by_class("status_class", _CLASSES, "2xx")
    yield from _per_api(rows, "preforge_requests_total", "counter", "Requests by status class.", by_class)
    served = [row for row in rows if any(row[1])]
    yield from _per_api(
        served, "preforge_request_duration_seconds", "histogram", "Time from request to answer.", _durations
    )
    yield from _per_api(
        served, "preforge_upstream_duration_seconds", "summary", "Time that upstreams took.", _upstream
    )
    yield from _per_api(
        served, "preforge_api_received_bytes_total", "counter", "Bytes of requests.", _one(shm.A_BYTES_IN)
    )
    yield from _per_api(
        served, "preforge_api_sent_bytes_total", "counter", "Bytes of answers.", _one(shm.A_BYTES_OUT)
    )
    called = _other_rows(shared, hooks.is_hook, hooks.labels)
    yield from _per_api(called, "preforge_hook_calls_total", "counter", "Calls of hooks by outcome.", _of_hook)
    yield from _per_api(
        called, "preforge_hook_duration_seconds", "histogram", "Time from the call of a hook to its result.", _durations
    )
    text = "Requests and answers that the response cache had to do with."
    cached = _other_rows(shared, caches.is_cache, caches.labels)
    yield from _per_api(cached, "preforge_api_cache_total", "counter", text, _by_class("outcome", caches.LABELS, "hit"))


def escape_label(value: str) -> str:
    """Escape a label value: backslash, quote and line feed; what UTF-8 cannot hold becomes ``?``."""
    return value.translate(_ESCAPES).encode("utf-8", "replace").decode()


def memory_bytes(pid: int) -> int:
    """Resident memory of a process, 0 when there is no such process (any more)."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_bytes().split()[1]) * _PAGE
    except (OSError, IndexError, ValueError):
        return 0


def _rows(shared: shm.SharedCounters, names: Mapping[str, str]) -> list[Row]:
    stored = {shm.stored_name(api_id).decode("utf-8", "replace"): name for api_id, name in names.items()}
    counted = shared.row_totals()
    nothing = (0,) * shm.A_WORDS
    return [
        (f'api_id="{escape_label(api_id)}",api_name="{escape_label(stored.get(api_id, ""))}"', words)
        for row, api_id in shared.rows()
        if not (hooks.is_hook(api_id) or caches.is_cache(api_id))
        and ((words := counted.get(row, nothing)) is not nothing or api_id in stored)
    ]


def _other_rows(shared: shm.SharedCounters, owns: Callable[[str], bool], labels: Callable[[str], Labels]) -> list[Row]:
    """Rows that belong to something else than an API. owns: tells by the name; labels: of a name."""
    counted = shared.row_totals()
    return [
        (",".join(f'{label}="{escape_label(value)}"' for label, value in labels(name)), counted[row])
        for row, name in shared.rows()
        if owns(name) and row in counted
    ]


def _workers(shared: shm.SharedCounters) -> list[tuple[str, shm.Region]]:
    regions = [shared.region(index) for index in range(shared.regions)]
    return [
        (f'slot="{region.index // 2}",generation="{region.generation}"', region)
        for region in regions
        if region.pid
    ]


def _general(totals: Mapping[str, int], version: str, workers: list[tuple[str, shm.Region]]) -> Iterator[str]:
    for family in FAMILIES:
        yield _head(family.name, family.kind, family.help)
        yield f"{family.name} {totals[family.word]}\n"
    yield _head("preforge_apis", "gauge", "Loaded APIs.")
    yield f"preforge_apis {max((region.value(shm.G_APIS) for _, region in workers), default=0)}\n"
    yield _head("preforge_limit_hits_total", "counter", "How often a bound was reached.")
    yield from (
        f'preforge_limit_hits_total{{limit="{label}"}} {totals[word]}\n' for word, label in _LIMITS.items()
    )
    yield _head("preforge_refused_messages_total", "counter", "Messages that were not valid HTTP for us.")
    yield from (
        f'preforge_refused_messages_total{{reason="{label}"}} {totals[word]}\n'
        for word, label in _REFUSED.items()
    )
    yield _head("preforge_build_info", "gauge", "The version that answers; always 1.")
    python = platform.python_version()
    yield f'preforge_build_info{{version="{escape_label(version)}",python="{python}"}} 1\n'
    yield _head("preforge_worker_info", "gauge", "Running workers; always 1.")
    yield from (f'preforge_worker_info{{{labels},pid="{region.pid}"}} 1\n' for labels, region in workers)
    yield _head("preforge_worker_memory_bytes", "gauge", "Resident memory of a worker.")
    yield from (
        f"preforge_worker_memory_bytes{{{labels}}} {memory_bytes(region.pid)}\n" for labels, region in workers
    )
    yield _head("preforge_worker_connections", "gauge", "Open client connections of a worker.")
    yield from (
        f"preforge_worker_connections{{{labels}}} {region.value(shm.G_CONNECTIONS)}\n"
        for labels, region in workers
    )
    yield _head("preforge_worker_heartbeat_age_seconds", "gauge", "Time since a worker last reported.")
    now = shm.clock_ms()
    yield from (
        f"preforge_worker_heartbeat_age_seconds{{{labels}}} {max(0, now - region.heartbeat_ms) / 1000:.3f}\n"
        for labels, region in workers
    )


def _head(name: str, kind: str, text: str) -> str:
    return f"# HELP {name} {text}\n# TYPE {name} {kind}\n"


def _per_api(
    rows: list[Row], name: str, kind: str, text: str, lines: Callable[[str, str, tuple[int, ...]], str]
) -> Iterator[bytes]:
    yield _head(name, kind, text).encode()
    for start in range(0, len(rows), CHUNK_ROWS):
        yield "".join(lines(name, *row) for row in rows[start : start + CHUNK_ROWS]).encode()


def _by_class(label: str, values: Sequence[str], always: str) -> Callable[[str, str, tuple[int, ...]], str]:
    """The classes of the counters, as values of a label. always: the one that is shown without a count too, so that there is
    a series from the start."""

    def lines(name: str, labels: str, words: tuple[int, ...]) -> str:
        return "".join(
            f'{name}{{{labels},{label}="{value}"}} {count}\n'
            for value, count in zip(values, words, strict=False)
            if count or value == always
        )

    return lines


_OF_SCRIPT, _OF_PLUGIN = (_by_class("outcome", values, "ok") for values in (hooks.LABELS, hooks.PLUGIN_LABELS))


def _of_hook(name: str, labels: str, words: tuple[int, ...]) -> str:
    script = labels.endswith('driver="javascript"')
    return (_OF_SCRIPT if script else _OF_PLUGIN)(name, labels, words)


def _durations(name: str, labels: str, words: tuple[int, ...]) -> str:
    lines = []
    count = 0
    for bound, added in zip(_BOUNDS, words[shm.A_BUCKETS : shm.A_LATENCY_US], strict=True):
        count += added
        lines.append(f'{name}_bucket{{{labels},le="{bound}"}} {count}\n')
    lines.append(f"{name}_sum{{{labels}}} {_seconds(words[shm.A_LATENCY_US])}\n")
    lines.append(f"{name}_count{{{labels}}} {count}\n")
    return "".join(lines)


def _upstream(name: str, labels: str, words: tuple[int, ...]) -> str:
    total = _seconds(words[shm.A_UPSTREAM_US])
    return f"{name}_sum{{{labels}}} {total}\n{name}_count{{{labels}}} {words[shm.A_UPSTREAM_COUNT]}\n"


def _one(word: int) -> Callable[[str, str, tuple[int, ...]], str]:
    def line(name: str, labels: str, words: tuple[int, ...]) -> str:
        return f"{name}{{{labels}}} {words[word]}\n"

    return line


def _seconds(microseconds: int) -> str:
    return f"{microseconds // 1_000_000}.{microseconds % 1_000_000:06d}"
