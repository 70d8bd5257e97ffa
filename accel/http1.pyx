"""HTTP/1.1 on both sides. See http1.pxd for how a request goes and who owns what.

Rules: RFC 9110, RFC 9112; behaviour towards clients and upstreams: tyk-core 3.2, 3.3, 3.9.
"""

import asyncio
import errno
import os
import socket as socket_module
import ssl as ssl_module
import time
import zlib
from collections import deque
from urllib.parse import parse_qsl, unquote_to_bytes, urlencode

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.dict cimport PyDict_GetItem
from cpython.ref cimport PyObject
from libc.stdlib cimport free, realloc
from libc.string cimport memcmp, memcpy, strlen
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

from accel.accesslog cimport (
    T_API_ID, T_API_NAME, T_CLIENT_IP, T_HOST, T_METHOD, T_ORG_ID, T_ORIGINAL_PATH, T_PATH, T_PROTOCOL, T_REMOTE_ADDR,
    T_REQUEST_ID, T_RESPONSE_FLAG, T_UPSTREAM_ADDR, T_USER_AGENT, clear_record, set_text,
)
from accel.analytics cimport (
    AnalyticsRecord, Capture, KeyRecord, P_ADDRESS, P_HOST, P_METHOD, P_ORIGINAL_PATH, P_PATH, P_QUERY, P_TRACKED,
    P_USER_AGENT, P_VERSION, RecordPlan, Recorder, clear, set_part,
)
from accel.chunked cimport CHUNK_BAD_EXTENSION, CHUNK_BAD_TRAILER, CHUNK_DATA, CHUNK_END, CHUNK_MORE
from accel.endpoints cimport (
    GATE_FORBIDDEN, GATE_IGNORED, GATE_OPEN, K_BREAKER, K_HARD_TIMEOUT, K_METHOD, K_RATE_LIMIT, K_URL_REWRITE, Endpoint,
    EndpointMatcher, Pattern, Verdict, VerdictMemo, stricter,
)
from accel.headers cimport (
    BAD_EXPECTATION, BAD_HEADERS, BAD_TARGET_LENGTH, BAD_VERSION, BODY_CHUNKED, BODY_EOF, BODY_LENGTH, BODY_NONE,
    CH_PATH, CH_TARGET, CONN_CLOSE, CONN_KEEP_ALIVE, CONN_UPGRADE, F_ACCEPT_ENCODING, F_CONNECTION, F_CONTENT_ENCODING,
    F_CONTENT_LENGTH, F_CONTENT_TYPE, F_DATE, F_EXPECT, F_HOST, F_IDEMPOTENCY_KEY, F_KEEP_ALIVE, F_PROXY_AUTHENTICATE,
    F_PROXY_AUTHORIZATION, F_PROXY_CONNECTION, F_RANGE, F_TE, F_TRAILER, F_TRANSFER_ENCODING, F_UPGRADE,
    F_USER_AGENT, F_X_FORWARDED_FOR, F_X_RATELIMIT_LIMIT, F_X_RATELIMIT_REMAINING, F_X_RATELIMIT_RESET, F_X_REAL_IP,
    Field, canonical, ch_is, head_end, parse_request, parse_response, parse_trailers, tables_init, U_AMBIGUOUS,
)
from accel.limits cimport L_BLOCKED, L_FULL, L_PASS, LimitTable, QuotaWindow, RateWindow, mark_of
from accel.shm cimport (
    B_BODY, B_BODY_TIMEOUT, B_BUFFERED_BODY, B_CHUNK_EXTENSION, B_CONNECTIONS, B_HEAD_BYTES, B_HEAD_TIMEOUT,
    B_COUNTERS, B_HEADERS, B_IDLE_TIMEOUT, B_PIPELINE, B_REQUEST_TIMEOUT, B_SEND_TIMEOUT, B_TARGET, B_TRAILERS,
    A_KEY_FAILURES, A_OVER_QUOTA, A_THROTTLED, B_BUFFERED_RESPONSE, B_UPSTREAM_CONNECTIONS, B_UPSTREAM_HEAD, B_UPSTREAM_WAIT,
    G_ACTIVE_REQUESTS, G_APIS, G_BREAKER_REFUSED, G_BYTES_IN, G_BYTES_OUT,
    G_CLIENT_ABORTS, G_CONNECTIONS, G_CONNECTIONS_TOTAL, G_LOG_DROPPED, G_NOT_FOUND, G_REDIRECTS, G_REQUESTS_TOTAL,
    G_TUNNELS, G_UPSTREAM_CONNECTIONS, G_UPSTREAM_CONNECTS, G_UPSTREAM_CONNECT_ERRORS, G_UPSTREAM_IDLE,
    G_UPSTREAM_RESETS, G_UPSTREAM_RETRIES, G_UPSTREAM_REUSED, G_UPSTREAM_TIMEOUTS, G_UPSTREAM_WAITERS, R_BAD_REQUEST,
    R_BAD_RESPONSE, R_EXPECTATION, R_NOT_IMPLEMENTED, R_VERSION,
)
from accel.sniff cimport sniff

from accel.endpoints import KINDS

cdef extern from "<strings.h>" nogil:
    int strncasecmp(const char* a, const char* b, size_t n)

