"""Types of accel.breaker_cell for Python code; see breaker_cell.pxd."""

from typing import Final

from accel.limits import LimitTable

NOTHING: Final[int]
TRIPPED: Final[int]
RESET: Final[int]

class BreakerCell:
    table: LimitTable
    def __init__(
        self, table: LimitTable, key: bytes, *, threshold: float, samples: int, cooldown: int, half_open: bool
    ) -> None: ...
    def ready(self, now: int) -> tuple[int, bool]: ...
    def done(self, ticket: int, good: bool, now: int) -> int: ...
    def dropped(self, ticket: int, now: int) -> None: ...
    def cool(self, now: int) -> bool: ...
