"""Log lines about what happens often."""

from __future__ import annotations

import time

REPORT_SECONDS = 10.0       # between two lines about one thing


class Reports:
    """At most one line per REPORT_SECONDS, with the number of those that it stands for."""

    __slots__ = ("_at", "_count")

    def __init__(self) -> None:
        self._at = -REPORT_SECONDS
        self._count = 0

    def due(self) -> int:
        """Count one; how many a line stands for that is to be written now, 0 for no line."""
        self._count += 1
        now = time.monotonic()
        if now - self._at < REPORT_SECONDS:
            return 0
        self._at, count = now, self._count
        self._count = 0
        return count
