"""Which entries of a path list a request meets (tyk-core 2.5): C interface.

A matcher is immutable but for its memo, a bounded dict (method, path) -> result, which belongs to it alone.
"""

cdef enum:
    # kinds of entries, in the order in which they decide
    E_MOCK = 0
    E_IGNORED = 1
    E_BLACK = 2
    E_WHITE = 3
    E_INTERNAL = 4

cdef enum:
    # what the gate says
    GATE_OPEN = 0
    GATE_IGNORED = 1
    GATE_FORBIDDEN = 2
    GATE_REPLY = 3


cdef class Pattern:
    """One path pattern: a text to look for where that is enough, else a compiled expression."""
    cdef bytes text
    cdef bint at_start, at_end, plain
    cdef object expression
    cdef bint test(self, bytes path) except -1


cdef class Gate:
    cdef list internal          # (Pattern, method)
    cdef list entries           # (kind, Pattern, method, actions, reply)
    cdef bint listed            # a white list is in force
    cdef dict memo
    cdef object reply           # of the last GATE_REPLY
    cdef int decide(self, bytes method, bytes full, bytes rest, bytes bare, bint looping) except -1
    cdef tuple look(self, bytes method, bytes full, bytes rest, bytes bare, bint looping)
