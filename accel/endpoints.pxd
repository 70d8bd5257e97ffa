"""Which path entries of a version a request meets (tyk-core 2.5): C interface.

Ownership. An EndpointMatcher is built once per version and never changed, so a request that holds its plan keeps it
although a reload has swapped the plans. Patterns compile their expression when they are first needed. A VerdictMemo
belongs to one worker and is shared by the gates of all its plans; it keeps a matcher alive at most until `clear`.
"""

from accel.linear cimport Linear

cdef enum:
    # kinds of entries whose behaviour is here; the others are numbers from KINDS
    K_MOCK = 0
    K_IGNORED = 1
    K_BLACK = 2
    K_WHITE = 3
    K_HARD_TIMEOUT = 11
    K_BREAKER = 12
    K_URL_REWRITE = 13
    K_METHOD = 18
    K_TRACK = 19
    K_DO_NOT_TRACK = 20
    K_INTERNAL = 22
    K_RATE_LIMIT = 23
    K_COUNT = 25

cdef enum:
    # what the path lists say about a request
    GATE_OPEN = 0
    GATE_IGNORED = 1            # let it pass without a key
    GATE_FORBIDDEN = 2
    GATE_REPLY = 3


cdef class Pattern:
    """One path pattern: a text to look for where that is enough, else an expression."""
    cdef readonly bytes source
    cdef bytes text
    cdef bint at_start, at_end, plain
    cdef Linear expression
    cpdef bint search(self, bytes path) except -1
    cdef bint _search(self, bytes path) except -1


cdef class Endpoint:
    """One entry. See the constructor."""
    cdef readonly int number
    cdef readonly str kind
    cdef readonly bytes path
    cdef readonly Pattern pattern
    cdef readonly frozenset methods
    cdef readonly dict actions
    cdef readonly object data
    cdef bint on(self, bytes full, bytes rest, bytes bare) except -1


cdef class Verdict:
    """What the entries of a version say about a method and path; shared, never changed."""
    cdef readonly int said              # GATE_*
    cdef readonly object reply          # (status, headers, body) with GATE_REPLY
    cdef readonly bytes tracked         # path of the track_endpoints entry, None without
    cdef readonly bint untracked        # a do_not_track_endpoints entry applies


cdef Verdict stricter(Verdict a, Verdict b)


cdef class EndpointMatcher:
    cdef list groups                    # by number of the kind: tuple of Endpoint, or None
    cdef readonly bint gated            # there is something that `judge` looks at
    cdef readonly bint listed           # a white list is in force
    cdef readonly bint timed            # there are hard timeouts
    cdef Endpoint first(self, int number, bytes method, bytes full, bytes rest, bytes bare)
    cdef Verdict look(self, bytes method, bytes full, bytes rest, bytes bare, bint looping)
    cdef int _decide(self, Verdict verdict, bytes method, bytes full, bytes rest, bytes bare, bint looping) except -1


cdef class VerdictMemo:
    """Verdicts on what was asked before; when it is full, all are forgotten."""
    cdef dict known
    cdef readonly Py_ssize_t most
    cdef readonly unsigned long long cleared
    cdef int keep(self, tuple key, bytes path, Verdict verdict) except -1
