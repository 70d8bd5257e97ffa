"""Parsing of HTTP/1 heads into a `HeaderBlock` (RFC 9112), strict where a lax reading could move a message boundary.

The parser sees a whole head at once (`head_end` finds it), so an answer never depends on how the bytes arrived.
What it refuses is listed in tests/corpus. It replaces httptools on the data path; the tests keep httptools as the
reference that must agree on every message which this parser accepts.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdlib cimport free, realloc
from libc.string cimport memchr, memcmp, memcpy

cdef extern from "<strings.h>" nogil:
    int strncasecmp(const char* a, const char* b, size_t n)

tables_init()

# Names with "_" that an upstream may read as one of these are refused by default (CGI, WSGI and PHP map "-" to "_").
cdef frozenset SENSITIVE = frozenset((
    b"Host", b"Connection", b"Content-Length", b"Content-Type", b"Content-Encoding", b"Transfer-Encoding", b"Upgrade",
    b"Expect", b"Te", b"Trailer", b"Keep-Alive", b"Authorization", b"Cookie", b"Forwarded", b"X-Forwarded-For",
    b"X-Forwarded-Host", b"X-Forwarded-Proto", b"X-Forwarded-Port", b"X-Forwarded-Prefix", b"X-Real-Ip", b"Range",
    b"Proxy-Authorization", b"Proxy-Connection", b"Proxy-Authenticate", b"X-Http-Method-Override",
))
# A request field that may stand once only: two of them are two readings of one message.
cdef uint64_t SINGLE = (1 << F_HOST | 1 << F_CONTENT_LENGTH | 1 << F_TRANSFER_ENCODING | 1 << F_CONTENT_TYPE
                        | 1 << F_EXPECT)
# Fields that must not stand in a trailer section (RFC 9110 section 6.5.1).
cdef uint64_t NO_TRAILER = (1 << F_HOST | 1 << F_CONTENT_LENGTH | 1 << F_TRANSFER_ENCODING | 1 << F_CONNECTION
                            | 1 << F_UPGRADE | 1 << F_EXPECT | 1 << F_TE | 1 << F_TRAILER | 1 << F_AUTHORIZATION
                            | 1 << F_CONTENT_TYPE | 1 << F_CONTENT_ENCODING | 1 << F_KEEP_ALIVE | 1 << F_RANGE
                            | 1 << F_PROXY_CONNECTION | 1 << F_PROXY_AUTHENTICATE | 1 << F_PROXY_AUTHORIZATION)


cpdef bytes canonical(bytes name):
    """`x-REAL-ip` -> `X-Real-Ip`: upper case at the start and after "-", lower case elsewhere (Go's rule)."""
    cdef Py_ssize_t i, n = PyBytes_GET_SIZE(name)
    cdef bytes out = PyBytes_FromStringAndSize(NULL, n)
    cdef const unsigned char* s = <const unsigned char*>PyBytes_AS_STRING(name)
    cdef unsigned char* d = <unsigned char*>PyBytes_AS_STRING(out)
    cdef bint start = True
    for i in range(n):
        d[i] = ch_upper[s[i]] if start else ch_lower[s[i]]
        start = s[i] == c"-"
    return out

include "header_block.pxi"


cdef Py_ssize_t head_end(const char* p, Py_ssize_t n, Py_ssize_t* scanned) noexcept:
    """Offset behind the blank line that ends a head; 0 if it is not there yet, -1 for a line ending that is not CRLF.

    scanned: offset of the first line not seen whole yet; kept by the caller between calls, 0 at first.
    """
    cdef Py_ssize_t line = scanned[0]
    cdef const char* lf
    cdef const char* cr
    while True:
        lf = <const char*>memchr(p + line, c"\n", n - line)
        if lf == NULL:
            cr = <const char*>memchr(p + line, c"\r", n - line)
            if cr != NULL and cr + 1 < p + n:
                return -1
            scanned[0] = line
            return 0
        if lf == p + line or lf[-1] != c"\r":
            return -1
        if lf == p + line + 1:
            return lf + 1 - p
        line = lf + 1 - p


cdef int _connection(HeaderBlock head, const char* v, Py_ssize_t n) noexcept:
    """Read the tokens of a Connection value into head.connection and head.nominated."""
    cdef Py_ssize_t i = 0, start, end
    while i <= n:
        start = i
        while i < n and v[i] != c",":
            i += 1
        end = i
        while start < end and (v[start] == c" " or v[start] == c"\t"):
            start += 1
        while end > start and (v[end - 1] == c" " or v[end - 1] == c"\t"):
            end -= 1
        if end - start == 5 and strncasecmp(v + start, b"close", 5) == 0:
            head.connection |= CONN_CLOSE
        elif end - start == 10 and strncasecmp(v + start, b"keep-alive", 10) == 0:
            head.connection |= CONN_KEEP_ALIVE
        elif end - start == 7 and strncasecmp(v + start, b"upgrade", 7) == 0:
            head.connection |= CONN_UPGRADE
        elif end > start:
            head.nominated = True
        i += 1
    return 0


cdef int _coding(const char* v, Py_ssize_t n) noexcept:
    """BAD_NONE for exactly "chunked", BAD_CODING for codings we do not implement, BAD_SYNTAX for anything ambiguous."""
    cdef Py_ssize_t i = 0, start, end, j
    cdef int chunked = 0, other = 0
    while i <= n:
        start = i
        while i < n and v[i] != c",":
            i += 1
        end = i
        while start < end and (v[start] == c" " or v[start] == c"\t"):
            start += 1
        while end > start and (v[end - 1] == c" " or v[end - 1] == c"\t"):
            end -= 1
        if end == start:
            return BAD_SYNTAX
        for j in range(start, end):
            if not ch_is(v[j], CH_TOKEN):
                return BAD_SYNTAX
        if end - start == 7 and strncasecmp(v + start, b"chunked", 7) == 0:
            chunked += 1
        else:
            other += 1
        i += 1
    if chunked > 1:
        return BAD_SYNTAX
    return BAD_CODING if other else BAD_NONE


cdef int64_t _length(const char* v, Py_ssize_t n) noexcept:
    """Content-Length = 1*DIGIT (RFC 9110 section 8.6); -1 for anything else."""
    cdef int64_t value = 0
    cdef Py_ssize_t i
    if n == 0 or n > 18:
        return -1
    for i in range(n):
        if v[i] < c"0" or v[i] > c"9":
            return -1
        value = value * 10 + (v[i] - c"0")
    return value


cdef bint _host_ok(const char* h, Py_ssize_t n) noexcept:
    """host [":" port] of RFC 3986, without userinfo; empty is allowed."""
    cdef Py_ssize_t i = 0
    cdef long port = 0
    if n == 0:
        return True
    if h[0] == c"[":
        i = 1
        while i < n and h[i] != c"]":
            if not (ch_is(h[i], CH_HEX) or h[i] == c":" or h[i] == c"."):
                return False
            i += 1
        if i == n or i < 3:
            return False
        i += 1
    else:
        while i < n and h[i] != c":":
            if not ch_is(h[i], CH_HOST):
                return False
            i += 1
        if i == 0:
            return False
    if i == n:
        return True
    if h[i] != c":":
        return False
    i += 1
    while i < n:
        if h[i] < c"0" or h[i] > c"9":
            return False
        port = port * 10 + (h[i] - c"0")
        if port > 65535:
            return False
        i += 1
    return True


cdef int _fields(HeaderBlock head, int pos, int end, int max_fields, bint request, int underscores) except -1:
    """Read field lines of head.buf[pos:end] (up to and including the blank line). Returns a BAD_* number."""
    cdef unsigned char* b = <unsigned char*>head.buf
    cdef unsigned char c
    cdef Field* field
    cdef int start, known, verdict
    cdef int64_t length
    cdef bint upper, underscore
    while True:
        if b[pos] == c"\r":
            # CRLF CRLF is the end by construction; anything else was a CR inside the head
            return BAD_NONE if pos + 2 == end else BAD_SYNTAX
        start = pos
        upper = True
        underscore = False
        c = b[pos]
        while ch_class[c] & CH_TOKEN:
            b[pos] = ch_upper[c] if upper else ch_lower[c]
            upper = c == c"-"
            if c == c"_":
                underscore = True
            pos += 1
            c = b[pos]
        if c != c":" or pos == start:
            return BAD_SYNTAX       # also obs-fold and white space before the colon
        if head.count >= max_fields:
            return BAD_HEADERS
        field = head.push()
        field.name = start
        field.name_len = pos - start
        known = known_field(<char*>b + start, pos - start)
        field.id = known
        pos += 1
        while b[pos] == c" " or b[pos] == c"\t":
            pos += 1
        start = pos
        while ch_class[b[pos]] & CH_VALUE:
            pos += 1
        if b[pos] != c"\r" or b[pos + 1] != c"\n":
            return BAD_SYNTAX
        field.value = start
        field.value_len = pos - start
        pos += 2
        while field.value_len and (b[start + field.value_len - 1] == c" " or b[start + field.value_len - 1] == c"\t"):
            field.value_len -= 1
        if underscore and request and underscores != U_ALLOW:
            if underscores == U_DROP:
                head.count -= 1
                continue
            if underscores == U_REFUSE or _sensitive(head, field):
                return BAD_SYNTAX
        if known == F_OTHER:
            continue
        if head.seen & (<uint64_t>1 << known) and request and SINGLE & (<uint64_t>1 << known):
            return BAD_SYNTAX
        if known == F_CONTENT_LENGTH:
            length = _length(<char*>b + start, field.value_len)
            if length < 0 or (head.seen & (<uint64_t>1 << F_CONTENT_LENGTH) and length != head.length):
                return BAD_SYNTAX
            head.length = length
        elif known == F_TRANSFER_ENCODING:
            if head.seen & (<uint64_t>1 << F_TRANSFER_ENCODING):
                return BAD_SYNTAX
            verdict = _coding(<char*>b + start, field.value_len)
            if verdict:
                return verdict
        elif known == F_CONNECTION:
            _connection(head, <char*>b + start, field.value_len)
        elif known == F_EXPECT and request:
            if field.value_len != 12 or strncasecmp(<char*>b + start, b"100-continue", 12) != 0:
                return BAD_EXPECTATION
            head.expect = True
        elif known == F_HOST and request:
            if not _host_ok(<char*>b + start, field.value_len):
                return BAD_SYNTAX
        head.seen |= <uint64_t>1 << known


cdef bint _sensitive(HeaderBlock head, Field* field):
    cdef bytes name = PyBytes_FromStringAndSize(head.buf + field.name, field.name_len)
    return canonical(name.replace(b"_", b"-")) in SENSITIVE


cdef int _target(HeaderBlock head, int start, int end, bint options, int* host, int* host_len) noexcept:
    """Split the target of a request line into authority, path and query. Returns a BAD_* number."""
    cdef unsigned char* b = <unsigned char*>head.buf
    cdef unsigned char c, d
    cdef int i = start, slash
    host_len[0] = -1
    if b[start] != c"/":
        if b[start] == c"*" and end == start + 1 and options:
            head.target = start
            head.target_len = head.path_len = 1
            return BAD_NONE
        if end - start > 7 and strncasecmp(<char*>b + start, b"http://", 7) == 0:
            i = start + 7
        elif end - start > 8 and strncasecmp(<char*>b + start, b"https://", 8) == 0:
            i = start + 8
        else:
            return BAD_SYNTAX
        slash = i
        while slash < end and b[slash] != c"/" and b[slash] != c"?":
            slash += 1
        if slash == i or not _host_ok(<char*>b + i, slash - i):
            return BAD_SYNTAX
        host[0] = i
        host_len[0] = slash - i
        if slash == end or b[slash] == c"?":
            return _bare_authority(head, i, host_len[0], slash, end, host)
        start = slash
    head.target = start
    head.target_len = end - start
    head.path_len = end - start
    for i in range(start, end):
        c = b[i]
        if c == c"?":
            head.path_len = i - start
            break
        if c == c"%":
            head.encoded = True
            if end - i < 3 or not (ch_is(b[i + 1], CH_HEX) and ch_is(b[i + 2], CH_HEX)):
                return BAD_SYNTAX       # as Go: a path that cannot be decoded
            d = b[i + 2] | 32
            if b[i + 1] == c"2" and (d == c"f" or d == c"e"):
                head.unclean = True
            elif b[i + 1] == c"0" and b[i + 2] == c"0":
                return BAD_SYNTAX
        elif c == c"/":
            if i + 1 < end and (b[i + 1] == c"/" or b[i + 1] == c"."):
                head.unclean = True
        elif c == c"#":
            return BAD_SYNTAX
    for i in range(start + head.path_len, end):
        if b[i] == c"#":
            return BAD_SYNTAX
    return BAD_NONE


cdef int _bare_authority(HeaderBlock head, int at, int n, int rest, int end, int* host) noexcept:
    """`http://host` or `http://host?query`: write "/" in front of the query, and move the authority one to the left.

    The scheme's bytes are no longer needed, so there is room.
    """
    cdef int i
    for i in range(n):
        head.buf[at + i - 1] = head.buf[at + i]
    head.buf[rest - 1] = c"/"
    host[0] = at - 1
    head.target = rest - 1
    head.target_len = end - rest + 1
    head.path_len = 1
    for i in range(rest, end):
        if head.buf[i] == c"#":
            return BAD_SYNTAX
    return BAD_NONE


cdef int parse_request(HeaderBlock head, const char* p, Py_ssize_t n, HeadLimits* limits) except -1:
    """Read a whole request head (n bytes, ending in CRLF CRLF) into `head`. Returns BAD_NONE or why it is refused."""
    cdef unsigned char* b
    cdef int i = 0, start, target_end, verdict, host = 0, host_len = -1, at
    cdef bint connect
    head.reset()
    head.append(p, n)
    b = <unsigned char*>head.buf
    while ch_class[b[i]] & CH_TOKEN:
        i += 1
    if i == 0 or i > 32 or b[i] != c" ":
        return BAD_SYNTAX
    head.method_len = i
    i += 1
    start = i
    while ch_class[b[i]] & CH_TARGET:
        i += 1
    target_end = i
    if b[i] != c" " or i == start:
        return BAD_SYNTAX
    i += 1
    if not (memcmp(b + i, b"HTTP/", 5) == 0 and ch_is(b[i + 5], CH_DIGIT) and b[i + 6] == c"."
            and ch_is(b[i + 7], CH_DIGIT) and b[i + 8] == c"\r" and b[i + 9] == c"\n"):
        return BAD_SYNTAX
    if b[i + 5] != c"1" or b[i + 7] > c"1":
        return BAD_VERSION
    head.minor = b[i + 7] - c"0"
    if target_end - start > limits.max_target:
        return BAD_TARGET_LENGTH
    connect = head.method_len == 7 and memcmp(b, b"CONNECT", 7) == 0
    if connect:
        return BAD_METHOD
    verdict = _target(head, start, target_end, head.method_len == 7 and memcmp(b, b"OPTIONS", 7) == 0,
                      &host, &host_len)
    if verdict:
        return verdict
    verdict = _fields(head, i + 10, <int>n, limits.max_fields, True, limits.underscores)
    if verdict:
        return verdict
    at = head.find(F_HOST)
    if at < 0:
        if head.minor == 1:
            return BAD_SYNTAX           # RFC 9112 section 3.2
    elif host_len < 0:
        host = head.fields[at].value
        host_len = head.fields[at].value_len
    head.host = host
    head.host_len = host_len if host_len > 0 else 0
    if head.seen & (<uint64_t>1 << F_TRANSFER_ENCODING):
        if head.minor == 0 or head.seen & (<uint64_t>1 << F_CONTENT_LENGTH):
            return BAD_SYNTAX           # RFC 9112 section 6.1
        head.body = BODY_CHUNKED
    elif head.seen & (<uint64_t>1 << F_CONTENT_LENGTH):
        head.body = BODY_LENGTH if head.length else BODY_NONE
    if head.minor == 0:
        head.expect = False             # RFC 9110 section 10.1.1
    return BAD_NONE


cdef int parse_response(HeaderBlock head, const char* p, Py_ssize_t n, int max_fields, bint to_head) except -1:
    """Read a whole response head into `head`; to_head: it answers a HEAD request. Returns BAD_NONE or BAD_SYNTAX."""
    cdef unsigned char* b
    cdef int i
    head.reset()
    head.append(p, n)
    b = <unsigned char*>head.buf
    if n < 16 or not (memcmp(b, b"HTTP/1.", 7) == 0 and (b[7] == c"0" or b[7] == c"1") and b[8] == c" "
                      and ch_is(b[9], CH_DIGIT) and ch_is(b[10], CH_DIGIT) and ch_is(b[11], CH_DIGIT)
                      and (b[12] == c" " or b[12] == c"\r")):
        return BAD_SYNTAX
    head.minor = b[7] - c"0"
    head.status = (b[9] - c"0") * 100 + (b[10] - c"0") * 10 + (b[11] - c"0")
    if head.status < 100 or head.status > 599:
        return BAD_SYNTAX
    i = 12
    while ch_class[b[i]] & CH_VALUE:
        i += 1
    if b[i] != c"\r" or b[i + 1] != c"\n":
        return BAD_SYNTAX
    if _fields(head, i + 2, <int>n, max_fields, False, U_ALLOW):
        return BAD_SYNTAX
    if head.seen & (<uint64_t>1 << F_TRANSFER_ENCODING):
        if head.seen & (<uint64_t>1 << F_CONTENT_LENGTH) or head.minor == 0:
            return BAD_SYNTAX
        head.body = BODY_CHUNKED
    elif head.seen & (<uint64_t>1 << F_CONTENT_LENGTH):
        head.body = BODY_LENGTH
    else:
        head.body = BODY_EOF
    if to_head or head.status < 200 or head.status == 204 or head.status == 304:
        head.body = BODY_NONE           # RFC 9112 section 6.3
    elif head.body == BODY_LENGTH and head.length == 0:
        head.body = BODY_NONE
    return BAD_NONE


cdef int parse_trailers(HeaderBlock head, const char* p, Py_ssize_t n, int max_fields) except -1:
    """Read a trailer section (ending in a blank line) into `head`. Forbidden fields make it BAD_SYNTAX."""
    cdef int verdict
    head.reset()
    head.append(p, n)
    verdict = _fields(head, 0, <int>n, max_fields, True, U_AMBIGUOUS)
    if verdict or head.seen & NO_TRAILER:
        return verdict or BAD_SYNTAX
    return BAD_NONE


def check_request(bytes data, int max_target=16384, int max_fields=200, int underscores=U_AMBIGUOUS):
    """Parse one whole request head; for tests and tools.

    Returns a dict (method, target, path, host, minor, body, length, headers ...) or the int status of the refusal.
    Raises ValueError if data is not exactly one head.
    """
    cdef HeaderBlock head = HeaderBlock()
    cdef HeadLimits limits
    cdef Py_ssize_t scanned = 0
    cdef Py_ssize_t end = head_end(PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data), &scanned)
    if end < 0:
        return 400
    if end != PyBytes_GET_SIZE(data):
        raise ValueError("the bytes are not exactly one head")
    limits.max_target, limits.max_fields, limits.underscores = max_target, max_fields, underscores
    cdef int verdict = parse_request(head, PyBytes_AS_STRING(data), end, &limits)
    if verdict:
        return verdict
    return {
        "method": head.buf[head.method:head.method + head.method_len],
        "target": head.buf[head.target:head.target + head.target_len],
        "path": head.buf[head.target:head.target + head.path_len],
        "host": head.buf[head.host:head.host + head.host_len],
        "minor": head.minor,
        "body": ("none", "length", "chunked")[head.body],
        "length": head.length,
        "connection": head.connection,
        "expect": head.expect,
        "headers": head.items(),
    }


def check_response(bytes data, int max_fields=200, bint to_head=False):
    """Parse one whole response head; for tests and tools. Returns a dict, or None if it is refused."""
    cdef HeaderBlock head = HeaderBlock()
    cdef Py_ssize_t scanned = 0
    cdef Py_ssize_t end = head_end(PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data), &scanned)
    if end < 0 or parse_response(head, PyBytes_AS_STRING(data), end, max_fields, to_head):
        return None
    return {
        "status": head.status,
        "minor": head.minor,
        "body": ("none", "length", "chunked", "eof")[head.body],
        "length": head.length,
        "headers": head.items(),
    }
