"""Decoder of the chunked transfer coding (RFC 9112 section 7.1), strict, without look-ahead.

A ChunkDecoder is a plain state machine that its connection owns; it holds no pointer into the input. `next` is
called with the unread input and says what to do; the caller advances by `used` and calls again until it gets
CHUNK_MORE, CHUNK_END or a CHUNK_BAD_*. Data is a slice of the input, valid as long as the input is.
"""

from libc.stdint cimport int64_t

cdef enum:
    CHUNK_MORE = 0          # the input is used up
    CHUNK_DATA = 1          # data/data_len hold body bytes
    CHUNK_END = 2           # the message is complete; trailers are in `trailer`
    CHUNK_BAD = -1          # malformed
    CHUNK_BAD_EXTENSION = -2    # extension over the limit
    CHUNK_BAD_TRAILER = -3      # trailer section over the limit

cdef class ChunkDecoder:
    cdef int state
    cdef int64_t left           # bytes of the current chunk not seen yet
    cdef int digits
    cdef int extension          # bytes of the current chunk's extension
    cdef int max_extension
    cdef int max_trailer
    cdef bytearray trailer      # raw trailer section, with its blank line; None until one begins
    cdef const char* data
    cdef Py_ssize_t data_len
    cdef Py_ssize_t used

    cdef void reset(self)
    cdef int _extension(self, unsigned char c) noexcept
    cdef int next(self, const char* p, Py_ssize_t n) except -9
