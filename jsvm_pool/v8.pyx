"""V8 isolates on threads of their own; results and calls of the host arrive through one queue and one eventfd."""

import os
import threading
from importlib.util import find_spec
from pathlib import Path

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_DecodeUTF16
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcpy
from posix.time cimport CLOCK_REALTIME, clock_gettime, clockid_t, timespec

cdef extern from "<dlfcn.h>" nogil:
    void* dlopen(const char* path, int flags)
    void* dlsym(void* library, const char* name)
    char* dlerror()
    int RTLD_NOW

cdef extern from "<unistd.h>" nogil:
    ssize_t write(int fd, const void* data, size_t n)
    ssize_t read(int fd, void* data, size_t n)

    int gettid()

cdef extern from "<sys/resource.h>" nogil:
    int setpriority(int which, unsigned int who, int priority)
    int PRIO_PROCESS

cdef extern from "<sys/eventfd.h>" nogil:
    int eventfd(unsigned int initial, int flags)
    int EFD_NONBLOCK
    int EFD_CLOEXEC

cdef extern from "<pthread.h>" nogil:
    int pthread_mutex_init(pthread_mutex_t* lock, void* attributes)
    int pthread_mutex_lock(pthread_mutex_t* lock)
    int pthread_mutex_unlock(pthread_mutex_t* lock)
    int pthread_mutex_destroy(pthread_mutex_t* lock)
    int pthread_cond_init(pthread_cond_t* condition, void* attributes)
    int pthread_cond_wait(pthread_cond_t* condition, pthread_mutex_t* lock)
    int pthread_cond_timedwait(pthread_cond_t* condition, pthread_mutex_t* lock, const timespec* until)
    int pthread_cond_broadcast(pthread_cond_t* condition)
    int pthread_cond_destroy(pthread_cond_t* condition)

cdef extern from *:
    """
    typedef volatile int volatile_int;
    #define full_barrier() __sync_synchronize()
    #define add(place, amount) __sync_add_and_fetch(place, amount)
    #include <sched.h>
    static void be_batch(void) { struct sched_param none = {0}; sched_setscheduler(0, SCHED_BATCH, &none); }
    """
    ctypedef int volatile_int
    void full_barrier() nogil
    int add(int* place, int amount) nogil
    void be_batch() nogil

ctypedef void (*callback_t)(uint64_t id, Raw* value) noexcept nogil

# Types of values that the library hands out (py_mini_racer._objects).
cdef enum:
    T_UNDEFINED = 1
    T_STRING = 5
    T_FUNCTION = 100
    T_SHARED_BUFFER = 101
    T_EXCEPTION = 200
    T_PARSE = 201
    T_MEMORY = 202
    T_TIMEOUT = 203
    T_TERMINATED = 204

# Words of the mailbox and operations: runtime/host.js.
cdef enum:
    W_OP = 0
    W_UNITS = 1
    W_STARTED = 2
    W_SKIP = 3
    W_MORE = 4
    W_RUNS = 5
    W_STATUS = 6
    W_DONE = 8
    MAIL_HEAD = 64
    MAIL_UNITS = 32768
    HALF_BYTES = 32768
    RESULTS = 64 + 2 * 32768
    MAIL_BYTES = 64 + 2 * 32768 + 2 * 32768
    OP_LOG = 1
    OP_CALL = 2
    OP_ASYNC = 3
    OP_RESULT = 4
    OP_NEXT = 5

# Kinds of events; those of messages are the operations.
cdef enum:
    E_VALUE = 0

# A callback id holds what it is for, the isolate's slot and the number of the call.
cdef uint64_t BELL = <uint64_t>1 << 62
cdef uint64_t START = <uint64_t>1 << 61
cdef uint64_t SEQUENCE = (<uint64_t>1 << 40) - 1
cdef enum:
    MOST_SLOTS = 4096
    BATCH = 8                   # results that one waking of the loop is worth
    START_SECONDS = 20
    IN_FLIGHT = 1024            # more calls than a context is given at one time
    FAR = 1 << 30
    NICE = 15                   # of threads whose scripts run for long: a thirtieth of the time of others

RESULT, NOTHING, ERROR, LOG, CALL, ASYNC, LATE = range(7)

cdef struct Event:
    int kind
    int slot
    uint64_t sequence
    Raw* value
    uint16_t* units
    size_t count

