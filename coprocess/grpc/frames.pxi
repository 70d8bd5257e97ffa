# The server's bytes, taken apart into frames (RFC 9113 4 and 6). What is wrong with a frame by itself is found here; every
# such finding is a Fault, which ends the connection.


cdef class Frames(Output):
    cdef int feed(self, bytes data) except -1:
        """Handle what came. Stops where a handler has given the transport up."""
        cdef const uint8_t* p
        cdef Py_ssize_t n, pos = 0, length, padding
        cdef int kind, flags
        cdef uint32_t stream
        if self.rest is not None:
            data = self.rest + data
            self.rest = None
        p = <const uint8_t*>PyBytes_AS_STRING(data)
        n = PyBytes_GET_SIZE(data)
        while pos < n and self.transport is not None:
            if self.data_left:
                length = min(self.data_left, n - pos)
                self.data_left -= length
                pos += length
                self.on_data(self.data_stream, p + pos - length, length, self.data_ends and not self.data_left)
                continue
            if self.pad_left:
                length = min(self.pad_left, n - pos)
                self.pad_left -= length
                pos += length
                continue
            if n - pos < FRAME_HEAD:
                break
            length = <Py_ssize_t>p[pos] << 16 | <Py_ssize_t>p[pos + 1] << 8 | p[pos + 2]
            kind = p[pos + 3]
            flags = p[pos + 4]
            stream = word_at(p + pos + 5) & 0x7FFFFFFF
            if length > LARGEST_FRAME:
                if not self.settled and memcmp(p + pos, b"HTTP/1", 6) == 0:
                    raise Fault(PROTOCOL_ERROR, "the server speaks HTTP/1, not gRPC")
                raise Fault(FRAME_SIZE_ERROR, f"a frame of {length} bytes")
            if not self.settled and kind != SETTINGS:
                raise Fault(PROTOCOL_ERROR, "the first frame is not SETTINGS")
            if self.block_stream and (kind != CONTINUATION or stream != self.block_stream):
                raise Fault(PROTOCOL_ERROR, "a block of fields is interrupted")
            if kind == DATA:
                padding = 0
                if flags & PADDED:
                    if length == 0:
                        raise Fault(FRAME_SIZE_ERROR, "a padded frame without a payload")
                    if n - pos < FRAME_HEAD + 1:
                        break
                    padding = p[pos + FRAME_HEAD] + 1
                    if padding > length:
                        raise Fault(PROTOCOL_ERROR, "padding that is longer than its frame")
                if stream == 0:
                    raise Fault(PROTOCOL_ERROR, "DATA without a stream")
                self.on_data_frame(stream, length, padding)
                pos += FRAME_HEAD + (1 if padding else 0)
                self.data_stream = stream
                self.data_ends = flags & END_STREAM
                self.data_left = length - padding
                self.pad_left = padding - 1 if padding else 0
                if not self.data_left:
                    if not self.data_ends:
                        self.idle()
                    self.on_data(stream, p + pos, 0, self.data_ends)
                continue
            if n - pos < FRAME_HEAD + length:
                break
            pos += FRAME_HEAD + length
            if kind == HEADERS or kind == CONTINUATION:
                self.fields(kind, flags, stream, p + pos - length, length)
            else:
                self.control(kind, flags, stream, p + pos - length, length)
        if pos < n and self.transport is not None:
            self.rest = data[pos:] if pos else data
        return 0

    cdef int fields(self, int kind, int flags, uint32_t stream, const uint8_t* p, Py_ssize_t n) except -1:
        cdef Py_ssize_t padding = 0
        if stream == 0:
            raise Fault(PROTOCOL_ERROR, "fields without a stream")
        if kind == CONTINUATION:
            if not self.block_stream:
                raise Fault(PROTOCOL_ERROR, "CONTINUATION without HEADERS")
            self.block_frames += 1
            if len(self.block) + n > LARGEST_BLOCK or self.block_frames > MOST_BLOCK_FRAMES:
                raise Fault(ENHANCE_YOUR_CALM, "a block of fields that is too large")
            self.block += (<const char*>p)[:n]
            if flags & END_HEADERS:
                self.block_stream = 0
                self.on_fields(
                    stream, <const uint8_t*>PyByteArray_AS_STRING(self.block), PyByteArray_GET_SIZE(self.block), self.block_ends
                )
                self.block = None
            return 0
        if flags & PADDED:
            if n == 0:
                raise Fault(FRAME_SIZE_ERROR, "a padded frame without a payload")
            padding = p[0]
            p += 1
            n -= 1
        if flags & WITH_PRIORITY:
            if n < 5:
                raise Fault(FRAME_SIZE_ERROR, "HEADERS without the priority that they announce")
            p += 5
            n -= 5
        if padding > n:
            raise Fault(PROTOCOL_ERROR, "padding that is longer than its frame")
        n -= padding
        if flags & END_HEADERS:
            return self.on_fields(stream, p, n, flags & END_STREAM)
        self.block = bytearray((<const char*>p)[:n])
        self.block_frames = 1
        self.block_stream = stream
        self.block_ends = flags & END_STREAM
        return 0

    cdef int control(self, int kind, int flags, uint32_t stream, const uint8_t* p, Py_ssize_t n) except -1:
        if kind == WINDOW_UPDATE:
            if n != 4:
                raise Fault(FRAME_SIZE_ERROR, "a WINDOW_UPDATE that has not 4 bytes")
            return self.on_window(stream, word_at(p) & 0x7FFFFFFF)
        self.idle()
        if kind == SETTINGS:
            if stream:
                raise Fault(PROTOCOL_ERROR, "SETTINGS of a stream")
            if flags & ACK:
                if n:
                    raise Fault(FRAME_SIZE_ERROR, "an acknowledgement with SETTINGS")
                if not self.settled:
                    raise Fault(PROTOCOL_ERROR, "the first frame is not SETTINGS")
                return 0
            if n % 6:
                raise Fault(FRAME_SIZE_ERROR, "SETTINGS that are no multiple of 6 bytes")
            return self.on_settings(p, n)
        if kind == PING:
            if stream:
                raise Fault(PROTOCOL_ERROR, "PING of a stream")
            if n != 8:
                raise Fault(FRAME_SIZE_ERROR, "a PING that has not 8 bytes")
            return self.on_pong() if flags & ACK else self.on_ping(p)
        if kind == GOAWAY:
            if stream:
                raise Fault(PROTOCOL_ERROR, "GOAWAY of a stream")
            if n < 8:
                raise Fault(FRAME_SIZE_ERROR, "a GOAWAY of less than 8 bytes")
            return self.on_goaway(word_at(p) & 0x7FFFFFFF, word_at(p + 4), (<const char*>p + 8)[:n - 8])
        if kind == RST_STREAM:
            if n != 4:
                raise Fault(FRAME_SIZE_ERROR, "a RST_STREAM that has not 4 bytes")
            if stream == 0:
                raise Fault(PROTOCOL_ERROR, "RST_STREAM without a stream")
            return self.on_reset(stream, word_at(p))
        if kind == PRIORITY:
            if n != 5:
                raise Fault(FRAME_SIZE_ERROR, "a PRIORITY that has not 5 bytes")
            if stream == 0:
                raise Fault(PROTOCOL_ERROR, "PRIORITY without a stream")
        elif kind == PUSH_PROMISE:
            raise Fault(PROTOCOL_ERROR, "PUSH_PROMISE, which was not allowed")
        return 0                                    # unknown kinds are ignored (RFC 9113 4.1)

    cdef int idle(self) except -1:
        """A frame that brings no call on: some are normal, a flood is not."""
        self.chatter += 1
        if self.chatter > MOST_CHATTER:
            raise Fault(ENHANCE_YOUR_CALM, "a flood of frames that carry nothing")
        return 0

    cdef int on_data_frame(self, uint32_t stream, Py_ssize_t n, Py_ssize_t padding) except -1:
        """A DATA frame of n bytes begins, of which `padding` are none of the message."""
        return 0

    cdef int on_data(self, uint32_t stream, const uint8_t* p, Py_ssize_t n, bint ends) except -1:
        """A piece of a DATA frame; ends: the last one of its stream."""
        return 0

    cdef int on_fields(self, uint32_t stream, const uint8_t* p, Py_ssize_t n, bint ends) except -1:
        """A whole block of fields, still encoded; ends: its stream ends with it."""
        return 0

    cdef int on_reset(self, uint32_t stream, uint32_t code) except -1:
        return 0

    cdef int on_settings(self, const uint8_t* p, Py_ssize_t n) except -1:
        return 0

    cdef int on_ping(self, const uint8_t* p) except -1:
        return 0

    cdef int on_pong(self) except -1:
        return 0

    cdef int on_goaway(self, uint32_t last, uint32_t code, bytes text) except -1:
        return 0

    cdef int on_window(self, uint32_t stream, uint32_t more) except -1:
        return 0
