"""See chunked.pxd."""

from accel.headers cimport CH_TOKEN, ch_is, hex_value, tables_init

tables_init()

cdef enum:
    S_SIZE
    S_NAME              # of an extension: at its first character
    S_NAME_REST
    S_VALUE             # at the first character of its value
    S_VALUE_REST
    S_QUOTED
    S_QUOTED_PAIR
    S_QUOTED_END
    S_SIZE_LF
    S_DATA
    S_DATA_CR
    S_DATA_LF
    S_TRAILER_START
    S_TRAILER_LINE
    S_TRAILER_LF
    S_END_LF
    S_DONE


cdef class ChunkDecoder:
    def __cinit__(self, int max_extension=1024, int max_trailer=8192):
        self.max_extension = max_extension
        self.max_trailer = max_trailer
        self.reset()

    cdef void reset(self):
        self.state = S_SIZE
        self.left = 0
        self.digits = 0
        self.extension = 0
        self.trailer = None
        self.data_len = 0
        self.used = 0

    cdef int _extension(self, unsigned char c) noexcept:
        """The state after one character of `;name`, `;name=token` or `;name="text"`; -1 for anything else."""
        if self.state == S_NAME:
            return S_NAME_REST if ch_is(c, CH_TOKEN) else -1
        if self.state == S_VALUE:
            return S_QUOTED if c == c'"' else S_VALUE_REST if ch_is(c, CH_TOKEN) else -1
        if self.state == S_QUOTED:
            if c == c'"':
                return S_QUOTED_END
            return S_QUOTED_PAIR if c == c"\\" else S_QUOTED if 0x20 <= c <= 0x7e else -1
        if self.state == S_QUOTED_PAIR:
            return S_QUOTED if 0x20 <= c <= 0x7e else -1
        if c == c"\r":
            return S_SIZE_LF
        if c == c";":
            return S_NAME
        if self.state == S_NAME_REST and c == c"=":
            return S_VALUE
        return self.state if self.state != S_QUOTED_END and ch_is(c, CH_TOKEN) else -1

    cdef int next(self, const char* p, Py_ssize_t n) except -9:
        cdef Py_ssize_t i = 0
        cdef unsigned char c
        cdef int digit
        self.data_len = 0
        while i < n:
            c = <unsigned char>p[i]
            if self.state == S_DATA:
                self.data = p + i
                self.data_len = n - i if n - i < self.left else <Py_ssize_t>self.left
                self.left -= self.data_len
                if self.left == 0:
                    self.state = S_DATA_CR
                self.used = i + self.data_len
                return CHUNK_DATA
            i += 1
            if self.state == S_SIZE:
                digit = hex_value(c)
                if digit >= 0:
                    self.digits += 1
                    if self.digits > 15:
                        return CHUNK_BAD
                    self.left = self.left * 16 + digit
                elif self.digits == 0:
                    return CHUNK_BAD
                elif c == c"\r":
                    self.state = S_SIZE_LF
                elif c == c";":
                    self.state = S_NAME
                else:
                    return CHUNK_BAD
            elif S_NAME <= self.state <= S_QUOTED_END:
                self.state = self._extension(c)
                if self.state < 0:
                    return CHUNK_BAD
                self.extension += 1
                if self.extension > self.max_extension:
                    return CHUNK_BAD_EXTENSION
            elif self.state == S_SIZE_LF:
                if c != c"\n":
                    return CHUNK_BAD
                self.digits = 0
                self.extension = 0
                self.state = S_DATA if self.left else S_TRAILER_START
            elif self.state == S_DATA_CR:
                if c != c"\r":
                    return CHUNK_BAD
                self.state = S_DATA_LF
            elif self.state == S_DATA_LF:
                if c != c"\n":
                    return CHUNK_BAD
                self.state = S_SIZE
            elif self.state == S_TRAILER_START:
                if c == c"\r":
                    self.state = S_END_LF
                    continue
                if not ch_is(c, CH_TOKEN):
                    return CHUNK_BAD
                if self.trailer is None:
                    self.trailer = bytearray()
                self.trailer.append(c)
                self.state = S_TRAILER_LINE
            elif self.state == S_TRAILER_LINE:
                self.trailer.append(c)
                if len(self.trailer) > self.max_trailer:
                    return CHUNK_BAD_TRAILER
                if c == c"\n":
                    return CHUNK_BAD
                if c == c"\r":
                    self.state = S_TRAILER_LF
            elif self.state == S_TRAILER_LF:
                if c != c"\n":
                    return CHUNK_BAD
                self.trailer.append(c)
                self.state = S_TRAILER_START
            elif self.state == S_END_LF:
                if c != c"\n":
                    return CHUNK_BAD
                if self.trailer is not None:
                    self.trailer += b"\r\n"
                self.state = S_DONE
                self.used = i
                return CHUNK_END
            else:
                return CHUNK_BAD
        self.used = i
        return CHUNK_MORE


def decode(bytes data, int max_extension=1024, int max_trailer=8192):
    """Decode chunked bytes at once; for tests. Returns (body, rest, trailer or None); raises ValueError if malformed.

    rest is None if the message is not complete.
    """
    cdef ChunkDecoder decoder = ChunkDecoder(max_extension, max_trailer)
    cdef const char* p = data
    cdef Py_ssize_t n = len(data), at = 0
    cdef int event
    cdef list parts = []
    while True:
        event = decoder.next(p + at, n - at)
        if event < 0:
            raise ValueError(event)
        if event == CHUNK_DATA:
            parts.append(decoder.data[:decoder.data_len])
        at += decoder.used
        if event == CHUNK_END:
            return b"".join(parts), data[at:], None if decoder.trailer is None else bytes(decoder.trailer)
        if event == CHUNK_MORE:
            return b"".join(parts), None, None