cdef struct Library:
    void (*init_v8)(const char* flags, const char* icu) noexcept nogil
    uint64_t (*init_context)(callback_t callback) noexcept nogil
    void (*free_context)(uint64_t context) noexcept nogil
    uint64_t (*evaluate)(uint64_t context, Raw* code, uint64_t id) noexcept nogil
    uint64_t (*call_function)(uint64_t context, Raw* function, Raw* this, Raw* arguments, uint64_t id) noexcept nogil
    Raw* (*alloc_string)(uint64_t context, const char* text, uint64_t n, uint8_t type) noexcept nogil
    Raw* (*alloc_int)(uint64_t context, int64_t value, uint8_t type) noexcept nogil
    void (*free_value)(uint64_t context, Raw* value) noexcept nogil
    Raw* (*make_callback)(uint64_t context, uint64_t id) noexcept nogil
    Raw* (*array_push)(uint64_t context, Raw* array, Raw* value) noexcept nogil
    Raw* (*get_item)(uint64_t context, Raw* object, Raw* key) noexcept nogil
    void (*cancel_task)(uint64_t context, uint64_t task) noexcept nogil
    void (*hard_limit)(uint64_t context, size_t size) noexcept nogil
    void (*low_memory)(uint64_t context) noexcept nogil
    const char* (*version)() noexcept nogil

cdef object making = threading.Lock()
cdef Library lib
cdef bint initialised = False
cdef Box* boxes[4096]
cdef Event* events = NULL
cdef bint woken = False             # the loop has been told of events that it has not taken
cdef size_t events_head = 0, events_count = 0, events_capacity = 0
cdef pthread_mutex_t events_lock
cdef int event_fd = -1


class EngineError(Exception):
    """V8 cannot be used, or an isolate did not start; the text says why."""


include "callbacks.pxi"


def library():
    """The path of the library, bytes. Raises EngineError."""
    spec = find_spec("py_mini_racer")
    if spec is None or spec.origin is None:
        raise EngineError("the package mini-racer is not installed")
    return os.fsencode(Path(spec.origin).parent / "libmini_racer.so")


def preload():
    """Bring the library into memory, on any thread, so that `init` takes less. Raises EngineError."""
    cdef bytes path = library()
    cdef const char* place = path
    with nogil:
        dlopen(place, RTLD_NOW)         # where it fails, init says why


# Without the pool the memory of a context that has ended goes back to the system at once, instead of staying with the process
# (128 MB after one script that filled its heap); a small young generation keeps busy contexts small.
FLAGS = "--single-threaded --no-flush-bytecode --no-memory-pool --max-semi-space-size=1 --min-semi-space-size=1"


def init(flags=FLAGS):
    """Load V8, once in a process. Raises EngineError.

    Call it on the main thread: V8 protects its memory by keys of the processor that only threads begun after this, and by
    this one's descendants, can use.
    """
    global initialised, event_fd
    if initialised:
        return
    path = library()
    icu = os.path.join(os.path.dirname(path), b"icudtl.dat")
    cdef void* handle = dlopen(path, RTLD_NOW)
    if handle == NULL:
        raise EngineError(f"{os.fsdecode(path)} cannot be loaded: {dlerror().decode()}")
    cdef void** places[15]
    places[:] = [
        <void**>&lib.init_v8, <void**>&lib.init_context, <void**>&lib.free_context, <void**>&lib.evaluate, <void**>&lib.call_function,
        <void**>&lib.alloc_string, <void**>&lib.alloc_int, <void**>&lib.free_value, <void**>&lib.make_callback,
        <void**>&lib.array_push, <void**>&lib.get_item, <void**>&lib.cancel_task, <void**>&lib.hard_limit, <void**>&lib.version,
        <void**>&lib.low_memory,
    ]
    names = (
        b"mr_init_v8", b"mr_init_context", b"mr_free_context", b"mr_eval", b"mr_call_function", b"mr_alloc_string_val",
        b"mr_alloc_int_val", b"mr_free_value", b"mr_make_js_callback", b"mr_array_push", b"mr_get_object_item", b"mr_cancel_task",
        b"mr_set_hard_memory_limit", b"mr_v8_version", b"mr_low_memory_notification",
    )  # fmt: skip
    cdef int i
    for i, name in enumerate(names):
        places[i][0] = dlsym(handle, name)
        if places[i][0] == NULL:
            raise EngineError(f"{os.fsdecode(path)} has no {name.decode()}: another version of mini-racer is needed")
    event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)
    if event_fd < 0:
        raise EngineError("no eventfd can be made")
    pthread_mutex_init(&events_lock, NULL)
    lib.init_v8(flags.encode(), icu)
    initialised = True


