"""What hooks of every kind change most in a request: header fields with plain values, and parameters.

A RequestEditor belongs to the hooks of one API and lives as long as they do; it holds no request. Whatever it does not do itself,
it leaves untouched, for code that can say what is wrong with it.
"""

from accel.http1 cimport Exchange


cdef class FieldNames:
    """How header fields are spelt that hooks name. It remembers names, up to a bound."""
    cdef object check                   # (name) -> spelling, b"" for one that is not for hooks, None for what is no name
    cdef dict known
    cdef bytes find(self, str name)

cdef class RequestEditor:
    cdef FieldNames names
    cdef object change_query            # (query, deleted, added, extended) -> query
    cdef Py_ssize_t most
    cpdef bint headers(self, Exchange x, object put, list delete) except -1
    cpdef bytes query(self, bytes query, list delete, dict add)

cdef bytes utf8(str text)
cdef bytes field_value(str text)
