"""Regular expressions that say where their groups are, in time proportional to the text: C interface.

A Capture search asks `Linear` first whether there is a match at all. Then it follows the ways through the expression
side by side, each with the bounds of its groups, the preferred way first (Pike's method), so that the answer is the one
of a backtracking search without its cost. Short texts with simple expressions are left to `re`, which is faster there.
"""

from accel.linear cimport Linear


cdef class CaptureSearch(Linear):
    cdef readonly int groups
    cdef bytes source
    cdef object simple          # compiled by `re` where that cannot take long, None where it can
    cdef list _ways(self, bytes text, Py_ssize_t start)
    cdef int _add(self, list found, set seen, int node, tuple bounds, Py_ssize_t at, bytes text) except -1
