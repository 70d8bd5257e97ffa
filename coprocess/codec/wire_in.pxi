"""Reading the Protocol Buffers wire format (protobuf.dev, "Encoding"): bounds are checked before each byte.

A Reader points into bytes that its caller keeps alive. What is read is copied.
"""

cdef enum:
    VARINT = 0
    FIXED64 = 1
    SPAN = 2            # length, then as many bytes
    GROUP = 3
    GROUP_END = 4
    FIXED32 = 5
    DEEPEST = 100       # groups within groups, all of them unknown fields


cdef struct Reader:
    const char* p
    const char* end


cdef struct Span:
    const char* p
    Py_ssize_t n


cdef object broken(str path, str problem):
    return CodecError(path, problem)


cdef uint64_t read_varint(Reader* r, str path) except? 0xfe:
    cdef uint64_t value = 0
    cdef unsigned char c
    cdef int shift = 0
    while True:
        if r.p == r.end:
            raise broken(path, "the message ends within a number")
        c = <unsigned char>r.p[0]
        r.p += 1
        if shift == 63 and c > 1:
            raise broken(path, "a number has more than 64 bits")
        value |= <uint64_t>(c & 0x7f) << shift
        if c < 0x80:
            return value
        shift += 7


cdef uint64_t read_tag(Reader* r, str path) except 0:
    """Number of the next field << 3 | how it is encoded."""
    cdef uint64_t tag = read_varint(r, path)
    if tag >> 32 or not tag >> 3:
        raise broken(path, f"{tag >> 3} is not the number of a field")
    return tag


cdef Span read_span(Reader* r, str path) except *:
    cdef Span span
    cdef uint64_t n = read_varint(r, path)
    if n > <uint64_t>(r.end - r.p):
        raise broken(path, "the message ends within a field")
    span.p = r.p
    span.n = <Py_ssize_t>n
    r.p += span.n
    return span


cdef int skip(Reader* r, uint64_t tag, str path) except -1:
    """Pass over a field that is not known."""
    cdef uint64_t[DEEPEST] groups
    cdef int depth = 0, wire, size
    while True:
        wire = tag & 7
        size = 0
        if wire == VARINT:
            read_varint(r, path)
        elif wire == SPAN:
            read_span(r, path)
        elif wire == FIXED64:
            size = 8
        elif wire == FIXED32:
            size = 4
        elif wire == GROUP:
            if depth == DEEPEST:
                raise broken(path, f"groups are nested deeper than {DEEPEST} levels")
            groups[depth] = tag >> 3
            depth += 1
        elif wire == GROUP_END:
            if not depth or groups[depth - 1] != tag >> 3:
                raise broken(path, "a group ends that has not begun")
            depth -= 1
        else:
            raise broken(path, f"{wire} is not an encoding of a field")
        if r.end - r.p < size:
            raise broken(path, "the message ends within a field")
        r.p += size
        if not depth:
            return 0
        tag = read_tag(r, path)


cdef int check_wire(uint64_t tag, int wire, str path, str name) except -1:
    if <int>(tag & 7) != wire:
        raise broken(f"{path}.{name}" if path else name, f"encoding {tag & 7} where the field has {wire}")
    return 0


cdef str text_of(Span span, str path, str name):
    try:
        return PyUnicode_DecodeUTF8(span.p, span.n, NULL)
    except UnicodeDecodeError:
        raise broken(f"{path}.{name}" if path else name, "expected UTF-8 text") from None


cdef Reader inside(Span span) noexcept:
    cdef Reader r
    r.p = span.p
    r.end = span.p + span.n
    return r


cdef str read_text(Reader* r, uint64_t tag, str path, str name):
    check_wire(tag, SPAN, path, name)
    return text_of(read_span(r, path), path, name)


cdef int bounded(Py_ssize_t n, str path, str name) except -1:
    if n > MOST:
        raise broken(f"{path}.{name}" if path else name, f"more than {MOST} entries")
    return 0
