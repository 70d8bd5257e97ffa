"""Analytics records in msgpack, one map per request; see analytics.pxd. The form is tyk-core section 6."""

cimport cython

import base64
import time
from collections import deque
from urllib.parse import quote

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Realloc
from libc.string cimport memcmp, memcpy

from accel.headers cimport (
    BODY_CHUNKED, F_CONTENT_LENGTH, F_HOST, F_OTHER, F_TRANSFER_ENCODING, Field, HeaderBlock, canonical,
)

cdef extern from *:
    """
    #include <stdint.h>
    #include <string.h>
    #include <time.h>
    static inline char *pack_size(char *d, unsigned char kind, uint32_t n, int width) {
        *d++ = (char)kind;
        while (width > 0)
            *d++ = (char)(n >> (8 * --width));
        return d;
    }
    /* Head of a string of n bytes; smallest form (msgpack specification, str format family). */
    static inline char *pack_str_head(char *d, size_t n) {
        if (n < 32) { *d = (char)(0xa0 | n); return d + 1; }
        if (n < 256) return pack_size(d, 0xd9, (uint32_t)n, 1);
        if (n < 65536) return pack_size(d, 0xda, (uint32_t)n, 2);
        return pack_size(d, 0xdb, (uint32_t)n, 4);
    }
    static inline char *pack_array_head(char *d, uint32_t n) {
        if (n < 16) { *d = (char)(0x90 | n); return d + 1; }
        return n < 65536 ? pack_size(d, 0xdc, n, 2) : pack_size(d, 0xdd, n, 4);
    }
    /* Smallest form of an integer (msgpack specification, int format family). */
    static inline char *pack_int(char *d, int64_t v) {
        if (v >= 0) {
            if (v < 128) { *d = (char)v; return d + 1; }
            if (v < 256) return pack_size(d, 0xcc, (uint32_t)v, 1);
            if (v < 65536) return pack_size(d, 0xcd, (uint32_t)v, 2);
            if (v < 4294967296LL) return pack_size(d, 0xce, (uint32_t)v, 4);
            d = pack_size(d, 0xcf, (uint32_t)(v >> 32), 4);
        } else {
            if (v >= -32) { *d = (char)v; return d + 1; }
            if (v >= -128) return pack_size(d, 0xd0, (uint32_t)v, 1);
            if (v >= -32768) return pack_size(d, 0xd1, (uint32_t)v, 2);
            if (v >= -2147483648LL) return pack_size(d, 0xd2, (uint32_t)v, 4);
            d = pack_size(d, 0xd3, (uint32_t)((uint64_t)v >> 32), 4);
        }
        for (int shift = 24; shift >= 0; shift -= 8)
            *d++ = (char)((uint64_t)v >> shift);
        return d;
    }
    static inline int pack_ascii(const char *s, size_t n) {
        uint64_t word;
        for (; n >= 8; n -= 8, s += 8) {
            memcpy(&word, s, 8);
            if (word & 0x8080808080808080ULL) return 0;
        }
        for (; n; n--, s++)
            if (*s & 0x80) return 0;
        return 1;
    }
    /* Day, month, year and hour of a second in the time zone of the machine. */
    static void pack_local(int64_t second, int *parts) {
        time_t when = (time_t)second;
        struct tm t;
        if (localtime_r(&when, &t) == NULL) memset(&t, 0, sizeof t);
        parts[0] = t.tm_mday; parts[1] = t.tm_mon + 1; parts[2] = t.tm_year + 1900; parts[3] = t.tm_hour;
    }
    """
    char* pack_str_head(char* d, size_t n) noexcept nogil
    char* pack_array_head(char* d, unsigned int n) noexcept nogil
    char* pack_int(char* d, int64_t v) noexcept nogil
    bint pack_ascii(const char* s, size_t n) noexcept nogil
    void pack_local(int64_t second, int* parts) noexcept nogil

cdef enum:
    FIXED = 1024            # more than all constant pieces, heads and numbers of a record together

cdef int64_t FOREVER = <int64_t>36500 * 86400       # expire_analytics_after 0 (tyk-core 6)
cdef str PATH_SAFE = "/$&+,:;=@!'()*~"          # RFC 3986 section 3.3
cdef int64_t LONGEST = <int64_t>1 << 40             # seconds