def version():
    """The version of V8. Call init first."""
    return lib.version().decode()


def fileno():
    """A descriptor that is readable when `drain` has something."""
    return event_fd


cdef str text_of(uint16_t* units, size_t n):
    cdef int order = -1
    return PyUnicode_DecodeUTF16(<const char*>units, <Py_ssize_t>n * 2, "surrogatepass", &order)


def drain(dict isolates):
    """Take what has arrived. isolates: slot -> Isolate, those that are in use; what comes from others is freed.

    Returns a list of (slot, kind, sequence, value). RESULT: bytes; NOTHING: None; ERROR:
    (type, text); LOG, CALL, ASYNC, LATE: text of the message, where a byte that is not UTF-8 is a lone surrogate, with the number
    of the call that had begun last when it was sent.
    """
    cdef uint64_t counter
    cdef list found = []
    cdef Event event
    cdef Isolate isolate
    cdef Raw* raw
    global events_head, events_count, woken
    read(event_fd, &counter, 8)
    pthread_mutex_lock(&events_lock)
    woken = False
    pthread_mutex_unlock(&events_lock)
    while True:
        pthread_mutex_lock(&events_lock)
        if events_count == 0:
            pthread_mutex_unlock(&events_lock)
            return found
        event = events[events_head]
        events_head = (events_head + 1) % events_capacity
        events_count -= 1
        pthread_mutex_unlock(&events_lock)
        isolate = isolates.get(event.slot)
        if event.kind != E_VALUE:
            if isolate is not None:
                found.append((event.slot, LOG + event.kind - 1, event.sequence, text_of(event.units, event.count)))
            free(event.units)
            continue
        raw = event.value
        if isolate is None or isolate.context == 0:
            continue                    # the context's end frees its values
        if raw.type == T_STRING:
            found.append((event.slot, RESULT, event.sequence, PyBytes_FromStringAndSize(<char*>raw.ptr, <Py_ssize_t>raw.len)))
        elif raw.type >= T_EXCEPTION:
            text = (<char*>raw.ptr)[:raw.len].decode("utf-8", "replace") if raw.ptr != NULL else ""
            found.append((event.slot, ERROR, event.sequence, (raw.type, text)))
        else:
            found.append((event.slot, NOTHING, event.sequence, None))
        lib.free_value(isolate.context, raw)


