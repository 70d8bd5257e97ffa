# cython: language_level=3
"""The load generator: N keep-alive connections in a closed loop, in one epoll loop without the interpreter.

Each response is checked: status, body length and, where a request carries a token, that the body is that
token repeated. A failure is counted by kind, the connection is closed and opened again.
"""

from bench.epoll cimport (
    AF_INET, EPOLL_CLOEXEC, EPOLL_CTL_ADD, EPOLL_CTL_MOD, EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT, IPPROTO_TCP,
    MSG_NOSIGNAL, SO_ERROR, SOCK_CLOEXEC, SOCK_NONBLOCK, SOCK_STREAM, SOL_SOCKET, TCP_NODELAY,
    close, connect, epoll_create1, epoll_ctl, epoll_event, epoll_wait, find_header, getsockopt, htons, inet_pton,
    memmem, monotonic, read_number, recv, send, setsockopt, sockaddr, sockaddr_in, socket, strncasecmp,
)
from libc.errno cimport EAGAIN, ECONNREFUSED, EINPROGRESS, EINTR, errno
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy

cdef enum:
    HEAD = 16384
    CHUNK = 262144
    EVENTS = 256
    BUCKETS = 3840
    STATUSES = 600
    KINDS = 9
    TOKEN = 16

cdef enum Kind:
    REFUSED
    RESET
    EARLY
    TRUNCATED
    STATUS
    LENGTH
    WRONG
    MALFORMED
    TIMEOUT

cdef enum State:
    DOWN, CONNECTING, SENDING, HEADING, BODY, CHUNK_SIZE, CHUNK_DATA, CHUNK_END, TRAILER, IDLE

KIND_NAMES = (
    "connect refused", "reset", "closed before the response", "truncated response", "wrong status",
    "wrong body length", "wrong token", "malformed response", "timeout",
)


cdef struct Conn:
    int fd
    State state
    int request
    size_t sent
    int64_t started
    int64_t retry_at
    int64_t left
    int64_t body
    size_t have
    size_t line
    int status
    bint close_after
    bint mismatch
    char token[TOKEN]
    char* out
    char head[HEAD]


cdef inline int bucket(uint64_t value) noexcept nogil:
    """Log-linear: exact below 64, then 64 buckets for each power of two (error under 1.6 %)."""
    cdef int shift = 0
    while (value >> shift) >= 128:
        shift += 1
    return <int>(shift * 64 + (value >> shift)) if shift < 58 else BUCKETS - 1


