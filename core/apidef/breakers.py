"""Entries of circuit_breakers (tyk-core 2.6)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from core.apidef.edits import Notes


@dataclass(frozen=True, slots=True)
class BreakerSpec:
    """threshold: share of failures, 0 to 1; samples: outcomes that must be known; cooldown: seconds until an open one
    closes; half_open: try the upstream in between."""

    threshold: float
    samples: int
    cooldown: float
    half_open: bool


def breaker(entry: dict[str, Any], place: str, notes: Notes) -> tuple[BreakerSpec, bool]:
    """Compile one entry."""
    found = BreakerSpec(
        float(entry.get("threshold_percent", 0)),
        entry.get("samples", 0),
        float(entry.get("return_to_service_after", 0)),
        not entry.get("disable_half_open_state", False),
    )
    if found.threshold > 1:
        notes.warn(
            f"{place}.threshold_percent",
            f"{found.threshold:g} is more than 1, which stands for all requests, so the breaker never opens",
            "Write 0.5 for 50 %.",
        )
    for key, value in (("threshold_percent", found.threshold), ("samples", found.samples),
                       ("return_to_service_after", found.cooldown)):  # fmt: skip
        if value < 0:
            notes.error(f"{place}.{key}", "it must not be negative")
    if found.cooldown == 0:
        notes.warn(f"{place}.return_to_service_after", "it is 0, so an open breaker closes at once")
    return found, True
