cdef class CallResult:
    def __init__(self, str kind not None, bytes text=None, str error="", bint edits=False):
        self.kind = kind
        self.text = text
        self.error = error
        self.edits = edits

    def __repr__(self):
        return f"CallResult({self.kind!r}, {self.text!r}, {self.error!r}, {self.edits})"


cdef class Receiver:
    cdef int received(self, str kind, bytes text, str error, bint edits) except -1:
        raise NotImplementedError


cdef class Counter:
    """Counts the calls of a hook in a row of the shared counters."""

    def __init__(self, Region region not None, int row, dict statuses not None):
        """statuses: kind of result -> status under which it is counted."""
        self.region = region
        self.row = row
        self.statuses = statuses

    cdef int add(self, str kind, double seconds) except -1:
        self.region.observe(self.row, self.statuses[kind], <uint64_t>(seconds * 1000000), 0, 0, 0)
        return 0


cdef class Hook:
    """One entry of a program, as an API uses it."""

    def __init__(self, Pool pool not None, object program, int entry, str mode not None, object caller, double timeout,
                 str name="", Counter counter=None, str constants="null"):
        """mode: request, response, virtual or event; caller: handed to the host with its calls, has `api_id`;
        timeout: seconds; counter: of its calls; constants: what is the
        same for all calls, see payloads.constants_text."""
        self.pool = pool
        self.program = program
        self.entry = entry
        self.mode = mode
        self.caller = caller
        self.timeout = timeout
        self.loaded = pool.intern(program)
        self.constants = constants
        self.owned = pool.key_of((self.loaded.number, entry, mode, constants))
        self.key = self.owned.number
        self.name = name
        self.counter = counter

    def call(self, bytes payload not None, object done not None):
        """Run it. payload: see runtime/run.js: unpack; done: called once, later, with a CallResult. Returns the Call."""
        return self.pool.submit(self, payload, done)

    cdef int mark_slow(self) except -1:
        self.slow = True
        self.quick_calls = 0
        return 0


cdef class Key:
    def __init__(self, int number):
        self.number = number


cdef class Loaded:
    def __init__(self, object program, int number):
        self.program = program
        self.number = number
        self.text = program_text(number, program)
        self.solo = leaves_jobs(program)


cdef class Batch:
    def __init__(self, list calls not None, int half):
        self.calls = calls
        self.half = half


cdef class Lane:
    def __init__(self, int slot, Loaded program):
        self.slot = slot
        self.isolate = Isolate(slot)
        self.program = program
        self.calls = deque()
        self.batches = []
        self.operations = {}
        self.programs = set()
        self.runners = {}
        self.wanted = {}

    @property
    def busy(self):
        """Calls that are in it."""
        return len(self.calls)
