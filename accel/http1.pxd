"""The data path: client connections, exchanges, upstream connections and their pools, in one extension.

How a request goes. `Client.data_received` finds a whole head, parses it into its exchange's `req`, and calls
`Exchange.begin`. That picks a plan (once: a reload does not change it under a request), runs the plan's steps, each
of which says GO_ON, ANSWERED or WAIT, does what they have put off (`Later`), and hands the request to the plan's
`Origin`. The origin attaches an `Upstream` connection, at once if one is idle. From then on body bytes go straight from
one transport to the other, and `Exchange.finish` counts, logs and gives the client connection back to its next request.

How a response goes. Its head passes the plan's response steps and goes on at once. Where one of them wants the whole
body (`Step.whole`), the response is held instead: the exchange keeps its head (the connection gets another block for
its next response) and collects its body; when both are whole, the connection is free and the steps run, and may wait.
An answer of `Exchange.respond` takes the same way from there. A step that has asked for a copy (`Exchange.copy_response`)
is told of what then goes to the client, head first and body when it is whole; the response does not wait for it.

Ownership. Gateway -> open clients (set). Client -> its one Exchange, reused from request to request unless a step kept
a reference. Exchange <-> Upstream while they belong together: `Upstream.x` and `Exchange.up` are set and cleared
together, so neither outlives the other's interest. Origin -> its idle upstreams (list) and waiting exchanges (deque).
`Gateway.out` is scratch space: whoever fills it empties it before returning to the event loop.

Back-pressure. A transport that cannot take more pauses the *other* side's reading; unread input of a client is at
most what one read returned, because reading is paused while a request that is complete has not been answered.
"""

from libc.stdint cimport int64_t, uint64_t

from accel.accesslog cimport AccessLog, AccessRecord
from accel.analytics cimport Capture, KeyRecord, RecordPlan, Recorder
from accel.chunked cimport ChunkDecoder
from accel.endpoints cimport EndpointMatcher, Pattern, Verdict, VerdictMemo
from accel.headers cimport HeadLimits, HeaderBlock
from accel.limits cimport LimitTable, QuotaWindow, RateWindow
from accel.router cimport Route, Router
from accel.shm cimport Region
from accel.wheel cimport Timed, Wheel

# What a step says.
cdef enum:
    GO_ON = 0
    ANSWERED = 1
    WAIT = 2

# Where an exchange stands.
cdef enum:
    X_IDLE = 0
    X_BODY = 1          # collecting the request body for the steps
    X_STEPS = 2         # in the steps, or waiting for one
    X_CONNECT = 3       # waiting for an upstream connection
    X_SENT = 4          # request head sent, no response head yet
    X_RESPONSE = 5      # response head seen
    X_CHAIN = 6         # response whole, in its steps, or waiting for one
    X_ANSWERED = 7      # response complete, request body not yet
    X_DONE = 8
    X_TUNNEL = 9

# Why the client's deadline is set.
cdef enum:
    T_HEAD = 0
    T_IDLE = 1
    T_BODY = 2
    T_SEND = 3
    T_TOTAL = 4
    T_LINGER = 5
    T_WAIT = 6          # for a place in an upstream pool

# Client connection states.
cdef enum:
    C_HEAD = 0
    C_BODY = 1
    C_BUSY = 2          # request read, answer not complete
    C_TUNNEL = 3
    C_LINGER = 4        # answered and closing: input is thrown away
    C_CLOSED = 5

# How the response body goes to the client.
cdef enum:
    OUT_RAW = 0         # as it comes: Content-Length, or until close
    OUT_CHUNKED = 1
    OUT_NONE = 2
    OUT_HELD = 3        # not yet: steps want it whole

# Why an upstream could not answer.
cdef enum:
    E_CONNECT = 0
    E_DNS = 1
    E_TIMEOUT = 2
    E_RESET = 3
    E_INVALID = 4
    E_BUSY = 5          # pool full
    E_TLS = 6


cdef class Buffer:
    """Growable bytes for building a message; `take` hands them out as one bytes object and empties it."""
    cdef char* p
    cdef Py_ssize_t size
    cdef Py_ssize_t capacity
    cdef int reserve(self, Py_ssize_t more) except -1
    cdef int put(self, const char* data, Py_ssize_t n) except -1
    cdef int add(self, bytes data) except -1
    cdef int number(self, int64_t value) except -1
    cdef int chunk_size(self, Py_ssize_t n) except -1
    cdef bytes take(self)


cdef class Step:
    """One entry of a plan. `run` is called with the exchange and must not block."""
    cdef bint whole                         # it wants the whole body, and can wait
    cdef int run(self, Exchange x) except -1


