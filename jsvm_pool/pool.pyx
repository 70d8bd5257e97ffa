"""The contexts of one worker and the calls of scripts in them. See pool.pxd for how a call goes."""

import json
import os
import threading
from collections import deque
from weakref import WeakValueDictionary

from jsvm_pool import v8
from jsvm_pool.payloads import leaves_jobs, program_text, settings_text
from jsvm_pool.runtime import runtime
from jsvm_pool.settings import Report
from jsvm_pool.traces import program_sources, readable, syntax_line

from jsvm_pool.v8 cimport Isolate

cdef enum:
    DEPTH = 16              # calls of a batch at most
    BATCHES = 2             # that a context is given at one time: one runs, one is next
    BATCH_BYTES = 65536     # of payloads, after which a batch takes no more
    F_TAKE = 0              # functions of the runtime, in the order of boot's result
    F_DROP = 1
    F_RUNNER = 2
    F_DELIVER = 3
    F_CONFIGURE = 4
    F_BATCH = 5
    RESULT = 0              # kinds of events: v8.pyx
    NOTHING = 1
    ERROR = 2
    LOG = 3
    CALL = 4
    ASYNC = 5
    LATE = 6
    T_EXCEPTION = 200
    T_MEMORY = 202
    T_TERMINATED = 204
    TRUSTED_AGAIN = 5       # quick calls in a row after which a hook is quick again
    MOST_LOADS = 2          # of a program that the engine ended
    MOST_RETRIES = 8        # of a call that contexts could not begin

# Kind of result -> what it is counted as, where that is not "busy".
cdef dict COUNTED = {"error": "errors", "long": "long", "timeout": "timeouts", "memory": "memory"}
cdef double STALL = 0.01            # seconds after which a call counts as slow
cdef double LONG = 0.02             # seconds of CPU time after which a script comes after other threads
cdef double LEFT_OVER = 0.25       # that a context may work on when no call of it is under way
cdef double TICK = 0.005
cdef double REST = 1.0              # seconds without a call after which a context gives memory back
cdef double PLACE_SECONDS = 1.0     # that finding the lines of syntax errors may take
cdef double LOAD_SECONDS = 5.0      # that the scripts of a program may take to load, at least
cdef double RESTART_SECONDS = 1.0   # between attempts to make a context after one failed
cdef int GROWTH = 4                 # times the heap's limit that a worker may grow while a script runs
cdef int PAGE = os.sysconf("SC_PAGESIZE")


cdef long resident():
    """Memory of this process, bytes."""
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[1]) * PAGE


include "calls.pxi"
include "contexts.pxi"
include "host.pxi"
include "queues.pxi"


