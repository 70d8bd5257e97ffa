"""See envelope.pyi. RFC 8259 for the grammar; JSON-RPC 2.0 section 5 for the envelope."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint64_t
from libc.string cimport memcmp, memcpy

cdef enum:
    DEPTH = 512
    ID_DIGITS = 15

ctypedef const unsigned char *Text

cdef uint64_t ONES = 0x0101010101010101
cdef uint64_t HIGH = 0x8080808080808080


cdef inline Text blank(Text p, Text end) noexcept nogil:
    while p < end and (p[0] == c' ' or p[0] == c'\n' or p[0] == c'\r' or p[0] == c'\t'):
        p += 1
    return p


cdef inline bint is_hex(unsigned char c) noexcept nogil:
    return c'0' <= c <= c'9' or c'a' <= (c | 0x20) <= c'f'


cdef Text string(Text p, Text end) noexcept nogil:
    """From behind the opening quote to behind the closing one; NULL if there is none or what is between is wrong."""
    cdef uint64_t v, quote, slash
    cdef unsigned char c
    cdef int i
    while p < end:
        while end - p >= 8:         # eight bytes none of which is a quote, a backslash or a control character
            memcpy(&v, p, 8)
            quote = v ^ (ONES * 0x22)
            slash = v ^ (ONES * 0x5C)
            if (((quote - ONES) & ~quote) | ((slash - ONES) & ~slash) | ((v - ONES * 0x20) & ~v)) & HIGH:
                break
            p += 8
        if p >= end:
            return NULL
        c = p[0]
        p += 1
        if c == c'"':
            return p
        if c < 0x20:
            return NULL
        if c != c'\\':
            continue
        if p >= end:
            return NULL
        c = p[0]
        p += 1
        if c == c'u':
            if end - p < 4:
                return NULL
            for i in range(4):
                if not is_hex(p[i]):
                    return NULL
            p += 4
        elif not (c == c'"' or c == c'\\' or c == c'/' or c == c'b' or c == c'f' or c == c'n' or c == c'r' or c == c't'):
            return NULL
    return NULL


cdef inline Text digits(Text p, Text end) noexcept nogil:
    """At least one."""
    cdef Text start = p
    while p < end and c'0' <= p[0] <= c'9':
        p += 1
    return p if p > start else NULL


cdef Text number(Text p, Text end) noexcept nogil:
    if p[0] == c'-':
        p += 1
    if p < end and p[0] == c'0':
        p += 1
    else:
        p = digits(p, end)
    if p is not NULL and p < end and p[0] == c'.':
        p = digits(p + 1, end)
    if p is not NULL and p < end and (p[0] | 0x20) == c'e':
        p += 1
        if p < end and (p[0] == c'+' or p[0] == c'-'):
            p += 1
        p = digits(p, end)
    return p


cdef Text scalar(Text p, Text end) noexcept nogil:
    """A string, number or literal that begins at p < end."""
    cdef unsigned char c = p[0]
    if c == c'"':
        return string(p + 1, end)
    if c == c'-' or c'0' <= c <= c'9':
        return number(p, end)
    if end - p >= 4 and (memcmp(p, b"true", 4) == 0 or memcmp(p, b"null", 4) == 0):
        return p + 4
    if end - p >= 5 and memcmp(p, b"false", 5) == 0:
        return p + 5
    return NULL


cdef inline Text name(Text p, Text end) noexcept nogil:
    """A member's name and colon, from p to where its value begins."""
    if p >= end or p[0] != c'"':
        return NULL
    p = string(p + 1, end)
    if p is NULL:
        return NULL
    p = blank(p, end)
    if p >= end or p[0] != c':':
        return NULL
    return blank(p + 1, end)


