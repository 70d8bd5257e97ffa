# What the fields of a response mean (RFC 9113 8, gRPC over HTTP/2).

cdef frozenset HOP_BY_HOP = frozenset((b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade"))


cdef class Answer:
    cdef str describe(self):
        """For the log."""
        cdef str name
        if self.code < 0:
            return f"HTTP status {self.status}"
        name = STATUS_NAMES[self.code] if self.code < len(STATUS_NAMES) else f"status {self.code}"
        return f"{name}: {printable(unquote_to_bytes(self.message))}" if self.message else name


cdef str field_fault(bytes name, bytes value):
    """Why a field is malformed, or None (RFC 9113 8.2.1, 8.2.2)."""
    cdef const uint8_t* p = <const uint8_t*>PyBytes_AS_STRING(name)
    cdef Py_ssize_t i, n = PyBytes_GET_SIZE(name)
    if n == 0:
        return "a field without a name"
    for i in range(n):
        if p[i] <= 0x20 or p[i] >= 0x7F or 0x41 <= p[i] <= 0x5A or (p[i] == 0x3A and i > 0):
            return "a field's name holds what it may not"
    p = <const uint8_t*>PyBytes_AS_STRING(value)
    for i in range(PyBytes_GET_SIZE(value)):
        if p[i] == 0 or p[i] == 10 or p[i] == 13:
            return "a field's value holds a line break"
    return "a field of HTTP/1" if name in HOP_BY_HOP else None


cdef int status_of(bytes value) except -2:
    """grpc-status; what is no number counts as UNKNOWN."""
    if 0 < len(value) <= 4 and value.isdigit():
        return int(value)
    return STATUS_UNKNOWN


cdef Answer read_answer(bytes block, list fields):
    cdef Answer a = Answer.__new__(Answer)
    cdef bytes name, value
    cdef bint pseudo = True
    a.block = block
    a.code = -1
    for name, value in fields:
        if a.wrong is None:
            a.wrong = field_fault(name, value)
        if name.startswith(b":"):
            if name != b":status" or a.status or not pseudo or len(value) != 3 or not value.isdigit():
                a.wrong = "a pseudo field that is out of place"
            else:
                a.status = int(value)
                if a.status < 100:
                    a.wrong = "a status below 100"
            continue
        pseudo = False
        if name == b"content-type":
            a.grpc = value.startswith(b"application/grpc")
        elif name == b"grpc-status":
            a.code = status_of(value)
        elif name == b"grpc-message":
            a.message = value
    return a
