"""The parts of a message in the Protocol Buffers wire format (protobuf.dev, "Encoding"), appended to a Buffer."""

cdef inline int varint_size(uint64_t value) noexcept nogil:
    cdef int n = 1
    while value >= 0x80:
        value >>= 7
        n += 1
    return n


cdef inline char* write_varint(char* p, uint64_t value) noexcept nogil:
    """Returns what lies behind it; at most 10 bytes."""
    while value >= 0x80:
        p[0] = <char>((value & 0x7f) | 0x80)
        p += 1
        value >>= 7
    p[0] = <char>value
    return p + 1


cdef int put_varint(Buffer out, uint64_t value) except -1:
    out.reserve(10)
    out.size = write_varint(out.p + out.size, value) - out.p
    return 0


cdef int put_bytes(Buffer out, int number, const char* p, Py_ssize_t n) except -1:
    """A field of bytes, also if there are none."""
    cdef char* at
    out.reserve(n + 15)
    at = write_varint(out.p + out.size, number << 3 | 2)
    at = write_varint(at, n)
    memcpy(at, p, n)
    out.size = at + n - out.p
    return 0


cdef inline int put_some(Buffer out, int number, const char* p, Py_ssize_t n) except -1:
    """A field of bytes; left out if there are none, as proto3 does it."""
    return put_bytes(out, number, p, n) if n else 0


cdef int put_number(Buffer out, int number, int64_t value) except -1:
    """An integer or a bool; left out if it is 0. Negative ones take ten bytes."""
    if value:
        put_varint(out, number << 3)
        put_varint(out, <uint64_t>value)
    return 0


cdef Py_ssize_t begin_message(Buffer out, int number) except -1:
    """The head of a message whose length is not known yet; hand the result to end_message."""
    put_varint(out, number << 3 | 2)
    out.reserve(5)
    out.size += 5
    return out.size


cdef int end_message(Buffer out, Py_ssize_t begin) except -1:
    """Write the length and move the message up to it."""
    cdef Py_ssize_t n = out.size - begin
    cdef char* at
    if n > MOST_BYTES:
        raise CodecError("", f"the message would be longer than {MOST_BYTES} bytes")
    at = write_varint(out.p + begin - 5, n)
    memmove(at, out.p + begin, n)
    out.size = at + n - out.p
    return 0
