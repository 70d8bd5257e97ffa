"""A worker's contexts, and the calls that wait for one or run in one.

How a call goes. `Hook.call` puts it into the queue of its hook's lane class, and `Pool._dispatch` gives it to a `Lane`, which is
one context, in a `Batch`. Calls of hooks that are known to be quick share a batch: what comes in during one turn of the loop, or
while a lane is busy with two batches, goes there together, and a context runs one call of it after the other without the loop.
Calls of slow hooks (they wait for the host, are asynchronous, or ran for long lately) get a lane for themselves. A quick call
that turns out to be slow does not hold up those behind it: `Pool._tick` sees it, takes the results of those before it,
has the context skip those behind it (they have not begun), and gives them to another lane.

Ownership. Pool -> lanes -> isolate, batches, calls in flight. A Call is owned by the queue or lane that it is in; `done` is called
exactly once, from the loop. A lane whose script had to be ended is retired: its context ends on a thread of its own, and nothing
that still comes from it is looked at.
"""

from libc.stdint cimport uint64_t

from accel.shm cimport Region
from jsvm_pool.v8 cimport Isolate

cdef class CallResult:
    """How a call ended. kind: ok, error (the script failed), timeout, memory, busy (no context was free in time), long (the
    result is too large), closed or disabled; text: what the script returned, if ok; error: why it failed, with a stack trace;
    edits: the text is the short form of a result that only edits a request (runtime/run.js: edits)."""
    cdef readonly str kind
    cdef readonly bytes text
    cdef readonly str error
    cdef readonly bint edits

cdef class Key:
    """The number of what hooks have in common that one runner can serve. Owned by the hooks: it ends with the last of them."""
    cdef object __weakref__
    cdef readonly int number

cdef class Loaded:
    """A program and what the contexts of this worker made of it. Those that are equal share one."""
    cdef readonly object program
    cdef readonly int number            # in the contexts
    cdef readonly bytes text            # what `take` is given
    cdef readonly object report         # Report, None until it has been loaded once
    cdef int attempts                   # to load it that the engine ended
    cdef bint solo                      # its calls get batches of their own, which would end behind them: they may leave jobs

cdef class Receiver:
    """What may stand for the `done` of a call: told how it ended without a CallResult."""
    cdef int received(self, str kind, bytes text, str error, bint edits) except -1

cdef class Counter:
    cdef Region region
    cdef int row
    cdef dict statuses
    cdef int add(self, str kind, double seconds) except -1

cdef class Hook:
    cdef readonly Pool pool
    cdef readonly object program
    cdef readonly int entry
    cdef readonly str mode
    cdef readonly object caller
    cdef readonly double timeout        # seconds
    cdef readonly Loaded loaded
    cdef readonly str constants         # what is the same for all calls, JSON
    cdef readonly int key               # the same number for hooks that one runner can serve
    cdef Key owned                      # it
    cdef Counter counter                # None: its calls are not counted
    cdef readonly str name              # for messages
    cdef public bint slow
    cdef int quick_calls                # in a row, of a hook that counts as slow
    cdef int mark_slow(self) except -1

cdef class Call:
    cdef readonly Hook hook
    cdef bytes payload
    cdef object done
    cdef double queued_at
    cdef double began_at                # 0 until it is known to run
    cdef unsigned long task             # that runs its batch
    cdef unsigned int ticket            # number among the calls of its context
    cdef bint asked                     # the host for something
    cdef bint later                     # it returned a promise
    cdef bint finished
    cdef object result                  # of a promise that was settled before the call had returned
    cdef readonly set tasks             # of the host that work for it
    cdef int retries

cdef class Batch:
    """Calls that a context was given at one time. What they have returned is in one half of the isolate's memory for results."""
    cdef list calls                     # of Call; None where a call has been taken away before it began
    cdef int half
    cdef int taken                      # calls whose results have been taken
    cdef int at                         # where the next result is

cdef class Lane:
    cdef readonly int slot
    cdef readonly Isolate isolate
    cdef readonly Loaded program        # it is for this one alone, None: for all
    cdef readonly bint ready, retired
    cdef bint gone                      # its thread has ended
    cdef object calls                   # deque of Call, in the order in which they run
    cdef list batches                   # the one that runs, and the next
    cdef dict operations                # sequence -> Batch or (what, details)
    cdef readonly set programs          # numbers of those that it has been given
    cdef readonly dict runners          # Hook.key -> what a call of it begins with in a batch
    cdef dict wanted                    # Hook.key -> calls that wait for its runner
    cdef public unsigned int issued     # tickets
    cdef bint alone                     # one call has it for itself
    cdef bint used                      # since it was last asked whether it is idle
    cdef bint tired                     # used since it last gave memory back
    cdef double progress_at             # when the call that runs began, or the last one ended
    cdef double cpu_at                 # CPU seconds of its thread when that call was first looked at
    cdef bint lowered                   # a script has run for long in it: its thread comes after others
    cdef long resident                  # bytes of the worker when that call was first looked at

cdef class Contexts:
    cdef readonly object loop
    cdef readonly dict lanes            # slot -> Lane
    cdef dict isolates                  # slot -> Isolate, of lanes that are not retired
    cdef dict programs                  # program -> Loaded
    cdef readonly object keys           # (number of the program, entry, mode, constants) -> Key, as long as a hook has it
    cdef int last_key
    cdef readonly unsigned long calls   # since the start
    cdef int next_number
    cdef readonly int starting
    cdef readonly int closing           # contexts that are ending
    cdef object settings
    cdef bytes boot
    cdef object log, stuck
    cdef object timer, resting
    cdef unsigned long long sequence
    cdef bint closed
    cdef list free_slots
    cdef int next_slot
    cdef readonly dict counts
    cdef readonly int waiting           # calls
    cdef object waiters
    cdef int _dispatch(self) except -1
    cdef int _again(self, Lane lane, Call call) except -1
    cdef int _queue(self, Call call, bint first) except -1
    cdef int _drop(self, Lane lane, int number, object keys) except -1
    cdef int _collect(self, Lane lane, Batch batch) except -1
    cdef int _finish(self, Call call, str kind, object text, str error, bint edits=*) except -1
    cdef int _retire(self, Lane lane) except -1
    cdef bint _unwanted(self, Lane lane) except -1
    cdef Lane _first_lane(self)

cdef class HostCalls(Contexts):
    cdef object host
    cdef int _skip_behind(self, Lane lane, Loaded loading=*) except -1
    cdef Call _speaking(self, Lane lane, unsigned int ticket)

cdef class Queues(HostCalls):
    cdef object quick                   # deque of Call
    cdef dict slow                      # api -> deque of Call
    cdef dict dedicated                 # Loaded -> deque of Call, of programs that keep their state
    cdef bint flushing                  # _flush will be called
    cdef Call submit(self, Hook hook, bytes payload, object done)
    cdef int _fill(self, Lane lane, object queue, bint alone) except -1
    cdef int _send(self, Lane lane, list calls) except -1
    cdef Lane _free_lane(self)

cdef class Pool(Queues):
    cdef int _ended_batch(self, Lane lane, Batch batch, int kind, object value) except -1
    cdef int _last(self, Lane lane, Call call, int kind, object value) except -1
    cdef int _done(self, Call call, bytes value) except -1
    cdef int _take_out(self, Lane lane, Call call) except -1
    cdef int _move(self, Lane lane, Call call) except -1
    cdef bint _ended(self, object value) except -1
    cdef bint _begun(self, Lane lane, Call call) except -1
