"""One line per finished request, built without Python objects and written in batches: C interface.

Ownership. `add` copies what it needs before it returns; the texts of an AccessRecord are only borrowed.
Use from one thread. What a line may hold is fixed here: no header value except the user agent, no query
string (paths and addresses are cut at "?"), no key.

    cdef AccessRecord record
    clear_record(&record)
    set_text(&record, T_METHOD, data, size)
    record.status = 200
    log.add(&record)
"""

cimport cython
from libc.stdint cimport uint64_t
from libc.string cimport memset

cdef enum:
    # texts of a record, in the order of the lines
    T_REQUEST_ID = 0
    T_API_ID = 1
    T_API_NAME = 2
    T_ORG_ID = 3
    T_API_TYPE = 4
    T_CLIENT_IP = 5
    T_REMOTE_ADDR = 6
    T_HOST = 7
    T_METHOD = 8
    T_PATH = 9
    T_ORIGINAL_PATH = 10
    T_PROTOCOL = 11
    T_UPSTREAM_ADDR = 12
    T_USER_AGENT = 13
    T_RESPONSE_FLAG = 14    # short code of why the gateway answered itself, for example UCF
    T_TRACE_ID = 15
    T_COUNT = 16
    # numbers, by their place in the table of fields
    N_STATUS = 16
    N_UPSTREAM_STATUS = 17
    N_LATENCY_TOTAL = 18
    N_UPSTREAM_LATENCY = 19
    N_LATENCY_GATEWAY = 20
    N_BYTES_IN = 21
    N_BYTES_OUT = 22
    FIELD_COUNT = 23
    FIELD_MAX = 8192        # bytes of one text that are logged; the rest is replaced by "..."

cdef struct Text:
    const char* data        # NULL: the field is left out of the line
    Py_ssize_t size

cdef struct AccessRecord:
    uint64_t time_ms        # since the epoch
    uint64_t total_us
    uint64_t upstream_us
    uint64_t bytes_in
    uint64_t bytes_out
    int status
    int upstream_status     # 0: no upstream answered; the field is left out
    Text[16] text


cdef inline void clear_record(AccessRecord* record) noexcept nogil:
    memset(record, 0, sizeof(AccessRecord))


cdef inline void set_text(AccessRecord* record, int field, const char* data, Py_ssize_t size) noexcept nogil:
    record.text[field].data = data
    record.text[field].size = size


@cython.final
cdef class AccessLog:
    cdef readonly str path
    cdef readonly uint64_t dropped          # lines that were not kept because the buffer was full
    cdef readonly int last_error            # errno of the last write that failed, 0 when it succeeded
    cdef readonly Py_ssize_t max_buffer
    cdef int _fd
    cdef int _kind
    cdef bint _json
    cdef bint _stalled
    cdef bint _partial                      # the last write ended inside a line
    cdef int _field_count
    cdef int[23] _fields
    cdef char* _buffer
    cdef Py_ssize_t _used
    cdef Py_ssize_t _capacity
    cdef uint64_t _second
    cdef char[24] _stamp

    cdef void add(self, AccessRecord* record) noexcept
    cdef bint write_out(self) noexcept
    cdef bint _reserve(self, Py_ssize_t size) noexcept
    cdef bint _line(self, AccessRecord* record) noexcept
    cdef void _time(self, uint64_t time_ms) noexcept
    cdef void _raw(self, const char* data, Py_ssize_t size) noexcept
    cdef void _text(self, int field, Text* value) noexcept
    cdef void _number(self, uint64_t value) noexcept
    cdef void _millis(self, uint64_t microseconds) noexcept
    cdef Py_ssize_t _batch(self) noexcept
