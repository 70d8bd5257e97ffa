# cython: language_level=3
"""What the load engine and the static server share: epoll, clocks and header look-up, without the interpreter."""

from libc.stdint cimport int64_t, uint32_t


cdef extern from "<sys/epoll.h>" nogil:
    ctypedef union epoll_data_t:
        uint32_t u32

    cdef struct epoll_event:
        uint32_t events
        epoll_data_t data

    int EPOLL_CTL_ADD, EPOLL_CTL_MOD
    uint32_t EPOLLIN, EPOLLOUT, EPOLLERR, EPOLLHUP
    int EPOLL_CLOEXEC
    int epoll_create1(int flags)
    int epoll_ctl(int epfd, int op, int fd, epoll_event* event)
    int epoll_wait(int epfd, epoll_event* events, int maxevents, int timeout)


cdef extern from "<sys/socket.h>" nogil:
    cdef struct sockaddr:
        pass

    int AF_INET, SOCK_STREAM, SOCK_NONBLOCK, SOCK_CLOEXEC, SOL_SOCKET, SO_ERROR, MSG_NOSIGNAL
    int socket(int domain, int kind, int protocol)
    int connect(int fd, const sockaddr* address, uint32_t size)
    int accept4(int fd, sockaddr* address, uint32_t* size, int flags)
    ssize_t recv(int fd, void* buffer, size_t size, int flags)
    ssize_t send(int fd, const void* buffer, size_t size, int flags)
    int setsockopt(int fd, int level, int name, const void* value, uint32_t size)
    int getsockopt(int fd, int level, int name, void* value, uint32_t* size)


cdef extern from "<netinet/in.h>" nogil:
    cdef struct in_addr:
        uint32_t s_addr

    cdef struct sockaddr_in:
        unsigned short sin_family
        unsigned short sin_port
        in_addr sin_addr

    int IPPROTO_TCP
    unsigned short htons(unsigned short value)


cdef extern from "<netinet/tcp.h>" nogil:
    int TCP_NODELAY


cdef extern from "<arpa/inet.h>" nogil:
    int inet_pton(int family, const char* text, void* into)


cdef extern from "<unistd.h>" nogil:
    int close(int fd)


cdef extern from "<time.h>" nogil:
    cdef struct timespec:
        long tv_sec
        long tv_nsec

    int CLOCK_MONOTONIC
    int clock_gettime(int clock, timespec* into)


cdef extern from "<string.h>" nogil:
    void* memmem(const void* haystack, size_t size, const void* needle, size_t length)


cdef extern from "<strings.h>" nogil:
    int strncasecmp(const char* a, const char* b, size_t size)


cdef inline int64_t monotonic() noexcept nogil:
    """Nanoseconds of the monotonic clock."""
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return <int64_t>now.tv_sec * 1000000000 + now.tv_nsec


cdef inline const char* find_header(const char* head, const char* end, const char* name, size_t size) noexcept nogil:
    """First byte of the value of a header field in head..end (which ends with an empty line), or NULL.

    The field name is compared without case (RFC 9110 section 5.1); the start line is skipped.
    """
    cdef const char* line = <const char*>memmem(head, end - head, b"\r\n", 2)
    while line != NULL and line + 2 + size + 1 < end:
        line += 2
        if line[size] == c":" and strncasecmp(line, name, size) == 0:
            line += size + 1
            while line < end and (line[0] == c" " or line[0] == c"\t"):
                line += 1
            return line
        line = <const char*>memmem(line, end - line, b"\r\n", 2)
    return NULL


cdef inline int64_t read_number(const char* text, const char* end) noexcept nogil:
    """Decimal digits at text as a number, or -1 when there is none or it is over 10^9."""
    cdef int64_t value = 0
    if text >= end or text[0] < c"0" or text[0] > c"9":
        return -1
    while text < end and c"0" <= text[0] <= c"9":
        value = value * 10 + (text[0] - c"0")
        if value > (<int64_t>1 << 50):
            return -1
        text += 1
    return value
