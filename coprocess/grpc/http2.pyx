"""See http2.pxd."""

cimport cython
from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_GET_SIZE
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.stdio cimport snprintf
from libc.stdlib cimport free, realloc
from libc.string cimport memcmp, memcpy
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

from coprocess.grpc.hpack cimport decode_block, encode_integer, encode_literal

from collections import OrderedDict, deque
from urllib.parse import unquote_to_bytes

from coprocess.driver import Reply
from coprocess.grpc.hpack import HpackError, TooLarge
from coprocess.grpc.hpack import encode as encode_fields

cdef enum:             # RFC 9113 6
    DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION

cdef enum:
    ACK = 0x1
    END_STREAM = 0x1
    END_HEADERS = 0x4
    PADDED = 0x8
    WITH_PRIORITY = 0x20

cdef enum:             # RFC 9113 7
    NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR, SETTINGS_TIMEOUT, STREAM_CLOSED, FRAME_SIZE_ERROR
    REFUSED_STREAM, CANCEL, COMPRESSION_ERROR, CONNECT_ERROR, ENHANCE_YOUR_CALM, INADEQUATE_SECURITY, HTTP_1_1_REQUIRED

cdef enum:          # RFC 9113 6.5.2
    HEADER_TABLE_SIZE = 1
    ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, MAX_HEADER_LIST_SIZE

cdef enum:
    FRAME_HEAD = 9
    LARGEST_FRAME = 16384               # that the server may send, HTTP/2's least
    LARGEST_WINDOW = 0x7FFFFFFF
    DEFAULT_WINDOW = 65535
    CONNECTION_WINDOW = 1 << 30         # that the server may use: replies are bounded one by one
    LAST_STREAM = 1 << 30               # ids run out at 2^31: a new connection comes long before
    MOST_FIELDS = 16384                 # bytes of a list of fields (announced)
    LARGEST_BLOCK = 32768               # bytes of it as it is sent
    MOST_BLOCK_FRAMES = 16
    MOST_CHATTER = 10000                # frames in a beat that do not bring any call on
    CHATTER_OF_A_CALL = 8               # such frames that are normal for each call
    MOST_PINGS = 3                      # of ours in a row: servers of gRPC's libraries end a connection at the fourth (A8)
    MOST_UNREAD = 10000                 # acknowledgements that the server does not read
    HIGH = 256 * 1024                   # bytes of requests in the buffer
    STEP = 10000                        # microseconds
    SLOTS = 512
    SILENCE = 10000000                  # microseconds between two lines in the log about events
    MOST_DETAIL = 1024                  # characters of what a server says, for the log

cdef double LINGER = 0.5                # seconds for what is left in the buffer of a connection that is given up

OUTCOMES = ("ok", "error", "timeout", "busy", "away", "too_large", "disabled")
TOTAL_NAMES = (
    "replies", "errors", "timeouts", "busy", "away", "too_large", "disabled", "calls", "cancelled", "retries", "events",
    "events_dropped", "events_failed", "connects", "connect_failures", "disconnects", "goaways", "protocol_errors", "bytes_in",
    "bytes_out",
)
CODE_NAMES = (
    "NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT", "STREAM_CLOSED",
    "FRAME_SIZE_ERROR", "REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR", "CONNECT_ERROR", "ENHANCE_YOUR_CALM",
    "INADEQUATE_SECURITY", "HTTP_1_1_REQUIRED",
)
STATUS_NAMES = (
    "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE",
    "DATA_LOSS", "UNAUTHENTICATED",
)
cdef tuple OUTCOME_NAMES = OUTCOMES
cdef enum:
    STATUS_UNKNOWN = 2
    STATUS_DEADLINE_EXCEEDED = 4
    STATUS_UNAVAILABLE = 14


class Fault(Exception):
    """The server broke the protocol: the connection is at its end. `code`: of RFC 9113 7."""

    def __init__(self, code, detail):
        super().__init__(f"{code_name(code)}: {detail}")
        self.code = code


cdef str code_name(uint32_t code):
    return CODE_NAMES[code] if code < len(CODE_NAMES) else f"error {code}"


cdef inline int64_t clock() noexcept:
    cdef timespec t
    clock_gettime(CLOCK_MONOTONIC, &t)
    return <int64_t>t.tv_sec * 1000000 + t.tv_nsec // 1000


cdef inline uint32_t word_at(const uint8_t* p) noexcept:
    return <uint32_t>p[0] << 24 | <uint32_t>p[1] << 16 | <uint32_t>p[2] << 8 | p[3]


cdef inline void put_word(uint8_t* p, uint32_t value) noexcept:
    p[0] = value >> 24
    p[1] = value >> 16 & 0xFF
    p[2] = value >> 8 & 0xFF
    p[3] = value & 0xFF


cdef str printable(bytes text):
    """What a server said, for the log: no line breaks, nothing that a terminal obeys, not too much."""
    said = text.decode("utf-8", "replace")
    return "".join([c if c.isprintable() else " " for c in said[:MOST_DETAIL]])


include "deadlines.pxi"
include "answer.pxi"
include "caller.pxi"
include "output.pxi"
include "frames.pxi"
include "sender.pxi"
include "connection.pxi"
