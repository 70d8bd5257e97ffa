# One connection, as far as writing goes: requests, and what the server says about how much of them it takes.

cdef bytes TIMEOUT_NAME = b"\x00\x0cgrpc-timeout"     # a literal field without indexing, whose value follows


cdef class Sender(Frames):
    def __cinit__(self, *args):
        self.streams = {}
        self.sending = deque()
        self.next_stream = 1
        self.send_window = DEFAULT_WINDOW
        self.initial_window = DEFAULT_WINDOW
        self.most_streams = LARGEST_WINDOW
        self.most_frame = LARGEST_FRAME

    def pause_writing(self):
        self.paused = True

    def resume_writing(self):
        self.paused = False
        self.unread = 0
        self.pump_data()
        self.caller.pump()

    # -- of Connection ----------------------------------------------------------

    cdef int greeted(self) except -1:
        """The server's first SETTINGS have come."""
        return 0

    cdef int take_no_more(self, str why) except -1:
        """No call begins here any more."""
        return 0

    cdef int fail_call(self, Call call, Outcome outcome, uint32_t code, str detail) except -1:
        """Reset a call's stream and end it."""
        return 0

    cdef Call find(self, uint32_t stream, bint carries):
        """Its call; None for a stream that is over, where what carries nothing counts as chatter. Raises Fault for one that was
        never opened, or that the server cannot know of yet."""
        return None

    # -- requests ---------------------------------------------------------------

    cdef bint has_room(self, bint event):
        """An event leaves one stream to calls, if there is more than one."""
        cdef Py_ssize_t used = len(self.streams) + (1 if event and self.most_streams > 1 else 0)
        return self.state == H_READY and not self.paused and used < self.most_streams

    cdef int begin(self, Call call, int64_t now) except -1:
        """Write a call: its fields, and of its message what the server's windows allow."""
        cdef bytes head = self.caller.event_head if call.event else self.caller.head
        cdef Py_ssize_t size = PyBytes_GET_SIZE(head), total = call.total(), extra = 0
        cdef char[24] timeout
        cdef int digits
        cdef uint8_t* p
        cdef int64_t left = max(1, (call.due - now) // 1000)
        if left < 100000000:
            digits = snprintf(timeout, sizeof(timeout), "%lldm", <long long>left)
        else:
            digits = snprintf(timeout, sizeof(timeout), "%lldS", <long long>(left // 1000))
        if self.table_update is not None:
            extra = PyBytes_GET_SIZE(self.table_update)
        call.stage = S_SENT
        call.connection = <Connection>self
        call.stream = self.next_stream
        call.send_window = self.initial_window
        call.receive_window = self.caller.stream_window
        self.streams[call.stream] = call
        self.next_stream += 2
        if self.next_stream > LAST_STREAM:
            self.take_no_more("the ids of its streams run out")
        p = self.frame(extra + size + len(TIMEOUT_NAME) + 1 + digits, HEADERS, END_HEADERS, call.stream)
        if extra:
            memcpy(p, PyBytes_AS_STRING(self.table_update), extra)
            p += extra
            self.table_update = None
        memcpy(p, PyBytes_AS_STRING(head), size)
        p += size
        memcpy(p, PyBytes_AS_STRING(TIMEOUT_NAME), len(TIMEOUT_NAME))
        p += len(TIMEOUT_NAME)
        p[0] = digits
        memcpy(p + 1, timeout, digits)
        if total <= LARGEST_FRAME and total <= self.send_window and total <= call.send_window:
            self.put_data(call, total, True)
        else:
            self.sending.append(call)                # its turn comes with the flush
        if self.chatter:
            self.chatter = max(0, self.chatter - CHATTER_OF_A_CALL)
        if len(self.streams) == 1 and not self.sending:
            return self.flush()                     # nothing to wait for: the only call is not held back for a turn of the loop
        return self.arm()

    cdef int put_data(self, Call call, Py_ssize_t n, bint ends) except -1:
        """The next n bytes of the message's prefix and the message."""
        cdef uint8_t* p = self.frame(n, DATA, END_STREAM if ends else 0, call.stream)
        cdef uint8_t[5] prefix
        cdef Py_ssize_t part
        self.send_window -= n
        call.send_window -= n
        if call.sent < 5:
            prefix[0] = 0
            put_word(prefix + 1, <uint32_t>PyBytes_GET_SIZE(call.message))
            part = min(n, 5 - call.sent)
            memcpy(p, prefix + call.sent, part)
            p += part
            n -= part
            call.sent += part
        memcpy(p, PyBytes_AS_STRING(call.message) + (call.sent - 5), n)
        call.sent += n
        return 0

    cdef int pump_data(self) except -1:
        """Write of each large request in turn what the windows allow, up to HIGH at once."""
        cdef Call call
        cdef Py_ssize_t n, left
        while self.sending and self.send_window > 0 and self.size < HIGH and not self.paused:
            call = <Call>self.sending.popleft()
            if call.stage != S_SENT or call.connection is not <Connection>self:
                continue
            if call.send_window <= 0:
                call.blocked = True
                continue
            left = call.total() - call.sent
            n = min(min(left, self.most_frame), min(self.send_window, call.send_window))
            self.put_data(call, n, n == left)
            if n < left:
                self.sending.append(call)
            self.arm()
        return 0

    cdef int flushed(self, Py_ssize_t n) except -1:
        self.caller.n[N_BYTES_OUT] += n
        self.written_stream = self.next_stream
        if self.sending and self.send_window > 0 and not self.paused:
            self.arm()
        return 0

    cdef int fill(self) except -1:
        return self.pump_data()

    # -- what the server says ----------------------------------------------------

    cdef int on_settings(self, const uint8_t* p, Py_ssize_t n) except -1:
        cdef Py_ssize_t at
        cdef uint32_t value
        cdef int kind
        cdef int64_t change, window = self.initial_window
        cdef Call call
        for at in range(0, n, 6):
            kind = p[at] << 8 | p[at + 1]
            value = word_at(p + at + 2)
            if kind == HEADER_TABLE_SIZE:
                if value < 4096:
                    self.table_update = b"\x20"
            elif kind == ENABLE_PUSH:
                if value:
                    raise Fault(PROTOCOL_ERROR, "a server that wants pushes")
            elif kind == MAX_CONCURRENT_STREAMS:
                self.most_streams = value
            elif kind == INITIAL_WINDOW_SIZE:
                if value > LARGEST_WINDOW:
                    raise Fault(FLOW_CONTROL_ERROR, "a window that is too large")
                window = value
            elif kind == MAX_FRAME_SIZE:
                if value < 16384 or value > 0xFFFFFF:
                    raise Fault(PROTOCOL_ERROR, "a frame size that is not allowed")
                self.most_frame = min(<Py_ssize_t>value, <Py_ssize_t>HIGH)
        change = window - self.initial_window
        if change:
            self.initial_window = window
            for call in self.streams.values():
                call.send_window += change
                if call.send_window > LARGEST_WINDOW:
                    raise Fault(FLOW_CONTROL_ERROR, "a window that is too large")
                if call.blocked and call.send_window > 0:
                    call.blocked = False
                    self.sending.append(call)
        self.frame(0, SETTINGS, ACK, 0)
        self.acknowledge()
        if not self.settled:
            self.settled = True
            self.greeted()
        self.pump_data()
        return self.caller.pump()

    cdef int on_ping(self, const uint8_t* p) except -1:
        memcpy(self.frame(8, PING, ACK, 0), p, 8)
        return self.acknowledge()

    cdef int acknowledge(self) except -1:
        if self.paused:
            self.unread += 1
            if self.unread > MOST_UNREAD:
                raise Fault(ENHANCE_YOUR_CALM, "a server that asks and does not read")
        return self.arm()

    cdef int on_window(self, uint32_t stream, uint32_t more) except -1:
        cdef Call call
        if stream == 0:
            if more == 0:
                raise Fault(PROTOCOL_ERROR, "a window that grows by nothing")
            self.send_window += more
            if self.send_window > LARGEST_WINDOW:
                raise Fault(FLOW_CONTROL_ERROR, "a window that is too large")
            if not self.sending:
                self.idle()
            return self.pump_data()
        call = self.find(stream, False)
        if call is None:
            return 0
        if more == 0:
            return self.fail_call(call, O_ERROR, PROTOCOL_ERROR, "a window that grows by nothing")
        call.send_window += more
        if call.send_window > LARGEST_WINDOW:
            return self.fail_call(call, O_ERROR, FLOW_CONTROL_ERROR, "a window that is too large")
        if call.blocked:
            call.blocked = False
            self.sending.append(call)
        elif not self.sending:
            self.idle()
        return self.pump_data()
