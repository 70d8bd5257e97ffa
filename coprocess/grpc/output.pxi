# The buffer of what is to be written.


cdef class Output:
    def __cinit__(self, *args):
        self.flush_later = self._flush

    def __dealloc__(self):
        free(self.buffer)

    cdef uint8_t* space(self, size_t n) except NULL:
        """Room for n bytes at the buffer's end, which count as written."""
        cdef size_t room
        cdef uint8_t* moved
        if self.size + n > self.room:
            room = (self.size + n) * 2
            moved = <uint8_t*>realloc(self.buffer, room)
            if moved is NULL:
                raise MemoryError()
            self.buffer = moved
            self.room = room
        moved = self.buffer + self.size
        self.size += n
        return moved

    cdef uint8_t* frame(self, size_t length, int kind, int flags, uint32_t stream) except NULL:
        """A frame's head is written; room for its payload is returned, and has to be filled before anything else is written."""
        cdef uint8_t* p = self.space(FRAME_HEAD + length)
        p[0] = length >> 16
        p[1] = length >> 8 & 0xFF
        p[2] = length & 0xFF
        p[3] = kind
        p[4] = flags
        put_word(p + 5, stream)
        return p + FRAME_HEAD

    cdef int word(self, int kind, uint32_t stream, uint32_t value) except -1:
        """A frame whose payload is one number: RST_STREAM, WINDOW_UPDATE."""
        put_word(self.frame(4, kind, 0, stream), value)
        return self.arm()

    cdef int arm(self) except -1:
        """What is in the buffer leaves when this turn of the loop is over."""
        if not self.armed:
            self.armed = True
            self.loop.call_soon(self.flush_later)
        return 0

    def _flush(self):
        self.armed = False
        self.fill()
        self.flush()

    cdef int flush(self) except -1:
        """Write the buffer. Nothing counts as written once the transport is on its way out."""
        cdef bytes data
        if self.size and self.transport is not None and not self.transport.is_closing():
            data = PyBytes_FromStringAndSize(<const char*>self.buffer, self.size)
            self.size = 0
            if self.room > 4 * HIGH:
                free(self.buffer)
                self.buffer = NULL
                self.room = 0
            try:
                self.transport.write(data)
            except RuntimeError:        # uvloop: an attempt to connect that was given up leaves a closed handle that does not say so
                return 0
            self.flushed(PyBytes_GET_SIZE(data))
        return 0

    cdef int fill(self) except -1:
        """Put what has waited for its turn into the buffer."""
        return 0

    cdef int flushed(self, Py_ssize_t n) except -1:
        return 0
