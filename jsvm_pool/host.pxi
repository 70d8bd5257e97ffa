cdef class HostCalls(Contexts):
    """What scripts ask of the host."""

    cdef int _skip_behind(self, Lane lane, Loaded loading=None) except -1:
        """What runs keeps its context; calls that have not begun go elsewhere."""
        raise NotImplementedError

    cdef Call _speaking(self, Lane lane, unsigned int ticket):
        raise NotImplementedError

    def _asked(self, Lane lane, int kind, unsigned int ticket, str text):
        cdef Call call = self._speaking(lane, ticket)
        hook = call.hook if call is not None else self._speaker(lane, ticket)
        self.counts["host_calls"] += 1
        for batch in lane.batches:
            self._collect(lane, <Batch>batch)
        if call is not None:
            if call.finished:           # it did not wait for what it asked later
                return
            call.asked = True
            if lane.program is None:
                call.hook.mark_slow()
            self._skip_behind(lane)
        parts = json.loads(text)
        if hook is None:
            if kind == CALL:
                lane.isolate.answer(0, "")
            return
        task = self.loop.create_task(
            self._ask(lane, call, hook, parts) if kind == CALL else self._ask_later(lane, call, hook, *parts)
        )
        if call is not None:
            if call.tasks is None:
                call.tasks = set()
            call.tasks.add(task)
            task.add_done_callback(call.tasks.discard)

    async def _ask(self, Lane lane, Call call, Hook hook, list parts):
        status, text = await self._answer(lane, call, hook, parts)
        if not lane.retired:
            lane.isolate.answer(status, text)

    async def _ask_later(self, Lane lane, Call call, Hook hook, object number, object generation, list parts):
        status, text = await self._answer(lane, call, hook, parts)
        if not lane.retired:
            self._operate(lane, F_DELIVER, json.dumps([number, generation, status, text]).encode(), ("deliver", hook))

    async def _answer(self, Lane lane, Call call, Hook hook, list parts):
        """What the host says. Where the call has used up its time with it, the script does not go on."""
        cdef double end = (call.began_at if call is not None and call.began_at else self.loop.time()) + hook.timeout
        try:
            said = await self.host(parts[0], parts[1:], hook.caller, end)
        except Exception as error:
            self.log("error", f"internal: {parts[0]}: {type(error).__name__}: {error}", hook)
            said = 0, ""
        if call is not None and self.loop.time() >= end and not call.finished and not lane.retired:
            self._end(lane, call, "timeout", f"timed out after {hook.timeout:g}s")
        return said
