"""Durations as Go writes them ("500ms", "1m30s") and the dates of definitions."""

from __future__ import annotations

import re
from datetime import UTC, datetime

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)"
_WHOLE = re.compile(rf"([+-]?)((?:{_PART})+)\Z", re.ASCII)
_PARTS = re.compile(_PART, re.ASCII)
_MAX_SECONDS = 2**63 / 1e9


def parse_duration(text: str) -> float:
    """Return seconds. Raises ValueError with what was expected."""
    if text in ("", "0", "+0", "-0"):
        return 0.0
    match = _WHOLE.match(text[:100])
    if match is None:
        raise ValueError('expected a duration such as "500ms" or "5s"')
    seconds = sum(float(number) * _UNITS[unit] for number, unit in _PARTS.findall(match[2]))
    if seconds >= _MAX_SECONDS:
        raise ValueError("the duration is too large")
    return -seconds if match[1] == "-" else seconds


def parse_expiry(text: str) -> float | None:
    """Return the unix time of "2006-01-02 15:04" (UTC); None for never ("" and "-1"); 0.0 if unreadable.

    An unreadable date counts as past, so that a typo does not keep an API open (tyk-core 2.3).
    """
    if text in ("", "-1"):
        return None
    try:
        return datetime.strptime(text, "%Y-%m-%d %H:%M").replace(tzinfo=UTC).timestamp()
    except (ValueError, OverflowError):
        return 0.0
