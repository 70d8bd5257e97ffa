"""What the pool is configured with, and what it says about calls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class PoolSettings:
    """Bounds of one worker (preforge.jsvm.*). contexts: kept ready; max_contexts: at most; memory: bytes of heap of one
    context; max_queued: calls that wait for one; result_bytes: text that a script may return; log_bytes: of one call;
    empty_session: JSON of the session that stands for 0 in a payload; stuck_seconds: that a script may go on after it has
    been ended."""

    contexts: int = 2
    max_contexts: int = 16
    memory: int = 64 << 20
    max_queued: int = 1024
    result_bytes: int = 16 << 20
    log_bytes: int = 65536
    empty_session: str = "{}"
    stuck_seconds: float = 10.0


@dataclass(slots=True)
class Report:
    """How a program was loaded. errors: (source, message) of scripts that failed; starts: (line, source) where each
    source begins in the program's text."""

    errors: list[tuple[int, str]] = field(default_factory=list)
    starts: Sequence[tuple[int, int]] = ()
    failed: str = ""