cdef bytes _str(object text):
    """A msgpack string of a str, or of bytes of which invalid UTF-8 is replaced."""
    cdef bytes raw = text.encode("utf-8", "replace") if isinstance(text, str) else _valid(<bytes>text)
    cdef char[8] head
    cdef char* end = pack_str_head(head, PyBytes_GET_SIZE(raw))
    return PyBytes_FromStringAndSize(head, end - head) + raw


cdef bytes _valid(bytes raw):
    return raw.decode("utf-8", "replace").encode()


cdef bytes _map(object fields):
    """A small map: ((name, encoded value), ...)."""
    return bytes((0x80 | len(fields),)) + b"".join([_str(name) + value for name, value in fields])


cdef bytes NIL = b"\xc0", FALSE = b"\xc2", ZERO = b"\x00", EMPTY = b"\xa0"
cdef bytes FLOAT = b"\xcb" + bytes(8)
# IPAddress is followed by what an open source gateway leaves empty, and by the head of Latency.
cdef bytes PLACE = _str("Geo") + _map((
    ("Country", _map((("ISOCode", EMPTY),))),
    ("City", _map((("GeoNameID", ZERO), ("Names", NIL)))),
    ("Location", _map((("Latitude", FLOAT), ("Longitude", FLOAT), ("TimeZone", EMPTY)))),
)) + _str("Network") + _map((
    ("OpenConnections", ZERO), ("ClosedConnection", ZERO), ("BytesIn", ZERO), ("BytesOut", ZERO),
)) + _str("Latency") + b"\x83" + _str("Total")
cdef bytes STATS = _str("GraphQLStats") + _map((
    ("Variables", EMPTY), ("RootFields", NIL), ("Types", NIL), ("Errors", NIL), ("OperationType", ZERO),
    ("HasErrors", FALSE), ("IsGraphQL", FALSE),
)) + _str("MCPStats") + _map((
    ("IsMCP", FALSE), ("JSONRPCMethod", EMPTY), ("PrimitiveType", EMPTY), ("PrimitiveName", EMPTY),
)) + _str("CollectionName") + EMPTY


@cython.final
cdef class RecordPlan:
    """What all records of one API have in common."""

    def __init__(self, str api_id not None, *, str name="", str org_id="", str listen_path="", str host="",
                 object tags=(), object tag_headers=(), object expires_after=0, bint detailed=False):
        """host: of the target, as its URL has it; tags: of the API; tag_headers: names of request headers that become
        tags; expires_after: seconds, 0 for a hundred years; detailed: record the wire text of every request."""
        self.host = host.encode()
        self.detailed = self._own_detailed = detailed
        self.own_expiry = expires_after
        self.organisation(expires_after, False)
        self._ids = (_str("APIName") + _str(name) + _str("APIID") + _str(api_id) + _str("OrgID") + _str(org_id)
                     + _str("OauthID"))
        self._end = _str("ListenPath") + _str(listen_path) + STATS
        self._tags = b"".join([_str(tag) for tag in tags])
        self._tag_count = len(tags)
        own = ([f"org-{org_id}"] if org_id else []) + [f"api-{api_id}"]
        self._own_tags = b"".join([_str(tag) for tag in own])
        self._own_count = len(own)
        self._headers = [(canonical(spelt.encode("latin-1", "replace")), f"{spelt.lower()}-".encode())
                         for spelt in tag_headers]

    def organisation(self, object expires_after, bint detailed):
        """Take from now on what the API's organisation wants: seconds as in the constructor; details of everything."""
        self.expires_after = expires_after
        self._expires = min(max(0, int(expires_after)), LONGEST) or FOREVER
        self.detailed = self._own_detailed or detailed


@cython.final
cdef class KeyRecord:
    """What all records of one session have in common."""

    def __init__(self, str api_key="", *, str alias="", str oauth_id="", object tags=(), bint detailed=False):
        """api_key: what records call the key, its hash where keys are hashed; tags: of its policies, developer and
        session, in the order of the record."""
        self.detailed = detailed
        self._key = _str(api_key)
        self._key_tag = _str(f"key-{api_key}") if api_key else b""
        self._oauth = _str(oauth_id)
        self._alias = _str(alias)
        self._tags = b"".join([_str(tag) for tag in tags])
        self._tag_count = len(tags)


