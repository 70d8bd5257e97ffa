"""Edits of requests as hooks make them; see edits.pxd."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_AsUTF8AndSize

from accel.headers cimport HeaderBlock
from accel.http1 cimport Exchange

cdef enum:
    MOST_NAMES = 1024       # of header fields that are remembered


cdef bytes utf8(str text):
    """A text as bytes, None if it holds halves of surrogate pairs: those stand for bytes that are not UTF-8."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return None


cdef bytes field_value(str text):
    """The value of a header field, without blanks around it; None if it holds control characters (RFC 9110 section 5.5)."""
    cdef bytes value = utf8(text)
    cdef const unsigned char* p
    cdef Py_ssize_t i, n
    if value is None:
        return None
    p = <const unsigned char*>PyBytes_AS_STRING(value)
    n = PyBytes_GET_SIZE(value)
    for i in range(n):
        if p[i] < 0x20 and p[i] != c"\t" or p[i] == 0x7f:
            return None
    if n and (p[0] == c" " or p[0] == c"\t" or p[n - 1] == c" " or p[n - 1] == c"\t"):
        return value.strip(b" \t")
    return value


cdef bint unreserved(str text) except -1:
    """Whether a text stands in a query as it is (RFC 3986 section 2.3), and is not empty."""
    cdef Py_ssize_t i, n
    cdef const char* p
    if not text.isascii():
        return False
    p = PyUnicode_AsUTF8AndSize(text, &n)
    for i in range(n):
        if not (c"a" <= p[i] <= c"z" or c"A" <= p[i] <= c"Z" or c"0" <= p[i] <= c"9" or p[i] in b"-._~"):
            return False
    return n > 0


cdef class FieldNames:
    def __init__(self, object check not None):
        """check: (name) -> its spelling, b"" for a field that hooks cannot change, None for what is no name."""
        self.check = check
        self.known = {}

    cdef bytes find(self, str name):
        found = self.known.get(name)
        if found is None:
            found = self.check(name)
            if found is not None:
                if len(self.known) >= MOST_NAMES:
                    self.known.clear()
                self.known[name] = found
        return found


cdef class RequestEditor:
    def __init__(self, FieldNames names not None, object change_query not None, Py_ssize_t most):
        """change_query: see core.edits.query.changed; most: headers that one hook may set."""
        self.names = names
        self.change_query = change_query
        self.most = most

    cpdef bint headers(self, Exchange x, object put, list delete) except -1:
        """Delete headers, then set others. put: pairs of a name and a value. False, with nothing changed, if one of them is
        not plainly the name of a field or the value of one, or if they are too many."""
        cdef list fields = [], gone = []
        cdef HeaderBlock head = x.req
        cdef bytes key, value
        for name, one in put:
            if type(one) is not str:
                return False
            key, value = self.names.find(<str>name), field_value(<str>one)
            if key is None or value is None:
                return False
            if key:
                fields.append((key, value))
        if len(fields) > self.most:
            return False
        for name in delete:
            if type(name) is not str:
                return False
            key = self.names.find(<str>name)
            if key is None:
                return False
            if key:
                gone.append(key)
        for key in gone:
            head.remove(key)
        for key, value in fields:
            head.set(key, value)
        return True

    cpdef bytes query(self, bytes query, list delete, dict add):
        """A query without some parameters and with others, the same object if that changes nothing."""
        cdef list parts = []
        if not delete and not add:
            return query
        if query or delete:
            return self.change_query(query, delete, add, {})
        for name, one in add.items():
            if not unreserved(<str?>name) or not unreserved(<str?>one):
                return self.change_query(query, delete, add, {})
            parts.append((<str>name, <str>one))
        parts.sort()
        return "&".join([f"{name}={one}" for name, one in parts]).encode()
