"""A timer wheel: deadlines for many connections at the cost of storing a number.

Ownership. The wheel holds a strong reference to every entry that is in a slot; an entry leaves its slot when its
deadline is 0 (unset) or passed at the time the slot comes round, or when its deadline moves to an earlier one. Moving a deadline later costs one
store, and so does moving it earlier as long as it stays HORIZON ticks away: every entry is looked at once in
HORIZON ticks and only put into its exact slot when it is near. Resolution: TICK_MS.
"""

from libc.stdint cimport int64_t

cdef enum:
    TICK_MS = 100
    SLOTS = 16
    HORIZON = 10            # an entry is looked at again at least every HORIZON ticks

cdef class Timed:
    """Something with one deadline. `deadline`: wheel time in milliseconds, 0 for none."""
    cdef int64_t deadline
    cdef int64_t due            # when its slot comes round; 0: in no slot
    cdef Timed after            # next in the slot
    cdef void on_deadline(self)

cdef class Wheel:
    cdef int64_t now            # CLOCK_MONOTONIC, milliseconds; refreshed by tick() and by clock()
    cdef int64_t cursor         # the last tick that was handled
    cdef list slots             # SLOTS heads of lists, Timed or None
    cdef int64_t clock(self) noexcept
    cdef void set(self, Timed entry, int64_t delay_ms)
    cdef void _insert(self, Timed entry)
    cdef void _remove(self, Timed entry)
    cpdef int tick(self) except -1
