"""The bridge to V8: the C interface of the mini-racer library, called without its Python layer.

Threads. Every isolate has one thread of its own, made by the library. All functions here are called from the worker's
loop, except `Isolate.start`, `rest` and `close`, which block and belong on another thread; both release the GIL.
Callbacks (`on_value`, `on_bell`) run on isolate threads, without the GIL, and only append to `events` or read the box.

Ownership. A `Raw*` that the library hands out belongs to whoever holds it, and goes back with `mr_free_value`, before its
context does. `events` owns the values and buffers in it until `drain` has taken them. `Box` belongs to its Isolate and outlives
the context, because the isolate's thread looks at it until `mr_free_context` has returned.

Mailbox. A SharedArrayBuffer that both sides see (Box.mail): eight words, then UTF-16 code units; runtime/host.js is the other
side. The isolate writes while it runs; the loop writes the answer only while the isolate waits in the bell (Box.waiting).
Behind the units are two halves for results, each of one batch of calls: the isolate adds to it and then counts it in W_DONE,
which the loop sets to 0 before it sends the batch, after it has taken all of the one that had the half before.
"""

from libc.stdint cimport int32_t, uint8_t, uint16_t, uint64_t

cdef packed struct Raw:
    void* ptr
    size_t len
    uint8_t type

cdef extern from "<pthread.h>" nogil:
    ctypedef struct pthread_mutex_t:
        pass
    ctypedef struct pthread_cond_t:
        pass

cdef struct Box:
    int pending                 # tasks that have not returned
    int32_t* mail
    size_t units                # that fit behind the words
    pthread_mutex_t lock
    pthread_cond_t change
    bint waiting                # the isolate's thread is in a call of the host
    bint answered
    bint aborted                # answer every call at once, with nothing
    int status                  # of the answer
    uint16_t* answer
    size_t answer_units
    size_t answer_at
    uint16_t* said              # what has come in so far, of a message in pieces
    size_t said_units
    Raw* started                # for `start`: the value of the last task
    bint start_done
    uint64_t context
    int thread                  # kernel id of the isolate's thread

cdef class Isolate:
    cdef uint64_t context
    cdef Box* box
    cdef Raw* no_arguments
    cdef Raw** functions        # of the runtime
    cdef int count
    cdef int capacity
    cdef readonly int slot
    cdef readonly bint closed
    cdef Raw* wait_for(self) except NULL
    cdef Raw* evaluate(self, bytes code) except NULL
    cdef int keep(self, Raw* value) except -1
    cdef int clear(self, int half) noexcept
    cdef int done(self, int half) noexcept
    cdef int follow(self, unsigned int issued) noexcept
    cdef bytes result(self, int half, int* at)