cdef class Isolate:
    """One isolate with its context and its thread. A slot is used by one at a time."""

    def __cinit__(self, int slot):
        if not 0 <= slot < MOST_SLOTS:
            raise ValueError(f"no slot {slot}")
        self.slot = slot
        self.box = <Box*>calloc(1, sizeof(Box))
        if self.box == NULL:
            raise MemoryError
        pthread_mutex_init(&self.box.lock, NULL)
        pthread_cond_init(&self.box.change, NULL)
        boxes[slot] = self.box

    def __dealloc__(self):
        free(self.functions)
        if self.box != NULL and self.context == 0:
            pthread_mutex_destroy(&self.box.lock)
            pthread_cond_destroy(&self.box.change)
            free(self.box.answer)
            free(self.box.said)
            free(self.box)

    def start(self, bytes runtime not None, bytes settings not None, size_t memory):
        """Make the context and run the runtime in it; blocks. memory: bytes of heap after which a script is ended.

        Raises EngineError. Keeps the functions that the runtime's boot returns, under the indices 0 to 5.
        """
        cdef Raw* mailbox
        cdef Raw* boot
        cdef Raw* arguments
        cdef Raw* functions
        cdef Raw* part
        cdef Raw* key
        cdef uint64_t context
        cdef int i
        with making:                    # the library makes what all contexts share with the first one, and does not guard it
            with nogil:
                context = lib.init_context(on_callback)
        if context == 0:
            raise EngineError("no context can be made")
        self.context = self.box.context = context
        lib.hard_limit(context, memory)
        mailbox = self.evaluate(b"new SharedArrayBuffer(%d)" % MAIL_BYTES)
        if mailbox.type != T_SHARED_BUFFER:
            raise EngineError("the mailbox is not a shared buffer")
        self.box.mail = <int32_t*>mailbox.ptr
        self.box.units = MAIL_UNITS
        boot = self.evaluate(runtime)
        self.no_arguments = self.evaluate(b"[]")
        arguments = self.evaluate(b"[]")
        with nogil:
            part = lib.make_callback(context, BELL | <uint64_t>self.slot)
            lib.free_value(context, lib.array_push(context, arguments, mailbox))
            lib.free_value(context, lib.array_push(context, arguments, part))
        key = lib.alloc_string(context, PyBytes_AS_STRING(settings), PyBytes_GET_SIZE(settings), T_STRING)
        with nogil:
            lib.free_value(context, lib.array_push(context, arguments, key))
            lib.free_value(context, key)
            lib.call_function(context, boot, self.no_arguments, arguments, START | <uint64_t>self.slot)
        functions = self.wait_for()
        for i in range(6):
            key = lib.alloc_int(context, i, 3)
            with nogil:
                part = lib.get_item(context, functions, key)
                lib.free_value(context, key)
            if part.type != T_FUNCTION:
                raise EngineError("the runtime of the scripts does not fit this version of mini-racer")
            self.keep(part)
        with nogil:
            lib.low_memory(context)     # what the start needed goes back: more than half of what a context has

    cdef Raw* evaluate(self, bytes code) except NULL:
        cdef Raw* source = lib.alloc_string(self.context, PyBytes_AS_STRING(code), PyBytes_GET_SIZE(code), T_STRING)
        with nogil:
            lib.evaluate(self.context, source, START | <uint64_t>self.slot)
        try:
            return self.wait_for()
        finally:
            lib.free_value(self.context, source)

    cdef Raw* wait_for(self) except NULL:
        """Wait for the task that was just started with the id START."""
        cdef timespec until
        cdef Box* box = self.box
        cdef bint late = False
        with nogil:
            clock_gettime(CLOCK_REALTIME, &until)
            until.tv_sec += START_SECONDS
            pthread_mutex_lock(&box.lock)
            while not box.start_done and not late:
                late = pthread_cond_timedwait(&box.change, &box.lock, &until) != 0
            box.start_done = False
            pthread_mutex_unlock(&box.lock)
        if late:
            raise EngineError("a context did not start in time")
        if box.started.type >= T_EXCEPTION:
            raise EngineError((<char*>box.started.ptr)[:box.started.len].decode("utf-8", "replace"))
        return box.started

    cdef int keep(self, Raw* value) except -1:
        cdef Raw** grown
        if self.count == self.capacity:
            grown = <Raw**>realloc(self.functions, sizeof(Raw*) * (self.capacity * 2 or 16))
            if grown == NULL:
                raise MemoryError
            self.functions = grown
            self.capacity = self.capacity * 2 or 16
        self.functions[self.count] = value
        self.count += 1
        return self.count - 1

    def parse(self, bytes code not None, uint64_t sequence):
        """Compile a script that does not run, to learn where its syntax is wrong: the error comes out of `drain`."""
        cdef bytes whole = b"throw 0;(function(){\n" + code + b"\n})"
        cdef Raw* source
        if self.context == 0:
            raise ValueError("the context has ended")
        source = lib.alloc_string(self.context, PyBytes_AS_STRING(whole), PyBytes_GET_SIZE(whole), T_STRING)
        add(&self.box.pending, 1)
        lib.evaluate(self.context, source, (<uint64_t>self.slot << 40) | (sequence & SEQUENCE))
        lib.free_value(self.context, source)

    def call(self, int function, bytes this not None, uint64_t sequence):
        """Call a kept function with a text as `this`. The result comes out of `drain` with the sequence. Returns the task."""
        cdef Raw* text
        cdef uint64_t task
        if self.context == 0 or not 0 <= function < self.count or self.functions[function] == NULL:
            raise ValueError("no such function")
        text = lib.alloc_string(self.context, PyBytes_AS_STRING(this), PyBytes_GET_SIZE(this), T_STRING)
        add(&self.box.pending, 1)
        task = lib.call_function(self.context, self.functions[function], text, self.no_arguments,
                                 (<uint64_t>self.slot << 40) | (sequence & SEQUENCE))
        lib.free_value(self.context, text)
        return task

    def cancel(self, uint64_t task):
        """End a task, also one that waits for the host."""
        if self.context:
            lib.cancel_task(self.context, task)
            self.abort()

    def abort(self):
        """Answer the host call that the script waits for, and all that follow, with nothing."""
        pthread_mutex_lock(&self.box.lock)
        self.box.aborted = True
        self.box.answered = True
        pthread_cond_broadcast(&self.box.change)
        pthread_mutex_unlock(&self.box.lock)

    def answer(self, int status, str text):
        """Answer the host call that the script waits for. status: 0 undefined, 1 text, 2 throw text."""
        cdef bytes units = text.encode("utf-16-le", "surrogatepass")
        cdef size_t n = <size_t>PyBytes_GET_SIZE(units)
        cdef uint16_t* copy
        pthread_mutex_lock(&self.box.lock)
        if self.box.waiting and not self.box.answered:
            copy = <uint16_t*>malloc(n or 2)
            memcpy(copy, PyBytes_AS_STRING(units), n)
            free(self.box.answer)       # left there by a script that did not take all of the last one
            self.box.answer_at = 0
            self.box.answer = copy
            self.box.answer_units = n // 2
            self.box.status = status
            self.box.answered = True
            pthread_cond_broadcast(&self.box.change)
        pthread_mutex_unlock(&self.box.lock)

    cdef int clear(self, int half) noexcept:
        """Begin a half anew, for a batch that is sent next."""
        self.box.mail[W_DONE + half] = 0
        full_barrier()
        return 0

    cdef int done(self, int half) noexcept:
        """How many calls of the batch that has this half have left their results there."""
        cdef int count = (<volatile_int*>&self.box.mail[W_DONE + half])[0]
        full_barrier()
        return count

    cdef bytes result(self, int half, int* at):
        """The result of a call of a batch: UTF-8. at: where it is in the half; moved on to the next one. Raises ValueError."""
        cdef unsigned char* place = (<unsigned char*>self.box.mail) + RESULTS + half * HALF_BYTES + at[0]
        cdef int32_t* head = <int32_t*>place
        cdef int64_t n = head[0]
        cdef bint is_wide = head[1] & 1
        cdef int64_t size = 2 * n if is_wide else n
        cdef int order = -1
        if n < 0 or at[0] + 8 + size > HALF_BYTES:
            raise ValueError("no result is where one should be")
        at[0] += <int>(8 + size + 3) & ~3
        if not is_wide:
            return PyBytes_FromStringAndSize(<const char*>place + 8, n)
        return PyUnicode_DecodeUTF16(<const char*>place + 8, size, "replace", &order).encode()

    @property
    def started(self):
        """How many calls have begun, modulo 2**32."""
        return <unsigned int>self.box.mail[W_STARTED]

    @property
    def runs(self):
        """The number of the last call whose script has begun: before that, the context was put back in order for it."""
        return <unsigned int>self.box.mail[W_RUNS]

    def skip(self, unsigned int until):
        """Let calls that have not begun, up to the one with this number, return nothing."""
        (<volatile_int*>&self.box.mail[W_SKIP])[0] = <int32_t>until
        full_barrier()

    cdef int follow(self, unsigned int issued) noexcept:
        """Keep the number that `skip` has set behind those of calls that can still begin, however many there were since: numbers
        wrap, and half of them count as smaller than a given one. issued: the last one that has been given out."""
        if <uint32_t>(issued - <uint32_t>self.box.mail[W_SKIP]) > FAR:
            self.skip(issued - IN_FLIGHT)
        return 0

    def limit(self, size_t memory):
        """Bytes of heap after which a script is ended."""
        if self.context:
            lib.hard_limit(self.context, memory)

    def rest(self):
        """Give memory back that calls have left; blocks until the scripts that run have ended."""
        cdef uint64_t context = self.context
        if context:
            with nogil:
                lib.low_memory(context)

    @property
    def used(self):
        """CPU time of the isolate's thread, seconds."""
        cdef timespec spent
        if clock_gettime(<clockid_t>((~self.box.thread << 3) | 6), &spent):    # the kernel's clock of one thread
            return 0.0
        return spent.tv_sec + spent.tv_nsec / 1e9

    def lower(self):
        """Have other threads of the machine go first, for good: without privileges there is no way back."""
        setpriority(PRIO_PROCESS, self.box.thread, NICE)

    def close(self):
        """End the context and its thread; blocks until the script that runs has ended. Nothing arrives from it any more."""
        cdef uint64_t context = self.context
        if self.closed:
            return
        self.closed = True
        self.abort()
        if context:
            with nogil:
                lib.free_context(context)
            self.context = 0