cdef class Engine:
    """Load on host:port (IPv4) over `connections` connections.

    requests: (bytes, token offsets, expected body length or -1), taken in turn; at each offset 16 bytes
    are overwritten with the token of the request. status: the expected status; others: statuses that are
    answers too, whatever their body. timeout: seconds for one exchange. seed: first token, so that two runs do not
    share tokens. Raises ValueError for an empty list, a bad address or an offset outside its request.
    """

    cdef list kept
    cdef int count, status, nrequests, epfd
    cdef int64_t timeout
    cdef uint64_t next_token, limit, begun
    cdef volatile bint stopping
    cdef sockaddr_in address
    cdef Conn* conns
    cdef char* chunk
    cdef const char** texts
    cdef size_t* sizes
    cdef int64_t* expected
    cdef int** offsets
    cdef uint64_t done, received, opened
    cdef uint64_t kinds[KINDS]
    cdef uint64_t statuses[STATUSES]
    cdef bint others[STATUSES]
    cdef uint64_t buckets[BUCKETS]

    def __cinit__(self, str host, int port, list requests, int connections=64, int status=200,
                  double timeout=10.0, uint64_t limit=0, uint64_t seed=1, tuple others=()):
        cdef int i, j
        if not requests or connections < 1:
            raise ValueError("at least one request and one connection are needed")
        for i in others:
            self.others[i] = True
        self.kept = list(requests)
        self.count, self.status, self.nrequests = connections, status, len(requests)
        self.timeout, self.limit, self.next_token = <int64_t>(timeout * 1e9), limit, seed
        self.address.sin_family = AF_INET
        self.address.sin_port = htons(port)
        if inet_pton(AF_INET, host.encode(), &self.address.sin_addr) != 1:
            raise ValueError(f"{host} is not an IPv4 address")
        self.conns = <Conn*>calloc(connections, sizeof(Conn))
        self.chunk = <char*>malloc(CHUNK)
        self.texts = <const char**>calloc(self.nrequests, sizeof(char*))
        self.sizes = <size_t*>calloc(self.nrequests, sizeof(size_t))
        self.expected = <int64_t*>calloc(self.nrequests, sizeof(int64_t))
        self.offsets = <int**>calloc(self.nrequests, sizeof(int*))
        cdef size_t longest = 0
        for i in range(self.nrequests):
            text, places, length = self.kept[i]
            self.texts[i], self.sizes[i], self.expected[i] = <bytes>text, len(text), length
            longest = max(longest, self.sizes[i])
            self.offsets[i] = <int*>calloc(len(places) + 1, sizeof(int))
            for j in range(len(places)):
                if places[j] < 1 or places[j] + TOKEN > len(text):
                    raise ValueError(f"a token does not fit at offset {places[j]}")
                self.offsets[i][j] = places[j]
        for i in range(connections):
            self.conns[i].fd = -1
            self.conns[i].request = i % self.nrequests
            self.conns[i].out = <char*>malloc(longest)

    def __dealloc__(self):
        cdef int i
        for i in range(self.count):
            if self.conns[i].fd >= 0:
                close(self.conns[i].fd)
            free(self.conns[i].out)
        for i in range(self.nrequests):
            free(self.offsets[i])
        free(self.conns)
        free(self.chunk)
        free(self.texts)
        free(self.sizes)
        free(self.expected)
        free(self.offsets)

    def stop(self) -> None:
        """Make run() start no further request, and return when the ones under way are answered."""
        self.stopping = True

    def counters(self) -> dict:
        """What was counted so far; safe to call from another thread while run() works."""
        cdef int i
        return {
            "requests": self.done, "bytes": self.received, "opened": self.opened,
            "failures": {KIND_NAMES[i]: self.kinds[i] for i in range(KINDS) if self.kinds[i]},
            "statuses": {i: self.statuses[i] for i in range(STATUSES) if self.statuses[i]},
            "buckets": {i: self.buckets[i] for i in range(BUCKETS) if self.buckets[i]},
        }

    def run(self, double seconds) -> None:
        """Send for this long, or until the limit of requests, or stop(). Blocks, without the interpreter lock."""
        self.epfd = epoll_create1(EPOLL_CLOEXEC)
        if self.epfd < 0:
            raise OSError(errno, "epoll_create1 failed")
        with nogil:
            self.loop(monotonic() + <int64_t>(seconds * 1e9))
        close(self.epfd)

    cdef void loop(self, int64_t deadline) noexcept nogil:
        cdef epoll_event events[EVENTS]
        cdef int ready, i
        cdef int64_t now, swept = 0
        cdef Conn* c
        cdef bint busy = True
        while busy:
            now = monotonic()
            if now >= deadline:
                self.stopping = True
            if now - swept >= 10000000:
                swept = now
                busy = False
                for i in range(self.count):
                    c = &self.conns[i]
                    if c.state not in (DOWN, IDLE) and now - c.started > self.timeout:
                        self.fail(c, TIMEOUT)
                    if c.state == DOWN and not self.over() and now >= c.retry_at:
                        self.open(c)
                    if c.state not in (DOWN, IDLE) or not self.over():
                        busy = True
            ready = epoll_wait(self.epfd, events, EVENTS, 10)
            for i in range(ready):
                c = &self.conns[events[i].data.u32]
                if c.state == DOWN:
                    continue
                if c.state == CONNECTING:
                    self.connected(c)
                elif c.state == SENDING and events[i].events & EPOLLOUT:
                    self.write(c)
                elif events[i].events & (EPOLLIN | EPOLLERR | EPOLLHUP):
                    self.read(c)
        for i in range(self.count):
            if self.conns[i].fd >= 0:
                close(self.conns[i].fd)
                self.conns[i].fd = -1
                self.conns[i].state = DOWN

    cdef bint over(self) noexcept nogil:
        return self.stopping or (self.limit and self.begun >= self.limit)

    cdef void watch(self, Conn* c, int operation, uint32_t what) noexcept nogil:
        cdef epoll_event event
        event.events = what
        event.data.u32 = <uint32_t>(c - self.conns)
        epoll_ctl(self.epfd, operation, c.fd, &event)

    cdef void open(self, Conn* c) noexcept nogil:
        cdef int one = 1
        c.fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)
        c.started = monotonic()
        if c.fd < 0:
            self.fail(c, REFUSED)
            return
        setsockopt(c.fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one))
        if connect(c.fd, <sockaddr*>&self.address, sizeof(self.address)) < 0 and errno != EINPROGRESS:
            self.fail(c, REFUSED if errno == ECONNREFUSED else RESET)
            return
        c.state = CONNECTING
        self.watch(c, EPOLL_CTL_ADD, EPOLLOUT)

    cdef void connected(self, Conn* c) noexcept nogil:
        cdef int error = 0
        cdef uint32_t size = sizeof(error)
        getsockopt(c.fd, SOL_SOCKET, SO_ERROR, &error, &size)
        if error:
            self.fail(c, REFUSED if error == ECONNREFUSED else RESET)
            return
        self.opened += 1
        self.watch(c, EPOLL_CTL_MOD, EPOLLIN)
        self.begin(c)

    cdef void begin(self, Conn* c) noexcept nogil:
        cdef int i
        cdef int* places
        cdef uint64_t token
        if self.over():
            c.state = IDLE
            return
        self.begun += 1
        c.request = (c.request + 1) % self.nrequests
        memcpy(c.out, self.texts[c.request], self.sizes[c.request])
        token = self.next_token
        self.next_token += 1
        for i in range(TOKEN):
            c.token[TOKEN - 1 - i] = b"0123456789abcdef"[(token >> (4 * i)) & 15]
        places = self.offsets[c.request]
        while places[0]:
            memcpy(c.out + places[0], c.token, TOKEN)
            places += 1
        c.sent = c.have = c.line = 0
        c.left = c.body = 0
        c.close_after = c.mismatch = False
        c.started = monotonic()
        c.state = HEADING
        self.write(c)

    cdef void write(self, Conn* c) noexcept nogil:
        cdef size_t total = self.sizes[c.request]
        cdef bint waited = c.state == SENDING
        cdef ssize_t put
        while c.sent < total:
            put = send(c.fd, c.out + c.sent, total - c.sent, MSG_NOSIGNAL)
            if put < 0:
                if errno == EINTR:
                    continue
                if errno == EAGAIN:
                    c.state = SENDING
                    self.watch(c, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT)
                    return
                self.fail(c, RESET)
                return
            c.sent += put
        if waited:
            self.watch(c, EPOLL_CTL_MOD, EPOLLIN)
        c.state = HEADING

    cdef void fail(self, Conn* c, int kind) noexcept nogil:
        self.kinds[kind] += 1
        self.drop(c)
        c.retry_at = monotonic() + (10000000 if kind == REFUSED else 0)

    cdef void drop(self, Conn* c) noexcept nogil:
        if c.fd >= 0:
            close(c.fd)
        c.fd = -1
        c.state = DOWN

    cdef void finish(self, Conn* c) noexcept nogil:
        cdef int64_t took = monotonic() - c.started
        if c.status != self.status:
            if not self.others[c.status]:
                self.fail(c, STATUS)
                return
        elif c.mismatch:
            self.fail(c, WRONG)
            return
        elif self.expected[c.request] >= 0 and c.body != self.expected[c.request]:
            self.fail(c, LENGTH)
            return
        self.done += 1
        self.buckets[bucket(took // 1000)] += 1
        if c.close_after:
            self.drop(c)
            if not self.over():
                self.open(c)
            return
        self.begin(c)

    cdef void read(self, Conn* c) noexcept nogil:
        cdef ssize_t got = recv(c.fd, self.chunk, CHUNK, 0)
        cdef const char* at = self.chunk
        cdef const char* end
        if got < 0:
            if errno != EAGAIN and errno != EINTR:
                self.fail(c, RESET)
            return
        if got == 0:
            if c.state == IDLE:
                self.drop(c)
            elif c.state == BODY and c.left < 0:
                c.close_after = True
                self.finish(c)
            else:
                self.fail(c, EARLY if c.state in (SENDING, HEADING) and c.have == 0 else TRUNCATED)
            return
        self.received += got
        end = at + got
        while at < end:
            if c.state == SENDING or c.state == HEADING:
                at = self.read_head(c, at, end)
            elif c.state == BODY or c.state == CHUNK_DATA:
                at = self.read_body(c, at, end)
            elif c.state == IDLE or c.state == DOWN:
                self.fail(c, MALFORMED)
                return
            else:
                at = self.read_chunk_line(c, at, end)
            if at == NULL:
                return

    cdef const char* read_head(self, Conn* c, const char* at, const char* end) noexcept nogil:
        """Take head bytes; NULL when the exchange ended or the connection is gone."""
        cdef size_t take = min(<size_t>(end - at), HEAD - c.have)
        cdef size_t before = c.have
        cdef const char* stop
        cdef const char* value
        memcpy(c.head + c.have, at, take)
        c.have += take
        stop = <const char*>memmem(c.head, c.have, b"\r\n\r\n", 4)
        if stop == NULL:
            if c.have == HEAD:
                self.fail(c, MALFORMED)
                return NULL
            return at + take
        stop += 4
        at += (stop - c.head) - before
        if c.have < 13 or strncasecmp(c.head, b"HTTP/1.", 7) != 0:
            self.fail(c, MALFORMED)
            return NULL
        c.status = <int>read_number(c.head + 9, c.head + 12)
        if c.status < 100 or c.status >= STATUSES:
            self.fail(c, MALFORMED)
            return NULL
        c.have = 0
        if c.status < 200:
            return at
        self.statuses[c.status] += 1
        value = find_header(c.head, stop, b"Connection", 10)
        c.close_after = value != NULL and strncasecmp(value, b"close", 5) == 0
        value = find_header(c.head, stop, b"Transfer-Encoding", 17)
        if value != NULL and strncasecmp(value, b"chunked", 7) == 0:
            c.state = CHUNK_SIZE
            c.line = 0
            return at
        value = find_header(c.head, stop, b"Content-Length", 14)
        c.left = read_number(value, stop) if value != NULL else -1
        if value != NULL and c.left < 0:
            self.fail(c, MALFORMED)
            return NULL
        c.state = BODY
        if c.left == 0 or c.status == 204 or c.status == 304:
            return self.ended(c, at, end)
        return at

    cdef const char* ended(self, Conn* c, const char* at, const char* end) noexcept nogil:
        """The response is complete: anything behind it was not asked for."""
        if at != end and at != NULL:
            self.fail(c, MALFORMED)
        else:
            self.finish(c)
        return NULL

    cdef const char* read_body(self, Conn* c, const char* at, const char* end) noexcept nogil:
        cdef int64_t take = end - at
        cdef int64_t i
        if 0 <= c.left < take:
            take = c.left
        if self.offsets[c.request][0] and not c.mismatch:
            for i in range(take):
                if at[i] != c.token[(c.body + i) % TOKEN]:
                    c.mismatch = True
                    break
        c.body += take
        at += take
        if c.left > 0:
            c.left -= take
            if c.left == 0:
                if c.state == BODY:
                    return self.ended(c, at, end)
                c.state = CHUNK_END
                c.line = 0
        return at

    cdef const char* read_chunk_line(self, Conn* c, const char* at, const char* end) noexcept nogil:
        """One line of chunked framing (RFC 9112 section 7.1), gathered in the head buffer."""
        cdef size_t i
        cdef int digit
        while at < end and c.line < 1024:
            c.head[c.line] = at[0]
            c.line += 1
            at += 1
            if c.head[c.line - 1] == c"\n":
                break
        if c.line and c.head[c.line - 1] != c"\n":
            if c.line >= 1024:
                self.fail(c, MALFORMED)
                return NULL
            return at
        if c.line < 2 or c.head[c.line - 2] != c"\r" or (c.state == CHUNK_END and c.line != 2):
            self.fail(c, MALFORMED)
            return NULL
        if c.state == CHUNK_END:
            c.state = CHUNK_SIZE
        elif c.state == TRAILER:
            if c.line == 2:
                return self.ended(c, at, end)
        else:
            c.left = 0
            for i in range(c.line):
                digit = c.head[i] | 0x20
                if c"0" <= c.head[i] <= c"9":
                    digit = c.head[i] - c"0"
                elif c"a" <= digit <= c"f":
                    digit = digit - c"a" + 10
                else:
                    break
                c.left = c.left * 16 + digit
            if i == 0 or i > 8:
                self.fail(c, MALFORMED)
                return NULL
            c.state = CHUNK_DATA if c.left else TRAILER
        c.line = 0
        return at
