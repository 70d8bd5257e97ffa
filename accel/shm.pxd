"""Counters in memory that all processes of one gateway share: layout and C interface.

Ownership. `SharedCounters` owns one mapping and one descriptor of a memfd and releases both when it is
deallocated; every `Region` holds a reference to it, so a pointer taken from a Region is valid as long as
that Region lives. Nothing is ever unmapped, moved or shrunk earlier (the memfd is sealed against it).

Writers. Region `slot * 2 + (generation & 1)` has exactly one writing process, so its words are changed by
plain aligned 64-bit increments; another process reading them sees an older or a newer value, never a torn
one. Counters only grow and outlive their process: the next one with the same parity continues them.
When a process is gone, its parent calls `Region.end()`, which clears its gauges. Only the row directory
and the overflow count have several writers; they use atomic operations.

Layout (all words uint64, native order):
    page 0        header: magic, version, sizes, next free row, overflow count
    directory     `slots` entries of SLOT_WORDS words: hash, row, length of the name, name (NAME_BYTES)
    region 0..n   page aligned: GLOBAL_WORDS words, then `rows` rows of ROW_WORDS words
Rows are handed out densely, so pages of rows that are not in use are never touched.
"""

cimport cython
from libc.stdint cimport uint64_t

cdef enum:
    GLOBAL_WORDS = 128
    ROW_WORDS = 32          # 30 in use; four cache lines
    SLOT_WORDS = 18         # hash, row, length, 120 bytes of name
    NAME_BYTES = 120
    BUCKETS = 17

# Words of the global block of a region. The numbers are part of the layout (see VERSION in shm.pyx).
cpdef enum:
    # gauges: words 0..15, cleared by Region.begin() and Region.end()
    G_HEARTBEAT = 0         # CLOCK_MONOTONIC in milliseconds
    G_PID = 1               # 0: no process
    G_GENERATION = 2
    G_CONNECTIONS = 3
    G_ACTIVE_REQUESTS = 4
    G_UPSTREAM_CONNECTIONS = 5
    G_UPSTREAM_IDLE = 6
    G_UPSTREAM_WAITERS = 7
    G_APIS = 8
    G_STORE_CONNECTED = 9
    G_STORE_WAITING = 10
    G_KEYS_CACHED = 11
    G_SCRIPT_CONTEXTS = 12
    G_SCRIPTS_WAITING = 13
    G_PLUGINS_RUNNING = 14
    G_PLUGINS_WAITING = 15
    G_GAUGES_END = 16       # not a word: the first index that is a counter
    # counters
    G_CONNECTIONS_TOTAL = 16
    G_REQUESTS_TOTAL = 17
    G_BYTES_IN = 18
    G_BYTES_OUT = 19
    G_UPSTREAM_CONNECTS = 20
    G_UPSTREAM_CONNECT_ERRORS = 21
    G_UPSTREAM_REUSED = 22
    G_UPSTREAM_RETRIES = 23
    G_UPSTREAM_TIMEOUTS = 24
    G_UPSTREAM_RESETS = 25
    G_CLIENT_ABORTS = 26
    G_NOT_FOUND = 27
    G_REDIRECTS = 28
    G_RELOADS = 29
    G_RELOAD_FAILURES = 30
    G_LOG_DROPPED = 31
    G_TUNNELS = 32
    G_STORE_COMMANDS = 33
    G_STORE_ERRORS = 34
    G_STORE_TIMEOUTS = 35
    G_STORE_REFUSED = 36
    G_STORE_RECONNECTS = 37
    G_KEYS_LOADED = 38
    G_KEYS_UNKNOWN = 39
    G_KEYS_STALE = 40
    G_KEYS_EVICTED = 41
    G_QUOTA_ASKED = 42
    G_QUOTA_REPORTED = 43
    G_QUOTA_ALONE = 44
    G_RATE_ASKED = 45
    G_RATE_WAITED = 46
    G_NOTIFICATIONS_REFUSED = 47
    G_RECORDS = 48          # analytics records written to the store
    G_RECORD_RETRIES = 49   # batches of records that the store did not take
    G_EVENTS_FIRED = 50
    G_HOOKS_SENT = 51
    G_HOOKS_FAILED = 52
    G_HOOKS_SUPPRESSED = 53
    G_PATH_RESULTS_CLEARED = 54
    G_BREAKER_TRIPS = 55
    G_BREAKER_REFUSED = 56
    G_NAMED_HOSTS_DROPPED = 57
    G_SCRIPT_CALLS = 58
    G_SCRIPTS_FAILED = 59
    G_SCRIPTS_ENDED = 60    # by the time limit or the memory limit
    G_CONTEXTS_REPLACED = 61
    G_HOST_CALLS = 62
    G_SCRIPT_REQUESTS = 63  # HTTP requests of scripts
    # bounds that were hit
    B_CONNECTIONS = 64
    B_HEAD_BYTES = 65
    B_HEADERS = 66
    B_TARGET = 67
    B_BODY = 68
    B_BUFFERED_BODY = 69
    B_TRAILERS = 70
    B_CHUNK_EXTENSION = 71
    B_HEAD_TIMEOUT = 72
    B_IDLE_TIMEOUT = 73
    B_BODY_TIMEOUT = 74
    B_SEND_TIMEOUT = 75
    B_REQUEST_TIMEOUT = 76
    B_UPSTREAM_CONNECTIONS = 77     # queue of waiters full
    B_UPSTREAM_WAIT = 78
    B_UPSTREAM_HEAD = 79
    B_PIPELINE = 80
    B_RECORDS = 82                  # analytics records dropped
    B_API_ROWS = 81                 # counted by SharedCounters.row_for(), in the header
    B_EVENTS = 83
    B_COUNTERS = 84                 # no counter was free for a rate limit or quota
    B_BUFFERED_RESPONSE = 85        # a response was too large to be held for its steps
    B_EVENT_SCRIPTS = 86            # events dropped that waited for scripts
    B_CACHE_BODY = 87               # responses that were too large to be cached
    B_PLUGINS = 88                  # calls of plugins that found no place
    B_PLUGIN_MESSAGES = 89          # messages to or from plugins that were too large
    B_SCRIPTS = 90                  # calls that found no context
    B_SCRIPT_REQUESTS = 91          # HTTP requests of scripts that found no place
    B_SCRIPT_ANSWERS = 92           # answers to scripts that were too large
    B_SCRIPT_NETWORKS = 93          # connections of scripts to addresses that are blocked
    B_SCRIPT_LOGS = 94              # calls whose log output was cut
    B_SCRIPT_RESULTS = 95           # results of scripts that were too large
    # messages that were refused
    R_BAD_REQUEST = 96              # 400
    R_NOT_IMPLEMENTED = 97          # 501
    R_VERSION = 98                  # 505
    R_EXPECTATION = 99              # 417
    R_BAD_RESPONSE = 100            # an upstream sent something invalid
    # counters of plugins
    B_PLUGIN_EVENTS = 101           # events for plugins that were dropped
    G_PLUGIN_CALLS = 102
    G_PLUGINS_FAILED = 103
    G_PLUGINS_AWAY = 104            # calls that no plugin could be reached for
    G_PLUGIN_TIMEOUTS = 105
    G_PLUGINS_CANCELLED = 106       # calls whose client went away
    G_PLUGIN_RESTARTS = 107         # connections or children that were lost
    G_PLUGIN_EVENTS = 108
    G_PLUGIN_EVENTS_FAILED = 109
    # ID extractors
    B_EXTRACTED_TEXT = 110          # texts that were too large to look for a value in
    G_KEYS_EXTRACTED = 111          # requests whose session was found without their plugin
    # what plugins may say and ask
    B_PLUGIN_LINES = 112            # lines and notices of plugins that were dropped
    B_PLUGIN_QUESTIONS = 113        # store_data() and get_data() that were refused
    # counters of the response cache
    G_CACHE_HITS = 120
    G_CACHE_MISSES = 121
    G_CACHE_STORED = 122
    G_CACHE_FAILED = 123            # the store did not give or take a response

