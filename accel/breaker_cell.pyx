"""The state of a circuit breaker that all workers of one node share; see breaker_cell.pxd."""

cimport cython

import hashlib
import random

from cpython.bytes cimport PyBytes_AS_STRING
from libc.string cimport memcpy

cdef extern from *:
    """
    #include <stdint.h>
    static inline uint64_t cell_load(const uint64_t *w) { return __atomic_load_n(w, __ATOMIC_ACQUIRE); }
    static inline int cell_swap(uint64_t *w, uint64_t old, uint64_t value) {
        return __atomic_compare_exchange_n(w, &old, value, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
    }
    """
    uint64_t cell_load(const uint64_t* word) noexcept nogil
    bint cell_swap(uint64_t* word, uint64_t old, uint64_t value) noexcept nogil

cdef enum:
    # words of a slot: limits.pyx
    W_K0 = 0
    W_K1 = 1
    W_STATE = 2
    W_FIRST = 4
    # words of slot B
    W_TURN = 4
    W_TIME = 5
    W_COOL = 6
    SLICES = 6
    COUNT_BITS = 24             # of W_STATE, below its start
    TURN_SHIFT = 9
    MOST_PROBES = 255

cdef uint64_t BUSY = <uint64_t>-1
cdef int64_t KEEP = 86_400_000
cdef int64_t SLICE = 1667               # ms; all slices together are the ten seconds that outcomes count
cdef int64_t FIRST_PROBE = 500          # ms until an open breaker lets the first request through, on average
cdef int64_t LONGEST_PROBE = 60_000
cdef int64_t UNKNOWN = <int64_t>1 << 62

NOTHING, TRIPPED, RESET = 0, 1, 2


