"""Crash-loop back-off: a worker that dies soon after its start is started later and later."""

from __future__ import annotations

SOON = 5.0
FIRST = 0.5


def delay(failures: int, maximum: float) -> float:
    """Seconds to wait before the next start after `failures` early deaths in a row; the first one waits none."""
    if failures <= 1:
        return 0.0
    return float(min(maximum, FIRST * 2 ** min(failures - 2, 16)))
