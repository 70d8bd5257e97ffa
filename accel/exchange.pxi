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
        forget_request(self)
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
        return find_route(self)

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
            move(self, upstream_path(self, plan), self.query, 0)
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
            return run_chain(self) if self.stage == X_CHAIN else self.run()
        except Exception:
            gw.logger.exception("a step of API %s failed", self.plan.api_id.decode())
            gw.out.size = 0
            try:
                if in_steps(self):
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
        self.path = upstream_path(self, plan)
        if front is not None:
            hard_timeout(self, plan, front)
        if not self.body_done:
            self._continue()
        if plan.recording is not None:
            begin_capture(self)
        return self.target.origin.acquire(self)

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
        write_request(self)
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
                send_body(self, piece)
            if self.body_done and self.body is None:
                send_end(self, self.trailer)
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
        if self.stage == X_BODY:
            return collect(self, PyBytes_AS_STRING(data) + pos, n)
        if pos == 0 and n == PyBytes_GET_SIZE(data):
            piece = data
        else:
            piece = PyBytes_FromStringAndSize(PyBytes_AS_STRING(data) + pos, n)
        if self.up is not None:
            return send_body(self, piece)
        if self.body_parts is None:
            self.body_parts = []
        self.body_parts.append(piece)
        self.body_held += n
        if self.body_held > HOLD:
            self.client.pause()
        return 0

    cdef int request_end(self, bytearray trailer) except -1:
        """The request body is complete."""
        self.body_done = True
        if self.stage == X_BODY:
            self.body = collected_body(self)
            return self.run()
        if self.up is not None and self.body_parts is None and self.stage < X_ANSWERED:
            return send_end(self, trailer)
        self.trailer = trailer
        return 0

    # -- the upstream's answer -----------------------------------------------

    cdef int upstream_failed(self, int kind, object error) except -1:
        """No (whole) response will come. Retry once where that is safe, else answer, else cut the client off."""
        cdef Gateway gw = self.gw
        self.up = None
        if self.stage == X_RESPONSE and self.out != OUT_HELD:
            if error is not None or kind != E_RESET:
                gw.logger.debug("response of %s broke off", self.target.origin.label.decode())
            return self.drop()
        if self.stage != X_CONNECT and self.stage != X_SENT and self.stage != X_RESPONSE:
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
            self.flag = b"UCT" if self.stage == X_CONNECT else b"URT"
            return self.fail_now(504, TIMEOUT)
        gw.logger.warning(
            "upstream %s: %s", self.target.origin.label.decode(),
            error if error is not None else
            ("", "", "", "connection closed without a whole answer", "the answer is not valid HTTP/1.1",
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

    cdef int response_head(self, HeaderBlock head) except -1:
        cdef Gateway gw = self.gw
        cdef Step step
        cdef int i, said
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
        if self.plan.holds:
            return hold(self, head)
        for step in self.plan.response_steps:
            said = step.run(self)
            if said == WAIT:
                gw.logger.error("API %s: a response step waits that was not made for it", self.plan.api_id.decode())
                self.fail_now(500, PROBLEM)
            if said != GO_ON:
                return 0
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
        return write_response(self, NULL, 0)

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

    cdef int send(self, int status, list headers, bytes body, Py_ssize_t length=-1) except -1:
        """Answer without an upstream. length: see `answer`. Raises ValueError for header bytes that are not allowed."""
        cdef Gateway gw = self.gw
        cdef HeaderBlock head = HeaderBlock()
        cdef bytes name, value
        if self.status or self.stage == X_DONE:
            return 0
        for name, value in headers:
            head.put(name, value)
        if self.up is not None:
            self.up.abort()
        if self.copy is not None:
            drop_copy(self)
        self.res = head
        self.status = head.status = status
        self.stage = X_ANSWERED
        if not self.body_done:
            self.close = True
        write_answer(self, length if length >= 0 and self.head_only else PyBytes_GET_SIZE(body))
        if self.plan is not None and self.plan.recording is not None:
            capture_answer(self, body)
        if not self.head_only and status != 204 and status != 304:
            gw.out.add(body)
            self.bytes_out += PyBytes_GET_SIZE(body)
        self.flush()
        return self.finish()

    # -- the end -------------------------------------------------------------

    cdef int finish(self) except -1:
        """The response has been handed to the client's transport."""
        if self.stage == X_DONE:
            return 0
        self.stage = X_DONE
        count_exchange(self, self.status)
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
        count_exchange(self, self.status or 500)
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
        return count_exchange(self, self.status or 499)

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
        """Changes when the exchange goes on from a step, and when it ends; for `resume`."""
        return self.serial

    cpdef resume(self, uint64_t serial):
        """Let a request that a step stopped go on, unless it has ended or been answered meanwhile."""
        if self.serial == serial and in_steps(self):
            self.serial += 1            # whoever calls once more is too late
            self._proceed()

    cpdef bint waits(self, uint64_t serial):
        """Whether the request that had this serial number still waits in its steps, or its response does."""
        return self.serial == serial and in_steps(self)

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

    def rewrite(self, bytes path not None, bytes query not None, Target target=None, bytes address=None):
        """Send the request elsewhere when all steps have run: path without the listen path, percent-encoded; target:
        instead of the API's own; address: what `pending_url` is then."""
        rewrite_later(self, path, query, target, address)

    def loop(self, Plan plan not None, bytes path not None, bytes query not None, int end, *, bytes method=b"",
             int limit=0, bint limits=False, bint same=False, bint later=False, bytes address=None, bint instead=False):
        """Continue in a plan of the gateway, from its first step (tyk-core 3.8).

        path: percent-encoded; end: of the listen path that it begins with, 0 without; method: another one; limit: loops
        that the request may make; limits: count it in rate limits and quotas again; same: it is the plan of this API;
        later: when all steps have run, unless a rewrite leads elsewhere; instead: of where that leads; address: what
        `pending_url` is then.
        """
        if self.stage != X_STEPS or self.status or later and not instead and self.later is not None and self.later.rewritten:
            return
        loop_later(self, plan, path, query, end, method, limit, limits, same, address)
        if not later:
            settle(self)

    @property
    def pending_url(self):
        """Where a rewrite or a loop leads when all steps have run, as it is written, bytes; None if nothing was said."""
        return None if self.later is None else self.later.address

    @property
    def pending_target(self):
        """The Target of a rewrite that is to come, None for the API's own."""
        return None if self.later is None else self.later.target

    @property
    def pending_method(self):
        """The method that the request is to have when all steps have run, bytes."""
        return self.method if self.later is None or self.later.method is None else self.later.method

    @property
    def upstream_url(self):
        """The whole URL that was asked for upstream, bytes; None while there is no upstream."""
        if self.target is None:
            return None
        url = (b"http://" if self.target.origin.tls is None else b"https://") + self.target.host + self.path
        return url + b"?" + self.query if self.query else url

    def transform_method(self, bytes method not None):
        """Send the request with another method when all steps have run."""
        later_of(self).method = method

    def answer(self, int status, object headers=(), bytes body=b"", *, Py_ssize_t length=-1):
        """Answer the request. headers: (name, value) bytes pairs; length: of the body that GET would have got, for answers
        to HEAD whose body is not at hand. Raises ValueError for bytes that are not allowed."""
        self.send(status, list(headers), body, length)

    def copy_response(self, CopyBounds bounds not None, object began not None, object ended not None):
        """Ask for a copy of what the client is sent as the response of an upstream, or of `respond`.

        began(exchange) -> bool: the head is final, in `status_code` and `res`; whether the body is wanted.
        ended(exchange, body): the client's response is whole; body: None for one that is over the bounds. Neither is
        called for other answers and for responses that break off, and neither can change or hold up the response.
        """
        want_copy(self, bounds, began, ended)

    cpdef respond(self, int status, object headers, bytes body):
        """Answer the request through the response steps of its plan, as an upstream would have answered.

        status: 200 to 599; headers: (name, value) bytes pairs. Raises ValueError for another status and for bytes that
        are not allowed, RuntimeError in a response step.
        """
        respond(self, status, list(headers), body)

    @property
    def status_code(self):
        """Of the response that the steps see."""
        return self.res.status

    @property
    def response_body(self):
        """Body of the response, for response steps that want it whole, else None."""
        return None if self.held is None else self.held.body

    def set_response(self, int status, bytes body not None):
        """Replace status and body of the response, for response steps that want it whole; its length follows.

        Raises ValueError for a status that is not in 200 to 599, RuntimeError where there is no whole response.
        """
        change_response(self, status, body)

    def cannot_count(self):
        """Refuse a request whose limit cannot be checked because no counter is free (preforge.limits.max_counters)."""
        self.gw.g[B_COUNTERS] += 1
        self.fail_now(503, PROBLEM)

    def fail(self, int status, str message not None):
        """Answer with the error page for a status."""
        self.fail_now(status, message)
