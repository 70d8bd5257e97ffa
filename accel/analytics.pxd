"""Analytics records as Tyk Pump reads them (tyk-core 6), encoded as requests end and kept until they are written.

Ownership. `add` copies what it needs before it returns; the texts of an AnalyticsRecord are only borrowed. A
`RecordPlan` (one per API) and a `KeyRecord` (one per session) hold what is the same in many records, already encoded.
Use from one thread.

    cdef AnalyticsRecord record
    clear(&record)
    set_part(&record, P_METHOD, data, size)
    record.status = 200
    recorder.add(&record, plan, key, head, None)
"""

cimport cython
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memset

from accel.headers cimport HeaderBlock

cdef enum:
    # texts of a record
    P_METHOD = 0
    P_HOST = 1
    P_PATH = 2              # as the API sees it: without the listen path, rewritten, decoded
    P_ORIGINAL_PATH = 3
    P_USER_AGENT = 4
    P_VERSION = 5           # empty: the API is not versioned
    P_ADDRESS = 6           # of the client
    P_TRACKED = 7           # pattern of a tracked endpoint, which then is the Path; NULL: none
    P_QUERY = 8             # without the question mark; only for the wire text
    P_COUNT = 9

cdef struct Part:
    const char* data        # NULL is the same as empty
    Py_ssize_t size

cdef struct AnalyticsRecord:
    int64_t time_us         # since the epoch, when the request ended
    int64_t total_us
    int64_t upstream_us
    int64_t content_length  # of the request, -1 when unknown
    int status
    bint cached                         # answered by the response cache: gets the tag cached-response
    Part[9] parts


cdef inline void clear(AnalyticsRecord* record) noexcept nogil:
    memset(record, 0, sizeof(AnalyticsRecord))


cdef inline void set_part(AnalyticsRecord* record, int part, const char* data, Py_ssize_t size) noexcept nogil:
    record.parts[part].data = data
    record.parts[part].size = size


@cython.final
cdef class RecordPlan:
    cdef object __weakref__
    cdef readonly bytes host            # of the target, for requests that reach none
    cdef readonly bint detailed         # record the wire text of requests and responses
    cdef readonly object own_expiry     # seconds, of the API
    cdef readonly object expires_after  # seconds, as it is now
    cdef int64_t _expires
    cdef bint _own_detailed
    cdef bytes _ids                     # APIName to the key of OauthID
    cdef bytes _end                     # ListenPath to the last field
    cdef bytes _tags                    # of the API, encoded
    cdef bytes _own_tags                # org-... and api-..., encoded
    cdef int _tag_count, _own_count
    cdef list _headers                  # (canonical name, "<lower name>-")


@cython.final
cdef class KeyRecord:
    cdef readonly bint detailed
    cdef bytes _key                     # APIKey, encoded
    cdef bytes _key_tag                 # key-..., encoded; empty without a key
    cdef bytes _oauth                   # OauthID, encoded
    cdef bytes _alias                   # Alias, encoded
    cdef bytes _tags                    # pol-..., dev-... and the session's own, encoded
    cdef int _tag_count


cdef class Recorder


@cython.final
cdef class Capture:
    """Bodies and response head of one request that is recorded in detail.

    Each body up to Recorder.max_body bytes, and all captures together up to Recorder.max_bytes; what is cut is said in the
    record. Whoever made it calls `release`.
    """
    cdef Recorder recorder
    cdef list request, response
    cdef int64_t request_size, response_size    # of the whole bodies
    cdef int64_t request_kept, response_kept    # of what is in the lists
    cdef bytes head                             # response head as the client got it
    cdef int add_request(self, bytes piece) except -1
    cdef int add_response(self, const char* p, Py_ssize_t n) except -1
    cdef int set_head(self, const char* p, Py_ssize_t n) except -1
    cdef void forget_response(self) noexcept
    cdef void release(self) noexcept


@cython.final
cdef class Recorder:
    cdef readonly int64_t records               # taken in since the start
    cdef readonly int64_t dropped               # not taken in because a bound was reached
    cdef readonly int64_t held, held_bytes      # waiting, or taken and not released yet
    cdef readonly int64_t captured              # bytes in captures
    cdef readonly int64_t max_records, max_bytes
    cdef readonly Py_ssize_t batch_records, batch_bytes
    cdef readonly int max_body
    cdef readonly KeyRecord anonymous
    cdef public object wake                     # called without arguments when a batch is full
    cdef public object describe                 # KeyEntry -> KeyRecord
    cdef readonly object address                # of a client behind its peer, see configure
    cdef frozenset _ignored
    cdef object _normalise                      # path -> path, or None
    cdef bytes _node_tags
    cdef int _node_count
    cdef object _full                           # deque of whole batches
    cdef list _open
    cdef Py_ssize_t _open_bytes
    cdef char* _buffer
    cdef Py_ssize_t _capacity
    cdef int64_t _second
    cdef char[64] _date                         # the fields Day to Hour of that second, encoded
    cdef int _date_size

    cdef int add(self, AnalyticsRecord* record, RecordPlan plan, KeyRecord key, HeaderBlock head,
                 Capture capture) except -1
    cdef int _reserve(self, Py_ssize_t size) except -1
    cdef void _set_second(self, int64_t second) noexcept
