cdef class Contexts:
    """The contexts of a worker and the programs in them; what calls are given to them is in Pool."""

    def __init__(self, object loop, object settings, object log, object stuck):
        v8.init()
        self.loop = loop
        self.settings = settings
        self.log = log
        self.stuck = stuck
        self.lanes = {}
        self.isolates = {}
        self.programs = {}
        self.keys = WeakValueDictionary()
        self.free_slots = []
        self.waiters = []
        self.boot = settings_text(settings)
        self.counts = {
            "errors": 0, "timeouts": 0, "memory": 0, "busy": 0, "replaced": 0, "host_calls": 0, "moved": 0, "stuck": 0,
            "long": 0, "cut": 0,
        }  # fmt: skip

    cdef int _dispatch(self) except -1:
        """Give calls that wait to contexts."""
        raise NotImplementedError

    cdef int _collect(self, Lane lane, Batch batch) except -1:
        """Take the results of a batch that are there."""
        raise NotImplementedError

    cdef int _again(self, Lane lane, Call call) except -1:
        """Give a call that a context did not begin to another one."""
        raise NotImplementedError

    cdef int _queue(self, Call call, bint first) except -1:
        """Have a call wait for a context. first: before all others of its kind."""
        raise NotImplementedError

    cdef int _finish(self, Call call, str kind, object text, str error, bint edits=False) except -1:
        """Tell the owner of a call how it ended."""
        raise NotImplementedError

    def intern(self, object program):
        """The one Loaded for a program."""
        loaded = self.programs.get(program)
        if loaded is None:
            loaded = self.programs[program] = Loaded(program, self.next_number)
            self.next_number += 1
        return loaded

    def key_of(self, tuple what):
        """The one Key for a function of a program with its constants."""
        key = self.keys.get(what)
        if key is None:
            self.last_key += 1
            key = self.keys[what] = Key(self.last_key)
        return key

    def _take(self, Lane lane, Hook hook):
        """Load the program of a hook into a context that does not have it."""
        if hook.loaded.number not in lane.programs:
            lane.programs.add(hook.loaded.number)
            text = hook.loaded.text
            if hook.loaded.report is not None:
                text = program_text(hook.loaded.number, hook.program, quiet=True)
            self._operate(lane, F_TAKE, text, ("take", hook))

    def _operate(self, Lane lane, int function, bytes text, object what):
        self.sequence += 1
        lane.operations[self.sequence] = what
        if len(lane.operations) == 1:
            lane.progress_at = self.loop.time()
        lane.isolate.call(function, text, self.sequence)
        if self.timer is None:
            self.timer = self.loop.call_later(TICK, self._tick)

    def _start(self, Loaded program):
        """Begin to make a context, if there may be one more."""
        cdef Lane lane
        cdef int slot
        if self.closed or len(self.lanes) + self.closing >= self.settings.max_contexts + self.closing // 2:
            return None
        slot = self.free_slots.pop() if self.free_slots else self.next_slot
        if slot == self.next_slot:
            self.next_slot += 1
        lane = Lane(slot, program)
        self.lanes[slot] = lane
        self.isolates[slot] = lane.isolate
        self.starting += 1
        threading.Thread(target=self._run_start, args=(lane,), name="v8-start", daemon=True).start()
        return lane

    def _run_start(self, Lane lane):
        error = ""
        try:
            lane.isolate.start(runtime(), self.boot, self.settings.memory)
        except Exception as problem:
            error = str(problem) or type(problem).__name__
        self._tell(self._started, lane, error)

    def _tell(self, *what):
        try:
            self.loop.call_soon_threadsafe(*what)
        except RuntimeError:
            return              # the loop has ended, and with it the interest

    def _started(self, Lane lane, str error):
        self.starting -= 1
        if error:
            self.log("error", f"a context for scripts cannot be made: {error}", None)
            self.loop.call_later(RESTART_SECONDS, self._drop_lane, lane)
            return
        lane.ready = True
        lane.progress_at = self.loop.time()
        if self.closed:
            self._retire(lane)
            return
        for waiter in self.waiters[:]:
            waiter()
        self._dispatch()
        if self._unwanted(lane):
            self._retire(lane)

    def _drop_lane(self, Lane lane):
        if not lane.retired:
            self._retire(lane)

    cdef int _retire(self, Lane lane) except -1:
        """Have no more of a context; what waits in it goes elsewhere."""
        if lane.retired:
            return 0
        lane.retired = True
        self.lanes.pop(lane.slot, None)
        self.isolates.pop(lane.slot, None)
        self.closing += 1
        if not self.closed:
            self.counts["replaced"] += 1
        if lane.ready:
            lane.isolate.skip(lane.issued)
        for batch in lane.batches:      # what has ended must not run again
            self._collect(lane, <Batch>batch)
        for call in reversed(list(lane.calls)):
            self._again(lane, <Call>call)
        lane.calls.clear()
        for calls in lane.wanted.values():
            for call in calls:
                report = (<Call>call).hook.loaded.report
                if report is not None and report.failed:
                    self._finish(<Call>call, "error", None, report.failed)
                else:
                    self._queue(<Call>call, True)
        lane.wanted.clear()
        if not self.closed:
            self.loop.call_later(self.settings.stuck_seconds, self._overdue, lane)
        threading.Thread(target=self._run_close, args=(lane,), name="v8-close", daemon=True).start()
        if not self.closed and len(self.lanes) < self.settings.contexts:
            self._start(None)
        return 0

    def _run_close(self, Lane lane):
        lane.isolate.close()
        self._tell(self._closed, lane)

    def _overdue(self, Lane lane):
        """A thread that nothing can end goes with its process only."""
        if lane.gone or self.closed:
            return
        self.counts["stuck"] += 1
        why = f"a script could not be ended within {self.settings.stuck_seconds:g} s"
        self.log("error", why, None)
        if self.stuck is not None:
            self.stuck(why)

    def _closed(self, Lane lane):
        lane.gone = True
        self._drain()                   # what it said must not be taken for that of the next one in its slot
        self.closing -= 1
        self.free_slots.append(lane.slot)
        if not self.closed and len(self.lanes) < self.settings.contexts:
            self._start(None)
        for waiter in self.waiters[:]:
            waiter()

    async def prepare(self, hooks):
        """Make contexts ready and load the programs of hooks in one of them. Returns program -> Report."""
        cdef Lane lane
        programs = {(<Hook>hook).loaded: hook for hook in hooks}
        if not programs:
            return {}
        missing = {loaded for loaded in programs if loaded.report is None}
        while len(self.lanes) < min(self.settings.contexts, self.settings.max_contexts):
            if self._start(None) is None:
                break

        def ready():
            cdef Lane lane
            lane = self._first_lane()
            if lane is not None:
                for loaded in missing:
                    if loaded.report is None:
                        self._take(lane, programs[loaded])
            return lane is not None and not any(loaded.report is None for loaded in missing)

        await self._until(ready, 30.0)
        return {
            loaded.program: loaded.report or Report(failed="the scripts could not be loaded in time") for loaded in programs
        }

    cdef Lane _first_lane(self):
        """The oldest context that is ready, for programs that share theirs."""
        cdef Lane lane
        for lane in self.lanes.values():
            if lane.ready and lane.program is None and not lane.alone:
                return lane
        return None

    async def _until(self, condition, double seconds):
        """Wait until a condition holds; it is looked at whenever something happens."""
        future = self.loop.create_future()

        def look():
            if not future.done() and condition():
                future.set_result(None)

        self.waiters.append(look)
        handle = self.loop.call_later(seconds, lambda: future.done() or future.set_result(None))
        try:
            look()
            await future
        finally:
            handle.cancel()
            self.waiters.remove(look)

    def configure(self, object settings, programs):
        """Take other settings, and forget programs that are not among these."""
        cdef Lane lane
        used = set(programs)
        if settings != self.settings:
            self.settings = settings
            self.boot = settings_text(settings)
            for lane in self.lanes.values():
                if lane.ready:
                    lane.isolate.limit(settings.memory)
                    self._operate(lane, F_CONFIGURE, self.boot, ("configure", None))
        for program in [program for program in self.programs if program not in used]:
            self._forget(self.programs.pop(program))
        self._sweep()

    def _sweep(self):
        """Take out of the contexts what no hook needs any more: runners for other constants, and programs that hooks which had
        gone on after a reload have brought back."""
        cdef Lane lane
        known = {(<Loaded>loaded).number for loaded in self.programs.values()}
        keys = {(<Key>key).number for key in list(self.keys.values())}
        for lane in list(self.lanes.values()):
            if self._unwanted(lane):
                self._retire(lane)
            if lane.program is not None:
                continue
            for number in lane.programs - known:
                self._drop_program(lane, number)
            gone = lane.runners.keys() - keys
            if gone:
                self._drop(lane, -1, gone)

    def _drop_program(self, Lane lane, int number):
        """Have a context forget a program, unless a runner of it is still to come, which would be taken for one that is there:
        then after the next reload."""
        for what in lane.operations.values():
            if isinstance(what, tuple) and what[0] == "runner" and what[1].loaded.number == number:
                return
        lane.programs.remove(number)
        self._drop(lane, number, [key.number for what, key in list(self.keys.items()) if what[0] == number])

    cdef int _drop(self, Lane lane, int number, object keys) except -1:
        """Have a context forget a program, -1 for none, and runners."""
        known = [key for key in keys if lane.runners.pop(key, None) is not None]
        self._operate(lane, F_DROP, json.dumps([number, known]).encode(), ("drop", None))
        return 0

    cdef bint _unwanted(self, Lane lane) except -1:
        """Whether a context is for a program alone that no hook is configured with any more, and no call is in it: those that
        have begun end there, as they must not run again."""
        return lane.program is not None and self.programs.get(lane.program.program) is not lane.program and \
            lane.ready and not lane.calls and not lane.wanted

    def _forget(self, Loaded loaded):
        """Take a program out of the contexts of all; for those of its own see _unwanted."""
        cdef Lane lane
        for lane in list(self.lanes.values()):
            if self._loads(lane, loaded):
                self._retire(lane)
            elif lane.program is None and loaded.number in lane.programs:
                self._drop_program(lane, loaded.number)

    def _loads(self, Lane lane, Loaded loaded):
        """Whether a context is at loading a program."""
        what = next(iter(lane.operations.values()), None)
        return isinstance(what, tuple) and what[0] == "take" and what[1].loaded is loaded

    def _reported(self, Hook hook, object report):
        hook.loaded.report = report
        for waiter in self.waiters[:]:
            waiter()

    def _failed(self, Hook hook, str why):
        if hook.loaded.report is None or not hook.loaded.report.failed:
            self._reported(hook, Report(failed=why))

    def _loaded(self, Lane lane, Hook hook, dict found):
        """A program has been loaded for the first time. found: what `take` says."""
        report = Report(starts=[tuple(one) for one in found["starts"]])
        unplaced = set()
        for source, message, detail in found["errors"]:
            stack = json.loads(detail)[1] if detail else ""
            if not stack and message.startswith("SyntaxError"):
                unplaced.add(len(report.errors))
            report.errors.append((source, readable(message, stack, hook.program, report.starts)))
        if not unplaced:
            self._reported(hook, report)
            return
        # The engine says where only for scripts that it is given as such.
        sources = program_sources(hook.program)
        for index in sorted(unplaced):
            self.sequence += 1
            lane.operations[self.sequence] = ("parse", (hook, report, unplaced, index))
            lane.isolate.parse(sources[report.errors[index][0]].text.encode("utf-8", "replace"), self.sequence)
        self.loop.call_later(PLACE_SECONDS, self._placed, hook, report)

    def _parsed(self, Hook hook, object report, set unplaced, int index, int line):
        source, message = report.errors[index]
        if line:
            report.errors[index] = source, f"{message} ({program_sources(hook.program)[source].name}:{line})"
        unplaced.discard(index)
        if not unplaced:
            self._placed(hook, report)

    def _placed(self, Hook hook, object report):
        if hook.loaded.report is None:
            self._reported(hook, report)

    def stats(self):
        """Counts since the start, and how it is now: contexts, waiting, closing."""
        return {"calls": self.calls, **self.counts, "contexts": len(self.lanes), "waiting": self.waiting, "closing": self.closing}