# Words of an API row.
cpdef enum:
    A_STATUS = 0            # five words: 1xx 2xx 3xx 4xx 5xx; their sum is the number of requests
    A_BUCKETS = 5           # BUCKETS words, not cumulative; the bounds are BUCKET_BOUNDS_US in shm.pyx
    A_LATENCY_US = 22
    A_UPSTREAM_US = 23
    A_UPSTREAM_COUNT = 24
    A_BYTES_IN = 25
    A_BYTES_OUT = 26
    A_THROTTLED = 27        # 429: refused by a rate limit
    A_OVER_QUOTA = 28       # refused by a quota
    A_KEY_FAILURES = 29     # refused because of the key
    A_WORDS = 30            # not a word: how many are in use


@cython.final
cdef class SharedCounters:
    cdef readonly int fd
    cdef readonly int regions
    cdef readonly int rows_max
    cdef readonly Py_ssize_t size
    cdef unsigned char* _base
    cdef Py_ssize_t _stride
    cdef Py_ssize_t _first
    cdef int _slots
    cdef uint64_t* _directory(self) noexcept
    cdef uint64_t* _region(self, int index) noexcept
    cdef int _used(self) noexcept
    cdef object _map(self, int fd, Py_ssize_t size)
    cdef bint _named(self, uint64_t* slot, const char* text, Py_ssize_t length) noexcept


@cython.final
cdef class Region:
    cdef readonly SharedCounters owner
    cdef readonly int index
    cdef uint64_t* g
    cdef uint64_t* _rows
    cdef int _limit

    cdef inline uint64_t* row(self, int i) noexcept nogil:
        """The words of API row i; row 0 ("_other") for a number that is out of range."""
        if i < 0 or i >= self._limit:
            i = 0
        return self._rows + <Py_ssize_t>i * ROW_WORDS

    cdef inline void add_to(self, int row, int word) noexcept nogil:
        """Count one more in a word of an API row."""
        self.row(row)[word] += 1

    cdef inline void observe(self, int row, int status, uint64_t total_us, uint64_t upstream_us,
                             uint64_t bytes_in, uint64_t bytes_out) noexcept nogil:
        """Count one finished exchange in an API row; the global words (g) are the caller's.

        A status outside 100..599 counts as 5xx. upstream_us 0 means that no upstream was asked.
        """
        cdef uint64_t* words = self.row(row)
        cdef int bucket
        if status < 100 or status > 599:
            status = 500
        words[A_STATUS + status // 100 - 1] += 1
        if total_us <= 100000:
            if total_us <= 5000:
                bucket = (total_us > 500) + (total_us > 1000) + (total_us > 2500)
            else:
                bucket = 4 + (total_us > 10000) + (total_us > 25000) + (total_us > 50000)
        elif total_us <= 2500000:
            bucket = 8 + (total_us > 250000) + (total_us > 500000) + (total_us > 1000000)
        else:
            bucket = (12 + (total_us > 5000000) + (total_us > 10000000) + (total_us > 30000000)
                      + (total_us > 60000000))
        words[A_BUCKETS + bucket] += 1
        words[A_LATENCY_US] += total_us
        if upstream_us:
            words[A_UPSTREAM_US] += upstream_us
            words[A_UPSTREAM_COUNT] += 1
        words[A_BYTES_IN] += bytes_in
        words[A_BYTES_OUT] += bytes_out