@cython.final
cdef class Capture:
    """See analytics.pxd."""

    def __init__(self, Recorder recorder not None):
        self.recorder = recorder
        self.request = []
        self.response = []

    cdef int add_request(self, bytes piece) except -1:
        cdef Py_ssize_t n = _room(self.recorder, self.request_kept, PyBytes_GET_SIZE(piece))
        self.request_size += PyBytes_GET_SIZE(piece)
        if n > 0:
            self.request.append(piece if PyBytes_GET_SIZE(piece) == n else piece[:n])
            self.request_kept += n
            self.recorder.captured += n
        return 0

    cdef int add_response(self, const char* p, Py_ssize_t size) except -1:
        cdef Py_ssize_t n = _room(self.recorder, self.response_kept, size)
        self.response_size += size
        if n > 0:
            self.response.append(PyBytes_FromStringAndSize(p, n))
            self.response_kept += n
            self.recorder.captured += n
        return 0

    cdef int set_head(self, const char* p, Py_ssize_t n) except -1:
        cdef bytes head = PyBytes_FromStringAndSize(p, n)
        if self.head is not None:
            self.recorder.captured -= PyBytes_GET_SIZE(self.head)
        self.head = head
        self.recorder.captured += n
        return 0

    cdef void forget_response(self) noexcept:
        """The gateway answers itself after all."""
        self.response.clear()
        self.recorder.captured -= self.response_kept
        self.response_size = self.response_kept = 0

    cdef void release(self) noexcept:
        """The request has ended."""
        if self.head is not None:
            self.recorder.captured -= PyBytes_GET_SIZE(self.head)
            self.head = None
        self.recorder.captured -= self.request_kept + self.response_kept
        self.request_kept = self.response_kept = 0


cdef Py_ssize_t _room(Recorder recorder, int64_t kept, Py_ssize_t wanted) noexcept:
    """How many more bytes of a body can be kept."""
    return min(<int64_t>wanted, recorder.max_body - kept, recorder.max_bytes - recorder.captured)


cdef bytes _wire(bytes head, list body, int64_t size, int64_t kept):
    """A message's text in base64; a body that was cut is announced by a line at the end of the head."""
    if size > kept:
        head += b"X-Preforge-Truncated: %d of %d bytes\r\n" % (kept, size)
    return base64.b64encode(head + b"\r\n" + b"".join(body))


cdef bytes _request_head(AnalyticsRecord* record, HeaderBlock head, int64_t size):
    """The request as it is after the gateway's changes, in the order in which Go writes it."""
    cdef list lines
    cdef Field* field
    cdef Part* path = &record.parts[P_PATH]
    cdef Part* query = &record.parts[P_QUERY]
    cdef int i
    target = quote(PyBytes_FromStringAndSize(path.data, path.size), PATH_SAFE).encode()
    if query.size:
        target += b"?" + PyBytes_FromStringAndSize(query.data, query.size)
    method = PyBytes_FromStringAndSize(record.parts[P_METHOD].data, record.parts[P_METHOD].size)
    lines = [method + b" " + target + b" HTTP/1.1",
             b"Host: " + PyBytes_FromStringAndSize(head.at(head.host), head.host_len)]
    for i in range(head.count):
        field = &head.fields[i]
        if not field.gone and field.id not in (F_HOST, F_CONTENT_LENGTH, F_TRANSFER_ENCODING):
            lines.append(PyBytes_FromStringAndSize(head.at(field.name), field.name_len) + b": " + head.value_of(i))
    if size:
        lines.append(b"Content-Length: %d" % size)
    return b"\r\n".join(lines) + b"\r\n"


cdef inline char* _copy(char* d, const char* s, Py_ssize_t n) noexcept:
    memcpy(d, s, n)
    return d + n


cdef inline char* _piece(char* d, bytes data) noexcept:
    memcpy(d, PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))
    return d + PyBytes_GET_SIZE(data)


cdef inline char* _pack(char* d, const char* s, Py_ssize_t n):
    """A string; what is not UTF-8 is replaced, because not everything that reads records can bear it."""
    if pack_ascii(s, n):
        d = pack_str_head(d, n)
        memcpy(d, s, n)
        return d + n
    return _pack_other(d, s, n)


cdef char* _pack_other(char* d, const char* s, Py_ssize_t n):
    cdef bytes fixed = _valid(PyBytes_FromStringAndSize(s, n))
    d = pack_str_head(d, PyBytes_GET_SIZE(fixed))
    return _piece(d, fixed)


