# Calls: where they begin, where they wait, and where they end.


cdef bytes event_message(bytes payload):
    """A coprocess.Event: its field 1, a string, is the payload (tyk-plugins 2.2)."""
    cdef bytearray out = bytearray(b"\x0a")
    cdef size_t left = PyBytes_GET_SIZE(payload)
    while left > 0x7F:
        out.append(left & 0x7F | 0x80)
        left >>= 7
    out.append(left)
    return bytes(out) + payload


cdef class Caller:
    """Calls to one server; what keeps its connections is GrpcDriver, which is made of this."""

    def __init__(self, settings):
        authority = (settings.authority or settings.address().authority).encode()
        self.settings = settings
        self.ready = []
        self.waiting = OrderedDict()
        self.later = OrderedDict()
        self.phase = P_CONNECTING
        self.why = "not started"
        self.max_in_flight = settings.max_in_flight
        self.max_waiting = settings.max_waiting
        self.max_events = settings.max_events
        self.max_events_in_flight = settings.max_events_in_flight
        self.max_bytes = settings.max_bytes
        self.receive_limit = settings.receive_limit
        self.send_limit = settings.send_limit
        self.stream_window = min(LARGEST_WINDOW, max(DEFAULT_WINDOW, self.receive_limit + LARGEST_FRAME))
        self.head, self.event_head = [
            encode_fields([
                (b":method", b"POST"), (b":scheme", b"https" if settings.tls else b"http"), (b":path", path),
                (b":authority", authority), (b"te", b"trailers"), (b"content-type", b"application/grpc"),
                (b"user-agent", b"grpc-preforge"),
            ])
            for path in (b"/coprocess.Dispatcher/Dispatch", b"/coprocess.Dispatcher/DispatchEvent")
        ]

    def open(self, loop, logger):
        """The loop that everything happens on."""
        self.loop = loop
        self.logger = logger
        self.deadlines = Deadlines(loop)
        self.why = ""

    # -- for hooks -------------------------------------------------------------

    def dispatch(self, bytes message not None, double deadline, done not None):
        """See coprocess.driver.Driver."""
        cdef Call call = Call.__new__(Call)
        self.n[N_CALLS] += 1
        call.message = message
        call.done = done
        self.submit(call, deadline)
        return call

    def event(self, bytes payload not None):
        """See coprocess.driver.Driver."""
        cdef Call call
        if (self.closing or self.phase > P_UP or self.deadlines is None or self.events >= self.max_events
                or self.full(PyBytes_GET_SIZE(payload), 0)):
            self.n[N_EVENTS_DROPPED] += 1
            return False
        call = Call.__new__(Call)
        call.event = True
        call.message = event_message(payload)
        self.n[N_EVENTS] += 1
        self.events += 1
        self.submit(call, self.settings.event_timeout)
        return True

    cdef int submit(self, Call call, double deadline) except -1:
        cdef Connection connection
        cdef int64_t now
        call.caller = self
        if self.deadlines is None or self.closing:
            return self.refuse(call, O_AWAY, "closing" if self.closing else "not started")
        if self.phase == P_DISABLED:
            return self.refuse(call, O_DISABLED, self.why)
        if self.phase == P_DOWN:
            return self.refuse(call, O_AWAY, self.why)
        if PyBytes_GET_SIZE(call.message) > self.send_limit:
            return self.refuse(
                call, O_TOO_LARGE, f"a request of {len(call.message)} bytes, send_max_size is {self.send_limit}"
            )
        if not deadline > 0:
            return self.refuse(call, O_TIMEOUT, "the deadline had passed")
        if self.full(PyBytes_GET_SIZE(call.message), 0):
            return self.refuse(call, O_BUSY, f"messages under way take {self.held} bytes, max_bytes is {self.max_bytes}")
        queue = self.later if call.event else self.waiting
        now = clock()
        call.due = now + <int64_t>(min(deadline, 1e9) * 1e6) + 1
        if not queue and self.room(call.event):
            connection = self.pick(call.event)
            if connection is not None:
                call.hold(PyBytes_GET_SIZE(call.message))
                self.count(call, 1)
                self.deadlines.add(call, now)
                connection.begin(call, now)
                return 0
        if not call.event and len(queue) >= self.max_waiting:
            return self.refuse(call, O_BUSY, f"{self.in_flight} calls in flight and {len(queue)} waiting")
        call.hold(PyBytes_GET_SIZE(call.message))
        call.stage = S_WAITING
        queue[call] = None
        self.deadlines.add(call, now)
        return 0

    cdef bint full(self, Py_ssize_t n, Py_ssize_t own) noexcept:
        """Whether n bytes more are too many beside those of other calls. own: bytes of the call that they belong to."""
        return self.held > own and self.held + n > self.max_bytes

    cdef bint room(self, bint event) noexcept:
        return self.events_in_flight < self.max_events_in_flight if event else self.in_flight < self.max_in_flight

    cdef int count(self, Call call, int change) except -1:
        """A call comes into flight, or leaves it."""
        if call.event:
            self.events_in_flight += change
        else:
            self.in_flight += change
        return 0

    cdef int refuse(self, Call call, Outcome outcome, str detail) except -1:
        """End a call that has not begun, later: `done` is never called from inside dispatch()."""
        loop = self.loop
        if loop is None:
            import asyncio
            loop = asyncio.get_running_loop()
        loop.call_soon(call._refused, <int>outcome, detail)
        return 0

    cdef Connection pick(self, bint event):
        """A connection with room for a call or an event, in turn, or None."""
        cdef Py_ssize_t i, many = len(self.ready)
        cdef Connection connection
        for i in range(many):
            self.turn += 1
            connection = <Connection>self.ready[self.turn % many]
            if connection.has_room(event):
                return connection
        return None

    cdef int pump(self) except -1:
        """Let those that wait begin, as far as there is room."""
        if self.waiting:
            self.drain(self.waiting, False)
        if self.later:
            self.drain(self.later, True)
        return 0

    cdef int drain(self, queue, bint event) except -1:
        cdef Connection connection
        cdef Call call
        while queue and self.room(event):
            connection = self.pick(event)
            if connection is None:
                return 0
            call = <Call>queue.popitem(False)[0]
            self.count(call, 1)
            connection.begin(call, clock())
        return 0

    cdef int requeue(self, Call call) except -1:
        """The server has not looked at a call: it goes to another connection, before those that wait."""
        queue = self.later if call.event else self.waiting
        self.count(call, -1)
        call.hold(PyBytes_GET_SIZE(call.message) - call.held)
        call.stage = S_WAITING
        call.connection = None
        call.sent = 0
        call.blocked = False
        call.head = None
        call.prefix_got = 0
        call.reply = None
        queue[call] = None
        queue.move_to_end(call, False)
        self.n[N_RETRIES] += 1
        return 0

    cdef int end(self, Call call, Outcome outcome, bytes message, str detail) except -1:
        """The only way to `done`."""
        cdef object done = call.done
        if call.stage == S_OVER:
            return 0
        if call.stage == S_SENT:
            self.count(call, -1)
            call.connection.drop(call)
        elif call.stage == S_WAITING:
            (self.later if call.event else self.waiting).pop(call, None)
        if self.deadlines is not None:
            self.deadlines.remove(call)
        call.clear()
        self.pump()                                 # before `done`, which may bring new calls
        if call.event:
            self.events -= 1
            if outcome != O_OK:
                self.event_failed(detail)
        else:
            self.n[<int>outcome] += 1
            try:
                done(Reply(OUTCOME_NAMES[<int>outcome], message, detail))
            except Exception:
                self.logger.exception('gRPC server "%s": the end of a call', self.settings.name)
        return self.calm()

    cdef int event_failed(self, str detail) except -1:
        """Count it, and say so now and then."""
        cdef int64_t now = clock()
        self.n[N_EVENTS_FAILED] += 1
        self.unsaid += 1
        if now >= self.say_again:
            self.logger.warning(
                'gRPC server "%s" did not take %d events, the last one because: %s', self.settings.name, self.unsaid, detail
            )
            self.say_again = now + SILENCE
            self.unsaid = 0
        return 0

    cdef int calm(self) except -1:
        if self.quiet is not None and not self.in_flight and not self.waiting and not self.events and not self.quiet.done():
            self.quiet.set_result(None)
        return 0

    # -- for what keeps the connections -----------------------------------------

    def connected(self, Connection connection not None):
        """It takes calls from now on."""
        self.n[N_CONNECTS] += 1
        self.ready.append(connection)
        self.phase = P_UP
        self.why = ""
        self.pump()

    def connect_failed(self):
        """Count it."""
        self.n[N_CONNECT_FAILURES] += 1

    def without_connection(self, bint hopeful, str why):
        """There may be none that takes calls. hopeful: one is being opened for the first time; others do not wait for it."""
        if self.ready or self.phase == P_DISABLED:
            return
        self.phase = P_CONNECTING if hopeful else P_DOWN
        self.why = why
        if not hopeful:
            self._end_waiting(O_AWAY, why)

    def disable(self, str why):
        """Calls end as disabled from now on."""
        self.phase = P_DISABLED
        self.why = why
        self._end_waiting(O_DISABLED, why)

    def _end_waiting(self, int outcome, str why):
        for call in [*self.waiting, *self.later]:
            self.end(call, <Outcome>outcome, b"", why)

    def stop(self):
        """Take no more calls. Returns a future of when the last one has ended."""
        self.closing = True
        self.quiet = self.loop.create_future()
        self.calm()
        return self.quiet

    def end_all(self):
        """Grace is over."""
        self._end_waiting(O_AWAY, "closing")
        for connection in list(self.ready):
            (<Connection>connection).fail(O_AWAY, "closing")

    @property
    def status(self):
        """(status, detail) of DriverState."""
        if self.closing:
            return "down", "closing"
        return ("connecting", "up", "down", "disabled")[<int>self.phase], self.why

    def counts(self):
        """See coprocess.driver.Driver."""
        counts = {name: self.n[i] for i, name in enumerate(TOTAL_NAMES)}
        counts["in_flight"] = self.in_flight
        counts["waiting"] = len(self.waiting)
        counts["events_pending"] = self.events
        counts["bytes_held"] = self.held
        counts["connections"] = len(self.ready)
        return counts
