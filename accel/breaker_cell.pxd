"""What the workers of one node know together about one circuit breaker, in two slots of their LimitTable.

Slot A, words 4 to 6: six slices of time, 16 bits of failures and 16 bits of outcomes each. Slot B, word 4: number of
the state (counts up with every change), failed probes, open or not; word 5: the last slice that is counted in (closed), or the time of the next
probe in ms (open); word 6: end of the cool-down in ms. All under the mutex of slot A. Both slots stay with their owner
for a day after their last use, see limits.pxd.
"""

cimport cython
from libc.stdint cimport int64_t, uint64_t

from accel.limits cimport LimitTable


@cython.final
cdef class BreakerCell:
    cdef readonly LimitTable table
    cdef double threshold
    cdef int64_t samples, cooldown
    cdef bint half_open
    cdef uint64_t _keys[4]
    cdef int _hints[2]
    cdef uint64_t* _a
    cdef uint64_t* _b
    cdef uint64_t* _find(self, int which, int64_t now) noexcept nogil
    cdef bint _lock(self, int64_t now) noexcept nogil
    cdef void _unlock(self) noexcept nogil
    cdef void _close(self) noexcept nogil
    cdef bint _count(self, int64_t now, bint good) noexcept nogil
    cdef uint64_t _get(self, uint64_t at) noexcept nogil
    cdef void _put(self, uint64_t at, uint64_t bits) noexcept nogil
    cdef void _plan_probe(self, int64_t now, int probes, double chance) noexcept nogil