cdef Text value(Text p, Text end) noexcept nogil:
    """Behind the value that begins at p; NULL if it is wrong, cut off or deeper than DEPTH."""
    cdef unsigned char[DEPTH] closing
    cdef int depth = 0
    while True:
        if p >= end:
            return NULL
        if p[0] == c'{' or p[0] == c'[':
            if depth == DEPTH:
                return NULL
            closing[depth] = p[0] + 2       # ASCII: "{" + 2 is "}", "[" + 2 is "]"
            depth += 1
            p = blank(p + 1, end)
            if p >= end:
                return NULL
            if p[0] != closing[depth - 1]:
                if closing[depth - 1] == c'}':
                    p = name(p, end)
                    if p is NULL:
                        return NULL
                continue
            depth -= 1
            p += 1
        else:
            p = scalar(p, end)
            if p is NULL:
                return NULL
        while depth:                        # behind a value that is inside of something
            p = blank(p, end)
            if p >= end:
                return NULL
            if p[0] == c',':
                p = blank(p + 1, end)
                if closing[depth - 1] == c'}':
                    p = name(p, end)
                    if p is NULL:
                        return NULL
                break
            if p[0] != closing[depth - 1]:
                return NULL
            depth -= 1
            p += 1
        else:
            return p


cdef inline bint named(Text p, Text end, const char *wanted, Py_ssize_t size) noexcept nogil:
    """Whether the quoted name at p is `wanted`."""
    return end - p >= size + 2 and memcmp(p + 1, wanted, size) == 0 and p[size + 1] == c'"'


cdef inline bint is_null(Text p, Text after) noexcept nogil:
    return after - p == 4 and p[0] == c'n'


def parse(bytes frame not None) -> tuple:
    cdef Text p = <Text>PyBytes_AS_STRING(frame)
    cdef Text end = p + PyBytes_GET_SIZE(frame)
    cdef Text at, after
    cdef Text result = NULL, result_end = NULL, error = NULL, error_end = NULL
    cdef long long number = -1
    cdef int seen = 0, bit
    p = blank(p, end)
    if p >= end or p[0] != c'{':
        raise ValueError("not a JSON object")
    p = blank(p + 1, end)
    while True:
        at = p
        p = name(p, end)
        if p is NULL:
            raise ValueError("not JSON")
        after = value(p, end)
        if after is NULL:
            raise ValueError("not JSON")
        bit = 0
        if named(at, end, b"id", 2):
            bit = 1
            if is_null(p, after):
                raise ValueError("its id is null")
            if after - p > ID_DIGITS or (p[0] == c'0' and after - p > 1):
                raise ValueError("its id is not one that was given")
            number = 0
            while p < after:
                if not c'0' <= p[0] <= c'9':
                    raise ValueError("its id is not one that was given")
                number = number * 10 + (p[0] - c'0')
                p += 1
        elif named(at, end, b"result", 6):
            bit = 2
            if not is_null(p, after):
                result = p
                result_end = after
        elif named(at, end, b"error", 5):
            bit = 4
            if not is_null(p, after):
                error = p
                error_end = after
        elif named(at, end, b"jsonrpc", 7):
            bit = 8
            if after - p != 5 or memcmp(p, b'"2.0"', 5) != 0:
                raise ValueError('its member "jsonrpc" is not "2.0"')
        if seen & bit:
            raise ValueError("a member stands twice in it")
        seen |= bit
        p = blank(after, end)
        if p < end and p[0] == c',':
            p = blank(p + 1, end)
            continue
        if p >= end or p[0] != c'}' or blank(p + 1, end) != end:
            raise ValueError("not JSON")
        break
    if not seen & 8:
        raise ValueError('it has no member "jsonrpc"')
    if number < 0:
        raise ValueError("it has no id")
    if (result is NULL) == (error is NULL):
        raise ValueError("it needs a result or an error, and not both")
    if result is not NULL and result[0] != c'{':
        raise ValueError("its result is not an object")
    return (
        number,
        PyBytes_FromStringAndSize(<const char *>result, result_end - result) if result is not NULL else None,
        PyBytes_FromStringAndSize(<const char *>error, error_end - error) if error is not NULL else None,
    )
