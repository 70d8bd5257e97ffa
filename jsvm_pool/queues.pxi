cdef class Queues(HostCalls):
    """Calls that wait for a context, and how they get into one."""

    cdef Call submit(self, Hook hook, bytes payload, object done):
        cdef Call call = Call.__new__(Call)
        report = hook.loaded.report
        call.hook, call.payload, call.done = hook, payload, done
        self.calls += 1
        call.queued_at = self.loop.time()
        if self.closed:
            self.loop.call_soon(self._refuse, call, "closed", "the worker is ending")
        elif report is not None and report.failed:
            self.loop.call_soon(self._refuse, call, "error", report.failed)
        elif self.waiting >= self.settings.max_queued or self._too_many(hook):
            self.loop.call_soon(self._refuse, call, "busy", "too many calls wait for a context: preforge.jsvm.max_queued")
        else:
            self._queue(call, False)
            if not self.flushing:       # what else comes in during this turn of the loop goes with it
                self.flushing = True
                self.loop.call_soon(self._flush)
        return call

    def _flush(self):
        self.flushing = False
        self._dispatch()

    def _refuse(self, Call call, str kind, str why):
        self._finish(call, kind, None, why)

    def _too_many(self, Hook hook):
        """Calls of one API that wait for slow hooks must leave room for others."""
        queue = self.slow.get(hook.caller.api_id) if hook.slow else None
        return queue is not None and len(queue) >= max(1, self.settings.max_queued // 2)

    cdef int _queue(self, Call call, bint first) except -1:
        cdef Hook hook = call.hook
        if hook.program.shared:
            queue = self.dedicated.setdefault(hook.loaded, deque())
        elif hook.slow:
            queue = self.slow.setdefault(hook.caller.api_id, deque())
        else:
            queue = self.quick
        if first:
            queue.appendleft(call)
        else:
            queue.append(call)
        self.waiting += 1
        if self.timer is None:
            self.timer = self.loop.call_later(TICK, self._tick)
        return 0

    cdef int _dispatch(self) except -1:
        cdef Lane lane
        cdef Call call
        if self.closed or not self.waiting:
            return 0
        while self.quick:
            lane = self._quick_lane()
            if lane is None:
                break
            self._fill(lane, self.quick, False)
        if self.slow:
            self._dispatch_slow()
        for loaded in list(self.dedicated):
            queue = self.dedicated[loaded]
            while queue:
                lane = self._own_lane(loaded)
                if lane is None or not lane.ready or lane.alone or len(lane.batches) >= BATCHES:
                    break
                self._fill(lane, queue, False)
            if not queue:
                del self.dedicated[loaded]
        return 0

    def _quick_lane(self):
        """The first context that takes calls of quick hooks; a new one is begun if there is none at all."""
        cdef Lane lane
        cdef Lane lowered = None
        cdef bint open_ = False
        for lane in self.lanes.values():
            if lane.program is not None or lane.alone:
                continue
            if lane.lowered:
                lowered = lane if lane.ready and len(lane.batches) < BATCHES else lowered
                continue
            if not lane.ready or len(lane.batches) >= BATCHES:
                open_ = True
                continue
            return lane
        if not open_ and self._start(None) is None:
            return lowered
        return None

    def _dispatch_slow(self):
        cdef Lane lane
        cdef int most = max(1, self.settings.max_contexts - 1), each = max(1, self.settings.max_contexts // 2)
        cdef dict running = {}
        cdef int alone = 0
        for lane in self.lanes.values():
            if lane.alone and lane.program is None and lane.calls:
                alone += 1
                api = (<Call>lane.calls[0]).hook.caller.api_id
                running[api] = running.get(api, 0) + 1
        for api in list(self.slow):
            queue = self.slow[api]
            while queue and alone < most and running.get(api, 0) < each:
                lane = self._free_lane()
                if lane is None:
                    return
                lane.alone = True
                self._fill(lane, queue, True)
                alone += 1
                running[api] = running.get(api, 0) + 1
            if not queue:
                del self.slow[api]

    cdef Lane _free_lane(self):
        """A context without a call, the newest first: the oldest is that of the quick ones."""
        cdef Lane lane
        cdef Lane found = None
        cdef bint coming = False
        for lane in self.lanes.values():
            if lane.program is not None or lane.alone or lane.calls or lane.wanted:
                continue
            if not lane.ready:
                coming = True
                continue
            found = lane
        if found is None and not coming:
            self._start(None)
        return found

    def _own_lane(self, Loaded loaded):
        cdef Lane lane
        for lane in self.lanes.values():
            if lane.program is loaded:
                return lane
        return self._start(loaded)

    cdef int _fill(self, Lane lane, object queue, bint alone) except -1:
        """Give the first calls of a queue to a context. alone: the first one only."""
        cdef list calls = []
        cdef Call call
        cdef Py_ssize_t size = 0
        while queue and size < BATCH_BYTES and len(calls) < DEPTH:
            call = <Call>queue[0]
            if call.hook.loaded.solo and calls:
                break
            queue.popleft()
            self.waiting -= 1
            if call.hook.key in lane.runners:
                calls.append(call)
                size += len(call.payload)
                if call.hook.loaded.solo:
                    break
            elif call.hook.key in lane.wanted:
                lane.wanted[call.hook.key].append(call)
            else:
                lane.wanted[call.hook.key] = [call]
                self._take(lane, call.hook)
                self._operate(lane, F_RUNNER, self._runner_text(call.hook), ("runner", call.hook))
            if alone:
                break
        return self._send(lane, calls) if calls else 0

    def _runner_text(self, Hook hook):
        constants = hook.constants.encode()
        return b"[%d,%d,%d,%b,%b]" % (hook.key, hook.loaded.number, hook.entry, json.dumps(hook.mode).encode(), constants)

    cdef int _send(self, Lane lane, list calls) except -1:
        """Have a context run calls whose runners it has. There is room for a batch."""
        cdef Batch batch
        cdef Call call
        cdef int half = 1 - (<Batch>lane.batches[0]).half if lane.batches else 0
        cdef list parts = [b"[%d,%d" % (half, <int>(lane.issued + 1))]
        cdef unsigned long task
        cdef double now = self.loop.time()
        self.sequence += 1
        if not lane.calls:
            lane.progress_at = now
            lane.resident = 0
            lane.cpu_at = 0
        lane.used = True
        for call in calls:
            lane.issued += 1
            call.ticket = lane.issued
            call.later = False
            call.result = None
            call.began_at = 0 if lane.calls else now
            if call.hook.slow and lane.program is None:
                lane.alone = True
            lane.calls.append(call)
            parts.append(lane.runners[call.hook.key])
            parts.append(call.payload)
            parts.append(b"]")
        parts.append(b"]")
        batch = Batch(calls, half)
        lane.batches.append(batch)
        lane.operations[self.sequence] = batch
        lane.isolate.clear(half)
        lane.isolate.follow(<unsigned int>(lane.issued - len(calls)))
        task = lane.isolate.call(F_BATCH, b"".join(parts), self.sequence)
        for call in calls:
            call.task = task
        return 0

    cdef int _finish(self, Call call, str kind, object text, str error, bint edits=False) except -1:
        cdef Hook hook = call.hook
        cdef double took, now
        if call.finished:
            return 0
        call.finished = True
        if call.tasks:
            for task in call.tasks:
                task.cancel()
        now = self.loop.time()
        took = now - call.queued_at
        if kind == "ok":
            if hook.slow:
                if call.asked or call.later or now - call.began_at > STALL:
                    hook.quick_calls = 0
                else:
                    hook.quick_calls += 1
                    if hook.quick_calls >= TRUSTED_AGAIN:
                        hook.slow = False
        else:
            self.counts[COUNTED.get(kind, "busy")] += 1
        if hook.counter is not None:
            hook.counter.add(kind, took)
        try:
            if isinstance(call.done, Receiver):
                (<Receiver>call.done).received(kind, <bytes>text, error, edits)
            else:
                call.done(CallResult(kind, <bytes>text, error, edits))
        except Exception as problem:    # the calls behind it have results too
            self.log("error", f"internal: {type(problem).__name__}: {problem}", hook)
        return 0
