"""See wheel.pxd."""

from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec


cdef class Timed:
    cdef void on_deadline(self):
        pass


cdef class Wheel:
    def __cinit__(self):
        self.slots = [None] * SLOTS
        self.clock()
        self.cursor = self.now // TICK_MS

    cdef int64_t clock(self) noexcept:
        cdef timespec t
        clock_gettime(CLOCK_MONOTONIC, &t)
        self.now = <int64_t>t.tv_sec * 1000 + t.tv_nsec // 1000000
        return self.now

    cdef void set(self, Timed entry, int64_t delay_ms):
        """Let the deadline be in delay_ms from `now`; 0 or less: no deadline."""
        if delay_ms <= 0:
            entry.deadline = 0
            return
        entry.deadline = self.now + delay_ms
        if entry.due == 0:
            self._insert(entry)
        elif entry.deadline < entry.due:
            self._remove(entry)
            self._insert(entry)

    cdef void _insert(self, Timed entry):
        cdef int64_t tick = entry.deadline // TICK_MS + 1
        cdef int slot
        if tick > self.cursor + HORIZON:
            tick = self.cursor + HORIZON
        elif tick <= self.cursor:
            tick = self.cursor + 1
        slot = tick % SLOTS
        entry.due = tick * TICK_MS
        entry.after = <Timed>self.slots[slot]
        self.slots[slot] = entry

    cdef void _remove(self, Timed entry):
        cdef int slot = (entry.due // TICK_MS) % SLOTS
        cdef Timed at = <Timed>self.slots[slot]
        if at is entry:
            self.slots[slot] = entry.after
        else:
            while at is not None and at.after is not entry:
                at = at.after
            if at is not None:
                at.after = entry.after
        entry.after = None
        entry.due = 0

    cpdef int tick(self) except -1:
        """Fire what is due. Call it about every TICK_MS; a late call catches up. Returns how many deadlines passed."""
        cdef int64_t last = self.clock() // TICK_MS
        cdef int slot, fired = 0
        cdef Timed entry, following
        if last - self.cursor > SLOTS:
            self.cursor = last - SLOTS
        while self.cursor < last:
            self.cursor += 1
            slot = self.cursor % SLOTS
            entry = <Timed>self.slots[slot]
            self.slots[slot] = None
            while entry is not None:
                following = entry.after
                entry.after = None
                entry.due = 0
                if entry.deadline == 0:
                    pass
                elif entry.deadline <= self.now:
                    entry.deadline = 0
                    fired += 1
                    entry.on_deadline()
                else:
                    self._insert(entry)
                entry = following
        return fired
