"""Circuit breakers of paths (tyk-core 2.6): stop sending requests to an upstream that fails."""

from __future__ import annotations

import asyncio
import logging
import weakref
from collections.abc import Callable

from accel.breaker_cell import NOTHING, RESET, TRIPPED, BreakerCell
from accel.limits import LimitTable, clock_ms
from core.apidef.breakers import BreakerSpec

log = logging.getLogger("preforge.breaker")

MARGIN = 0.002      # seconds, so that a timer finds the cool-down over


class Breaker:
    """One entry of circuit_breakers. Its state belongs to all workers of the node; who changes it tells of it.

    It opens when at least `samples` outcomes of the last ten seconds are known and the share of failures reaches the
    threshold. Open, it refuses all requests, except one at a time that it lets through after a while to see how the
    upstream is; a success closes it, and so does the end of the cool-down.
    """

    def __init__(self, spec: BreakerSpec, table: LimitTable, name: str, tell: Callable[[int], None]) -> None:
        """name: of the entry among all of the node; tell: hears TRIPPED and RESET."""
        self._spec = spec
        self._name = name
        self._tell = tell
        self._cell = BreakerCell(
            table,
            f"{name}:{spec}".encode(),
            threshold=spec.threshold,
            samples=spec.samples,
            cooldown=int(spec.cooldown * 1000),
            half_open=spec.half_open,
        )

    def ready(self) -> int:
        """A ticket for one request, to be given back with what came of it; 0 when the request is refused."""
        ticket, closed = self._cell.ready(clock_ms())
        if closed:
            self._changed(RESET)
        return ticket

    def done(self, ticket: int, good: bool) -> None:
        """What the upstream did."""
        what = self._cell.done(ticket, good, clock_ms())
        if what != NOTHING:
            self._changed(what)

    def dropped(self, ticket: int) -> None:
        """The request ended and nothing is known of the upstream."""
        self._cell.dropped(ticket, clock_ms())

    def _changed(self, what: int) -> None:
        if what == TRIPPED:
            log.warning("the circuit breaker of %s is open for %g s", self._name, self._spec.cooldown)
            me = weakref.ref(self)      # what is no longer loaded needs no timer

            def cooled() -> None:
                breaker = me()
                if breaker is not None and breaker._cell.cool(clock_ms()):
                    breaker._changed(RESET)

            asyncio.get_running_loop().call_later(self._spec.cooldown + MARGIN, cooled)
        else:
            log.info("the circuit breaker of %s is closed", self._name)
        self._tell(what)


__all__ = ["RESET", "TRIPPED", "Breaker"]
