cdef class Exchange:
    def __cinit__(self, Gateway gw not None, Client client not None):
        self.gw = gw
        self.client = client
        self.req = HeaderBlock()
        self.res = HeaderBlock()

    # -- the request ---------------------------------------------------------

    cdef int begin(self) except -1:
        """The head is in `req`. Decide what happens with the request."""
        cdef Gateway gw = self.gw
        cdef HeaderBlock head = self.req
        cdef int at
        self.serial += 1
        self.stage = X_STEPS
        self.started_us = now_us()
        self.sent_us = self.upstream_us = self.bytes_out = self.body_read = self.body_held = self.hard_ms = 0
        self.status = self.loops = self.loop_limit = self.route_end = 0
        self.plan = None
        self.target = self.chosen = None
        self.later = None
        self.view = None
        self.unlimited = self.unforwarded = False
        self.breaker = None
        self.body = None
        self.body_parts = None
        self.trailer = None
        self.state = None
        self.key = None
        self.key_api = None
        self.grant = None
        self.capture = None
        self.limit_max = self.limit_left = self.limit_reset = 0
        self.limits_known = self.ignored = self.untracked = False
        self.version_end = self.hops = 0
        self.extra = None
        self.served = None
        self.tracked = None
        self.version = NON_VERSIONED
        self.default_version = None
        self.inflate = None
        self.inflate_rest = None
        self.flag = None
        self.retried = self.ungzip = self.upgrade = self.defer_head = self.response_whole = self.reused = False
        self.body_sent = self.body_done = head.body == BODY_NONE
        self.body_chunked = head.body == BODY_CHUNKED
        self.expects = head.expect and not self.body_done
        self.http10 = head.minor == 0
        gw.g[G_REQUESTS_TOTAL] += 1
        gw.g[G_ACTIVE_REQUESTS] += 1
        if head.method_len == 3 and memcmp(head.buf, b"GET", 3) == 0:
            self.method = b"GET"
            self.head_only = False
        else:
            self.method = PyBytes_FromStringAndSize(head.buf, head.method_len)
            self.head_only = self.method == b"HEAD"
        self.up_head = self.head_only
        self.close = (gw.close_connections or gw.draining or head.connection & CONN_CLOSE
                      or (self.http10 and not head.connection & CONN_KEEP_ALIVE)
                      or (gw.max_requests and self.client.served >= gw.max_requests))
        self.request_id = None
        if gw.id_trust:
            at = head.lookup(PyBytes_AS_STRING(gw.id_header), PyBytes_GET_SIZE(gw.id_header))
            if at >= 0 and 0 < head.fields[at].value_len <= 128:
                self.request_id = head.value_of(at)
        if self.request_id is None:
            self.request_id = gw.new_id()
        if head.connection & CONN_UPGRADE and gw.websockets and self.body_done and not self.http10:
            at = head.find(F_UPGRADE)
            self.upgrade = (at >= 0 and head.fields[at].value_len == 9 and self.method == b"GET"
                            and strncasecmp(head.at(head.fields[at].value), b"websocket", 9) == 0)
        return self._route()

    cdef int _route(self) except -1:
        cdef Gateway gw = self.gw
        cdef HeaderBlock head = self.req
        cdef bytes decoded, cleaned, host = b""
        cdef Py_ssize_t end = 0
        cdef Route route
        cdef Plan plan
        cdef Router router = gw.router
        self.path = decoded = PyBytes_FromStringAndSize(head.at(head.target), head.path_len)
        self.encoded, self.unclean = head.encoded, head.unclean
        if head.target_len > head.path_len + 1:
            self.query = PyBytes_FromStringAndSize(head.at(head.target + head.path_len + 1),
                                                   head.target_len - head.path_len - 1)
        else:
            self.query = b""
        if head.encoded:
            decoded = unquote_to_bytes(decoded)
        if head.unclean and gw.clean_urls:
            cleaned = clean_path(decoded)
            if cleaned != decoded:
                gw.g[G_REDIRECTS] += 1
                location = escape_decoded(cleaned)
                if head.target_len > head.path_len:
                    location += b"?" + self.query
                return self.send(301, [(b"Location", location)], b"")
        plan = gw.control(decoded)
        if plan is not None:
            return self._enter(plan)
        if router.domains or router.patterns:
            host = PyBytes_FromStringAndSize(head.at(head.host), head.host_len).lower()
            host = host[:host.find(b"]") + 1] if host.startswith(b"[") else host.partition(b":")[0]
        route = router.find(host, decoded, &end)
        if route is None:
            gw.g[G_NOT_FOUND] += 1
            self.flag = b"NRH"
            return self.send(404, [(b"Content-Type", b"text/plain; charset=utf-8")], b"Not Found")
        self.route_end = <int>end
        return self._enter(<Plan>route.plan)

    cdef int _enter(self, Plan plan) except -1:
        """Begin with a plan's steps, after the body has been read if the plan needs it."""
        cdef Gateway gw = self.gw
        self.plan = plan
        self.step = 0
        self.ignored = False
        if not self.body_done:
            if gw.max_body and self.req.length > gw.max_body:
                return self._too_large()
            if plan.needs_body and self.body is None:
                if self.req.length > gw.max_buffered:
                    return self._too_much()
                self.stage = X_BODY
                return self._continue()
        return self.run()

    cdef int _continue(self) except -1:
        """Answer `Expect: 100-continue`: from now on the body is wanted (RFC 9110 section 10.1.1)."""
        if self.expects:
            self.expects = False
            self.client.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        return 0

    cdef int _too_large(self) except -1:
        self.gw.g[B_BODY] += 1
        self.flag = b"BTL"
        return self.send(413, [(b"Content-Type", b"text/plain; charset=utf-8"),
                               (b"X-Content-Type-Options", b"nosniff")], b"Request Entity Too Large\n")

    cdef int _too_much(self) except -1:
        self.gw.g[B_BUFFERED_BODY] += 1
        self.flag = b"BTL"
        return self.fail_now(413, "Request is too large")

    cdef int run(self) except -1:
        """Run the plan's steps from where it stopped."""
        cdef Plan plan
        cdef Step step
        self.stage = X_STEPS
        while True:
            plan = self.plan            # a step may have chosen another one
            if self.step < len(plan.steps):
                step = <Step>plan.steps[self.step]
                self.step += 1
                if step.run(self) != GO_ON:
                    return 0
            elif self.later is None:
                break
            elif settle(self) != GO_ON:
                return 0
        if plan.loop is not None and self.chosen is None:
            self.loops += 1
            if self.loops > MOST_LOOPS:
                return self.fail_now(500, f"Loop level too deep. Found more than {MOST_LOOPS} loops in single request")
            move(self, self._upstream_path(plan), self.query, 0)
            self.view = None
            self.unforwarded = False
            self.version = NON_VERSIONED
            self.default_version = None
            return self._enter(plan.loop)
        return self.dispatch()

    cdef int _proceed(self) noexcept:
        """Run the steps from a callback or a task: nobody else would answer a request that fails there."""
        cdef Gateway gw = self.gw
        try:
            return self.run()
        except Exception:
            gw.logger.exception("a step of API %s failed", self.plan.api_id.decode())
            gw.out.size = 0
            try:
                if self.status == 0 and self.stage == X_STEPS:
                    return self.fail_now(500, PROBLEM)
                return self.client.abort()
            except Exception:
                gw.logger.exception("client connection")
        return 0

    cdef int dispatch(self) except -1:
        """Hand the request to an upstream."""
        cdef Plan plan = self.plan
        cdef bytes front = None
        if self.chosen is not None:
            self.target = self.chosen
        elif plan.targets:
            self.target = <Target>plan.targets[plan.turn]
            if len(plan.targets) > 1:
                plan.turn = (plan.turn + 1) % len(plan.targets)
        else:
            return self.fail_now(500, PROBLEM)
        if self.view is None and plan.response_steps:
            self.view = view_of(self)
        if breaker_refuses(self):
            return 0
        self.hard_ms = plan.exchange_timeout
        if plan.matcher is not None and plan.matcher.timed:
            front = unquote_to_bytes(self.path)[:self.route_end]
        self.path = self._upstream_path(plan)
        if front is not None:
            self._hard_timeout(plan, front)
        if not self.body_done:
            self._continue()
        if plan.recording is not None:
            begin_capture(self)
        return self.target.origin.acquire(self)

    cdef int _hard_timeout(self, Plan plan, bytes front) except -1:
        """Entries are matched against the path that goes out, and its end behind the listen path if that is in front."""
        cdef bytes path = unquote_to_bytes(self.path), rest = path
        cdef Endpoint endpoint
        if front and path.startswith(front):
            rest = behind(path, <int>PyBytes_GET_SIZE(front))
        endpoint = plan.matcher.first(K_HARD_TIMEOUT, self.method, path, rest, rest)
        if endpoint is not None:
            self.hard_ms = endpoint.data
        return 0

    cdef bytes _upstream_path(self, Plan plan):
        """Listen path off, target path on (tyk-core 3.9); for a loop, the path that the inner API sees."""
        cdef bytes rest = self.path, decoded, head, base, exact
        if plan.strip and self.route_end:
            if self.encoded:
                decoded = unquote_to_bytes(rest)
                head = decoded[:self.route_end]
                rest = rest[self.route_end:] if rest.startswith(head) else escape_decoded(decoded[self.route_end:])
            else:
                rest = rest[self.route_end:]
        if plan.loop is not None and self.chosen is None:
            base, exact = plan.loop_path.rstrip(b"/"), plan.loop_path
        else:
            base, exact = self.target.base, self.target.exact
            if self.gw.escape_paths:
                rest = encode_path(rest)
        if PyBytes_GET_SIZE(base) == 0 and PyBytes_GET_SIZE(rest) > 1 and rest[0] == c"/" and rest[1] != c"/":
            return rest
        rest = rest.lstrip(b"/")
        if rest:
            return base + b"/" + rest
        return (exact if plan.exact_target else base) or b"/"

    cdef int request_head(self) except -1:
        """Write the request head for the upstream into gw.out."""
        cdef Gateway gw = self.gw
        cdef Plan plan = self.plan
        cdef Target target = self.target
        cdef HeaderBlock head = self.req
        cdef Buffer out = gw.out
        cdef Field* field
        cdef int i
        cdef uint64_t own = OWN_REQUEST
        cdef bytes query = self.query
        if self.unforwarded:
            own &= ~(<uint64_t>1 << F_X_FORWARDED_FOR)      # one that was put there afterwards
        if head.nominated:
            head.drop_nominated()
        if gw.id_upstream:
            head.drop_name(gw.id_header)
        out.reserve(head.size + PyBytes_GET_SIZE(self.path) + PyBytes_GET_SIZE(query) + 512)
        out.add(self.method)
        out.put(" ", 1)
        out.add(self.path)
        if target.query:
            query = target.query + b"&" + query if query else target.query
        if query:
            out.put("?", 1)
            out.add(query)
        out.put(" HTTP/1.1\r\nHost: ", 17)
        if plan.preserve_host and head.host_len:
            out.put(head.at(head.host), head.host_len)
        else:
            out.add(target.host)
        out.put("\r\n", 2)
        for i in range(head.count):
            field = &head.fields[i]
            if field.gone or own & (<uint64_t>1 << field.id):
                continue
            if field.id == F_USER_AGENT and field.value_len == 0:
                continue
            out.put(head.at(field.name), field.name_len)
            out.put(": ", 2)
            out.put(head.at(field.value), field.value_len)
            out.put("\r\n", 2)
        if not self.unforwarded:
            out.put("X-Forwarded-For: ", 17)
            if head.seen & (<uint64_t>1 << F_X_FORWARDED_FOR):
                for i in range(head.count):
                    if head.fields[i].id == F_X_FORWARDED_FOR and not head.fields[i].gone and head.fields[i].value_len:
                        out.put(head.at(head.fields[i].value), head.fields[i].value_len)
                        out.put(", ", 2)
            out.add(self.client.address)
            out.put("\r\n", 2)
        if not head.seen & (<uint64_t>1 << F_USER_AGENT):
            out.add(gw.user_agent)
        if not (head.seen & (<uint64_t>1 << F_ACCEPT_ENCODING | <uint64_t>1 << F_RANGE) or self.head_only):
            self.ungzip = True
            out.put("Accept-Encoding: gzip\r\n", 23)
        if head.seen & (<uint64_t>1 << F_TE):
            i = head.find(F_TE)
            if head.fields[i].value_len == 8 and strncasecmp(head.at(head.fields[i].value), b"trailers", 8) == 0:
                out.put("Te: trailers\r\nConnection: Te\r\n", 30)
        if gw.id_upstream:
            out.add(gw.id_header)
            out.put(": ", 2)
            out.add(self.request_id)
            out.put("\r\n", 2)
        if self.upgrade:
            out.put("Connection: Upgrade\r\nUpgrade: websocket\r\n", 41)
        elif gw.up_close:
            out.put("Connection: close\r\n", 19)
        if self.body is not None:
            out.put("Content-Length: ", 16)
            out.number(PyBytes_GET_SIZE(self.body))
            out.put("\r\n", 2)
        elif self.body_chunked:
            out.put("Transfer-Encoding: chunked\r\n", 28)
        elif head.seen & (<uint64_t>1 << F_CONTENT_LENGTH):
            out.put("Content-Length: ", 16)
            out.number(head.length)
            out.put("\r\n", 2)
        out.put("\r\n", 2)
        return 0

    cdef int attached(self, Upstream u) except -1:
        """There is a connection: send what there is of the request."""
        cdef Gateway gw = self.gw
        cdef bytes piece
        cdef list held = self.body_parts
        self.stage = X_SENT
        self.reused = u.served > 0
        self.sent_us = now_us()
        if self.client.phase == T_WAIT:
            self.client.arm(T_TOTAL, 0)
        gw.wheel.set(u, self.hard_ms or self.plan.head_timeout)
        self.request_head()
        if self.body is not None:
            gw.out.add(self.body)
            self.body_sent = True
            if self.capture is not None:
                self.capture.add_request(self.body)
        u.transport.write(gw.out.take())
        if held is not None or (self.body_done and self.body_chunked and self.body is None):
            held = held or []
            self.body_parts = None
            self.body_held = 0
            for piece in held:
                self._send_body(piece)
            if self.body_done and self.body is None:
                self._send_end(self.trailer)
            self.client.resume()
        return 0

    cdef int request_data(self, bytes data, Py_ssize_t pos, Py_ssize_t n) except -1:
        """Body bytes from the client: data[pos:pos+n]."""
        cdef Gateway gw = self.gw
        cdef bytes piece
        self.body_read += n
        if self.stage >= X_ANSWERED:
            return 0
        if gw.max_body and self.body_read > gw.max_body:
            return self._too_large()
        if pos == 0 and n == PyBytes_GET_SIZE(data):
            piece = data
        else:
            piece = PyBytes_FromStringAndSize(PyBytes_AS_STRING(data) + pos, n)
        if self.up is not None:
            return self._send_body(piece)
        if self.body_parts is None:
            self.body_parts = []
        self.body_parts.append(piece)
        self.body_held += n
        if self.stage == X_BODY:
            if self.body_held > gw.max_buffered:
                return self._too_much()
        elif self.body_held > HOLD:
            self.client.pause()
        return 0

    cdef int request_end(self, bytearray trailer) except -1:
        """The request body is complete."""
        self.body_done = True
        if self.stage == X_BODY:
            self.body = b"".join(self.body_parts) if self.body_parts is not None else b""
            self.body_parts = None
            return self.run()
        if self.up is not None and self.body_parts is None and self.stage < X_ANSWERED:
            return self._send_end(trailer)
        self.trailer = trailer
        return 0

    cdef int _send_body(self, bytes piece) except -1:
        cdef Buffer out = self.gw.out
        cdef object transport = self.up.transport
        if self.capture is not None:
            self.capture.add_request(piece)
        if not self.body_chunked:
            transport.write(piece)
        else:
            out.chunk_size(PyBytes_GET_SIZE(piece))
            if PyBytes_GET_SIZE(piece) <= SMALL:
                out.add(piece)
                out.put("\r\n", 2)
                transport.write(out.take())
            else:
                transport.write(out.take())
                transport.write(piece)
                transport.write(b"\r\n")
        return 0

    cdef int _send_end(self, bytearray trailer) except -1:
        if self.body_chunked:
            if trailer is not None and self.gw.forward_trailers:
                self.up.transport.write(b"0\r\n" + bytes(trailer))
            else:
                self.up.transport.write(b"0\r\n\r\n")
        self.body_sent = True
        return 0

    # -- the upstream's answer -----------------------------------------------

    cdef int upstream_failed(self, int kind, object error) except -1:
        """No (whole) response will come. Retry once where that is safe, else answer, else cut the client off."""
        cdef Gateway gw = self.gw
        self.up = None
        if self.stage == X_RESPONSE:
            if error is not None or kind != E_RESET:
                gw.logger.debug("response of %s broke off", self.target.origin.label.decode())
            return self.drop()
        if self.stage != X_CONNECT and self.stage != X_SENT:
            return 0
        if (kind == E_RESET and self.reused and not self.retried and self.req.body == BODY_NONE
                and (self.method in (b"GET", b"HEAD", b"OPTIONS", b"TRACE")
                     or self.req.seen & (<uint64_t>1 << F_IDEMPOTENCY_KEY))):
            # A kept connection that was closed before it answered: the upstream gave it up while we used it.
            gw.g[G_UPSTREAM_RETRIES] += 1
            self.retried = True
            return self.target.origin.acquire(self)
        if self.breaker is not None and kind != E_BUSY:
            tell_breaker(self, True, False)
        if kind == E_TIMEOUT:
            self.flag = b"URT" if self.stage == X_SENT else b"UCT"
            return self.fail_now(504, TIMEOUT)
        gw.logger.warning(
            "upstream %s: %s", self.target.origin.label.decode(),
            error if error is not None else
            ("", "", "", "connection closed without an answer", "the answer is not valid HTTP/1.1",
             "no connection is free", "")[kind],
        )
        if kind == E_BUSY:
            self.flag = b"NHU"
            return self.fail_now(503, BUSY)
        if kind == E_DNS:
            self.flag = b"DNS"
            return self.fail_now(500, LOOKUP)
        self.flag = (b"UCF", b"DNS", b"URT", b"URR", b"UPE", b"NHU", b"TLE")[kind]
        return self.fail_now(500, PROBLEM)

    cdef int interim(self, HeaderBlock head) except -1:
        """Pass a 1xx response on (RFC 9110 section 15.2); HTTP/1.0 clients do not know them."""
        cdef Buffer out = self.gw.out
        cdef Field* field
        cdef int i
        if self.http10:
            return 0
        out.put("HTTP/1.1", 8)
        out.add(<bytes>STATUS_LINES[head.status])
        for i in range(head.count):
            field = &head.fields[i]
            if not OWN_RESPONSE & (<uint64_t>1 << field.id):
                out.put(head.at(field.name), field.name_len)
                out.put(": ", 2)
                out.put(head.at(field.value), field.value_len)
                out.put("\r\n", 2)
        out.put("\r\n", 2)
        return self.flush()

    cdef int switching(self, HeaderBlock head, bytes rest) except -1:
        """101: become a tunnel if this is the switch that the client asked for (RFC 9110 section 7.8)."""
        cdef Gateway gw = self.gw
        cdef Buffer out = gw.out
        cdef Field* field
        cdef int i = head.find(F_UPGRADE)
        cdef bytes early
        if not (self.upgrade and head.connection & CONN_UPGRADE and i >= 0 and head.fields[i].value_len == 9
                and strncasecmp(head.at(head.fields[i].value), b"websocket", 9) == 0):
            return self.up._broken(E_INVALID)
        if self.breaker is not None:
            tell_breaker(self, True, True)
        self.status = 101
        self.stage = X_TUNNEL
        self.up.deadline = 0
        self.upstream_us = now_us() - self.sent_us
        gw.g[G_TUNNELS] += 1
        out.put("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n", 75)
        for i in range(head.count):
            field = &head.fields[i]
            if not OWN_RESPONSE & (<uint64_t>1 << field.id):
                out.put(head.at(field.name), field.name_len)
                out.put(": ", 2)
                out.put(head.at(field.value), field.value_len)
                out.put("\r\n", 2)
        out.put("\r\n", 2)
        out.add(rest)
        self.flush()
        self.client.state = C_TUNNEL
        self.client.deadline = 0
        early = self.client.pending
        self.client.pending = None
        if early:
            self.up.transport.write(early)
        return self.client.resume()

    cdef int response_head(self, HeaderBlock head) except -1:
        cdef Gateway gw = self.gw
        cdef Step step
        cdef int i
        cdef uint64_t seen
        self.res = head
        self.stage = X_RESPONSE
        self.upstream_us = now_us() - self.sent_us
        self.flag = b"URS" if head.status >= 500 else None
        if self.breaker is not None:
            tell_breaker(self, True, head.status < 500)
        if head.nominated:
            head.drop_nominated()
        if self.ungzip and head.seen & (<uint64_t>1 << F_CONTENT_ENCODING) and head.body != BODY_NONE:
            i = head.find(F_CONTENT_ENCODING)
            if head.fields[i].value_len == 4 and strncasecmp(head.at(head.fields[i].value), b"gzip", 4) == 0:
                # We asked for it, not the client (Go's transport does the same)
                self.inflate = zlib.decompressobj(31)
                head.drop_known(F_CONTENT_ENCODING)
                head.drop_known(F_CONTENT_LENGTH)
        if head.status == 304:
            head.drop_known(F_CONTENT_TYPE)     # RFC 9110 section 15.4.5; as Go's server does
            head.drop_known(F_CONTENT_LENGTH)
        for step in self.plan.response_steps:
            step.run(self)
        seen = head.seen
        if head.body == BODY_NONE or self.head_only:
            self.out = OUT_NONE
        elif head.body == BODY_LENGTH and self.inflate is None:
            self.out = OUT_RAW
        elif self.http10:
            self.out = OUT_RAW
            self.close = True
        else:
            self.out = OUT_CHUNKED
        self.defer_head = (head.body != BODY_NONE
                           and not seen & (<uint64_t>1 << F_CONTENT_TYPE | <uint64_t>1 << F_CONTENT_ENCODING))
        if self.defer_head:
            return 0
        return self._write_head(NULL, 0)

    cdef int _write_head(self, const char* sample, Py_ssize_t n) except -1:
        """Write the response head for the client into gw.out. sample: the start of a body without a content type."""
        cdef Gateway gw = self.gw
        cdef HeaderBlock head = self.res
        cdef Buffer out = gw.out
        cdef Field* field
        cdef int i
        self.status = head.status
        self.defer_head = False
        if not self.body_done:
            self.close = True           # the rest of the request stands between us and the next one
        out.reserve(head.size + 512)
        out.put("HTTP/1.0" if self.http10 else "HTTP/1.1", 8)
        out.add(<bytes>STATUS_LINES[head.status])
        for i in range(head.count):
            field = &head.fields[i]
            if field.gone or (OWN_RESPONSE | RATELIMIT) & (<uint64_t>1 << field.id):
                continue
            out.put(head.at(field.name), field.name_len)
            out.put(": ", 2)
            out.put(head.at(field.value), field.value_len)
            out.put("\r\n", 2)
        if n:
            out.put("Content-Type: ", 14)
            out.add(sniff(sample, n if n < 512 else 512))
            out.put("\r\n", 2)
        if not gw.rate_headers or self.limits_known:
            self._write_limits()
        if self.extra is not None:
            self._write_extra(self.extra)
        if self.served is not None:
            self._write_extra([self.served])
        if not head.seen & (<uint64_t>1 << F_DATE):
            out.add(gw.date)
        if self.out == OUT_CHUNKED:
            out.put("Transfer-Encoding: chunked\r\n", 28)
        elif head.seen & (<uint64_t>1 << F_CONTENT_LENGTH) and head.status != 204:
            out.put("Content-Length: ", 16)
            out.number(head.length)
            out.put("\r\n", 2)
        self._write_tail()
        if self.capture is not None:
            capture_head(self)
        return 0

    cdef int _write_limits(self) except -1:
        """X-Ratelimit-*: of the quota, or of the rate (tyk-core 3.7)."""
        cdef Buffer out = self.gw.out
        if self.limit_max == 0 and self.limit_left == 0 and self.limit_reset == 0:
            return out.add(ZERO_LIMITS)
        out.put("X-Ratelimit-Limit: ", 19)
        out.number(self.limit_max)
        out.put("\r\nX-Ratelimit-Remaining: ", 25)
        out.number(self.limit_left)
        out.put("\r\nX-Ratelimit-Reset: ", 21)
        out.number(self.limit_reset)
        return out.put("\r\n", 2)

    cdef int _write_extra(self, list fields) except -1:
        cdef Buffer out = self.gw.out
        cdef bytes name, value
        for name, value in fields:
            out.add(name)
            out.put(": ", 2)
            out.add(value)
            out.put("\r\n", 2)
        return 0

    cdef int _write_tail(self) except -1:
        """Request id, Connection, end of head."""
        cdef Buffer out = self.gw.out
        if self.gw.id_response and self.res.lookup(PyBytes_AS_STRING(self.gw.id_header),
                                                   PyBytes_GET_SIZE(self.gw.id_header)) < 0:
            out.add(self.gw.id_header)
            out.put(": ", 2)
            out.add(self.request_id)
            out.put("\r\n", 2)
        if self.gw.draining:
            self.close = True
        if self.close:
            out.put("Connection: close\r\n", 19)
        elif self.http10:
            out.put("Connection: keep-alive\r\n", 24)
        return out.put("\r\n", 2)

    cdef int response_data(self, bytes data, const char* p, Py_ssize_t n) except -1:
        """Body bytes from the upstream: n bytes at p, inside data."""
        if self.inflate is not None:
            return self._inflate(PyBytes_FromStringAndSize(p, n))
        if self.defer_head:
            self._write_head(p, n)
        return self._body_out(data, p, n)

    cdef int _body_out(self, bytes data, const char* p, Py_ssize_t n) except -1:
        cdef Buffer out = self.gw.out
        if self.out == OUT_NONE:
            return 0                    # the upstream was asked with another method than HEAD
        self.bytes_out += n
        if self.capture is not None:
            self.capture.add_response(p, n)
        if self.out == OUT_CHUNKED:
            out.chunk_size(n)
        if n <= SMALL:
            out.put(p, n)
        else:
            self.flush()
            self.client.write(data if n == PyBytes_GET_SIZE(data) else PyBytes_FromStringAndSize(p, n))
        if self.out == OUT_CHUNKED:
            out.put("\r\n", 2)
        return 0

    cdef int _inflate(self, bytes data) except -1:
        """Unpack gzip in bounded pieces; what the client cannot take now waits, packed."""
        cdef bytes piece
        if self.inflate_rest is not None:
            data = self.inflate_rest + data
            self.inflate_rest = None
        while data:
            try:
                piece = self.inflate.decompress(data, HOLD)
            except zlib.error:
                self.gw.g[R_BAD_RESPONSE] += 1
                return self._broken_body()
            data = self.inflate.unconsumed_tail
            if piece:
                if self.defer_head:
                    self._write_head(PyBytes_AS_STRING(piece), PyBytes_GET_SIZE(piece))
                self._body_out(piece, PyBytes_AS_STRING(piece), PyBytes_GET_SIZE(piece))
            if data and self.client.write_paused:
                self.flush()
                self.inflate_rest = data
                return 0
            if self.inflate.eof:
                break
        return 0

    cdef int _broken_body(self) except -1:
        if self.bytes_out == 0 and self.gw.out.size:
            self.gw.out.size = 0        # the head has not left yet: the error page can take its place
            self.status = 0
        if self.status == 0:
            self.stage = X_SENT
            self.defer_head = False
            if self.up is not None:
                return self.up._broken(E_INVALID)
            return self.upstream_failed(E_INVALID, None)
        return self.drop()

    cdef int response_end(self, bytearray trailer) except -1:
        """The upstream's response is whole, and its connection already given back."""
        cdef HeaderBlock fields
        cdef Buffer out = self.gw.out
        self.response_whole = True
        if self.inflate is not None:
            if self.inflate_rest is not None:
                return 0                # the rest goes out when the client can take it
            if not self.inflate.eof:
                return self._broken_body()
        if self.defer_head:
            self._write_head(NULL, 0)
        if self.out == OUT_CHUNKED:
            out.put("0\r\n", 3)
            if trailer is not None:
                fields = HeaderBlock()
                raw = bytes(trailer)
                if not parse_trailers(fields, raw, len(raw), 64):
                    for name, value in fields.items():
                        out.add(name + b": " + value + b"\r\n")
            out.put("\r\n", 2)
        self.flush()
        return self.finish()

    cdef int flush(self) except -1:
        if self.gw.out.size:
            return self.client.write(self.gw.out.take())
        return 0

    # -- answers of our own --------------------------------------------------

    cdef int fail_now(self, int status, str message) except -1:
        """Answer with the error page for a status (tyk-core 3.3)."""
        cdef bytes kind, body
        cdef int at = self.req.find(F_CONTENT_TYPE)
        kind, body = self.gw.pages(status, message, b"" if at < 0 else self.req.value_of(at))
        headers = [(b"Content-Type", kind)]
        if self.gw.generator is not None:
            headers.append((b"X-Generator", self.gw.generator))
        return self.send(status, headers, body)

    cdef int send(self, int status, list headers, bytes body) except -1:
        """Answer without an upstream. Raises ValueError for header bytes that are not allowed."""
        cdef Gateway gw = self.gw
        cdef HeaderBlock head = HeaderBlock()
        cdef Buffer out = gw.out
        cdef Field* field
        cdef int i
        cdef bytes name, value
        if self.status or self.stage == X_DONE:
            return 0
        for name, value in headers:
            head.put(name, value)
        if self.up is not None:
            self.up.abort()
        self.res = head
        self.status = head.status = status
        self.stage = X_ANSWERED
        if not self.body_done:
            self.close = True
        out.size = 0
        out.put("HTTP/1.0" if self.http10 else "HTTP/1.1", 8)
        out.add(<bytes>STATUS_LINES[status])
        for i in range(head.count):
            field = &head.fields[i]
            if OWN_RESPONSE & (<uint64_t>1 << field.id):
                continue
            out.put(head.at(field.name), field.name_len)
            out.put(": ", 2)
            out.put(head.at(field.value), field.value_len)
            out.put("\r\n", 2)
        if self.limits_known:
            self._write_limits()
        if self.extra is not None:
            self._write_extra(self.extra)
        if not head.seen & (<uint64_t>1 << F_DATE):
            out.add(gw.date)
        if status != 204 and status != 304 and status >= 200:
            out.put("Content-Length: ", 16)
            out.number(PyBytes_GET_SIZE(body))
            out.put("\r\n", 2)
        self._write_tail()
        if self.plan is not None and self.plan.recording is not None:
            capture_answer(self, body)
        if not self.head_only and status != 204 and status != 304:
            out.add(body)
            self.bytes_out += PyBytes_GET_SIZE(body)
        self.flush()
        return self.finish()

    # -- the end -------------------------------------------------------------

    cdef int finish(self) except -1:
        """The response has been handed to the client's transport."""
        if self.stage == X_DONE:
            return 0
        self.stage = X_DONE
        self.count(self.status)
        return self.client.ready(self.close)

    cdef int drop(self) except -1:
        """The response cannot be completed: the client must not take what it has for the whole."""
        if self.stage == X_DONE:
            return 0
        self.gw.out.size = 0
        if self.up is not None:
            self.up.abort()
        self.stage = X_DONE
        if self.flag is None:
            self.flag = b"URR"
        self.count(self.status or 500)
        return self.client.cut()

    cdef int client_gone(self) except -1:
        """The client's connection is lost in the middle of the exchange."""
        if self.stage == X_DONE or self.stage == X_IDLE:
            return 0
        if self.up is not None:
            self.up.abort()
        if self.task is not None:
            self.task.cancel()
            self.task = None
        if self.stage != X_TUNNEL:
            self.gw.g[G_CLIENT_ABORTS] += 1
            self.flag = b"CDC"
        self.stage = X_DONE
        return self.count(self.status or 499)

    cdef int count(self, int status) except -1:
        """Counters and the access log, once per exchange."""
        cdef Gateway gw = self.gw
        cdef HeaderBlock head = self.req
        cdef AccessRecord record
        cdef int64_t total = now_us() - self.started_us
        cdef Plan plan = self.plan
        cdef bytes address
        cdef int at
        if self.breaker is not None:
            tell_breaker(self, False, False)
        if self.target is not None and self.up is None and self.target.origin.waiters:
            self.target.origin.forget(self)
        self.serial += 1
        gw.g[G_ACTIVE_REQUESTS] -= 1
        gw.g[G_BYTES_OUT] += self.bytes_out
        if plan is not None and plan.row >= 0:
            gw.region.observe(plan.row, status, total, self.upstream_us, self.body_read, self.bytes_out)
            if self.flag is not None:
                count_refusal(self)
            if plan.recording is not None and gw.recorder is not None and not self.untracked:
                record_request(self, status, total)
        if self.capture is not None:
            end_capture(self)
        if gw.log is None:
            return 0
        clear_record(&record)
        record.time_ms = gw.epoch_ms + gw.wheel.now
        record.total_us = total
        record.upstream_us = self.upstream_us
        record.bytes_in = self.body_read
        record.bytes_out = self.bytes_out
        record.status = status
        record.upstream_status = status if self.upstream_us else 0
        set_text(&record, T_REQUEST_ID, PyBytes_AS_STRING(self.request_id), PyBytes_GET_SIZE(self.request_id))
        if plan is not None:
            set_text(&record, T_API_ID, PyBytes_AS_STRING(plan.api_id), PyBytes_GET_SIZE(plan.api_id))
            set_text(&record, T_API_NAME, PyBytes_AS_STRING(plan.name), PyBytes_GET_SIZE(plan.name))
            set_text(&record, T_ORG_ID, PyBytes_AS_STRING(plan.org_id), PyBytes_GET_SIZE(plan.org_id))
        address = told_address(self, gw.address_of)
        set_text(&record, T_CLIENT_IP, PyBytes_AS_STRING(address), PyBytes_GET_SIZE(address))
        set_text(&record, T_REMOTE_ADDR, PyBytes_AS_STRING(self.client.address), PyBytes_GET_SIZE(self.client.address))
        set_text(&record, T_HOST, head.at(head.host), head.host_len)
        set_text(&record, T_METHOD, PyBytes_AS_STRING(self.method), PyBytes_GET_SIZE(self.method))
        set_text(&record, T_PATH, PyBytes_AS_STRING(self.path), PyBytes_GET_SIZE(self.path))
        set_text(&record, T_ORIGINAL_PATH, head.at(head.target), head.path_len)
        set_text(&record, T_PROTOCOL, "HTTP/1.0" if self.http10 else "HTTP/1.1", 8)
        if self.target is not None:
            set_text(&record, T_UPSTREAM_ADDR, PyBytes_AS_STRING(self.target.origin.label),
                     PyBytes_GET_SIZE(self.target.origin.label))
        at = head.find(F_USER_AGENT)
        if at >= 0:
            set_text(&record, T_USER_AGENT, head.at(head.fields[at].value), head.fields[at].value_len)
        if self.flag is not None:
            set_text(&record, T_RESPONSE_FLAG, PyBytes_AS_STRING(self.flag), PyBytes_GET_SIZE(self.flag))
        gw.log.add(&record)
        return 0

    # -- for steps in Python -------------------------------------------------

    @property
    def remote_addr(self):
        """Text of the address that the client's connection comes from, bytes."""
        return self.client.address

    @property
    def client_address(self):
        """Text of the client's address, bytes: what a trusted proxy says, else that of the connection."""
        return told_address(self, self.gw.address_of)

    @property
    def decoded_path(self):
        """The path as routing saw it, percent-decoded, bytes."""
        return unquote_to_bytes(self.path)

    @property
    def full_path(self):
        """The path with the listen path, as the last step saw it, percent-encoded, bytes."""
        return self.path if self.view is None else self.view.path

    @property
    def full_query(self):
        """The query that belongs to `full_path`, bytes."""
        return self.query if self.view is None else self.view.query

    @property
    def request_target(self):
        """Path and query as the client sent them, bytes."""
        return PyBytes_FromStringAndSize(self.req.at(self.req.target), self.req.target_len)

    @property
    def secure(self):
        """Whether the client's connection is encrypted up to the gateway."""
        return self.client.secure

    @property
    def answered(self):
        return self.status != 0

    @property
    def serial_number(self):
        """Changes when the exchange ends; for `resume`."""
        return self.serial

    def resume(self, uint64_t serial):
        """Let a request that a step stopped go on, unless it has ended or been answered meanwhile."""
        if self.serial == serial and self.stage == X_STEPS and not self.status:
            self._proceed()

    def waits(self, uint64_t serial):
        """Whether the request that had this serial number still waits in its steps."""
        return self.serial == serial and self.stage == X_STEPS and not self.status

    def add_header(self, bytes name not None, bytes value not None):
        """Add a field to whatever response there will be. Raises ValueError for bytes that are not allowed."""
        HeaderBlock().put(name, value)
        if self.extra is None:
            self.extra = []
        self.extra.append((name, value))

    def note_quota(self):
        """Take X-Ratelimit-* from the quota that has just counted."""
        if self.grant is not None and self.grant.quota is not None:
            note_quota(self, self.grant.quota)

    def mark(self, bytes flag):
        """Why the gateway answers itself, for the access log (tyk-core 1.3, response flags)."""
        self.flag = flag

    @property
    def started_ms(self):
        """When the request began, ms of the monotonic clock."""
        return self.started_us // 1000

    def header(self, bytes name not None):
        """The first value of a request header, or None."""
        return self.req.get(name)

    def set_url(self, bytes path not None, bytes query not None, int end):
        """Replace the request's URL for the steps that follow and for the upstream.

        path: with the listen path, percent-encoded; end: decoded bytes of it that are the listen path, 0 if it does not
        begin with it. Raises ValueError for what cannot stand in a request target (RFC 9112 section 3.2.1).
        """
        change_url(self, path, query, end)

    def set_body(self, bytes body not None):
        """Replace the request body; it goes upstream with its length. No body stays none if this one is empty.

        Raises RuntimeError when the old body has not been read: only plans and steps that need the body read it.
        """
        change_body(self, body)

    def rewrite(self, bytes path not None, bytes query not None, Target target=None):
        """Send the request elsewhere when all steps have run: path without the listen path, percent-encoded; target:
        instead of the API's own."""
        rewrite_later(self, path, query, target)

    def loop(self, Plan plan not None, bytes path not None, bytes query not None, int end, *, bytes method=b"",
             int limit=0, bint limits=False, bint same=False, bint later=False):
        """Continue in a plan of the gateway, from its first step (tyk-core 3.8).

        path: percent-encoded; end: of the listen path that it begins with, 0 without; method: another one; limit: loops
        that the request may make; limits: count it in rate limits and quotas again; same: it is the plan of this API;
        later: when all steps have run, unless a rewrite leads elsewhere.
        """
        if self.stage != X_STEPS or self.status or later and self.later is not None and self.later.rewritten:
            return
        loop_later(self, plan, path, query, end, method, limit, limits, same)
        if not later:
            settle(self)

    def transform_method(self, bytes method not None):
        """Send the request with another method when all steps have run."""
        later_of(self).method = method

    def answer(self, int status, object headers=(), bytes body=b""):
        """Answer the request. headers: (name, value) bytes pairs. Raises ValueError for bytes that are not allowed."""
        self.send(status, list(headers), body)

    def cannot_count(self):
        """Refuse a request whose limit cannot be checked because no counter is free (preforge.limits.max_counters)."""
        self.gw.g[B_COUNTERS] += 1
        self.fail_now(503, PROBLEM)

    def fail(self, int status, str message not None):
        """Answer with the error page for a status."""
        self.fail_now(status, message)
