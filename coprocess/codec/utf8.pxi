"""Whether bytes are UTF-8 (RFC 3629): no overlong forms, no surrogates, nothing above U+10FFFF."""

cdef Py_ssize_t sequence(const unsigned char* p, Py_ssize_t n) noexcept nogil:
    """Length of the sequence that begins at p with a byte above 0x7f, 0 if there is none."""
    cdef unsigned char c = p[0]
    if c < 0xc2 or n < 2 or p[1] & 0xc0 != 0x80:
        return 0
    if c < 0xe0:
        return 2
    if n < 3 or p[2] & 0xc0 != 0x80:
        return 0
    if c < 0xf0:
        return 0 if (c == 0xe0 and p[1] < 0xa0) or (c == 0xed and p[1] > 0x9f) else 3
    if n < 4 or p[3] & 0xc0 != 0x80 or c > 0xf4:
        return 0
    return 0 if (c == 0xf0 and p[1] < 0x90) or (c == 0xf4 and p[1] > 0x8f) else 4


cdef bint is_utf8(const char* text, Py_ssize_t n) noexcept nogil:
    cdef const unsigned char* p = <const unsigned char*>text
    cdef const unsigned char* end = p + n
    cdef uint64_t eight
    cdef Py_ssize_t width
    while p < end:
        if end - p >= 8:
            memcpy(&eight, p, 8)
            if not eight & <uint64_t>0x8080808080808080:
                p += 8
                continue
        if p[0] < 0x80:
            p += 1
            continue
        width = sequence(p, end - p)
        if not width:
            return False
        p += width
    return True