@cython.final
cdef class BreakerCell:
    """Tells which requests may go on, and when the breaker opens and closes. Times are ms of the monotonic clock."""

    def __init__(self, LimitTable table not None, bytes key not None, *, double threshold, int64_t samples,
                 int64_t cooldown, bint half_open):
        """key: the same one in all workers; threshold: share of failures at which it opens once `samples` outcomes are
        known; cooldown: ms until it closes again; half_open: let one request at a time try the upstream before that."""
        cdef bytes digest
        cdef int i
        self.table = table
        self.threshold, self.samples, self.cooldown, self.half_open = threshold, samples, cooldown, half_open
        for i in range(2):
            digest = hashlib.blake2b(b"breaker:%d:" % i + key, digest_size=16).digest()
            memcpy(&self._keys[2 * i], PyBytes_AS_STRING(digest), 16)
            self._keys[2 * i + 1] |= 1
            self._hints[i] = -1

    def ready(self, int64_t now):
        """(ticket for one request, whether the breaker has just closed). Ticket 0: the request is refused.

        When the table has no place for this breaker, all requests go on.
        """
        cdef int64_t ticket
        cdef uint64_t word
        cdef bint closed = False
        if not self._lock(now):
            return UNKNOWN, False
        word = self._b[W_TURN]
        if word & 1 and now >= <int64_t>self._b[W_COOL]:
            self._close()
            word = self._b[W_TURN]
            closed = True
        ticket = <int64_t>(word >> TURN_SHIFT) + 1
        if word & 1:
            if self.half_open and now >= <int64_t>self._b[W_TIME]:
                self._b[W_TIME] = <uint64_t>(now + LONGEST_PROBE)     # unless it is told before, the probe is lost
                ticket = -ticket
            else:
                ticket = 0
        self._unlock()
        return ticket, closed

    def done(self, int64_t ticket, bint good, int64_t now):
        """What the upstream did with a request: NOTHING, TRIPPED or RESET. Tickets from before a change say nothing."""
        cdef uint64_t word
        cdef int64_t turn
        cdef int probes, said = 0
        cdef double chance = random.random()
        if ticket == UNKNOWN or not self._lock(now):
            return NOTHING
        word = self._b[W_TURN]
        turn = <int64_t>(word >> TURN_SHIFT) + 1
        if not word & 1 and ticket == turn:
            if self._count(now, good):
                self._b[W_TURN] = <uint64_t>turn << TURN_SHIFT | 1
                self._b[W_COOL] = <uint64_t>(now + self.cooldown)
                self._plan_probe(now, 0, chance)
                said = 1
        elif word & 1 and ticket == -turn:
            if good:
                self._close()
                said = 2
            else:
                probes = min(MOST_PROBES, <int>(word >> 1 & MOST_PROBES) + 1)
                self._b[W_TURN] = word >> TURN_SHIFT << TURN_SHIFT | <uint64_t>probes << 1 | 1
                self._plan_probe(now, probes, chance)
        self._unlock()
        return said

    def dropped(self, int64_t ticket, int64_t now):
        """A request ended and nothing is known of the upstream: another one may probe."""
        if ticket >= 0 or not self._lock(now):
            return
        if self._b[W_TURN] & 1 and -ticket == <int64_t>(self._b[W_TURN] >> TURN_SHIFT) + 1:
            self._b[W_TIME] = <uint64_t>now
        self._unlock()

    def cool(self, int64_t now):
        """Close the breaker if its cool-down is over; whether that has closed it."""
        cdef bint closed
        if not self._lock(now):
            return False
        closed = self._b[W_TURN] & 1 and now >= <int64_t>self._b[W_COOL]
        if closed:
            self._close()
        self._unlock()
        return closed

    # -- under the mutex -----------------------------------------------------------------

    cdef void _close(self) noexcept nogil:
        cdef int i
        self._b[W_TURN] = (self._b[W_TURN] >> TURN_SHIFT) + 1 << TURN_SHIFT
        self._b[W_TIME] = 0
        for i in range(W_FIRST, W_FIRST + SLICES // 2):
            self._a[i] = 0

    cdef void _plan_probe(self, int64_t now, int probes, double chance) noexcept nogil:
        """Half as much to one and a half times as much again with every failed probe (as an exponential back-off)."""
        cdef double wait = FIRST_PROBE
        while probes > 0 and wait < LONGEST_PROBE:
            wait *= 1.5
            probes -= 1
        if wait > LONGEST_PROBE:
            wait = LONGEST_PROBE
        self._b[W_TIME] = <uint64_t>(now + <int64_t>(wait * (0.5 + chance)))

    cdef bint _count(self, int64_t now, bint good) noexcept nogil:
        """Whether the breaker opens."""
        cdef uint64_t slice_now = <uint64_t>(now // SLICE), last = self._b[W_TIME], bits, outcomes, failures
        cdef int64_t total = 0, failed = 0
        cdef int i
        if slice_now < last:
            slice_now = last
        for i in range(SLICES):
            # Slice i of the ring stands for the numbers last-5 to last; what is older than that is emptied.
            if i < <int64_t>(slice_now - last) or slice_now - last >= SLICES:
                self._put((last + 1 + <uint64_t>i) % SLICES, 0)
        self._b[W_TIME] = slice_now
        bits = self._get(slice_now % SLICES)
        outcomes, failures = bits & 0xFFFF, bits >> 16
        if outcomes == 0xFFFF:
            outcomes >>= 1
            failures >>= 1
        outcomes += 1
        failures += 0 if good else 1
        self._put(slice_now % SLICES, failures << 16 | outcomes)
        if good:
            return False
        for i in range(SLICES):
            bits = self._get(i)
            total += <int64_t>(bits & 0xFFFF)
            failed += <int64_t>(bits >> 16)
        return total >= self.samples and failed >= self.threshold * total

    cdef uint64_t _get(self, uint64_t at) noexcept nogil:
        return self._a[W_FIRST + at // 2] >> (32 * (at % 2)) & <uint64_t>0xFFFFFFFF

    cdef void _put(self, uint64_t at, uint64_t bits) noexcept nogil:
        cdef uint64_t shift = 32 * (at % 2)
        self._a[W_FIRST + at // 2] = self._a[W_FIRST + at // 2] & ~(<uint64_t>0xFFFFFFFF << shift) | bits << shift

    # -- slots ----------------------------------------------------------------------------

    cdef bint _lock(self, int64_t now) noexcept nogil:
        self._a = self._find(0, now)
        self._b = self._find(1, now)
        return self._a != NULL and self._b != NULL and self.table.lock(self._a) == 0

    cdef void _unlock(self) noexcept nogil:
        self.table.unlock(self._a)

    cdef uint64_t* _find(self, int which, int64_t now) noexcept nogil:
        cdef uint64_t k0 = self._keys[2 * which], k1 = self._keys[2 * which + 1], state
        cdef uint64_t* slot = self.table.slot(k0, k1, &self._hints[which])
        if slot != NULL:
            state = cell_load(&slot[W_STATE])
            if state != BUSY:
                if now - <int64_t>(state >> COUNT_BITS) < KEEP // 2:
                    return slot
                # From here on nobody else can take the slot, unless it has happened already.
                if (cell_swap(&slot[W_STATE], state, <uint64_t>now << COUNT_BITS)
                        and cell_load(&slot[W_K0]) == k0 and cell_load(&slot[W_K1]) == k1):
                    return slot
        return self.table.claim(k0, k1, now, KEEP, &self._hints[which])
