"""One line per finished request, built without Python objects and written in batches; see accesslog.pxd."""

cimport cython

import os
import stat

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdlib cimport free, realloc
from libc.string cimport memchr, memcpy, memmove, strlen

from accel.utf8 cimport utf8_sequence    # for the C code below

cdef extern from "<unistd.h>" nogil:
    ssize_t write(int fd, const void* data, size_t size)

cdef extern from "<sys/socket.h>" nogil:
    ssize_t send(int fd, const void* data, size_t size, int flags)
    int MSG_DONTWAIT, MSG_NOSIGNAL

cdef extern from "<poll.h>" nogil:
    struct pollfd:
        int fd
        short events
        short revents
    int poll(pollfd* fds, unsigned long count, int timeout)
    short POLLOUT

cdef extern from *:
    """
    #include <stdint.h>
    #include <string.h>
    #include <time.h>
    /* "2026-01-31T12:00:00." into out (at least 24 bytes). */
    static void log_stamp(uint64_t second, char *out) {
        time_t when = (time_t)second;
        struct tm parts;
        if (gmtime_r(&when, &parts) == NULL || parts.tm_year > 8099)
            memset(&parts, 0, sizeof parts);
        strftime(out, 24, "%Y-%m-%dT%H:%M:%S.", &parts);
    }
    static Py_ssize_t log_escape_code(char *out, unsigned value) {
        static const char digits[] = "0123456789abcdef";
        out[0] = '\\\\'; out[1] = 'u';
        out[2] = digits[value >> 12 & 15]; out[3] = digits[value >> 8 & 15];
        out[4] = digits[value >> 4 & 15]; out[5] = digits[value & 15];
        return 6;
    }
    /* The inside of a JSON string, in ASCII and well-formed UTF-8 without control characters (C0, DEL, C1);
       a byte that is not UTF-8 becomes U+FFFD. out holds at least 6 * n bytes. */
    static Py_ssize_t log_escape(char *out, const unsigned char *p, Py_ssize_t n) {
        char *start = out;
        const unsigned char *end = p + n;
        while (p < end) {
            unsigned char c = *p;
            if (c >= 0x20 && c < 0x7f) {
                if (c == '"' || c == '\\\\') *out++ = '\\\\';
                *out++ = (char)c;
                p++;
            } else if (c < 0x80) {
                out += log_escape_code(out, c);
                p++;
            } else {
                int length = (int)utf8_sequence((const char *)p, end - p);
                if (length == 0) {
                    out += log_escape_code(out, 0xfffd);
                    p++;
                } else if (c == 0xc2 && p[1] < 0xa0) {
                    out += log_escape_code(out, p[1]);
                    p += 2;
                } else {
                    memcpy(out, p, length);
                    out += length;
                    p += length;
                }
            }
        }
        return out - start;
    }
    /* May a value stand in a text line without quotes? */
    static int log_bare(const unsigned char *p, Py_ssize_t n) {
        if (n == 0) return 0;
        for (Py_ssize_t i = 0; i < n; i++) {
            unsigned char c = p[i];
            if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')
                  || strchr("-._/@+:[]%~", c) != NULL) || c == 0)
                return 0;
        }
        return 1;
    }
    """
    void log_stamp(uint64_t second, char* out) noexcept nogil
    int log_utf8(const unsigned char* p, Py_ssize_t n) noexcept nogil
    Py_ssize_t log_escape(char* out, const unsigned char* p, Py_ssize_t n) noexcept nogil
    bint log_bare(const unsigned char* p, Py_ssize_t n) noexcept nogil

cdef enum:
    KIND_FILE = 0           # one write takes whole lines, other writers' lines stay whole (O_APPEND)
    KIND_PIPE = 1           # atomic only up to PIPE_BUF
    KIND_SOCKET = 2
    KIND_BLOCKING = 3       # could not be opened again: ask before writing
    PIPE_ATOMIC = 4096
    FLUSH_AT = 65536        # a batch that is this large does not wait for the timer