cdef class KeyEntry:
    """A session in this worker's cache. The cache owns it; exchanges in flight keep it beyond its eviction."""
    cdef readonly bytes token, name
    cdef readonly object session
    cdef public int64_t loaded              # ms of the monotonic clock; long ago when it must be looked up again
    cdef public int64_t fetched             # when it came from the store
    cdef public bint refreshing
    cdef public int64_t seen                # LimitTable.changes before it was read, -1: as KeyCache.put finds it
    cdef int place                          # of its mark, see LimitTable
    cdef readonly dict grants               # Plan.grant_key -> Grant
    cdef public object record               # what analytics prepared for this key
    cdef public object raw                  # the session before its policies


cdef class Grant:
    cdef readonly KeyEntry entry
    cdef readonly int64_t expires           # unix seconds
    cdef readonly bint inactive
    cdef readonly object deny, versions, urls
    cdef readonly RateWindow rate
    cdef readonly QuotaWindow quota
    cdef readonly int64_t quota_max, quota_left, quota_renews
    cdef readonly double throttle_interval
    cdef readonly int throttle_retries
    cdef readonly tuple endpoint_rates
    cdef readonly object data


cdef class KeyCache:
    cdef dict entries                       # prefix + token -> KeyEntry, oldest first
    cdef dict names                         # KeyEntry.name -> its keys in entries
    cdef readonly LimitTable marks
    cdef readonly int most
    cdef readonly int64_t fresh
    cdef readonly int64_t evicted
    cdef bint holds(self, KeyEntry entry) noexcept


cdef class TokenSource:
    cdef readonly bytes header, param, cookie
    cdef bytes find(self, Exchange x)


cdef class Target:
    """Where a plan sends requests. base: path of the target URL without trailing slashes; exact: as configured."""
    cdef readonly Origin origin
    cdef readonly bytes host        # value of the Host header
    cdef readonly bytes base
    cdef readonly bytes exact
    cdef readonly bytes query


cdef class Plan:
    """What one API does, compiled; immutable after `link`. See the constructor for the fields."""
    cdef readonly bytes api_id, name, org_id
    cdef readonly int row
    cdef readonly list steps
    cdef readonly list response_steps
    cdef readonly list targets
    cdef readonly list others               # targets that rewrites lead to
    cdef readonly bint strip, exact_target, preserve_host, needs_body, loops_only
    cdef readonly bint holds                # its response steps want the whole body
    cdef readonly int64_t head_timeout      # ms for the response head
    cdef readonly EndpointMatcher matcher   # path entries of the version, None without
    cdef readonly int64_t exchange_timeout  # ms for the whole exchange where no hard timeout says another, 0 for none
    cdef readonly Plan loop                 # continue with this plan instead of an upstream
    cdef readonly bytes loop_path
    cdef readonly bytes version             # name of the version that this plan is for
    cdef readonly RecordPlan recording      # of analytics, None: not recorded
    cdef public object versions             # name -> Plan, of an API with versions
    cdef readonly object grant_key          # plans with the same one share the grants of a session
    cdef int turn


cdef class Origin:
    """Connections to one upstream: address, TLS settings and server name all equal (anchors 1.4, pool identity)."""
    cdef Gateway gw
    cdef readonly str host, server_name
    cdef readonly int port
    cdef readonly object tls                # ssl.SSLContext or None
    cdef readonly bytes label               # host:port for logs
    cdef list idle
    cdef object waiters                     # deque of Exchange
    cdef readonly int open                  # connections that exist or are being made
    cdef int acquire(self, Exchange x) except -1
    cdef int hand_on(self, Upstream u) except -1
    cdef int connect_for(self, Exchange x) except -1
    cdef int next_waiter(self) except -1
    cdef int forget(self, Exchange x) except -1
    cdef int closed(self) except -1


cdef class Upstream(Timed):
    cdef Gateway gw
    cdef Origin origin
    cdef Exchange x
    cdef object transport
    cdef HeaderBlock res
    cdef ChunkDecoder chunks
    cdef bytes pending
    cdef Py_ssize_t scanned
    cdef int64_t left                       # body bytes still to come
    cdef int64_t born
    cdef int body                           # BODY_* of the response
    cdef int served                         # exchanges before this one
    cdef int informational
    cdef bint in_body, keep, write_paused, read_paused, lost, eof
    cdef bint counted                       # in Origin.open: from the end of connecting to connection_lost
    cdef int attach(self, Exchange x) except -1
    cdef int detach(self, bint reusable) except -1
    cdef int abort(self) except -1
    cdef int pause(self) except -1
    cdef int resume(self) except -1
    cdef int _head(self, bytes data) except -1
    cdef int _body(self, bytes data, Py_ssize_t pos) except -1
    cdef int _complete(self, bint clean) except -1
    cdef int _broken(self, int kind) except -1


