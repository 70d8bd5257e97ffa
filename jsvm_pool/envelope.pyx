"""What hooks are given, written straight from the request: a JSON array, see `unpack` in runtime/run.js."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdlib cimport free, malloc
from libc.string cimport memcmp

from accel.headers cimport F_HOST, Field, HeaderBlock
from accel.http1 cimport Buffer, Exchange
from accel.utf8 cimport utf8_sequence

cdef enum:
    REPLACE = 0         # what is not UTF-8 becomes U+FFFD, one for each byte, as in Go
    KEEP = 1            # ... becomes a lone surrogate, U+DC80 to U+DCFF for the byte (tyk-jsvm 14.1)
    FEW = 64            # header fields that are sorted without an allocation

cdef const char* HEX = b"0123456789abcdef"
cdef Buffer out = Buffer()


cdef int put_text(Buffer out, const char* p, Py_ssize_t n, int invalid) except -1:
    """A JSON string of n bytes at p."""
    cdef Py_ssize_t i = 0, begin = 0, width
    cdef unsigned char c
    out.reserve(n + 2)
    out.put('"', 1)
    while i < n:
        c = <unsigned char>p[i]
        if c >= 0x20 and c < 0x80 and c != c'"' and c != c"\\":
            i += 1
            continue
        if c >= 0x80:
            width = utf8_sequence(p + i, n - i)
            if width:
                i += width
                continue
        out.put(p + begin, i - begin)
        if c >= 0x80:
            if invalid == KEEP:
                out.put("\\udc", 4)
                out.put(HEX + (c >> 4), 1)
                out.put(HEX + (c & 15), 1)
            else:
                out.put("\\ufffd", 6)
        elif c >= 0x20:
            out.put("\\", 1)
            out.put(p + i, 1)
        else:
            out.put("\\u00", 4)
            out.put(HEX + (c >> 4), 1)
            out.put(HEX + (c & 15), 1)
        i += 1
        begin = i
    out.put(p + begin, n - begin)
    return out.put('"', 1)


cdef int put_bytes(Buffer out, bytes text, int invalid) except -1:
    return put_text(out, PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text), invalid)


cdef int order(HeaderBlock block, int* at) noexcept:
    """Indices of the fields that are there, sorted by name; returns how many."""
    cdef int i, k, n = 0
    cdef Field* field
    for i in range(block.count):
        field = &block.fields[i]
        if field.gone:
            continue
        k = n
        while k > 0 and before(block, field, &block.fields[at[k - 1]]):
            at[k] = at[k - 1]
            k -= 1
        at[k] = i
        n += 1
    return n


cdef inline bint before(HeaderBlock block, Field* one, Field* other) noexcept:
    cdef int least = one.name_len if one.name_len < other.name_len else other.name_len
    cdef int sign = memcmp(block.at(one.name), block.at(other.name), least)
    return sign < 0 or (sign == 0 and one.name_len < other.name_len)


cdef int put_headers(Buffer out, HeaderBlock block, bint hostless) except -1:
    """The fields as an object of arrays, names sorted. hostless: without Host."""
    cdef int[FEW] few
    cdef int* at = few
    cdef int i, n
    cdef Field* field
    cdef Field* last = NULL
    if block.count > FEW:
        at = <int*>malloc(sizeof(int) * block.count)
        if at == NULL:
            raise MemoryError
    try:
        n = order(block, at)
        out.put("{", 1)
        for i in range(n):
            field = &block.fields[at[i]]
            if hostless and field.id == F_HOST:
                continue
            if last != NULL and last.name_len == field.name_len and \
                    memcmp(block.at(last.name), block.at(field.name), field.name_len) == 0:
                out.put(",", 1)
            else:
                if last != NULL:
                    out.put("],", 2)
                put_text(out, block.at(field.name), field.name_len, REPLACE)
                out.put(":[", 2)
            put_text(out, block.at(field.value), field.value_len, REPLACE)
            last = field
        return out.put("]}" if last != NULL else "}", 2 if last != NULL else 1)
    finally:
        if at != few:
            free(at)


cpdef bytes script_payload(Exchange x, bytes params, bytes session, bytes more, bytes body, bytes response, bint hostless):
    """The whole text. params: JSON of the query's values, b"0" for none; session: JSON, b"0" for an empty one; more: JSON of the
    API's version, the path of the entry and the values of its variables; body: None: null, as response hooks see it;
    response: JSON for response hooks, else None; hostless: without a Host header, for virtual endpoints (tyk-jsvm 12.1)."""
    cdef HeaderBlock head = x.req
    out.size = 0
    out.put("[1," if x.client.secure else "[0,", 3)
    put_headers(out, head, hostless)
    if body is None:
        out.put(",null,", 6)
    else:
        out.put(",", 1)
        put_bytes(out, body, KEEP)
        out.put(",", 1)
    put_url(out, x, head)
    out.put(",", 1)
    out.add(params)
    out.put(",", 1)
    put_bytes(out, x.method, REPLACE)
    out.put(",", 1)
    put_text(out, head.at(head.target), head.target_len, REPLACE)
    out.put(",", 1)
    out.add(session)
    out.put(",", 1)
    put_bytes(out, x.client.address, REPLACE)
    if x.gw.address_of is None:
        out.put(",0,", 3)
    else:
        out.put(",", 1)
        put_bytes(out, x.client_address, REPLACE)
        out.put(",", 1)
    put_bytes(out, x.request_id, REPLACE)
    out.put(",", 1)
    out.add(more)
    if response is not None:
        out.put(",", 1)
        out.add(response)
    out.put("]", 1)
    return out.take()


cdef int put_url(Buffer out, Exchange x, HeaderBlock head) except -1:
    """Path and query as they are now, 0 if the request line has them."""
    cdef bytes path = x.path if x.view is None else x.view.path
    cdef bytes query = x.query if x.view is None else x.view.query
    cdef const char* target = head.at(head.target)
    cdef Py_ssize_t n = PyBytes_GET_SIZE(path), m = PyBytes_GET_SIZE(query)
    if head.target_len == (n + 1 + m if m else n) and memcmp(target, PyBytes_AS_STRING(path), n) == 0 and (
            m == 0 or target[n] == c"?" and memcmp(target + n + 1, PyBytes_AS_STRING(query), m) == 0):
        return out.put("0", 1)
    return put_bytes(out, path + b"?" + query if query else path, REPLACE)
