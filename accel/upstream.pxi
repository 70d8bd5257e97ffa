cdef class Upstream(Timed):
    def __init__(self, Origin origin not None):
        self.origin = origin
        self.gw = origin.gw
        self.res = HeaderBlock()

    # -- asyncio protocol ----------------------------------------------------

    def connection_made(self, transport):
        self.transport = transport
        self.born = self.gw.wheel.now

    def data_received(self, bytes data):
        try:
            if self.x is None:
                # Nobody asked: the bytes could only be taken for the answer to somebody else's request.
                self.gw.g[R_BAD_RESPONSE] += 1
                self.abort()
            elif self.x.stage == X_TUNNEL:
                self.x.client.write(data)
                self.x.bytes_out += PyBytes_GET_SIZE(data)
            elif self.in_body:
                self._body(data, 0)
            else:
                self._head(data)
        except Exception:
            self.gw.logger.exception("upstream %s", self.origin.label.decode())
            self._broken(E_INVALID)

    def eof_received(self):
        cdef Exchange x = self.x
        if x is not None and x.stage == X_TUNNEL:
            self.eof = True
            if x.client.transport is not None and not x.client.eof and x.client.transport.can_write_eof():
                x.client.transport.write_eof()
                return True
        return False

    def connection_lost(self, exc):
        cdef Exchange x = self.x
        self.lost = True
        self.deadline = 0
        self.transport = None
        if self.counted:
            self.counted = False
            self.origin.closed()
        if x is None:
            if self in self.origin.idle:
                self.origin.idle.remove(self)
                self.gw.g[G_UPSTREAM_IDLE] -= 1
        elif self.in_body and self.body == BODY_EOF and exc is None:
            self._complete(True)
        else:
            self.x = None
            x.up = None
            if x.stage == X_TUNNEL:
                if exc is not None:
                    x.client.abort()
                elif x.client.transport is not None:
                    x.client.transport.close()
            else:
                self.gw.g[G_UPSTREAM_RESETS] += 1
                x.upstream_failed(E_RESET, exc)
        self.origin.next_waiter()

    def pause_writing(self):
        self.write_paused = True
        if self.x is not None:
            self.x.client.pause()

    def resume_writing(self):
        self.write_paused = False
        if self.x is not None:
            self.x.client.resume()

    # -- for the exchange ------------------------------------------------------

    cdef int attach(self, Exchange x) except -1:
        self.x = x
        x.up = self
        self.in_body = False
        self.informational = 0
        self.pending = None
        return x.attached(self)

    cdef int detach(self, bint reusable) except -1:
        """The exchange is over. Keep the connection if both sides are at a message boundary."""
        cdef Gateway gw = self.gw
        if self.x is not None:
            self.x.up = None
            self.x = None
        self.deadline = 0
        self.served += 1
        if self.lost:
            return 0
        if (not reusable or gw.up_close or self.transport.is_closing()
                or (gw.max_up_requests and self.served >= gw.max_up_requests)
                or (gw.max_up_age and gw.wheel.now - self.born > gw.max_up_age)):
            return self.abort()
        self.resume()
        return self.origin.hand_on(self)

    cdef int abort(self) except -1:
        self.deadline = 0
        if self.x is not None:
            self.x.up = None
            self.x = None
        if self.transport is not None:
            self.transport.abort()
        return 0

    cdef int pause(self) except -1:
        if not self.read_paused and not self.lost:
            self.read_paused = True
            self.transport.pause_reading()
        return 0

    cdef int resume(self) except -1:
        if self.read_paused and not self.lost:
            self.read_paused = False
            self.transport.resume_reading()
        return 0

    cdef void on_deadline(self):
        cdef Exchange x = self.x
        if x is None:
            self.abort()
        else:
            self.gw.g[G_UPSTREAM_TIMEOUTS] += 1
            self._broken(E_TIMEOUT)

    # -- reading a response ------------------------------------------------------

    cdef int _head(self, bytes data) except -1:
        cdef Py_ssize_t end, n, pos = 0
        cdef const char* p
        cdef Exchange x = self.x
        x.retried = True            # some of an answer has come: nothing may be sent a second time
        if self.pending is not None:
            data = self.pending + data
            self.pending = None
        p = PyBytes_AS_STRING(data)
        n = PyBytes_GET_SIZE(data)
        while True:
            end = head_end(p + pos, n - pos, &self.scanned)
            if end <= 0 or end > self.gw.max_up_head:
                if end == 0 and n - pos <= self.gw.max_up_head:
                    self.pending = data[pos:] if pos else data
                    return 0
                if end >= 0:
                    self.gw.g[B_UPSTREAM_HEAD] += 1
                return self._broken(E_INVALID)
            self.scanned = 0
            if parse_response(self.res, p + pos, end, self.gw.limits.max_fields, x.up_head):
                return self._broken(E_INVALID)
            pos += end
            if self.res.status >= 200:
                break
            if self.res.status == 101:
                return become_tunnel(x, self.res, data[pos:])
            self.informational += 1
            if self.informational > MOST_INTERIM:
                return self._broken(E_INVALID)
            if self.res.status != 100:
                write_interim(x, self.res)
            if pos == n:
                return 0
        self.body = self.res.body
        self.left = self.res.length
        self.keep = (not self.res.connection & CONN_CLOSE
                     and (self.res.minor == 1 or self.res.connection & CONN_KEEP_ALIVE != 0))
        if self.body == BODY_CHUNKED:
            if self.chunks is None:
                self.chunks = ChunkDecoder(self.gw.max_extension, self.gw.max_trailer)
            self.chunks.reset()
        self.in_body = True
        self.deadline = 0
        if x.hard_ms:
            self.gw.wheel.set(self, max(1, x.hard_ms - (now_us() - x.sent_us) // 1000))
        x.response_head(self.res)
        if self.x is None:
            return 0
        return self._body(data, pos)

    cdef int _body(self, bytes data, Py_ssize_t pos) except -1:
        cdef const char* p = PyBytes_AS_STRING(data)
        cdef Py_ssize_t n = PyBytes_GET_SIZE(data), take
        cdef Exchange x = self.x
        cdef int event
        if self.body == BODY_NONE:
            return self._complete(pos == n)
        if self.body == BODY_LENGTH:
            take = n - pos
            if take > self.left:
                take = <Py_ssize_t>self.left
            if take:
                self.left -= take
                relay(x, data, p + pos, take)
            if self.left == 0 and self.x is not None:
                return self._complete(pos + take == n)
        elif self.body == BODY_EOF:
            if n > pos:
                relay(x, data, p + pos, n - pos)
        else:
            while True:
                event = self.chunks.next(p + pos, n - pos)
                if event == CHUNK_DATA:
                    relay(x, data, self.chunks.data, self.chunks.data_len)
                    if self.x is None:
                        return 0
                elif event == CHUNK_END:
                    return self._complete(pos + self.chunks.used == n)
                elif event == CHUNK_MORE:
                    break
                else:
                    if event == CHUNK_BAD_EXTENSION:
                        self.gw.g[B_CHUNK_EXTENSION] += 1
                    elif event == CHUNK_BAD_TRAILER:
                        self.gw.g[B_TRAILERS] += 1
                    return self._broken(E_INVALID)
                pos += self.chunks.used
        if self.x is not None:
            x.flush()
        return 0

    cdef int _complete(self, bint clean) except -1:
        """The response is whole. clean: nothing came after it."""
        cdef Exchange x = self.x
        cdef bint reusable = clean and self.keep and self.body != BODY_EOF and x.body_sent
        if not clean:
            self.gw.g[R_BAD_RESPONSE] += 1
        x.flush()                   # the connection may begin its next request at once, in the same scratch space
        self.detach(reusable)
        return response_end(x, self.chunks.trailer if self.body == BODY_CHUNKED else None)

    cdef int _broken(self, int kind) except -1:
        """The response cannot be used: close the connection, let the exchange say so."""
        cdef Exchange x = self.x
        if kind == E_INVALID:
            self.gw.g[R_BAD_RESPONSE] += 1
        self.abort()
        if x is not None:
            x.upstream_failed(kind, None)
        return 0