cdef class View:
    """URL and method of a request as its last step saw them."""
    cdef bytes path, query, method
    cdef int route_end, version_end
    cdef bint encoded


cdef class Later:
    """What a step wants of a request when all steps have run; what is not wanted is None. See the functions in rewrite.pxi."""
    cdef bytes method
    cdef bytes path, query
    cdef bytes address                      # of where a rewrite or a loop leads, as it is written
    cdef Target target
    cdef Plan plan                          # of a loop
    cdef bytes loop_method
    cdef int end, limit
    cdef bint limits, same
    cdef bint rewritten                     # an entry of url_rewrites has said it


cdef class Held:
    """A response that waits for its steps."""
    cdef Buffer parts                       # of the body; None when it is whole
    cdef bytes body


cdef class CopyBounds:
    """Shared by the steps of one worker that copy responses; `held` is what their unfinished copies have."""
    cdef readonly Py_ssize_t each, together, held


cdef class Copy:
    """A copy of a response on its way to the client. Owned by its exchange, which ends it with the response."""
    cdef CopyBounds bounds
    cdef object began, ended                # see Exchange.copy_response
    cdef Buffer parts                       # of the body; None before the head has been seen


cdef class Exchange:
    cdef readonly Gateway gw
    cdef Client client
    cdef Upstream up
    cdef readonly Plan plan
    cdef readonly HeaderBlock req
    cdef readonly HeaderBlock res           # of an answer, or of the upstream's response
    cdef readonly bytes path                # after routing and rewriting, still encoded; what is left goes upstream
    cdef readonly bytes query
    cdef readonly bytes method
    cdef readonly bytes request_id
    cdef readonly object task               # of a step that waits
    cdef public KeyEntry key                # whose request it is, None before that is known and without keys
    cdef bytes key_api                      # API that has asked for it
    cdef public Grant grant
    cdef public int64_t limit_max, limit_left, limit_reset      # X-Ratelimit-*; reset in unix seconds
    cdef public bint limits_known           # say them on answers of the gateway itself too
    cdef readonly bint ignored              # the path list lets it pass without a key
    cdef Copy copy                          # of the response, None: not wanted
    cdef public bint cached                 # the answer comes from the response cache, for analytics
    cdef Capture capture                    # wire text for analytics, None: not wanted
    cdef public bint untracked              # leave it out of the analytics
    cdef public bytes tracked               # path of the track_endpoints entry that the request meets, None without
    cdef readonly bytes version             # name of the API's version, b"Non Versioned" without
    cdef readonly bytes default_version     # the version that stood in for an unknown one (fallback_to_default), else None
    cdef public object state                # whatever steps want to hand on
    cdef public object waits_for            # what a step waits for: its cancel() is called if the exchange ends meanwhile
    cdef list body_parts                    # not yet sendable body
    cdef Buffer collected                   # body that is collected for the steps
    cdef Py_ssize_t body_held
    cdef bytearray trailer                  # of a request body that was complete before there was an upstream
    cdef int64_t body_read
    cdef readonly bytes body                # whole request body, if the plan needs it
    cdef Target target
    cdef int stage                          # X_*
    cdef int step                           # next step
    cdef int loops
    cdef int loop_limit                     # 0: the usual one
    cdef bint unlimited                     # a loop: rate limits and quotas have counted the request before
    cdef object breaker                     # that waits for the outcome, with the ticket it gave
    cdef int64_t ticket
    cdef Target chosen                      # by a rewrite, instead of one of the plan's
    cdef Later later                        # None: nothing is put off
    cdef Held held                          # None: the response is not held
    cdef View view                          # None: path, query and method are still those
    cdef bint unforwarded                   # X-Forwarded-For was removed: none is added
    cdef int status                         # sent to the client, 0 before
    cdef int out                            # OUT_*
    cdef int64_t started_us, sent_us, upstream_us
    cdef int64_t bytes_out
    cdef int64_t hard_ms
    cdef bint encoded                       # the path holds a "%"
    cdef bint unclean                       # the path may hold "//" or dot segments, plain or encoded
    cdef readonly int route_end             # of the listen path, in the decoded path
    cdef int version_end                    # of a version that stands behind it and stays there
    cdef list extra                         # header fields for whatever response there will be
    cdef tuple served                       # header field for the upstream's response only
    cdef int hops                           # into the plans of versions that are APIs of their own
    cdef bint body_done, body_chunked, expects, retried, ungzip, upgrade, close, defer_head, http10
    cdef bint head_only                     # the client asked with HEAD
    cdef bint up_head                       # so do we
    cdef bint body_sent, response_whole, reused
    cdef object inflate
    cdef bytes inflate_rest
    cdef bytes flag                         # why the gateway answered itself (tyk-core 1.3, response flags)
    cdef uint64_t serial
    cpdef resume(self, uint64_t serial)
    cpdef bint waits(self, uint64_t serial)
    cpdef respond(self, int status, object headers, bytes body)
    cdef int begin(self) except -1
    cdef int _enter(self, Plan plan) except -1
    cdef int run(self) except -1
    cdef int _proceed(self) noexcept
    cdef int dispatch(self) except -1
    cdef int _continue(self) except -1
    cdef int _too_large(self) except -1
    cdef int _too_much(self) except -1
    cdef int attached(self, Upstream u) except -1
    cdef int request_data(self, bytes data, Py_ssize_t pos, Py_ssize_t n) except -1
    cdef int request_end(self, bytearray trailer) except -1
    cdef int upstream_failed(self, int kind, object error) except -1
    cdef int response_head(self, HeaderBlock head) except -1
    cdef int flush(self) except -1
    cdef int fail_now(self, int status, str message) except -1
    cdef int send(self, int status, list headers, bytes body, Py_ssize_t length=*) except -1
    cdef int finish(self) except -1
    cdef int drop(self) except -1
    cdef int client_gone(self) except -1


