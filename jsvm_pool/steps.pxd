"""Hooks and virtual endpoints on the data path.

How a call goes. A step writes the payload of a request (envelope), calls its script, and leaves a `Waiting` as what the pool calls
with the result, on the loop. What most results consist of is applied here; for all others, and for whatever goes wrong, there are
the methods of the step's Python class.

Ownership. A Waiting holds its step and its exchange until the pool has called it; the pool's Call owns it. An exchange is
used again for the next request of its connection, so its serial number tells whether the result still concerns it.
"""

from libc.stdint cimport uint64_t

from accel.edits cimport FieldNames, RequestEditor
from accel.http1 cimport Exchange
from jsvm_pool.pool cimport Hook, Receiver


cdef class ScriptStep:
    cdef Hook hook                      # the script, if it is one of the pool
    cdef object call                    # else its `call`
    cdef bint always                    # it is called for each request
    cdef bint real_session              # scripts see the one of the key
    cdef bint anywhere                  # scripts are told the same place for all paths
    cdef dict tails                     # version -> last part of the payload, if `anywhere`
    cdef bint begin(self, Exchange x, bytes params, bint hostless) except -1
    cdef int take(self, object script) except -1
    cdef bint apply(self, Exchange x, str kind, bytes text, bint edits) except -1
    cdef int returned(self, Waiting waiting, str kind, bytes text, str error, bint edits) except -1

cdef class HookStep(ScriptStep):
    cdef RequestEditor editor
    cdef bint plain                     # nothing of the result has to reach a store
    cdef bint edit(self, Exchange x, bytes text) except -1

cdef class VirtualStep(ScriptStep):
    cdef FieldNames names
    cdef object worker                  # has rates_in_headers
    cdef bint answer(self, Exchange x, bytes text) except -1

cdef class Waiting(Receiver):
    cdef ScriptStep step
    cdef Exchange x
    cdef uint64_t serial
