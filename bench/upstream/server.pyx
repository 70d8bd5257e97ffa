# cython: language_level=3
"""A small HTTP/1.1 server in one epoll loop: a fixed body, or an echo of tokens.

Not a general server: a request must fit the connection's buffer (64 KiB, else 431 and a close), a
request body must come with Content-Length, and everything is answered 200.

Echo: the response body is the value of X-Token, then the last path segment, then the request body, so
that whoever sent one token in all three places can tell an answer that belongs to another request.
"""

import socket as pysocket

from bench.epoll cimport (
    AF_INET, EPOLL_CLOEXEC, EPOLL_CTL_ADD, EPOLL_CTL_MOD, EPOLLIN, EPOLLOUT, IPPROTO_TCP, MSG_NOSIGNAL,
    SOCK_CLOEXEC, SOCK_NONBLOCK, TCP_NODELAY,
    accept4, close, epoll_create1, epoll_ctl, epoll_event, epoll_wait, find_header, memmem, read_number, recv, send,
    setsockopt, strncasecmp,
)
from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdint cimport int64_t, uint64_t
from libc.stdio cimport snprintf
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memchr, memcpy, memmove

cdef enum:
    BUFFER = 65536
    MAX_FDS = 16384
    EVENTS = 256
    LISTENER = 0xFFFFFFFF


cdef struct Peer:
    int fd
    bint closing
    bint blocked
    size_t have
    size_t pending
    size_t sent
    char* read
    char* out
    size_t out_size