cdef class Pool(Queues):
    """One per worker, on its loop."""

    def __init__(self, object loop, object settings, object host, object log, object stuck=None):
        """settings: PoolSettings; host: async (name, arguments, caller, deadline) -> (status, text) as Isolate.answer takes
        them, deadline in loop time; log: (level, text, Hook) for what scripts and the pool say; stuck: told why, when a
        script cannot be ended. Raises v8.EngineError."""
        Contexts.__init__(self, loop, settings, log, stuck)
        self.host = host
        self.quick = deque()
        self.slow = {}
        self.dedicated = {}
        loop.add_reader(v8.fileno(), self._drain)

    # -- what contexts say ------------------------------------------------------

    def _drain(self):
        cdef Lane lane
        for slot, kind, sequence, value in v8.drain(self.isolates):
            lane = self.lanes.get(slot)
            if lane is None:
                continue
            try:
                self._heard(lane, kind, sequence, value)
            except Exception as error:
                self.log("error", f"internal: {type(error).__name__}: {error}", None)
        self._dispatch()

    def _heard(self, Lane lane, int kind, object sequence, object value):
        if kind == LOG:
            level, _, text = value.partition("\n")
            if level == "cut":
                self.counts["cut"] += 1
                level = "warning"
            self.log(level, text, self._speaker(lane, sequence))
            return
        if kind == CALL or kind == ASYNC:
            self._asked(lane, kind, sequence, value)
            return
        if kind == LATE:
            call = self._speaking(lane, sequence)
            if call is not None:
                self._settled(lane, <Call>call, value.encode("utf-8", "replace"))
            return
        what = lane.operations.pop(sequence, None)
        lane.progress_at = self.loop.time()
        lane.resident = 0
        lane.cpu_at = 0
        if isinstance(what, Batch):
            lane.batches.remove(what)
            self._ended_batch(lane, <Batch>what, kind, value)
            return
        if not lane.calls:
            lane.alone = False
        if what is not None:
            self._operated(lane, what, kind, value)

    cdef Call _speaking(self, Lane lane, unsigned int ticket):
        """The call that a message of a context is from, None if it is from none. It need not be the first one there: those before
        it, and itself, may have results that have not been taken."""
        cdef Call call
        cdef Batch batch
        for call in lane.calls:
            if call.ticket == ticket:
                return call
        for batch in lane.batches:
            for call in batch.calls:
                if call is not None and call.ticket == ticket:
                    return call
        return None

    def _speaker(self, Lane lane, unsigned int ticket):
        cdef Call call = self._speaking(lane, ticket)
        if call is not None:
            return call.hook
        for what in lane.operations.values():
            if isinstance(what, tuple) and what[0] == "take":
                return what[1]
        return None

    def _operated(self, Lane lane, tuple what, int kind, object value):
        name, hook = what
        if name != "take" and kind == ERROR and self._ended(value):
            if lane.calls and (<Call>lane.calls[0]).later:
                call = lane.calls.popleft()
                self._finish(<Call>call, "memory", None, "the script used too much memory: preforge.jsvm.memory_limit_mb")
            self._retire(lane)
        elif name == "take":
            if kind == RESULT and not value:            # an asynchronous call was faster
                lane.programs.discard(hook.loaded.number)
            elif kind == RESULT and value[0] == 3:
                self._retire(lane)
            elif kind == ERROR and self._ended(value) and hook.loaded.attempts < MOST_LOADS:
                (<Hook>hook).loaded.attempts += 1       # what it used up may be what others left
                self._retire(lane)
            elif kind != RESULT:
                self._failed(hook, f"the scripts cannot be loaded: {value[1] if value else 'no result'}")
                self._retire(lane)
            elif (<Hook>hook).loaded.report is None:
                self._loaded(lane, hook, json.loads(value))
        elif name == "parse":
            self._parsed(*hook, syntax_line(value[1]) if kind == ERROR else 0)
        elif name == "runner":
            calls = lane.wanted.pop(hook.key, ())
            if kind == RESULT and value:
                lane.runners[hook.key] = b",[%d," % hook.key
                if calls and len(lane.batches) < BATCHES:
                    self._send(lane, calls[:DEPTH])
                    calls = calls[DEPTH:]
                for call in reversed(calls):
                    self._queue(<Call>call, True)
            else:                       # the context does not have the program
                lane.programs.discard(hook.loaded.number)
                for call in reversed(calls):
                    self._again(lane, <Call>call)

    cdef int _collect(self, Lane lane, Batch batch) except -1:
        """Take the results of a batch that are there."""
        cdef Call call
        cdef int done = lane.isolate.done(batch.half)
        if done <= batch.taken:
            return 0
        lane.progress_at = self.loop.time()
        lane.resident = 0
        lane.cpu_at = 0
        while batch.taken < done:
            call = <Call>batch.calls[batch.taken]
            batch.taken += 1
            value = lane.isolate.result(batch.half, &batch.at)
            if call is not None:
                if call.began_at == 0:
                    call.began_at = call.queued_at
                self._take_out(lane, call)
                self._done(call, value)
        return 0

    cdef int _ended_batch(self, Lane lane, Batch batch, int kind, object value) except -1:
        cdef Call call
        cdef int first
        self._collect(lane, batch)
        if kind == RESULT and value == b"\x07":
            (<Call>batch.calls[batch.taken - 1]).hook.loaded.solo = True
        elif kind != NOTHING and batch.taken < len(batch.calls):
            call = <Call>batch.calls[batch.taken]
            batch.taken += 1
            if call is not None:
                self._last(lane, call, kind, value)
        if lane.retired:
            return 0
        first = batch.taken
        batch.taken = len(batch.calls)
        for call in reversed(batch.calls[first:]):
            if call is None:
                continue
            if first:                   # those before it have ended: that is no failed attempt
                self._move(lane, call)
            else:
                self._again(lane, call)
        return 0

    cdef int _last(self, Lane lane, Call call, int kind, object value) except -1:
        """The call that ended its batch."""
        if call.began_at == 0:
            call.began_at = call.queued_at
        if kind == ERROR:
            self._take_out(lane, call)
            memory = self._ended(value)
            if memory and (lane.isolate.runs != call.ticket or call.retries == 0 and not call.asked and lane.issued > 1):
                self._retire(lane)      # what it used up is, or may be, what others left: it gets another chance
                return self._again(lane, call)
            self._finish(call, "memory" if memory else "error", None,
                         "the script used too much memory: preforge.jsvm.memory_limit_mb" if memory else value[1] or "ended")
            return self._retire(lane)
        if value == b"\x02":
            if call.result is not None:
                self._take_out(lane, call)
                return self._done(call, call.result)
            call.later = True
            call.hook.loaded.solo = True
            if lane.program is None:
                call.hook.mark_slow()
            return self._skip_behind(lane)
        if value == b"\x03":
            self._again(lane, call)
            return self._retire(lane)
        self._take_out(lane, call)
        return self._done(call, value)

    def _settled(self, Lane lane, Call call, bytes value):
        """The promise of a call has a value; the call itself may not have returned yet."""
        if call.later:
            self._take_out(lane, call)
            self._done(call, value)
        else:
            call.result = value

    cdef int _done(self, Call call, bytes value) except -1:
        cdef int first = value[0] if value else 0
        if first == 1:
            message, stack = json.loads(value[1:])
            report = call.hook.loaded.report
            self._finish(call, "error", None, readable(message, stack, call.hook.program, report.starts if report else ()))
        elif first == 4 and len(value) == 1:
            self._finish(call, "long", None, "the script returned too much: preforge.jsvm.max_result_bytes")
        elif first == 6:
            self._finish(call, "ok", value[1:], "", True)
        elif first == 5:                # what the script returned begins like one of these marks
            self._finish(call, "ok", value[1:], "")
        else:
            self._finish(call, "ok", value, "")
        return 0

    cdef int _take_out(self, Lane lane, Call call) except -1:
        if lane.calls and lane.calls[0] is call:
            lane.calls.popleft()
        elif call in lane.calls:
            lane.calls.remove(call)
        if not lane.calls:
            lane.alone = False
            for waiter in self.waiters[:]:
                waiter()
        return 0

    cdef int _again(self, Lane lane, Call call) except -1:
        """The context did not begin it: another one will."""
        call.retries += 1
        if call.retries <= MOST_RETRIES:
            return self._move(lane, call)
        self._take_out(lane, call)
        self._finish(call, "busy", None, "no context could begin the call")
        return 0

    cdef int _move(self, Lane lane, Call call) except -1:
        """Have a call wait again, before all others."""
        self._take_out(lane, call)
        if not call.finished:
            self.counts["moved"] += 1
            self._queue(call, True)
        return 0

    cdef int _skip_behind(self, Lane lane, Loaded loading=None) except -1:
        """What runs keeps its context; calls that have not begun go elsewhere, but for those of a program that is loading."""
        cdef Call call
        cdef Batch batch
        cdef list behind
        cdef int i
        lane.alone = True
        for calls in lane.wanted.values():
            if calls and (<Call>calls[0]).hook.loaded is not loading:
                for one in reversed(calls):
                    self.counts["moved"] += 1
                    self._queue(<Call>one, True)
                calls.clear()           # the runner comes nevertheless
        if len(lane.calls) > 1 or lane.calls and not self._begun(lane, <Call>lane.calls[0]):
            lane.isolate.skip(lane.issued)
            behind = [one for one in lane.calls if not self._begun(lane, <Call>one)]
            for one in reversed(behind):
                call = <Call>one
                lane.calls.remove(call)
                for batch in lane.batches:
                    for i in range(batch.taken, len(batch.calls)):
                        if batch.calls[i] is call:
                            batch.calls[i] = None
                self.counts["moved"] += 1
                self._queue(call, True)
        return 0

    cdef bint _ended(self, object value) except -1:
        """Whether the engine ended a script, which it does for want of memory. What scripts throw is caught before it gets
        here: an exception without a value is such an end."""
        return value[0] == T_MEMORY or value[0] == T_TERMINATED or value[0] == T_EXCEPTION and value[1].strip() == "null"

    cdef bint _begun(self, Lane lane, Call call) except -1:
        cdef unsigned int started = lane.isolate.started
        return <int>(call.ticket - started) <= 0

    # -- time -------------------------------------------------------------------

    def _tick(self):
        cdef double now = self.loop.time()
        cdef Lane lane
        cdef bint busy = False
        self.timer = None
        self._drain()                   # what came before a call that takes long has not woken the loop
        for lane in list(self.lanes.values()):
            for batch in lane.batches[:]:
                self._collect(lane, <Batch>batch)
        for lane in list(self.lanes.values()):
            if not lane.ready or lane.retired:
                busy = busy or not lane.retired
                continue
            if lane.calls or lane.operations:
                busy = True
                self._look(lane, now)
            elif lane.used:             # a call may have left work behind that never ends
                busy = True
                lane.used = False
                lane.tired = True
                self._operate(lane, F_DELIVER, b'[0,0,0,""]', ("idle", None))
                if self.resting is None:
                    self.resting = self.loop.call_later(REST, self._rest)
        self._expire(now)
        self._dispatch()
        if (busy or self.waiting) and not self.closed and self.timer is None:
            self.timer = self.loop.call_later(TICK, self._tick)

    def _rest(self):
        """Have contexts without work give back the memory that calls have left in them."""
        cdef Lane lane
        self.resting = None
        for lane in list(self.lanes.values()):
            if not lane.tired or not lane.ready:
                continue
            if lane.used or lane.calls or lane.operations:
                self.resting = self.resting or self.loop.call_later(REST, self._rest)
                continue
            if self._unwanted(lane):
                self._retire(lane)
                continue
            lane.tired = False
            threading.Thread(target=lane.isolate.rest, name="v8-rest", daemon=True).start()

    def _look(self, Lane lane, double now):
        """Whether what runs in a context has run for too long."""
        cdef Call call
        cdef double running = now - lane.progress_at
        what = next(iter(lane.operations.values()), None)
        if isinstance(what, tuple) and what[0] == "take":
            limit = max(what[1].timeout, LOAD_SECONDS)
            if running > limit:
                self._failed(what[1], f"loading the scripts took more than {limit:g} s")
                self._retire(lane)
            elif running > STALL and not lane.alone:
                self._skip_behind(lane, what[1].loaded)
            return
        if lane.calls and not lane.alone and running > STALL and not self._begun(lane, <Call>lane.calls[0]):
            self._skip_behind(lane)
        if not lane.calls:
            if running > LEFT_OVER:     # work that a call left behind
                self._retire(lane)
            return
        call = <Call>lane.calls[0]
        if call.began_at == 0 and running > 0:
            call.began_at = lane.progress_at
        if lane.cpu_at == 0:
            lane.cpu_at = lane.isolate.used
        spent = lane.isolate.used - lane.cpu_at
        if spent > LONG and not lane.lowered:
            lane.lowered = True
            lane.isolate.lower()
        if running > STALL and not lane.alone:
            if lane.program is None and spent > STALL / 2:      # else it is others that keep it from running
                call.hook.mark_slow()
            self._skip_behind(lane)
        if now - call.began_at > call.hook.timeout and running > 0:
            self._end(lane, call, "timeout", f"timed out after {call.hook.timeout:g}s")
        elif running > 2 * STALL:
            self._weigh(lane, call)

    def _weigh(self, Lane lane, Call call):
        """Memory outside of the heap has no limit of its own: what a worker grows by while a script runs is its."""
        now = resident()
        if lane.resident == 0:
            lane.resident = now
        elif now - lane.resident > GROWTH * self.settings.memory:
            self._end(lane, call, "memory", "the script used too much memory: preforge.jsvm.memory_limit_mb")

    def _end(self, Lane lane, Call call, str kind, str why):
        """End the script that runs."""
        lane.isolate.skip(lane.issued)
        self._take_out(lane, call)
        lane.isolate.cancel(call.task)
        self._retire(lane)
        self._finish(call, kind, None, why)

    def _expire(self, double now):
        """Calls that have waited for a context for as long as they might have run."""
        for queue in [self.quick, *self.slow.values(), *self.dedicated.values()]:
            while queue and now - (<Call>queue[0]).queued_at > (<Call>queue[0]).hook.timeout:
                call = queue.popleft()
                self.waiting -= 1
                self._finish(call, "busy", None, "no context was free in time: preforge.jsvm.max_contexts")

    # -- for the worker -----------------------------------------------------------

    async def close(self, double seconds=2.0):
        """End all contexts; calls that are under way are answered as closed."""
        cdef Lane lane
        if self.closed:
            return
        self.closed = True
        for timer in (self.timer, self.resting):
            if timer is not None:
                timer.cancel()
        for queue in [self.quick, *self.slow.values(), *self.dedicated.values()]:
            while queue:
                self._finish(queue.popleft(), "closed", None, "the worker is ending")
        self.waiting = 0
        for lane in list(self.lanes.values()):
            calls = list(lane.calls)
            lane.calls.clear()
            for call in [*calls, *(one for many in lane.wanted.values() for one in many)]:
                self._finish(<Call>call, "closed", None, "the worker is ending")
            lane.wanted.clear()
            if lane.ready:
                for task in {(<Call>call).task for call in calls}:
                    lane.isolate.cancel(task)
                self._retire(lane)
        await self._until(lambda: not self.closing and not self.starting, seconds)
        self.loop.remove_reader(v8.fileno())
