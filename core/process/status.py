"""What `preforge status` shows of a worker."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from accel.shm import SharedCounters
from core.process.slots import WorkerProcess


def memory(pid: int) -> dict[str, int]:
    """Resident and proportional set size of a process in bytes; empty if it is gone."""
    found = {}
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            name, _, rest = line.partition(":")
            if name in ("Rss", "Pss"):
                found[name.lower()] = int(rest.split()[0]) * 1024
    except OSError:
        return {}
    return found


def worker_status(worker: WorkerProcess, counters: SharedCounters) -> dict[str, Any]:
    """One row: pid, slot, generation, state, uptime (s), connections, requests, store (connected), memory (bytes)."""
    words = counters.region(worker.region).snapshot()
    return {
        "slot": worker.slot,
        "pid": worker.pid,
        "generation": worker.generation,
        "state": worker.state.value,
        "uptime": round(time.monotonic() - worker.since, 1),
        "connections": words["G_CONNECTIONS"],
        "active_requests": words["G_ACTIVE_REQUESTS"],
        "requests": words["G_REQUESTS_TOTAL"],
        "store": bool(words["G_STORE_CONNECTED"]),
        "memory": memory(worker.pid),
    }