@cython.final
cdef class Recorder:
    """Encodes records and holds them, in batches, until someone takes and releases them."""

    def __init__(self, int64_t max_records=100_000, int64_t max_bytes=64 << 20, *, Py_ssize_t batch_records=1000,
                 Py_ssize_t batch_bytes=1 << 20, int max_body=65536):
        """max_records, max_bytes: held at one time, further records are dropped and counted; batch_records,
        batch_bytes: size at which a batch is closed; max_body: bytes of a body that is recorded."""
        if max_records < 1 or max_bytes < 1 or batch_records < 1 or batch_bytes < 1 or max_body < 0:
            raise ValueError("recorder: bounds must be positive")
        self.max_records, self.max_bytes = max_records, max_bytes
        self.batch_records, self.batch_bytes = batch_records, batch_bytes
        self.max_body = max_body
        self.anonymous = KeyRecord()
        self._full = deque()
        self._open = []
        self._second = -1
        self._ignored = frozenset()
        self._node_tags = b""

    def __dealloc__(self):
        PyMem_Free(self._buffer)

    def configure(self, *, KeyRecord anonymous=None, object ignored=(), object node_tags=(), object normalise=None,
                  object address=None):
        """Take other settings from now on. anonymous: for requests without a key; ignored: addresses (bytes) that are
        not recorded; normalise(path: bytes) -> bytes; address(peer: bytes, real_ip: bytes | None, forwarded_for:
        bytes | None) -> bytes: of the client, the peer's if None."""
        self.anonymous = anonymous or KeyRecord()
        self._ignored = frozenset(ignored)
        self._node_tags = b"".join([_str(tag) for tag in node_tags])
        self._node_count = len(node_tags)
        self._normalise = normalise
        self.address = address

    # -- in ------------------------------------------------------------------------

    cdef int _reserve(self, Py_ssize_t size) except -1:
        cdef char* grown
        if size > self._capacity:
            grown = <char*>PyMem_Realloc(self._buffer, size * 2)
            if grown == NULL:
                raise MemoryError()
            self._buffer = grown
            self._capacity = size * 2
        return 0

    cdef void _set_second(self, int64_t second) noexcept:
        """Encode the fields that change once a second at most."""
        cdef int[4] parts
        cdef char* d = self._date
        pack_local(second, parts)
        d = pack_int(_copy(d, b"\xa3Day", 4), parts[0])
        d = pack_int(_copy(d, b"\xa5Month", 6), parts[1])
        d = pack_int(_copy(d, b"\xa4Year", 5), parts[2])
        d = pack_int(_copy(d, b"\xa4Hour", 5), parts[3])
        self._date_size = <int>(_copy(d, b"\xacResponseCode", 13) - self._date)
        self._second = second

    cdef int add(self, AnalyticsRecord* record, RecordPlan plan, KeyRecord key, HeaderBlock head,
                 Capture capture) except -1:
        """Keep one record; it is dropped and counted when a bound is reached. capture: None without details."""
        cdef Part* parts = record.parts
        cdef Part path = parts[P_PATH]
        cdef int64_t second = record.time_us // 1000000
        cdef int64_t nanoseconds = record.time_us % 1000000 * 1000
        cdef int64_t total = record.total_us // 1000, upstream = record.upstream_us // 1000
        cdef bytes request = b"", response = b"", normalised, done
        cdef list tags = None
        cdef int i, tag_count
        cdef Py_ssize_t size
        cdef char* d
        if self.held >= self.max_records or self.held_bytes >= self.max_bytes:
            self.dropped += 1
            return 0
        if self._ignored and PyBytes_FromStringAndSize(parts[P_ADDRESS].data, parts[P_ADDRESS].size) in self._ignored:
            return 0
        if key is None:
            key = self.anonymous
        if capture is not None:
            request = _wire(_request_head(record, head, capture.request_size), capture.request, capture.request_size,
                            capture.request_kept)
            if capture.head is not None:
                response = _wire(capture.head, capture.response, capture.response_size, capture.response_kept)
        if parts[P_TRACKED].data != NULL:
            path = parts[P_TRACKED]
        if self._normalise is not None:
            normalised = self._normalise(PyBytes_FromStringAndSize(path.data, path.size))
            path.data, path.size = PyBytes_AS_STRING(normalised), PyBytes_GET_SIZE(normalised)
        size = (FIXED + PyBytes_GET_SIZE(plan._ids) + PyBytes_GET_SIZE(plan._end) + PyBytes_GET_SIZE(plan._tags)
                + PyBytes_GET_SIZE(plan._own_tags) + PyBytes_GET_SIZE(key._key) + PyBytes_GET_SIZE(key._key_tag)
                + PyBytes_GET_SIZE(key._oauth) + PyBytes_GET_SIZE(key._alias) + PyBytes_GET_SIZE(key._tags)
                + PyBytes_GET_SIZE(self._node_tags) + PyBytes_GET_SIZE(request) + PyBytes_GET_SIZE(response)
                + 3 * path.size)        # a byte that is not UTF-8 becomes three
        for i in range(P_COUNT):
            size += 3 * parts[i].size
        tag_count = key._tag_count + plan._tag_count + self._node_count + plan._own_count + (
            PyBytes_GET_SIZE(key._key_tag) != 0)
        tag_count += record.cached
        if plan._headers:
            tags = _header_tags(plan._headers, head)
            tag_count += len(tags)
            for done in tags:
                size += PyBytes_GET_SIZE(done)
        self._reserve(size)
        if second != self._second:
            self._set_second(second)
        d = self._buffer
        d = _copy(d, b"\xde\x00\x23\xa6Method", 10)
        d = _pack(d, parts[P_METHOD].data, parts[P_METHOD].size)
        d = _copy(d, b"\xa4Host", 5)
        d = _pack(d, parts[P_HOST].data, parts[P_HOST].size)
        d = _copy(d, b"\xa4Path", 5)
        d = _pack(d, path.data, path.size)
        d = _copy(d, b"\xa7RawPath", 8)
        d = _pack(d, parts[P_PATH].data, parts[P_PATH].size)
        d = pack_int(_copy(d, b"\xadContentLength", 14), record.content_length)
        d = _copy(d, b"\xa9UserAgent", 10)
        d = _pack(d, parts[P_USER_AGENT].data, parts[P_USER_AGENT].size)
        d = pack_int(_copy(d, self._date, self._date_size), record.status)
        d = _piece(_copy(d, b"\xa6APIKey", 7), key._key)
        d = _copy(d, b"\xa9TimeStamp\x92", 11)
        d = pack_int(pack_int(d, second), nanoseconds)
        d = _copy(d, b"\xaaAPIVersion", 11)
        if parts[P_VERSION].size:
            d = _pack(d, parts[P_VERSION].data, parts[P_VERSION].size)
        else:
            d = _copy(d, b"\xadNon Versioned", 14)
        d = _piece(_piece(d, plan._ids), key._oauth)
        d = pack_int(_copy(d, b"\xabRequestTime", 12), total)
        d = pack_str_head(_copy(d, b"\xaaRawRequest", 11), PyBytes_GET_SIZE(request))
        d = _piece(d, request)
        d = pack_str_head(_copy(d, b"\xabRawResponse", 12), PyBytes_GET_SIZE(response))
        d = _piece(d, response)
        d = _copy(d, b"\xa9IPAddress", 10)
        d = _pack(d, parts[P_ADDRESS].data, parts[P_ADDRESS].size)
        d = pack_int(_piece(d, PLACE), total)
        d = pack_int(_copy(d, b"\xa8Upstream", 9), upstream)
        d = pack_int(_copy(d, b"\xa7Gateway", 8), total - upstream if total > upstream else 0)
        d = pack_array_head(_copy(d, b"\xa4Tags", 5), tag_count)
        d = _piece(d, key._tags)
        if tags is not None:
            for done in tags:
                d = _piece(d, done)
        d = _piece(d, plan._tags)
        if record.cached:
            d = _copy(d, b"\xafcached-response", 16)
        d = _piece(_piece(_piece(d, self._node_tags), key._key_tag), plan._own_tags)
        d = _piece(_copy(d, b"\xa5Alias", 6), key._alias)
        d = _copy(d, b"\xa9TrackPath\xc3" if parts[P_TRACKED].data != NULL else b"\xa9TrackPath\xc2", 11)
        d = _copy(d, b"\xa8ExpireAt\x92", 10)
        d = pack_int(pack_int(d, second + plan._expires), nanoseconds)
        d = _copy(d, b"\xa9ApiSchema\xa0\xacOriginalPath", 24)
        d = _pack(d, parts[P_ORIGINAL_PATH].data, parts[P_ORIGINAL_PATH].size)
        d = _piece(d, plan._end)
        done = PyBytes_FromStringAndSize(self._buffer, d - self._buffer)
        self._open.append(done)
        self.records += 1
        self.held += 1
        self.held_bytes += PyBytes_GET_SIZE(done)
        self._open_bytes += PyBytes_GET_SIZE(done)
        if len(self._open) >= self.batch_records or self._open_bytes >= self.batch_bytes:
            self._full.append(self._open)
            self._open = []
            self._open_bytes = 0
            if self.wake is not None:
                self.wake()
        return 0

    # -- out -----------------------------------------------------------------------

    def take(self, bint partial=True):
        """The oldest batch, or None; partial: even one that is not full. It counts as held until it is released."""
        if self._full:
            return self._full.popleft()
        if not partial or not self._open:
            return None
        batch = self._open
        self._open = []
        self._open_bytes = 0
        return batch

    def release(self, list batch not None):
        """The records of a batch that was taken are no longer held."""
        cdef bytes done
        for done in batch:
            self.held -= 1
            self.held_bytes -= PyBytes_GET_SIZE(done)

    def record(self, RecordPlan plan not None, KeyRecord key=None, *, bytes method=b"", bytes host=b"", bytes path=b"",
               bytes original_path=b"", bytes user_agent=b"", bytes version=b"", bytes address=b"", bytes tracked=None,
               int status=0, int64_t time_us=0, int64_t total_us=0, int64_t upstream_us=0, int64_t content_length=0,
               object headers=()):
        """Keep one record; what `add` does, for Python."""
        cdef AnalyticsRecord record
        cdef HeaderBlock head = HeaderBlock()
        cdef bytes name, value
        for name, value in headers:
            head.put(canonical(name), value)
        clear(&record)
        record.time_us, record.total_us, record.upstream_us = time_us, total_us, upstream_us
        record.content_length, record.status = content_length, status
        set_part(&record, P_METHOD, PyBytes_AS_STRING(method), PyBytes_GET_SIZE(method))
        set_part(&record, P_HOST, PyBytes_AS_STRING(host), PyBytes_GET_SIZE(host))
        set_part(&record, P_PATH, PyBytes_AS_STRING(path), PyBytes_GET_SIZE(path))
        set_part(&record, P_ORIGINAL_PATH, PyBytes_AS_STRING(original_path), PyBytes_GET_SIZE(original_path))
        set_part(&record, P_USER_AGENT, PyBytes_AS_STRING(user_agent), PyBytes_GET_SIZE(user_agent))
        set_part(&record, P_VERSION, PyBytes_AS_STRING(version), PyBytes_GET_SIZE(version))
        set_part(&record, P_ADDRESS, PyBytes_AS_STRING(address), PyBytes_GET_SIZE(address))
        if tracked is not None:
            set_part(&record, P_TRACKED, PyBytes_AS_STRING(tracked), PyBytes_GET_SIZE(tracked))
        self.add(&record, plan, key, head, None)