cdef class Server:
    """Serve a fixed body of body_bytes, or echo tokens when echo is true.

    The socket is bound when the object is made (port 0: any free port; see .port). serve() runs until
    stop() is called from another thread. At most 16384 descriptors; a connection above that is closed.
    """

    cdef object listener
    cdef readonly int port
    cdef readonly uint64_t served
    cdef bint echo
    cdef volatile bint stopping
    cdef int epfd
    cdef bytes fixed
    cdef const char* fixed_data
    cdef size_t fixed_size
    cdef Peer** peers

    def __cinit__(self, str host="127.0.0.1", int port=0, int body_bytes=1024, bint echo=False):
        self.peers = <Peer**>calloc(MAX_FDS, sizeof(Peer*))
        if self.peers == NULL:
            raise MemoryError
        self.epfd = -1

    def __init__(self, str host="127.0.0.1", int port=0, int body_bytes=1024, bint echo=False):
        self.listener = pysocket.create_server((host, port), backlog=4096)
        self.listener.setblocking(False)
        self.port = self.listener.getsockname()[1]
        self.echo = echo
        body = b"x" * body_bytes
        self.fixed = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
        self.fixed_data = self.fixed
        self.fixed_size = len(self.fixed)

    def __dealloc__(self):
        cdef int fd
        for fd in range(MAX_FDS):
            if self.peers[fd] != NULL:
                self.drop(self.peers[fd])
        free(self.peers)

    def stop(self) -> None:
        """Make serve() return within a tenth of a second."""
        self.stopping = True

    def serve(self) -> None:
        """Answer until stop(); raises OSError when the event queue cannot be made."""
        cdef int listener = self.listener.fileno()
        cdef epoll_event event
        self.epfd = epoll_create1(EPOLL_CLOEXEC)
        if self.epfd < 0:
            raise OSError(errno, "epoll_create1 failed")
        event.events = EPOLLIN
        event.data.u32 = LISTENER
        epoll_ctl(self.epfd, EPOLL_CTL_ADD, listener, &event)
        with nogil:
            self.loop(listener)
        close(self.epfd)
        self.epfd = -1
        self.listener.close()

    cdef void loop(self, int listener) noexcept nogil:
        cdef epoll_event events[EVENTS]
        cdef int ready, i
        cdef Peer* peer
        while not self.stopping:
            ready = epoll_wait(self.epfd, events, EVENTS, 100)
            for i in range(ready):
                if events[i].data.u32 == LISTENER:
                    self.accept(listener)
                    continue
                peer = self.peers[events[i].data.u32]
                if peer == NULL:
                    continue
                if events[i].events & EPOLLOUT and peer.blocked and not self.flush(peer):
                    continue
                if not peer.blocked:
                    self.receive(peer)

    cdef void accept(self, int listener) noexcept nogil:
        cdef epoll_event event
        cdef int fd, one = 1
        cdef Peer* peer
        while True:
            fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)
            if fd < 0:
                return
            if fd >= MAX_FDS:
                close(fd)
                continue
            peer = <Peer*>calloc(1, sizeof(Peer))
            if peer == NULL:
                close(fd)
                return
            peer.fd = fd
            peer.read = <char*>malloc(BUFFER)
            peer.out_size = BUFFER + 256
            peer.out = <char*>malloc(peer.out_size)
            self.peers[fd] = peer
            if peer.read == NULL or peer.out == NULL:
                self.drop(peer)
                return
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one))
            event.events = EPOLLIN
            event.data.u32 = fd
            epoll_ctl(self.epfd, EPOLL_CTL_ADD, fd, &event)

    cdef void drop(self, Peer* peer) noexcept nogil:
        self.peers[peer.fd] = NULL
        close(peer.fd)
        free(peer.read)
        free(peer.out)
        free(peer)

    cdef void receive(self, Peer* peer) noexcept nogil:
        cdef ssize_t got = recv(peer.fd, peer.read + peer.have, BUFFER - peer.have, 0)
        if got <= 0:
            if got == 0 or (errno != EAGAIN and errno != EINTR):
                self.drop(peer)
            return
        peer.have += got
        self.answer_all(peer)

    cdef void answer_all(self, Peer* peer) noexcept nogil:
        cdef const char* end
        cdef const char* value
        cdef const char* limit
        cdef int64_t body
        cdef size_t used
        while peer.have and not peer.blocked and not peer.closing:
            limit = peer.read + peer.have
            end = <const char*>memmem(peer.read, peer.have, b"\r\n\r\n", 4)
            if end == NULL:
                if peer.have == BUFFER:
                    self.refuse(peer)
                return
            end += 4
            value = find_header(peer.read, end, b"Content-Length", 14)
            body = read_number(value, end) if value != NULL else 0
            if (body < 0 or (end - peer.read) + body > BUFFER
                    or find_header(peer.read, end, b"Transfer-Encoding", 17) != NULL):
                self.refuse(peer)
                return
            if end + body > limit:
                return
            value = find_header(peer.read, end, b"Connection", 10)
            if value != NULL and strncasecmp(value, b"close", 5) == 0:
                peer.closing = True
            self.compose(peer, end, body)
            used = (end - peer.read) + body
            peer.have -= used
            memmove(peer.read, peer.read + used, peer.have)
            self.served += 1
            if not self.flush(peer):
                return

    cdef void refuse(self, Peer* peer) noexcept nogil:
        cdef const char* text = b"HTTP/1.1 431 Refused\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        send(peer.fd, text, 65, MSG_NOSIGNAL)
        self.drop(peer)

    cdef void compose(self, Peer* peer, const char* end, int64_t body) noexcept nogil:
        cdef const char* token
        cdef const char* stop
        cdef const char* path
        cdef const char* at
        cdef size_t token_size = 0, path_size = 0
        cdef int written
        if not self.echo:
            peer.pending = 0
            peer.sent = 0
            return
        token = find_header(peer.read, end, b"X-Token", 7)
        if token != NULL:
            token_size = <const char*>memchr(token, c"\r", end - token) - token
        path = <const char*>memchr(peer.read, c" ", end - peer.read)
        if path != NULL:
            path += 1
            stop = path
            at = path
            while stop < end and stop[0] != c" " and stop[0] != c"?" and stop[0] != c"\r":
                if stop[0] == c"/":
                    at = stop + 1
                stop += 1
            path = at
            path_size = stop - at
        written = snprintf(
            peer.out, 200, b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %lu\r\n\r\n",
            <unsigned long>(token_size + path_size + body),
        )
        if token_size:
            memcpy(peer.out + written, token, token_size)
        if path_size:
            memcpy(peer.out + written + token_size, path, path_size)
        if body:
            memcpy(peer.out + written + token_size + path_size, end, body)
        peer.pending = written + token_size + path_size + body
        peer.sent = 0

    cdef bint flush(self, Peer* peer) noexcept nogil:
        """Send what is left of one response; False when the connection is gone."""
        cdef const char* data = peer.out
        cdef size_t total = peer.pending
        cdef ssize_t put
        if not self.echo:
            data = self.fixed_data
            total = self.fixed_size
        while peer.sent < total:
            put = send(peer.fd, data + peer.sent, total - peer.sent, MSG_NOSIGNAL)
            if put < 0:
                if errno == EINTR:
                    continue
                if errno == EAGAIN:
                    self.watch(peer, True)
                    return True
                self.drop(peer)
                return False
            peer.sent += put
        if peer.closing:
            self.drop(peer)
            return False
        peer.sent = 0
        if peer.blocked:
            self.watch(peer, False)
            self.answer_all(peer)
            return False
        return True

    cdef void watch(self, Peer* peer, bint blocked) noexcept nogil:
        cdef epoll_event event
        peer.blocked = blocked
        event.events = EPOLLOUT if blocked else EPOLLIN
        event.data.u32 = peer.fd
        epoll_ctl(self.epfd, EPOLL_CTL_MOD, peer.fd, &event)
