# Calls and when they end at the latest.


@cython.freelist(256)
cdef class Call:
    def __cinit__(self):
        self.slot = -1

    def cancel(self):
        """The caller went away: `done` is not called any more."""
        cdef Caller caller = self.caller
        if self.stage == S_OVER:
            return
        if self.stage == S_SENT:
            self.connection.give_up(self, CANCEL)
        elif self.stage == S_WAITING:
            caller.waiting.pop(self, None)      # only calls have somebody who could cancel them
        caller.deadlines.remove(self)
        caller.n[N_CANCELLED] += 1
        self.clear()
        caller.pump()
        caller.calm()

    def _refused(self, int outcome, str detail):
        self.caller.end(self, <Outcome>outcome, b"", detail)

    cdef int hold(self, Py_ssize_t n) except -1:
        """So many bytes more, or less."""
        self.held += n
        self.caller.held += n
        return 0

    cdef void clear(self):
        self.stage = S_OVER
        self.caller.held -= self.held
        self.held = 0
        self.done = None
        self.message = None
        self.reply = None
        self.head = None

    cdef inline Py_ssize_t total(self):
        return 5 + PyBytes_GET_SIZE(self.message)


cdef class Deadlines:
    """The calls by the step in which their time is over. The timer runs while there are any."""

    def __init__(self, loop):
        self.loop = loop
        self.heads = [None] * SLOTS

    cdef int add(self, Call call, int64_t now) except -1:
        cdef int64_t step = call.due // STEP + 1
        cdef Call head
        if self.timer is None:
            self.cursor = now // STEP
            self.timer = self.loop.call_later(STEP / 1e6, self._tick)
        if step <= self.cursor:
            step = self.cursor + 1
        call.slot = step % SLOTS
        head = <Call>self.heads[call.slot]
        call.after = head
        if head is not None:
            head.before = call
        self.heads[call.slot] = call
        self.many += 1
        return 0

    cdef int remove(self, Call call) except -1:
        if call.slot < 0:
            return 0
        if call.before is not None:
            call.before.after = call.after
        else:
            self.heads[call.slot] = call.after
        if call.after is not None:
            call.after.before = call.before
        call.before = call.after = None
        call.slot = -1
        self.many -= 1
        return 0

    def _tick(self):
        cdef int64_t now = clock(), last = now // STEP
        cdef list late = []
        cdef Call call
        if last - self.cursor > SLOTS:
            self.cursor = last - SLOTS
        while self.cursor < last:
            self.cursor += 1
            call = <Call>self.heads[self.cursor % SLOTS]
            while call is not None:
                if call.due <= now:
                    late.append(call)
                call = call.after
        self.timer = self.loop.call_later(STEP / 1e6, self._tick) if self.many else None
        for call in late:
            if call.stage == S_SENT:
                call.connection.give_up(call, CANCEL)
            call.caller.end(call, O_TIMEOUT, b"", "no reply within the deadline")
