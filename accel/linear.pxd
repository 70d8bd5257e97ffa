"""Regular expressions that are searched in time proportional to the text, whatever text a client chooses.

A search follows all ways through the expression at once (Thompson's construction) and remembers the sets of places it
met as states of an automaton that grows as it is needed, within a bound. Ownership: a Linear owns its states; a search
that empties the memory keeps the state it is in.
"""

cdef class State:
    """A set of places in the expression, and what stood before the position."""
    cdef tuple places
    cdef int before
    cdef list moves             # by class of the next byte, the last one for the end: State, True, False or None


cdef class Linear:
    cdef list nodes             # (kind, what, next)
    cdef int start
    cdef int work               # how much has been built
    cdef bytes classes          # class of each byte; None until the first search
    cdef bytes samples          # a byte of each class
    cdef int width
    cdef dict states
    cdef State first
    cdef int _node(self, int kind, object what, int after) except -1
    cdef int _count(self) except -1
    cdef int _sequence(self, object tree, int flags, int after) except -1
    cdef int _one(self, object op, object value, int flags, int after) except -1
    cdef int _repeat(self, object least, object most, object tree, int flags, int after) except -1
    cpdef bint search(self, bytes text) except -1
    cdef int _prepare(self) except -1
    cdef State _state(self, tuple places, int before)
    cdef object _move(self, State state, int kind)
    cdef bint _reach(self, State state, bint end, bint word_next, list found) except -1
