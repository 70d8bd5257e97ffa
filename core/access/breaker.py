"""Circuit breakers of paths (tyk-core 2.6): stop sending requests to an upstream that fails."""

from __future__ import annotations

import asyncio
import logging
import random
import time
import weakref
from collections import deque
from collections.abc import Callable

from core.apidef.breakers import BreakerSpec

log = logging.getLogger("preforge.breaker")

WINDOW = 10             # seconds that outcomes count
FIRST_PROBE = 0.5       # seconds until an open breaker lets the first request through, on average
GROWTH = 1.5
LONGEST_PROBE = 60.0
TRIPPED, RESET = 0, 1

Tell = Callable[[int], None]


class Breaker:
    """One entry of circuit_breakers in one worker.

    It opens when at least `samples` outcomes of the last ten seconds are known and the share of failures reaches the
    threshold. Open, it refuses all requests, except one at a time that it lets through after a while to see how the
    upstream is; a success closes it, and so does the end of the cool-down.
    """

    def __init__(self, spec: BreakerSpec, name: str, tell: Tell, clock: Callable[[], float] = time.monotonic) -> None:
        """name: for the log; tell: hears TRIPPED and RESET."""
        self.trips = 0
        self._spec = spec
        self._name = name
        self._tell = tell
        self._clock = clock
        self._seconds: deque[list[int]] = deque()     # [second, outcomes, failures]
        self._turn = 1                  # another one with every change between open and closed
        self._open = False
        self._probing = False
        self._wait = FIRST_PROBE
        self._probe_at = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def ready(self) -> int:
        """A ticket for one request, to be given back with what came of it; 0 when the request is refused."""
        if not self._open:
            return self._turn
        if self._spec.half_open and not self._probing and self._clock() >= self._probe_at:
            self._probing = True
            return -self._turn
        return 0

    def done(self, ticket: int, good: bool) -> None:
        """What the upstream did. Tickets from before the last change say nothing any more."""
        if ticket == self._turn and not self._open:
            self._count(good)
        elif ticket == -self._turn and self._open:
            self._probing = False
            if good:
                self._close()
            else:
                self._wait = min(LONGEST_PROBE, self._wait * GROWTH)
                self._plan_probe()

    def dropped(self, ticket: int) -> None:
        """The request ended and nothing is known of the upstream."""
        if ticket == -self._turn:
            self._probing = False

    def _count(self, good: bool) -> None:
        now = int(self._clock())
        seconds = self._seconds
        while seconds and seconds[0][0] <= now - WINDOW:
            seconds.popleft()
        if not seconds or seconds[-1][0] != now:
            seconds.append([now, 0, 0])
        seconds[-1][1] += 1
        if good:
            return
        seconds[-1][2] += 1
        total = sum(second[1] for second in seconds)
        failures = sum(second[2] for second in seconds)
        if total >= self._spec.samples and failures >= self._spec.threshold * total:
            self._trip()

    def _trip(self) -> None:
        self.trips += 1
        self._open, self._probing = True, False
        self._turn += 1
        self._wait = FIRST_PROBE
        self._plan_probe()
        me = weakref.ref(self)      # a definition that is gone needs no timer

        def cooled() -> None:
            breaker = me()
            if breaker is not None:
                breaker._close()

        self._timer = asyncio.get_running_loop().call_later(self._spec.cooldown, cooled)
        log.warning("the circuit breaker of %s is open for %g s", self._name, self._spec.cooldown)
        self._tell(TRIPPED)

    def _close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._open, self._probing = False, False
        self._turn += 1
        self._seconds.clear()
        log.info("the circuit breaker of %s is closed", self._name)
        self._tell(RESET)

    def _plan_probe(self) -> None:
        self._probe_at = self._clock() + self._wait * random.uniform(0.5, 1.5)
