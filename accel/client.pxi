cdef class Client(Timed):
    def __init__(self, Gateway gw not None):
        self.gw = gw
        self.x = Exchange(gw, self)
        self.state = C_CLOSED

    # -- asyncio protocol ----------------------------------------------------

    def connection_made(self, transport):
        cdef Gateway gw = self.gw
        cdef object peer = transport.get_extra_info("peername")
        self.transport = transport
        self.secure = transport.get_extra_info("ssl_object") is not None
        text = peer[0] if isinstance(peer, tuple) else ""
        self.address = (text[7:] if text.startswith("::ffff:") and "." in text else text).encode()
        gw.g[G_CONNECTIONS_TOTAL] += 1
        if len(gw.clients) >= gw.max_clients:
            gw.g[B_CONNECTIONS] += 1
            self.refuse(503, "too many connections")
            return
        self.counted = True
        gw.clients.add(self)
        gw.g[G_CONNECTIONS] += 1
        self.state = C_HEAD
        transport.set_write_buffer_limits(262144, 65536)
        self.arm(T_HEAD, gw.t_head)

    def data_received(self, bytes data):
        cdef Py_ssize_t n = PyBytes_GET_SIZE(data)
        self.read += n
        self.gw.g[G_BYTES_IN] += n
        try:
            if self.state == C_HEAD or self.state == C_BODY:
                self.process(data)
            elif self.state == C_BUSY:
                self.gw.g[B_PIPELINE] += 1
                self.pending = data if self.pending is None else self.pending + data
                self.pause()
            elif self.state == C_TUNNEL:
                self.x.body_read += n
                if self.x.up is not None:
                    self.x.up.transport.write(data)
            elif self.state == C_LINGER:
                self.lingered += <int>n
                if self.lingered > MOST_LINGER:
                    self.abort()
        except Exception:
            self.gw.logger.exception("client connection")
            self.gw.out.size = 0
            self.abort()

    def eof_received(self):
        self.eof = True
        if self.secure or self.state == C_HEAD or self.state == C_LINGER or self.state == C_CLOSED:
            return False
        if self.state == C_TUNNEL:
            if self.x.up is not None and not self.x.up.eof and self.x.up.transport.can_write_eof():
                self.x.up.transport.write_eof()
                return True
            return False                # both sides have finished
        if self.state == C_BODY:
            return False                # the rest of the body will not come
        return True                     # a half-closed client still wants its answer

    def connection_lost(self, exc):
        cdef Gateway gw = self.gw
        self.transport = None
        self.deadline = 0
        self.state = C_CLOSED
        self.pending = None
        if self.counted:
            self.counted = False
            gw.clients.discard(self)
            gw.g[G_CONNECTIONS] -= 1
            if gw.drained is not None and not gw.clients and not gw.drained.done():
                gw.drained.set_result(None)
        try:
            self.x.client_gone()
        except Exception:
            gw.logger.exception("client connection")

    def pause_writing(self):
        self.write_paused = True
        if self.x.up is not None:
            self.x.up.pause()
        self.window_bytes = self.written - <int64_t>self.transport.get_write_buffer_size()
        if self.state != C_TUNNEL:
            self.arm(T_SEND, self.gw.t_send)

    def resume_writing(self):
        cdef Exchange x = self.x
        self.write_paused = False
        if self.state == C_BODY:
            self.window_bytes = self.read
            self.arm(T_BODY, self.gw.t_body)
        elif self.state == C_BUSY:
            self.arm(T_TOTAL, 0)
        elif self.state == C_HEAD:
            self.arm(T_IDLE, self.gw.t_idle)
        try:
            if x.inflate_rest is not None:
                unpack(x, b"")
                if x.inflate_rest is None and x.response_whole:
                    response_end(x, None)
                else:
                    x.flush()
            if x.up is not None and not self.write_paused:
                x.up.resume()
        except Exception:
            self.gw.logger.exception("client connection")
            self.abort()

    # -- for the exchange ----------------------------------------------------

    cdef int write(self, bytes data) except -1:
        if self.transport is not None:
            self.written += PyBytes_GET_SIZE(data)
            self.transport.write(data)
        return 0

    cdef int pause(self) except -1:
        if not self.read_paused and self.transport is not None:
            self.read_paused = True
            self.transport.pause_reading()
        return 0

    cdef int resume(self) except -1:
        """Read again, unless there is unread input or the upstream cannot take more."""
        cdef Upstream u = self.x.up
        if self.read_paused and self.pending is None and self.transport is not None:
            if u is not None and u.write_paused:
                return 0
            self.read_paused = False
            self.transport.resume_reading()
        return 0

    cdef int arm(self, int phase, int64_t ms) except -1:
        """Set the deadline for a phase; 0 ms: only the deadline of the whole exchange counts."""
        cdef Wheel wheel = self.gw.wheel
        cdef int64_t left
        self.phase = phase
        if self.total_at:
            left = self.total_at - wheel.now
            if left < 1:
                left = 1
            if ms <= 0 or ms > left:
                ms = left
        wheel.set(self, ms)
        return 0

    cdef int ready(self, bint close) except -1:
        """The exchange is over."""
        self.total_at = 0
        if self.transport is None:
            return 0
        if close or self.eof or self.state == C_BODY:
            if self.state == C_BODY or self.pending is not None or self.busy:
                return self.linger()
            self.state = C_CLOSED
            self.window_bytes = self.written - <int64_t>self.transport.get_write_buffer_size()
            self.arm(T_SEND, self.gw.t_send)
            self.transport.close()
            return 0
        self.state = C_HEAD
        self.arm(T_IDLE, self.gw.t_idle)
        if not self.busy:
            return self.next_request()
        return 0

    cdef int next_request(self) except -1:
        cdef bytes data = self.pending
        self.pending = None
        self.resume()
        if data is not None:
            return self.process(data)
        return 0

    cdef int linger(self) except -1:
        """Close without losing the answer: send FIN, throw away what still comes, then go (RFC 9112 section 9.6)."""
        self.pending = None
        self.state = C_LINGER
        self.lingered = 0
        if not self.transport.can_write_eof():
            self.state = C_CLOSED
            self.arm(T_SEND, self.gw.t_send)
            self.transport.close()
            return 0
        self.transport.write_eof()
        self.arm(T_LINGER, self.gw.t_linger)
        return self.resume()

    cdef int abort(self) except -1:
        if self.transport is not None:
            self.state = C_CLOSED
            self.deadline = 0
            self.transport.abort()
        return 0

    cdef int cut(self) except -1:
        """Close with a reset: without a length or chunks, a plain close would look like the end of the body."""
        cdef object sock
        if self.transport is not None and not self.secure:
            sock = socket_module.socket(fileno=os.dup(self.transport.get_extra_info("socket").fileno()))
            try:
                sock.setsockopt(socket_module.SOL_SOCKET, socket_module.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            finally:
                sock.close()
        return self.abort()

    cdef int refuse(self, int status, const char* reason) except -1:
        """Answer a message that is not understood, and close. The upstream sees nothing of it."""
        cdef bytes text = b"%d %s" % (status, REASONS[status])
        if reason != NULL:
            text += b": " + reason
        self.write(
            b"HTTP/1.1" + <bytes>STATUS_LINES[status] + b"Content-Type: text/plain; charset=utf-8\r\n" + self.gw.date
            + b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(text) + text
        )
        return self.linger()

    cdef void on_deadline(self):
        cdef Gateway gw = self.gw
        cdef Exchange x = self.x
        cdef int64_t done, window
        try:
            if self.total_at and gw.wheel.now >= self.total_at:
                gw.g[B_REQUEST_TIMEOUT] += 1
                if x.status == 0 and x.stage != X_DONE:
                    x.flag = b"URT"
                    x.fail_now(504, TIMEOUT)
                else:
                    x.drop()
            elif self.phase == T_HEAD:
                gw.g[B_HEAD_TIMEOUT] += 1
                if self.pending is not None:
                    self.refuse(408, NULL)
                else:
                    self.abort()
            elif self.phase == T_IDLE:
                gw.g[B_IDLE_TIMEOUT] += 1
                self.abort() if self.transport.get_write_buffer_size() else self._close()
            elif self.phase == T_BODY:
                done = self.read - self.window_bytes
                if self.read_paused or done * 1000 >= gw.min_rate * gw.t_body:
                    self.window_bytes = self.read
                    self.arm(T_BODY, gw.t_body)
                else:
                    gw.g[B_BODY_TIMEOUT] += 1
                    if x.status == 0 and x.stage != X_DONE:
                        x.fail_now(408, "Request Timeout")
                    else:
                        x.drop()
            elif self.phase == T_SEND:
                window = self.written - <int64_t>self.transport.get_write_buffer_size()
                if (window - self.window_bytes) * 1000 >= gw.min_rate * gw.t_send:
                    self.window_bytes = window
                    self.arm(T_SEND, gw.t_send)
                else:
                    gw.g[B_SEND_TIMEOUT] += 1
                    if x.stage != X_DONE and x.stage != X_IDLE:
                        x.drop()
                    self.abort()
            elif self.phase == T_WAIT:
                gw.g[B_UPSTREAM_WAIT] += 1
                x.upstream_failed(E_BUSY, None)
            else:
                self.abort()
        except Exception:
            gw.logger.exception("client connection")
            self.abort()

    def _close(self):
        self.state = C_CLOSED
        self.transport.close()

    # -- reading requests ----------------------------------------------------

    cdef int process(self, bytes data) except -1:
        cdef Py_ssize_t pos = 0, n
        if self.pending is not None:
            data = self.pending + data
            self.pending = None
        n = PyBytes_GET_SIZE(data)
        self.busy = True
        try:
            while pos < n:
                if self.state == C_HEAD:
                    pos = self._head(data, pos)
                elif self.state == C_BODY:
                    pos = self._body(data, pos)
                elif self.state == C_BUSY:
                    self.gw.g[B_PIPELINE] += 1
                    self.pending = data[pos:]
                    self.pause()
                    break
                elif self.state == C_TUNNEL:
                    self.x.up.transport.write(data[pos:])
                    break
                else:
                    break
        finally:
            self.busy = False
        return 0

    cdef Py_ssize_t _head(self, bytes data, Py_ssize_t pos) except -1:
        """Read one request head at data[pos:]; returns where its bytes end, or the end of data if it is not whole."""
        cdef Gateway gw = self.gw
        cdef const char* p = PyBytes_AS_STRING(data)
        cdef Py_ssize_t n = PyBytes_GET_SIZE(data), end
        cdef Exchange x = self.x
        cdef int verdict
        while self.scanned == 0 and p[pos] == c"\r" and self.blank < 2:
            if pos + 1 == n:
                self.pending = data[pos:]
                return n
            if p[pos + 1] != c"\n":
                break
            pos += 2                    # RFC 9112 section 2.2: an empty line before the request line
            self.blank += 1
            if pos == n:
                return n
        end = head_end(p + pos, n - pos, &self.scanned)
        if end <= 0 or end > gw.max_head:
            if end == 0 and n - pos <= gw.max_head:
                self.pending = data[pos:] if pos else data
                if self.phase != T_HEAD:
                    self.arm(T_HEAD, gw.t_head)
                return n
            if end < 0:
                gw.g[R_BAD_REQUEST] += 1
                self.refuse(400, NULL)
            elif self.scanned == 0 and end == 0:
                gw.g[B_TARGET] += 1
                self.refuse(414, NULL)
            else:
                gw.g[B_HEAD_BYTES] += 1
                self.refuse(431, NULL)
            return n
        self.scanned = 0
        self.blank = 0
        if x.task is not None or Py_REFCNT(x) > 2:
            # A step kept the last exchange: leave it alone. One reference is ours, one is the local name's.
            x = self.x = Exchange(gw, self)
        verdict = parse_request(x.req, p + pos, end, &gw.limits)
        if verdict:
            gw.g[B_HEADERS if verdict == BAD_HEADERS else B_TARGET if verdict == BAD_TARGET_LENGTH
                 else R_VERSION if verdict == BAD_VERSION else R_EXPECTATION if verdict == BAD_EXPECTATION
                 else R_NOT_IMPLEMENTED if verdict == 501 else R_BAD_REQUEST] += 1
            self.refuse(verdict, NULL)
            return n
        self.served += 1
        if gw.t_total:
            self.total_at = gw.wheel.now + gw.t_total
        if x.req.body == BODY_NONE:
            self.state = C_BUSY
            self.arm(T_TOTAL, 0)
        else:
            self.state = C_BODY
            self.left = x.req.length
            self.window_bytes = self.read
            if x.req.body == BODY_CHUNKED:
                if self.chunks is None:
                    self.chunks = ChunkDecoder(gw.max_extension, gw.max_trailer)
                self.chunks.reset()
            self.arm(T_BODY, gw.t_body)
        x.begin()
        return pos + end

    cdef Py_ssize_t _body(self, bytes data, Py_ssize_t pos) except -1:
        cdef Gateway gw = self.gw
        cdef const char* p = PyBytes_AS_STRING(data)
        cdef Py_ssize_t n = PyBytes_GET_SIZE(data), take
        cdef Exchange x = self.x
        cdef int event
        cdef HeaderBlock fields
        if x.req.body == BODY_LENGTH:
            take = n - pos
            if take > self.left:
                take = <Py_ssize_t>self.left
            self.left -= take
            x.request_data(data, pos, take)
            if self.left == 0 and self.state == C_BODY:
                self.state = C_BUSY
                self._body_done(None)
            return pos + take
        while pos < n and self.state == C_BODY:
            event = self.chunks.next(p + pos, n - pos)
            take = self.chunks.used
            if event == CHUNK_DATA:
                x.request_data(data, self.chunks.data - p, self.chunks.data_len)
            elif event == CHUNK_END:
                if self.chunks.trailer is not None:
                    fields = HeaderBlock()
                    raw = bytes(self.chunks.trailer)
                    if parse_trailers(fields, raw, len(raw), gw.limits.max_fields):
                        self._bad_body()
                        return n
                self.state = C_BUSY
                self._body_done(self.chunks.trailer)
                return pos + take
            elif event != CHUNK_MORE:
                if event == CHUNK_BAD_EXTENSION:
                    gw.g[B_CHUNK_EXTENSION] += 1
                elif event == CHUNK_BAD_TRAILER:
                    gw.g[B_TRAILERS] += 1
                self._bad_body()
                return n
            pos += take
        return pos

    cdef int _body_done(self, bytearray trailer) except -1:
        if not self.write_paused:
            self.arm(T_TOTAL, 0)
        return self.x.request_end(trailer)

    cdef int _bad_body(self) except -1:
        """The body's framing is broken: the upstream must not take what it has for the whole."""
        cdef Exchange x = self.x
        self.gw.g[R_BAD_REQUEST] += 1
        if x.status or x.stage == X_DONE:
            return x.drop()
        x.flag = b"BIV"
        return x.send(400, [(b"Content-Type", b"text/plain; charset=utf-8")], b"400 Bad Request")