FIELDS = ("request_id", "api_id", "api_name", "org_id", "api_type", "client_ip", "remote_addr", "host", "method",
          "path", "original_path", "protocol", "upstream_addr", "user_agent", "response_flag", "trace_id",
          "status", "upstream_status", "latency_total", "upstream_latency", "latency_gateway", "bytes_in",
          "bytes_out")
MIN_BUFFER = 4096

# The fixed parts of a line, one per field: `,"name":` for JSON and ` name=` for text.
cdef tuple _json_names = tuple([f',"{name}":'.encode() for name in FIELDS])
cdef tuple _text_names = tuple([f" {name}=".encode() for name in FIELDS])


@cython.final
cdef class AccessLog:
    """Collects lines in memory and appends them to a file, a pipe or a socket without ever waiting.

    `target` is a path (appended to, created with mode 0640) or a descriptor that the caller keeps. `format`
    is "json" or "text", `fields` a selection of FIELDS (empty: all). What cannot be written stays until
    `max_buffer` bytes are held; further lines are dropped and counted. Latencies are milliseconds with
    three decimals. Raises ValueError for a wrong argument and OSError when the path cannot be opened.
    """

    def __cinit__(self, target, str format="json", Py_ssize_t max_buffer=1 << 20, tuple fields=()):
        self._fd = -1
        if format not in ("json", "text"):
            raise ValueError(f"access log: format {format!r}, expected 'json' or 'text'")
        if max_buffer < MIN_BUFFER:
            raise ValueError(f"access log: buffer of {max_buffer} bytes, expected at least {MIN_BUFFER}")
        unknown = [name for name in fields if name not in FIELDS]
        if unknown:
            raise ValueError(f"access log: unknown field {unknown[0]!r}, expected some of {', '.join(FIELDS)}")
        self._json = format == "json"
        self.max_buffer = max_buffer
        for index, name in enumerate(FIELDS):
            if not fields or name in fields:
                self._fields[self._field_count] = index
                self._field_count += 1
        if isinstance(target, int):
            self.path = ""
            self._fd, self._kind = _again(target)
        else:
            self.path = os.fspath(target)
            self._fd, self._kind = _open(self.path)

    def __dealloc__(self):
        free(self._buffer)
        if self._fd >= 0:
            try:
                os.close(self._fd)
            except OSError:
                pass

    cdef void add(self, AccessRecord* record) noexcept:
        """Append one line; it is dropped and counted when it does not fit the buffer any more."""
        cdef Py_ssize_t start = self._used
        if not self._line(record):
            self._used = start
            self.dropped += 1
        elif self._used >= FLUSH_AT and not self._stalled:
            self.write_out()

    cdef bint _reserve(self, Py_ssize_t size) noexcept:
        cdef Py_ssize_t wanted = self._used + size, capacity
        cdef char* grown
        # A line that has grown past the bound is given up here, so the buffer stays within one field of it.
        if self._used > self.max_buffer:
            return False
        if wanted > self._capacity:
            capacity = self._capacity * 2 if self._capacity else 16384
            if capacity < wanted:
                capacity = wanted
            grown = <char*>realloc(self._buffer, capacity)
            if grown == NULL:
                return False
            self._buffer = grown
            self._capacity = capacity
        return True

    cdef bint _line(self, AccessRecord* record) noexcept:
        cdef int at, field
        cdef Text* value
        cdef bytes name
        if not self._reserve(128):
            return False
        if self._json:
            self._raw(b'{"time":"', 9)
            self._time(record.time_ms)
            self._raw(b'","level":"info","prefix":"access-log"', 38)
        else:
            self._raw(b'time="', 6)
            self._time(record.time_ms)
            self._raw(b'" level=info prefix=access-log', 30)
        for at in range(self._field_count):
            field = self._fields[at]
            value = &record.text[field] if field < T_COUNT else NULL
            if value != NULL and value.data == NULL:
                continue
            if field == N_UPSTREAM_STATUS and record.upstream_status == 0:
                continue
            if not self._reserve((6 * min(value.size, <Py_ssize_t>FIELD_MAX) if value != NULL else 0) + 128):
                return False
            name = <bytes>(_json_names[field] if self._json else _text_names[field])
            self._raw(PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name))
            if value != NULL:
                self._text(field, value)
            elif field == N_STATUS:
                self._number(record.status if record.status > 0 else 0)
            elif field == N_UPSTREAM_STATUS:
                self._number(record.upstream_status if record.upstream_status > 0 else 0)
            elif field == N_LATENCY_TOTAL:
                self._millis(record.total_us)
            elif field == N_UPSTREAM_LATENCY:
                self._millis(record.upstream_us)
            elif field == N_LATENCY_GATEWAY:
                self._millis(record.total_us - record.upstream_us if record.total_us > record.upstream_us else 0)
            elif field == N_BYTES_IN:
                self._number(record.bytes_in)
            else:
                self._number(record.bytes_out)
        if not self._reserve(2):
            return False
        if self._json:
            self._raw(b"}\n", 2)
        else:
            self._raw(b"\n", 1)
        return self._used <= self.max_buffer

    cdef void _time(self, uint64_t time_ms) noexcept:
        cdef uint64_t second = time_ms // 1000
        cdef int millis = <int>(time_ms % 1000)
        if second != self._second or self._stamp[0] == 0:
            log_stamp(second, self._stamp)
            self._second = second
        self._raw(self._stamp, <Py_ssize_t>strlen(self._stamp))
        cdef char[4] digits
        digits[0] = 48 + millis // 100
        digits[1] = 48 + millis // 10 % 10
        digits[2] = 48 + millis % 10
        digits[3] = b"Z"
        self._raw(digits, 4)

    cdef void _raw(self, const char* data, Py_ssize_t size) noexcept:
        memcpy(self._buffer + self._used, data, size)
        self._used += size

    cdef void _text(self, int field, Text* value) noexcept:
        cdef const unsigned char* data = <const unsigned char*>value.data
        cdef Py_ssize_t size = value.size
        cdef const void* query
        cdef bint cut = False
        if field == T_PATH or field == T_ORIGINAL_PATH or field == T_UPSTREAM_ADDR:
            query = memchr(data, b"?", size)
            if query != NULL:
                size = <const unsigned char*>query - data
        if size > FIELD_MAX:
            cut = True
            size = FIELD_MAX
            while size > FIELD_MAX - 4 and data[size] & 0xC0 == 0x80:
                size -= 1
        if not self._json and not cut and log_bare(data, size):
            self._raw(<const char*>data, size)
            return
        self._raw(b'"', 1)
        self._used += log_escape(self._buffer + self._used, data, size)
        if cut:
            self._raw(b"...", 3)
        self._raw(b'"', 1)

    cdef void _number(self, uint64_t value) noexcept:
        cdef char[20] digits
        cdef int at = 20
        while True:
            at -= 1
            digits[at] = 48 + <char>(value % 10)
            value = value // 10
            if value == 0:
                break
        self._raw(&digits[at], 20 - at)

    cdef void _millis(self, uint64_t microseconds) noexcept:
        cdef int rest = <int>(microseconds % 1000)
        cdef char[4] digits
        self._number(microseconds // 1000)
        digits[0] = b"."
        digits[1] = 48 + rest // 100
        digits[2] = 48 + rest // 10 % 10
        digits[3] = 48 + rest % 10
        self._raw(digits, 4)

    cdef Py_ssize_t _batch(self) noexcept:
        """How much of the buffer the next write may take, so that no line of others lands inside ours."""
        cdef Py_ssize_t size = self._used
        cdef const void* end
        if self._kind == KIND_FILE:
            return size
        if size > PIPE_ATOMIC:
            size = PIPE_ATOMIC
            while size > 0 and self._buffer[size - 1] != b"\n":
                size -= 1
            if size == 0:
                # One line longer than the atomic size: alone, and split if need be.
                end = memchr(self._buffer, b"\n", self._used)
                size = <const char*>end - self._buffer + 1
                if self._kind == KIND_BLOCKING:
                    size = PIPE_ATOMIC
        return size

    cdef bint write_out(self) noexcept:
        """Write as much as the target takes at once. True when nothing is left."""
        cdef ssize_t done
        cdef Py_ssize_t size
        cdef pollfd ready
        while self._used:
            size = self._batch()
            if self._kind == KIND_BLOCKING:
                ready.fd = self._fd
                ready.events = POLLOUT
                ready.revents = 0
                if poll(&ready, 1, 0) != 1 or not ready.revents & POLLOUT:
                    break
            if self._kind == KIND_SOCKET:
                done = send(self._fd, self._buffer, size, MSG_DONTWAIT | MSG_NOSIGNAL)
            else:
                done = write(self._fd, self._buffer, size)
            if done <= 0:
                if done < 0 and errno == EINTR:
                    continue
                self.last_error = 0 if done == 0 or errno == EAGAIN else errno
                break
            self.last_error = 0
            self._partial = self._buffer[done - 1] != b"\n"
            self._used -= done
            memmove(self._buffer, self._buffer + done, self._used)
        self._stalled = self._used > 0
        return not self._stalled

    def flush(self):
        """Write what is held without waiting. True when nothing is left."""
        return self.write_out()

    def reopen(self):
        """Continue in a new file after the old one was renamed (log rotation); nothing for a descriptor.

        Lines that are still held go to the new file; the rest of a line whose beginning is in the old one
        is dropped. Raises OSError when the path cannot be opened; the old file then stays in use.
        """
        cdef const char* end
        cdef Py_ssize_t rest
        if not self.path:
            return
        fd, kind = _open(self.path)
        self.write_out()
        if self._used and self._partial:
            end = <const char*>memchr(self._buffer, b"\n", self._used)
            rest = end - self._buffer + 1
            self._used -= rest
            memmove(self._buffer, self._buffer + rest, self._used)
            self.dropped += 1
        self._partial = False
        os.close(self._fd)
        self._fd, self._kind = fd, kind
        self.write_out()

    @property
    def pending(self):
        """Bytes that are held and not written yet."""
        return self._used

    def log(self, **values):
        """Add one line from Python: texts as bytes, numbers as int; latencies in microseconds.

        The names are those of FIELDS (without latency_gateway, which is calculated) and time_ms. Raises
        TypeError for another name.
        """
        cdef AccessRecord record
        cdef bytes text
        clear_record(&record)
        record.time_ms = values.pop("time_ms", 0)
        record.status = values.pop("status", 0)
        record.upstream_status = values.pop("upstream_status", 0)
        record.total_us = values.pop("latency_total", 0)
        record.upstream_us = values.pop("upstream_latency", 0)
        record.bytes_in = values.pop("bytes_in", 0)
        record.bytes_out = values.pop("bytes_out", 0)
        for name, value in values.items():
            if name not in FIELDS[:T_COUNT]:
                raise TypeError(f"access log: unknown value {name!r}")
            text = value
            set_text(&record, FIELDS.index(name), PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text))
        self.add(&record)


def _kind_of(int fd):
    mode = os.fstat(fd).st_mode
    if stat.S_ISREG(mode):
        return KIND_FILE
    return KIND_SOCKET if stat.S_ISSOCK(mode) else KIND_PIPE


def _open(path):
    # Non-blocking matters for a FIFO or a terminal; without a reader a FIFO fails here with ENXIO.
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC, 0o640)
    return fd, _kind_of(fd)


def _again(int target):
    """A descriptor of our own for what `target` is open on.

    A pipe or a terminal is opened anew where that is possible: O_NONBLOCK set on the caller's would change
    it for every process that shares it, the shell behind a terminal included. A file never blocks, and
    sharing its offset keeps our lines behind those of the others (`2>file` opens it without O_APPEND).
    """
    kind = _kind_of(target)
    if kind in (KIND_FILE, KIND_SOCKET):
        return os.dup(target), kind
    try:
        return os.open(f"/proc/self/fd/{target}", os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | os.O_CLOEXEC), kind
    except OSError:
        return os.dup(target), KIND_BLOCKING
