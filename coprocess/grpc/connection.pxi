# One connection: its life, and what the server's frames mean for its calls.

cdef bytes PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


cdef class Connection(Sender):
    """An asyncio protocol. Ends as `ended` says; its transport may be there for longer."""

    def __init__(self, Caller caller not None):
        self.caller = caller
        self.loop = caller.loop
        self.opened = self.loop.create_future()
        self.ended = self.loop.create_future()
        self.gone = self.loop.create_future()
        self.receive_window = DEFAULT_WINDOW

    # -- asyncio protocol ----------------------------------------------------

    def connection_made(self, transport):
        """Say what the server may send: no field tables, no pushes, replies in windows that hold them whole."""
        cdef uint8_t* p
        cdef int i
        self.transport = transport
        self.wire = transport
        memcpy(self.space(len(PREFACE)), PyBytes_AS_STRING(PREFACE), len(PREFACE))
        p = self.frame(24, SETTINGS, 0, 0)
        for kind, value in (
            (HEADER_TABLE_SIZE, 0), (ENABLE_PUSH, 0), (INITIAL_WINDOW_SIZE, self.caller.stream_window),
            (MAX_HEADER_LIST_SIZE, MOST_FIELDS),
        ):
            p[0] = 0
            p[1] = kind
            put_word(p + 2, value)
            p += 6
        self.word(WINDOW_UPDATE, 0, CONNECTION_WINDOW - DEFAULT_WINDOW)
        self.receive_window = CONNECTION_WINDOW
        self.flush()
        self.timer = self.loop.call_later(self.caller.settings.keepalive_time or 30.0, self._beat)

    def data_received(self, bytes data):
        self.heard = True
        self.caller.n[N_BYTES_IN] += PyBytes_GET_SIZE(data)
        try:
            self.feed(data)
        except Fault as e:
            self.caller.n[N_PROTOCOL_ERRORS] += 1
            self.goodbye(e.code, str(e))
            self.fail(O_ERROR, str(e))
        except Exception:
            self.caller.logger.exception('gRPC server "%s": what it sent', self.caller.settings.name)
            self.goodbye(INTERNAL_ERROR, "")
            self.fail(O_ERROR, "a fault of the gateway")

    def eof_received(self):
        return False

    def connection_lost(self, exc):
        self.transport = None
        self.wire = None
        if self.timer is not None:
            self.timer.cancel()
        self.fail(O_AWAY, f"the connection was lost: {exc}" if exc is not None else "the server closed the connection")
        if not self.gone.done():
            self.gone.set_result(None)

    # -- ending calls ------------------------------------------------------------

    cdef int drop(self, Call call) except -1:
        """It is not this connection's any more. The last one of a connection that takes no more closes it."""
        self.streams.pop(call.stream, None)
        call.connection = None
        if self.state == H_DRAINING and not self.streams:
            self.goodbye(NO_ERROR, "")
            self.state = H_CLOSED
        return 0

    cdef int give_up(self, Call call, uint32_t code) except -1:
        """Tell the server that nobody wants the reply."""
        if self.transport is not None:
            self.word(RST_STREAM, call.stream, code)
        if call.stage == S_SENT:
            call.stage = S_NEW
            self.caller.count(call, -1)
            self.drop(call)
        return 0

    cdef int fail_call(self, Call call, Outcome outcome, uint32_t code, str detail) except -1:
        self.give_up(call, code)
        return self.caller.end(call, outcome, b"", detail)

    cdef int take_no_more(self, str why) except -1:
        if self.state == H_READY:
            self.caller.ready.remove(self)
            if not self.caller.closing:
                self.caller.n[N_DISCONNECTS] += 1
        if self.state < H_DRAINING:
            self.state = H_DRAINING
        for future in (self.opened, self.ended):
            if not future.done():
                future.set_result(why)
        return 0

    cdef int goodbye(self, uint32_t code, str detail) except -1:
        """Send GOAWAY, and close once it is written, or soon in any case."""
        cdef bytes text = detail.encode()[:256]
        cdef uint8_t* p
        if self.transport is None:
            return 0
        p = self.frame(8 + len(text), GOAWAY, 0, 0)
        put_word(p, 0)
        put_word(p + 4, code)
        memcpy(p + 8, PyBytes_AS_STRING(text), len(text))
        self.flush()
        self.transport = None
        if self.timer is not None:
            self.timer.cancel()
        self.wire.close()
        self.loop.call_later(LINGER, self.abort)
        return 0

    cdef int fail(self, Outcome outcome, str detail) except -1:
        """The connection is over: end its calls, but let those begin anew of which nothing was written."""
        cdef Call call
        if self.state == H_CLOSED:
            return 0
        self.take_no_more(detail)
        self.state = H_CLOSED
        calls = list(self.streams.values())
        self.streams = {}
        self.sending.clear()
        for call in calls:
            if call.stage == S_SENT and call.connection is self and call.stream >= self.written_stream:
                self.caller.requeue(call)
        for call in calls:
            if call.stage == S_SENT and call.connection is self:
                self.caller.end(call, outcome, b"", detail)
        if self.transport is not None:
            self.goodbye(NO_ERROR, "")
        return 0

    def close(self, str why):
        """Send GOAWAY, end its calls as away."""
        self.fail(O_AWAY, why)
        if self.wire is None and not self.gone.done():
            self.gone.set_result(None)

    def drain(self, str why):
        """Take no more calls; close after the last one."""
        self.take_no_more(why)
        if not self.streams:
            self.fail(O_AWAY, why)

    def abort(self):
        """Give the transport up at once."""
        if self.wire is not None:
            self.wire.abort()

    def _beat(self):
        """Housekeeping; with keepalive_time set, a server that was silent while it had calls is asked whether it is there."""
        settings = self.caller.settings
        if self.transport is None:
            return
        self.chatter = 0
        if self.asked and not self.heard:
            self.fail(O_AWAY, "the server does not answer: no sign of life after a PING")
            return
        self.asked = False
        delay = settings.keepalive_time or 30.0
        if settings.keepalive_time and self.streams and not self.heard and self.pings < MOST_PINGS:
            self.pings += 1
            memcpy(self.frame(8, PING, 0, 0), b"preforge", 8)
            self.arm()
            self.asked = True
            delay = settings.keepalive_timeout
        self.heard = False
        self.timer = self.loop.call_later(delay, self._beat)

    cdef int greeted(self) except -1:
        if self.state == H_OPENING:
            self.state = H_READY
            if not self.opened.done():
                self.opened.set_result("")
            self.caller.connected(self)
        return 0

    # -- what the server sends -----------------------------------------------------

    cdef Call find(self, uint32_t stream, bint carries):
        found = self.streams.get(stream)
        if not stream & 1 or stream >= self.written_stream:
            raise Fault(PROTOCOL_ERROR, f"a frame of stream {stream}, which was not opened")
        if found is None and not carries:
            self.idle()
        return <Call>found

    cdef int on_data_frame(self, uint32_t stream, Py_ssize_t n, Py_ssize_t padding) except -1:
        cdef Call call = self.find(stream, n > padding)
        self.receive_window -= n
        if self.receive_window < 0:
            raise Fault(FLOW_CONTROL_ERROR, "more than the connection's window")
        if self.receive_window < CONNECTION_WINDOW // 2:
            self.word(WINDOW_UPDATE, 0, <uint32_t>(CONNECTION_WINDOW - self.receive_window))
            self.receive_window = CONNECTION_WINDOW
        if call is None:
            return 0
        call.receive_window -= n
        if call.receive_window < 0:
            return self.fail_call(call, O_TOO_LARGE, FLOW_CONTROL_ERROR, "more than the window of a reply")
        if padding:
            self.word(WINDOW_UPDATE, stream, <uint32_t>padding)
            call.receive_window += padding
        return 0

    cdef int on_data(self, uint32_t stream, const uint8_t* p, Py_ssize_t n, bint ends) except -1:
        cdef Call call = <Call>self.streams.get(stream)
        if call is None:
            return 0
        if call.head is None:
            return self.fail_call(call, O_ERROR, PROTOCOL_ERROR, "a body before its fields")
        if n:
            self.received(call, p, n)
        if ends and call.stage == S_SENT:
            self.fail_call(call, O_ERROR, CANCEL, "the response ended without a grpc-status")
        return 0

    cdef int received(self, Call call, const uint8_t* p, Py_ssize_t n) except -1:
        """Bytes of the reply: 5 of prefix, then the message."""
        cdef Py_ssize_t part
        if call.prefix_got < 5:
            part = min(n, 5 - call.prefix_got)
            memcpy(call.prefix + call.prefix_got, p, part)
            call.prefix_got += part
            p += part
            n -= part
            if call.prefix_got < 5:
                return 0
            call.size = word_at(call.prefix + 1)
            if call.prefix[0]:
                return self.fail_call(call, O_ERROR, CANCEL, "a reply that is compressed, which was not asked for")
            if call.size > self.caller.receive_limit:
                return self.fail_call(
                    call, O_TOO_LARGE, CANCEL,
                    f"a reply of {call.size} bytes, recv_max_size is {self.caller.receive_limit}",
                )
            if self.caller.full(call.size, call.held):
                return self.fail_call(
                    call, O_BUSY, CANCEL,
                    f"a reply of {call.size} bytes beside messages of {self.caller.held}, max_bytes is {self.caller.max_bytes}",
                )
            call.hold(call.size)
            call.got = 0
            call.reply = PyBytes_FromStringAndSize(NULL, call.size)
        if n > call.size - call.got:
            return self.fail_call(call, O_ERROR, CANCEL, "more than one reply")
        memcpy(PyBytes_AS_STRING(call.reply) + call.got, p, n)
        call.got += n
        return 0

    cdef Answer meaning(self, const uint8_t* p, Py_ssize_t n, bint ends):
        """Responses look alike: a block with the same bytes as the last one means the same, since there is no table."""
        cdef Answer usual = self.usual_end if ends else self.usual_head
        cdef bytes block
        if usual is not None and PyBytes_GET_SIZE(usual.block) == n and memcmp(PyBytes_AS_STRING(usual.block), p, n) == 0:
            return usual
        block = (<const char*>p)[:n]
        try:
            usual = read_answer(block, decode_block(p, n, MOST_FIELDS))
        except HpackError as e:
            raise Fault(COMPRESSION_ERROR, str(e)) from None
        except TooLarge as e:
            usual = Answer.__new__(Answer)
            usual.block = block
            usual.wrong = str(e)
        if ends:
            self.usual_end = usual
        else:
            self.usual_head = usual
        return usual

    cdef int on_fields(self, uint32_t stream, const uint8_t* p, Py_ssize_t n, bint ends) except -1:
        cdef Call call = self.find(stream, False)
        cdef Answer answer = self.meaning(p, n, ends)
        if call is None:
            return 0
        if answer.wrong is not None:
            return self.fail_call(call, O_ERROR, PROTOCOL_ERROR, f"a malformed response: {answer.wrong}")
        if call.head is None:
            if not answer.status:
                return self.fail_call(call, O_ERROR, PROTOCOL_ERROR, "a response without a status")
            if answer.status < 200 and not ends:
                return self.idle()
            if answer.code < 0 and (answer.status != 200 or not answer.grpc):
                said = f"HTTP status {answer.status}" if answer.status != 200 else "a response that is not gRPC"
                return self.fail_call(call, O_AWAY if answer.status in (429, 502, 503, 504) else O_ERROR, CANCEL, said)
            call.head = answer
            if not ends:
                return 0
        elif not ends or answer.status:
            return self.fail_call(call, O_ERROR, PROTOCOL_ERROR, "trailers that are none")
        return self.answered(call, answer)

    cdef int answered(self, Call call, Answer answer) except -1:
        """The response is whole."""
        cdef Outcome outcome = O_ERROR
        cdef str detail = ""
        cdef bytes message = b""
        if answer.code == 0:
            if call.prefix_got == 5 and call.got == call.size:
                outcome = O_OK
                message = call.reply
            else:
                detail = "an answer without a whole message"
        elif answer.code < 0:
            detail = "the response ended without a grpc-status"
        else:
            detail = answer.describe()
            if answer.code == STATUS_DEADLINE_EXCEEDED:
                outcome = O_TIMEOUT
            elif answer.code == STATUS_UNAVAILABLE:
                outcome = O_AWAY
        self.useful = True
        self.chatter = 0
        self.pings = 0
        if call.sent < call.total():
            self.word(RST_STREAM, call.stream, CANCEL)
        return self.caller.end(call, outcome, message, detail)

    cdef int on_reset(self, uint32_t stream, uint32_t code) except -1:
        cdef Call call = self.find(stream, False)
        if call is None:
            return 0
        if code == REFUSED_STREAM and not call.retried:
            # Nothing of it was looked at (RFC 9113 8.7).
            call.retried = True
            self.drop(call)
            self.caller.requeue(call)
            return self.caller.pump()
        return self.caller.end(
            call, O_AWAY if code == REFUSED_STREAM else O_ERROR, b"", f"the server reset the call: {code_name(code)}"
        )

    cdef int on_goaway(self, uint32_t last, uint32_t code, bytes text) except -1:
        cdef Call call
        cdef str why = f"the server said GOAWAY: {code_name(code)} {printable(text)}".rstrip()
        self.caller.n[N_GOAWAYS] += 1
        if code == NO_ERROR and self.state < H_DRAINING:
            self.drained = True
        self.take_no_more(why)
        for call in list(self.streams.values()):
            if call.stage == S_SENT and call.connection is self and call.stream > last:
                # Not looked at and never will be (RFC 9113 6.8).
                if call.retried:
                    self.caller.end(call, O_AWAY, b"", why)
                else:
                    call.retried = True
                    self.drop(call)
                    self.caller.requeue(call)
        self.caller.pump()
        if not self.streams and self.state != H_CLOSED:
            self.fail(O_AWAY, why)
        return 0