cdef extern from "<ctype.h>" nogil:
    int isxdigit(int c)

cdef extern from "Python.h":
    Py_ssize_t Py_REFCNT(object o)

tables_init()

cdef enum:
    SMALL = 16384           # a body piece up to this size is copied behind its head, to be one write
    HOLD = 65536            # request body bytes held while there is no upstream connection yet
    MOST_INTERIM = 16       # 1xx responses before the final one
    MOST_LOOPS = 5          # tyk-core 3.8
    MOST_LINGER = 1 << 20   # bytes thrown away while a connection is closing

PROBLEM = "There was a problem proxying the request"
TIMEOUT = "Upstream service reached hard timeout."
LOOKUP = "Upstream host lookup failed"
BUSY = "Service temporarily unavailable."

cdef dict REASONS = {
    100: b"Continue", 101: b"Switching Protocols", 102: b"Processing", 103: b"Early Hints", 200: b"OK", 201: b"Created",
    202: b"Accepted", 203: b"Non-Authoritative Information", 204: b"No Content", 205: b"Reset Content",
    206: b"Partial Content", 207: b"Multi-Status", 208: b"Already Reported", 226: b"IM Used", 300: b"Multiple Choices",
    301: b"Moved Permanently", 302: b"Found", 303: b"See Other", 304: b"Not Modified", 305: b"Use Proxy",
    307: b"Temporary Redirect", 308: b"Permanent Redirect", 400: b"Bad Request", 401: b"Unauthorized",
    402: b"Payment Required", 403: b"Forbidden", 404: b"Not Found", 405: b"Method Not Allowed", 406: b"Not Acceptable",
    407: b"Proxy Authentication Required", 408: b"Request Timeout", 409: b"Conflict", 410: b"Gone",
    411: b"Length Required", 412: b"Precondition Failed", 413: b"Request Entity Too Large",
    414: b"Request URI Too Long", 415: b"Unsupported Media Type", 416: b"Requested Range Not Satisfiable",
    417: b"Expectation Failed", 418: b"I'm a teapot", 421: b"Misdirected Request", 422: b"Unprocessable Entity",
    423: b"Locked", 424: b"Failed Dependency", 425: b"Too Early", 426: b"Upgrade Required",
    428: b"Precondition Required", 429: b"Too Many Requests", 431: b"Request Header Fields Too Large",
    451: b"Unavailable For Legal Reasons", 499: b"Client Closed Request", 500: b"Internal Server Error",
    501: b"Not Implemented", 502: b"Bad Gateway", 503: b"Service Unavailable", 504: b"Gateway Timeout",
    505: b"HTTP Version Not Supported", 507: b"Insufficient Storage", 508: b"Loop Detected", 511:
    b"Network Authentication Required",
}
cdef list STATUS_LINES = [b""] * 600
for _status in range(100, 600):
    STATUS_LINES[_status] = b" %d %s\r\n" % (_status, REASONS.get(_status, b"status code %d" % _status))

# Fields that end at this hop (RFC 9110 section 7.6.1), and those that the gateway writes itself.
cdef uint64_t HOP = (<uint64_t>1 << F_CONNECTION | <uint64_t>1 << F_KEEP_ALIVE | <uint64_t>1 << F_PROXY_CONNECTION
                     | <uint64_t>1 << F_PROXY_AUTHENTICATE | <uint64_t>1 << F_PROXY_AUTHORIZATION
                     | <uint64_t>1 << F_TE | <uint64_t>1 << F_TRAILER | <uint64_t>1 << F_TRANSFER_ENCODING
                     | <uint64_t>1 << F_UPGRADE)
cdef uint64_t OWN_REQUEST = (HOP | <uint64_t>1 << F_HOST | <uint64_t>1 << F_CONTENT_LENGTH | <uint64_t>1 << F_EXPECT
                             | <uint64_t>1 << F_X_FORWARDED_FOR)
cdef uint64_t RATELIMIT = (<uint64_t>1 << F_X_RATELIMIT_LIMIT | <uint64_t>1 << F_X_RATELIMIT_REMAINING
                           | <uint64_t>1 << F_X_RATELIMIT_RESET)
cdef uint64_t OWN_RESPONSE = HOP | <uint64_t>1 << F_CONTENT_LENGTH

cdef bytes ZERO_LIMITS = b"X-Ratelimit-Limit: 0\r\nX-Ratelimit-Remaining: 0\r\nX-Ratelimit-Reset: 0\r\n"



cdef inline int64_t now_us() noexcept:
    cdef timespec t
    clock_gettime(CLOCK_MONOTONIC, &t)
    return <int64_t>t.tv_sec * 1000000 + t.tv_nsec // 1000


include "buffer.pxi"
include "paths.pxi"
include "url.pxi"
include "body.pxi"
include "plan.pxi"
include "keys.pxi"
include "gate.pxi"
include "address.pxi"
include "rewrite.pxi"
include "breaker.pxi"
include "record.pxi"
include "account.pxi"
include "heads.pxi"
include "copies.pxi"
include "relay.pxi"
include "chain.pxi"
include "route.pxi"
include "origin.pxi"
include "upstream.pxi"
include "fresh.pxi"
include "exchange.pxi"
include "client.pxi"
include "gateway.pxi"