cdef class Client(Timed):
    cdef Gateway gw
    cdef readonly object transport
    cdef Exchange x
    cdef ChunkDecoder chunks
    cdef readonly bytes address             # peer address, text
    cdef bytes pending
    cdef Py_ssize_t scanned
    cdef int64_t left
    cdef int state                          # C_*
    cdef int phase                          # T_*
    cdef int before_send                    # phase to go back to when writing resumes
    cdef int64_t total_at                   # deadline of the exchange
    cdef int64_t window_bytes               # progress at the start of the window
    cdef int64_t written                    # bytes handed to the transport
    cdef int64_t read
    cdef int served
    cdef int lingered
    cdef int blank                          # empty lines before the request line
    cdef readonly bint secure
    cdef bint read_paused, write_paused, eof, close_next, busy, counted
    cdef int write(self, bytes data) except -1
    cdef int pause(self) except -1
    cdef int resume(self) except -1
    cdef int process(self, bytes data) except -1
    cdef Py_ssize_t _head(self, bytes data, Py_ssize_t pos) except -1
    cdef Py_ssize_t _body(self, bytes data, Py_ssize_t pos) except -1
    cdef int refuse(self, int status, const char* reason) except -1
    cdef int ready(self, bint close) except -1
    cdef int next_request(self) except -1
    cdef int arm(self, int phase, int64_t ms) except -1
    cdef int linger(self) except -1
    cdef int abort(self) except -1
    cdef int cut(self) except -1
    cdef int _body_done(self, bytearray trailer) except -1
    cdef int _bad_body(self) except -1


cdef class Gateway:
    cdef readonly object loop
    cdef readonly Wheel wheel
    cdef readonly Region region
    cdef uint64_t* g
    cdef AccessLog log
    cdef public Recorder recorder           # of analytics, None: nothing is recorded
    cdef public object address_of           # whose word about the client's address is taken: see told_address
    cdef readonly Router router
    cdef dict controls                      # exact path -> Plan
    cdef list control_prefixes              # (prefix, Plan)
    cdef dict origins
    cdef set clients
    cdef object pages                       # (status, message, content type) -> (content type, body)
    cdef object logger
    cdef Buffer out
    cdef bytes date, user_agent, generator, id_header
    cdef bytes id_prefix
    cdef uint64_t id_next
    cdef int64_t epoch_ms                   # wall clock minus monotonic clock, milliseconds
    cdef int64_t date_at
    cdef HeadLimits limits
    cdef int max_head, max_clients, max_requests, max_trailer, max_extension, max_origin, max_waiters, max_up_head
    cdef int max_up_requests, max_idle
    cdef int64_t max_body, max_buffered, max_held, max_up_age
    cdef int64_t t_head, t_idle, t_body, t_send, t_total, t_linger, t_up_idle, t_connect, t_wait, t_drain_idle
    cdef int64_t t_response
    cdef int64_t min_rate
    cdef bint clean_urls, escape_paths, websockets, close_connections, up_close, id_response, id_upstream, id_trust
    cdef bint forward_trailers, rate_headers
    cdef readonly bint draining
    cdef object drained
    cdef object timer
    cdef bytes new_id(self)
    cdef Plan control(self, bytes path)
    cdef int _refresh(self) except -1
