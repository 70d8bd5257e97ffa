"""Rate windows and quotas in memory that all workers of one node share: layout and C interface.

Ownership. `LimitTable` owns one mapping and one descriptor of a memfd and releases both when it is deallocated. A
`RateWindow` or `QuotaWindow` holds a reference to its table and remembers the slot it last used; slots are reused, so
every use compares the slot's key first.

A slot (eight words, one cache line):
    0, 1  key: 128 bits, (0, 0) for a slot that was never used
    2     state: start of the window in ms (40 bits) and hits in it (24 bits); BUSY while the slot changes its owner
    3     how long the slot stays with its owner after `start`, in ms
    4     quota: what the store said last
    5     quota: let through here and not yet known to the store
    6     quota: end of the period, ms of the monotonic clock; 0 unknown, negative: ask the store again
    7     quota: the flight to the store that is under way: when it ends at the latest in ms (48 bits), its number (16 bits)

Who may write. Words 2 and 5 change by atomic operations of any worker at any time. The others change under one of the
table's mutexes: quota words under that of their slot, keys under that of all claims. The mutexes are robust, so a
worker that is killed while it holds one leaves it to the next, which cleans up. A slot changes its owner only when its
time is over and the store knows what it has counted: word 2 is set to BUSY by compare-and-swap, the key is taken away, word 2 gets a new start, the key is
written. A worker that still counts for the old owner loses its own compare-and-swap, because no two owners ever see the
same word 2.

Marks say which keys were changed through this node, so that no worker of it uses what it knew of them before. A change takes the
next number of all; the mark that the key's name leads to is the highest number of the keys that share it.

Word 5 belongs to the node, not to a worker: whoever flies to the store next takes all of it along, so a worker that is
killed takes nothing with it. A flight whose worker is killed is given up when its time is over.
"""

cimport cython
from libc.stdint cimport int64_t, uint64_t

cdef enum:
    # what a window says
    L_PASS = 0
    L_BLOCKED = 1
    L_ASK = 2           # only the store can tell
    L_FULL = 3          # no slot is free: the limit cannot be checked


cdef int mark_of(bytes name) except -1


@cython.final
cdef class LimitTable:
    cdef readonly int fd
    cdef readonly int slots
    cdef readonly Py_ssize_t size
    cdef unsigned char* _base
    cdef uint64_t* _slots
    cdef uint64_t* slot(self, uint64_t k0, uint64_t k1, int* hint) noexcept nogil
    cdef uint64_t* claim(self, uint64_t k0, uint64_t k1, int64_t now, int64_t keep, int* hint) noexcept nogil
    cdef int lock(self, uint64_t* slot) noexcept nogil
    cdef void unlock(self, uint64_t* slot) noexcept nogil
    cdef unsigned char* _mutex_of(self, uint64_t* slot) noexcept nogil
    cdef int lock_claims(self) noexcept nogil
    cdef void repair(self) noexcept nogil
    cdef int node_count(self) noexcept nogil
    cdef bint marked(self, int place, uint64_t since) noexcept nogil


@cython.final
cdef class RateWindow:
    cdef readonly LimitTable table
    cdef readonly double rate       # requests in a window; nothing is limited at 0 and below
    cdef readonly int64_t per       # length of the window, ms
    cdef readonly int64_t count     # after the last hit
    cdef readonly int64_t reset     # end of that window, ms of the monotonic clock
    cdef readonly object store_key  # name of the same limit in the store
    cdef uint64_t _k0, _k1
    cdef int _hint
    cdef int hit(self, int64_t now) except -1


@cython.final
cdef class QuotaWindow:
    cdef readonly LimitTable table
    cdef readonly int64_t max
    cdef readonly bint alone        # no other node counts in the same store
    cdef public int64_t used        # after the last take or answer
    cdef public int64_t ends        # of the period, ms of the monotonic clock
    cdef public bint listed         # whoever tells the store knows of it
    cdef uint64_t _k0, _k1
    cdef int _hint
    cdef int take(self, int64_t now) except -1
    cdef int64_t _margin(self, int64_t unacked) noexcept
    cdef bint _mine(self, uint64_t* slot) noexcept
    cdef int _count(self, uint64_t* slot) noexcept