cdef list _header_tags(list wanted, HeaderBlock head):
    """`<lower name>-<value>` for each request header that is wanted, encoded."""
    cdef list found = []
    cdef bytes name, prefix
    cdef Field* field
    cdef int i
    for name, prefix in wanted:
        for i in range(head.count):
            field = &head.fields[i]
            if not field.gone and field.name_len == PyBytes_GET_SIZE(name) and memcmp(
                    head.at(field.name), PyBytes_AS_STRING(name), field.name_len) == 0:
                found.append(_str(prefix + head.value_of(i)))
    return found


def benchmark(Recorder recorder not None, RecordPlan plan not None, KeyRecord key, int count):
    """Seconds for `count` records of an ordinary request, taken and released as they come."""
    cdef AnalyticsRecord record
    cdef HeaderBlock head = HeaderBlock()
    cdef int i
    clear(&record)
    set_part(&record, P_METHOD, b"GET", 3)
    set_part(&record, P_HOST, b"127.0.0.1:8081", 14)
    set_part(&record, P_PATH, b"/users/4711/orders", 18)
    set_part(&record, P_ORIGINAL_PATH, b"/shop/users/4711/orders", 23)
    set_part(&record, P_USER_AGENT, b"Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0", 70)
    set_part(&record, P_ADDRESS, b"192.0.2.17", 10)
    record.status = 200
    began = time.perf_counter()
    for i in range(count):
        record.time_us = 1_760_000_000_000_000 + i * 25
        record.total_us, record.upstream_us = 1500 + i % 700, 1000 + i % 500
        recorder.add(&record, plan, key, head, None)
        if recorder._full:
            recorder.release(recorder.take())
    return time.perf_counter() - began
