"""A message head as one flat block: the head's bytes once, and an array that says where each field lies.

Ownership. A HeaderBlock owns two malloc'ed arrays and frees them when it is deallocated; both only grow and
are reused for the next message (`reset`). A `Field` holds offsets into `buf`, never pointers, so a field stays
valid when `buf` moves. Pointers got from `at()` are valid until the next call that adds bytes.
Names are stored in canonical spelling (`X-Ratelimit-Limit`), values without surrounding white space; both have
been checked for forbidden bytes before they got in, by `parse_request`, `parse_response` or `add`.
"""

from libc.stdint cimport int64_t, uint64_t

cdef extern from "tables.h" nogil:
    enum:
        CH_TOKEN, CH_VALUE, CH_TARGET, CH_PATH, CH_HOST, CH_HEX, CH_DIGIT
        F_OTHER, F_HOST, F_CONNECTION, F_CONTENT_LENGTH, F_TRANSFER_ENCODING, F_UPGRADE, F_EXPECT, F_TE, F_TRAILER
        F_KEEP_ALIVE, F_PROXY_CONNECTION, F_PROXY_AUTHENTICATE, F_PROXY_AUTHORIZATION, F_USER_AGENT
        F_ACCEPT_ENCODING, F_X_FORWARDED_FOR, F_CONTENT_TYPE, F_CONTENT_ENCODING, F_DATE, F_RANGE, F_AUTHORIZATION
        F_X_RATELIMIT_LIMIT, F_X_RATELIMIT_REMAINING, F_X_RATELIMIT_RESET, F_SEC_WEBSOCKET_KEY, F_X_REAL_IP
        F_IDEMPOTENCY_KEY, F_COUNT
    unsigned char[256] ch_class
    unsigned char[256] ch_upper
    unsigned char[256] ch_lower
    void tables_init()
    int ch_is(unsigned char c, int mask)
    int hex_value(unsigned char c)
    int known_field(const char* s, Py_ssize_t n)

cdef struct Field:
    int name
    int name_len
    int value
    int value_len
    int id              # F_*, F_OTHER for a name that the gateway does not care about
    bint gone           # removed: skipped by every reader

# What Connection said, as bits.
cdef enum:
    CONN_CLOSE = 1
    CONN_KEEP_ALIVE = 2
    CONN_UPGRADE = 4

# How a message's body ends.
cdef enum:
    BODY_NONE = 0
    BODY_LENGTH = 1
    BODY_CHUNKED = 2
    BODY_EOF = 3        # responses only

# Why a head was refused; the low bits are the status to answer with.
cdef enum:
    BAD_NONE = 0
    BAD_SYNTAX = 400
    BAD_TARGET_LENGTH = 414
    BAD_HEADERS = 431
    BAD_CODING = 501
    BAD_VERSION = 505
    BAD_EXPECTATION = 417
    BAD_METHOD = 405

cdef struct HeadLimits:
    int max_target
    int max_fields
    int underscores     # U_*

cdef enum:
    U_AMBIGUOUS = 0
    U_REFUSE = 1
    U_DROP = 2
    U_ALLOW = 3

cdef class HeaderBlock:
    cdef char* buf
    cdef int size
    cdef int capacity
    cdef Field* fields
    cdef int count
    cdef int room
    cdef uint64_t seen          # bit per F_* that is present and not gone
    # start line
    cdef int method, method_len         # request; offsets into buf
    cdef int target, target_len         # request: path and query (the authority of absolute-form is in host)
    cdef int path_len                   # of target, without "?query"
    cdef int host, host_len             # request: Host or the authority of the target, as sent
    cdef bint encoded                   # the path holds a "%"
    cdef bint unclean                   # the path may hold "//" or dot segments, plain or encoded
    cdef int status                     # response
    cdef int minor                      # HTTP/1.minor
    # framing
    cdef int body                       # BODY_*
    cdef int64_t length                 # with BODY_LENGTH
    cdef int connection                 # CONN_* bits
    cdef bint nominated                 # Connection names fields of its own
    cdef bint expect                    # 100-continue

    cdef inline const char* at(self, int offset) noexcept:
        return self.buf + offset

    cdef void reset(self) noexcept
    cdef int reserve(self, Py_ssize_t more) except -1
    cdef int append(self, const char* data, Py_ssize_t n) except -1
    cdef Field* push(self) except NULL
    cdef int find(self, int known) noexcept
    cdef int lookup(self, const char* name, Py_ssize_t n) noexcept
    cdef void drop(self, int index) noexcept
    cdef void drop_known(self, int known) noexcept
    cdef int drop_name(self, bytes canonical) except -1
    cdef int put(self, bytes canonical, bytes value) except -1
    cdef bytes value_of(self, int index)
    cdef int drop_nominated(self) except -1

cdef int parse_request(HeaderBlock head, const char* p, Py_ssize_t n, HeadLimits* limits) except -1
cdef int parse_response(HeaderBlock head, const char* p, Py_ssize_t n, int max_fields, bint to_head) except -1
cdef int parse_trailers(HeaderBlock head, const char* p, Py_ssize_t n, int max_fields) except -1
cdef Py_ssize_t head_end(const char* p, Py_ssize_t n, Py_ssize_t* scanned) noexcept
cpdef bytes canonical(bytes name)
