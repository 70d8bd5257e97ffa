"""Rate windows and quotas that all workers of one node share; see limits.pxd for layout and ownership."""

cimport cython

import fcntl
import hashlib
import os
from binascii import crc32

from cpython.bytes cimport PyBytes_AS_STRING
from libc.string cimport memcpy

cdef extern from "<sys/mman.h>" nogil:
    void* mmap(void* address, size_t length, int protection, int flags, int fd, long offset)
    int munmap(void* address, size_t length)
    int PROT_READ, PROT_WRITE, MAP_SHARED
    void* MAP_FAILED

cdef extern from "shared_words.h":
    int LIM_MUTEX_BYTES
    uint64_t lim_load(const uint64_t* word) noexcept nogil
    void lim_store(uint64_t* word, uint64_t value) noexcept nogil
    uint64_t lim_add(uint64_t* word, int64_t amount) noexcept nogil
    bint lim_swap(uint64_t* word, uint64_t old, uint64_t value) noexcept nogil
    int lim_mutex_init(void* at) noexcept nogil
    int lim_mutex_lock(void* at) noexcept nogil
    void lim_mutex_unlock(void* at) noexcept nogil
    int64_t lim_clock_ms() noexcept nogil

cdef enum:
    WORDS = 8
    W_K0 = 0
    W_K1 = 1
    W_STATE = 2
    W_KEEP = 3
    W_SEEN = 4
    W_UNACKED = 5
    W_ENDS = 6
    W_FLIGHT = 7
    FLIGHT_BITS = 16            # of word 7 are a number, the others the end of the flight
    LOCKS = 64
    LOCK_BYTES = 64             # one cache line each
    GROUP = 8                   # slots that are looked at together
    GROUPS = 8                  # groups that a key may be in
    COUNT_BITS = 24
    H_MAGIC = 0
    H_VERSION = 1
    H_SLOTS = 2
    H_FULL = 3
    H_NODES = 4
    H_CHANGES = 5
    CLAIMS = LOCKS              # the mutex of whoever gives a slot to another key
    MARKS_AT = 64 + (LOCKS + 1) * LOCK_BYTES
    MARKS = 256
    HEADER = 8192               # header words, then the mutexes, then the marks

cdef uint64_t MAGIC = 0x5052_4546_4c49_4d54     # "PREFLIMT"
cdef uint64_t VERSION = 1
cdef uint64_t BUSY = <uint64_t>-1
cdef uint64_t COUNT_MASK = (<uint64_t>1 << COUNT_BITS) - 1
cdef uint64_t START_MASK = (<uint64_t>1 << 40) - 1
cdef int64_t FOREVER = <int64_t>1 << 62
cdef int64_t MOST_PER = <int64_t>1 << 52
cdef int64_t KEEP_IDLE = 60000                  # a quota of which the store knows everything, after its last word
cdef int64_t KEEP_UNKNOWN = 10000               # a counter of which the store has said nothing yet
cdef uint64_t FLIGHT_MASK = ((<uint64_t>1 << FLIGHT_BITS) - 1)
cdef int64_t LEAST_MARGIN = 32
cdef int64_t OLD = 1000                         # ms that the store's last word is good for where others count too
cdef int64_t MOST_COUNT = <int64_t>COUNT_MASK - 1

MAX_SLOTS = 1 << 24
PASS, BLOCKED, ASK, FULL = L_PASS, L_BLOCKED, L_ASK, L_FULL


def clock_ms():
    """Milliseconds of the monotonic clock, as all windows count them."""
    return lim_clock_ms()


cdef inline int64_t _start(uint64_t state) noexcept nogil:
    return <int64_t>(state >> COUNT_BITS)


cdef inline uint64_t _state(int64_t start, uint64_t count) noexcept nogil:
    return ((<uint64_t>start & START_MASK) << COUNT_BITS) | count


cdef inline bint _owes(uint64_t* slot, int64_t now) noexcept nogil:
    """Whether a slot has counted what the store does not know, in a period that still runs."""
    cdef int64_t ends = <int64_t>lim_load(&slot[W_ENDS])
    return lim_load(&slot[W_UNACKED]) != 0 and now < (-ends if ends < 0 else ends)


cdef int mark_of(bytes name) except -1:
    """The place of a key among the marks; the same in all processes."""
    return crc32(name) % MARKS


@cython.final
cdef class LimitTable:
    """A mapping of the shared windows. Use `create` or `attach`, never the constructor."""

    def __cinit__(self):
        self.fd = -1
        self._base = NULL

    def __dealloc__(self):
        if self._base != NULL:
            munmap(self._base, self.size)
        if self.fd >= 0:
            try:
                os.close(self.fd)
            except OSError:
                pass

    @staticmethod
    def create(int slots):
        """Make the memory for `slots` counters, rounded up to a power of two, on an inheritable memfd.

        64 bytes each; pages that are not in use are not touched. Raises ValueError for a number out of range and
        OSError when the system refuses the memory.
        """
        cdef int rounded = GROUP * GROUPS
        cdef int i
        if slots < 1 or slots > MAX_SLOTS:
            raise ValueError(f"limit counters: {slots}, expected 1 to {MAX_SLOTS}")
        while rounded < slots:
            rounded *= 2
        cdef LimitTable self = LimitTable.__new__(LimitTable)
        size = HEADER + <Py_ssize_t>rounded * WORDS * 8
        fd = os.memfd_create("preforge-limits", os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(fd, size)
            # A file that cannot shrink cannot turn a read into SIGBUS.
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
            self._map(fd, size)
        except BaseException:
            os.close(fd)
            raise
        self.fd = fd
        self.slots = rounded
        for i in range(LOCKS + 1):
            if lim_mutex_init(self._base + 64 + i * LOCK_BYTES):
                raise OSError("limit counters: no process-shared mutex")
        cdef uint64_t* header = <uint64_t*>self._base
        header[H_VERSION] = VERSION
        header[H_SLOTS] = rounded
        lim_store(&header[H_MAGIC], MAGIC)
        return self

    @staticmethod
    def attach(int fd):
        """Map what `create` made, by a descriptor that this object owns from now on.

        Raises ValueError, and leaves the descriptor to the caller, when the file has another layout.
        """
        cdef LimitTable self = LimitTable.__new__(LimitTable)
        size = os.fstat(fd).st_size
        if size < HEADER:
            raise ValueError(f"limit counters: {size} bytes, expected at least {HEADER}")
        self._map(fd, size)
        cdef uint64_t* header = <uint64_t*>self._base
        if lim_load(&header[H_MAGIC]) != MAGIC or header[H_VERSION] != VERSION:
            raise ValueError("limit counters: made by another version")
        if HEADER + <Py_ssize_t>header[H_SLOTS] * WORDS * 8 != size:
            raise ValueError(f"limit counters: {size} bytes do not fit {header[H_SLOTS]} slots")
        self.slots = <int>header[H_SLOTS]
        self.fd = fd
        return self

    def _map(self, int fd, Py_ssize_t size):
        if LIM_MUTEX_BYTES > LOCK_BYTES:
            raise OSError("limit counters: mutexes of this system are too large")
        cdef void* base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)
        if base == MAP_FAILED:
            raise OSError("limit counters: the memory cannot be mapped")
        self._base = <unsigned char*>base
        self._slots = <uint64_t*>(self._base + HEADER)
        self.size = size

    @property
    def full(self):
        """How often no slot was free, of all workers."""
        return lim_load(&(<uint64_t*>self._base)[H_FULL])

    def in_use(self):
        """Slots whose time is not over."""
        cdef int64_t now = lim_clock_ms()
        cdef uint64_t* slot
        cdef uint64_t state
        cdef int i, found = 0
        for i in range(self.slots):
            slot = self._slots + <Py_ssize_t>i * WORDS
            state = lim_load(&slot[W_STATE])
            if state and state != BUSY and _start(state) + <int64_t>slot[W_KEEP] > now:
                found += 1
        return found

    @property
    def nodes(self):
        """Gateways that share the limits, this one included."""
        return self.node_count()

    @nodes.setter
    def nodes(self, int count):
        lim_store(&(<uint64_t*>self._base)[H_NODES], <uint64_t>max(1, count))

    @property
    def changes(self):
        """How many changes of keys were marked on this node."""
        return lim_load(&(<uint64_t*>self._base)[H_CHANGES])

    def mark(self, bytes name not None):
        """Let all workers of the node know that the key with this name in the store has changed."""
        cdef uint64_t* place = <uint64_t*>(self._base + MARKS_AT) + mark_of(name)
        cdef uint64_t now = lim_add(&(<uint64_t*>self._base)[H_CHANGES], 1)
        cdef uint64_t before = lim_load(place)
        while before < now and not lim_swap(place, before, now):
            before = lim_load(place)

    cdef bint marked(self, int place, uint64_t since) noexcept nogil:
        """Whether a key of this place has changed after `since` changes."""
        return lim_load(<uint64_t*>(self._base + MARKS_AT) + place) > since

    cdef int node_count(self) noexcept nogil:
        cdef int found = <int>lim_load(&(<uint64_t*>self._base)[H_NODES])
        return found if found else 1

    cdef int lock_claims(self) noexcept nogil:
        """Take the mutex of claims; slots that a dead process left in the middle of a claim are free again."""
        cdef int got = lim_mutex_lock(self._base + 64 + CLAIMS * LOCK_BYTES)
        cdef uint64_t* slot
        cdef int i
        if got < 0:
            return -1
        if got:
            for i in range(self.slots):
                slot = self._slots + <Py_ssize_t>i * WORDS
                if lim_load(&slot[W_STATE]) == BUSY:
                    lim_store(&slot[W_K0], 0)
                    lim_store(&slot[W_K1], 0)
                    lim_store(&slot[W_STATE], 0)
        return 0

    cdef void repair(self) noexcept nogil:
        """A slot has been BUSY for long: wait for its claim, or clean up behind a dead process."""
        if self.lock_claims() == 0:
            lim_mutex_unlock(self._base + 64 + CLAIMS * LOCK_BYTES)

    cdef uint64_t* slot(self, uint64_t k0, uint64_t k1, int* hint) noexcept nogil:
        """The slot that belongs to a key, or NULL."""
        cdef uint64_t* slot
        cdef uint64_t first
        cdef int i, at
        if hint[0] >= 0:
            slot = self._slots + <Py_ssize_t>hint[0] * WORDS
            if lim_load(&slot[W_K0]) == k0 and lim_load(&slot[W_K1]) == k1:
                return slot
        first = k0 & <uint64_t>(self.slots - 1) & ~<uint64_t>(GROUP - 1)
        for i in range(GROUP * GROUPS):
            at = <int>((first + <uint64_t>i) & <uint64_t>(self.slots - 1))
            slot = self._slots + <Py_ssize_t>at * WORDS
            if lim_load(&slot[W_K0]) == k0 and lim_load(&slot[W_K1]) == k1:
                hint[0] = at
                return slot
        hint[0] = -1
        return NULL

    cdef uint64_t* claim(self, uint64_t k0, uint64_t k1, int64_t now, int64_t keep, int* hint) noexcept nogil:
        """Make a slot for a key that has none; NULL if all its places are taken."""
        cdef uint64_t first = k0 & <uint64_t>(self.slots - 1) & ~<uint64_t>(GROUP - 1)
        cdef uint64_t* found
        cdef uint64_t* slot
        cdef uint64_t state
        cdef int i, at
        # All claims meet at one mutex, so two slots for one key cannot come to be.
        if self.lock_claims():
            return NULL
        found = self.slot(k0, k1, hint)
        if found == NULL:
            for i in range(GROUP * GROUPS):
                at = <int>((first + <uint64_t>i) & <uint64_t>(self.slots - 1))
                slot = self._slots + <Py_ssize_t>at * WORDS
                state = lim_load(&slot[W_STATE])
                if state == BUSY or (state and (_start(state) + <int64_t>slot[W_KEEP] > now or _owes(slot, now))):
                    continue
                # Its owner may have begun a new window in this moment.
                if not lim_swap(&slot[W_STATE], state, BUSY):
                    continue
                lim_store(&slot[W_K0], 0)
                lim_store(&slot[W_K1], 0)
                slot[W_KEEP] = <uint64_t>keep
                slot[W_SEEN] = slot[W_ENDS] = 0
                lim_store(&slot[W_UNACKED], 0)
                slot[W_FLIGHT] = 0
                lim_store(&slot[W_K1], k1)
                lim_store(&slot[W_STATE], _state(now, 0))
                lim_store(&slot[W_K0], k0)
                hint[0] = at
                found = slot
                break
            else:
                lim_add(&(<uint64_t*>self._base)[H_FULL], 1)
        lim_mutex_unlock(self._base + 64 + CLAIMS * LOCK_BYTES)
        return found

    cdef int lock(self, uint64_t* slot) noexcept nogil:
        """Take the mutex that guards a slot's quota words; not 0 if that is impossible."""
        return lim_mutex_lock(self._mutex_of(slot)) < 0

    cdef void unlock(self, uint64_t* slot) noexcept nogil:
        lim_mutex_unlock(self._mutex_of(slot))

    cdef unsigned char* _mutex_of(self, uint64_t* slot) noexcept nogil:
        return self._base + 64 + ((slot - self._slots) // WORDS % LOCKS) * LOCK_BYTES


cdef tuple _key_words(bytes key):
    """128 bits of a key; never (0, 0), which marks an unused slot."""
    cdef bytes digest = hashlib.blake2b(key, digest_size=16).digest()
    cdef uint64_t k0, k1
    memcpy(&k0, PyBytes_AS_STRING(digest), 8)
    memcpy(&k1, PyBytes_AS_STRING(digest) + 8, 8)
    return k0, k1 | 1


@cython.final
cdef class RateWindow:
    """A limit of `rate` requests in `per` seconds, counted from the first request of a window (tyk-core 5.6, DRL).

    The window of one key is shared by all workers that make a RateWindow with the same table and key.
    """

    def __init__(self, LimitTable table not None, bytes key not None, double rate, double per, object store_key=None):
        self.table = table
        self.store_key = store_key
        self.rate = rate
        self.per = <int64_t>min(max(1.0, per * 1000), <double>MOST_PER)
        self._k0, self._k1 = _key_words(key)
        self._hint = -1

    cdef int hit(self, int64_t now) except -1:
        """Count a request at `now`. L_PASS, L_BLOCKED or L_FULL. A limit is shared evenly by all nodes."""
        cdef uint64_t* slot
        cdef uint64_t state, fresh
        cdef int64_t start, count, most
        cdef double share
        cdef int tries = 0
        if self.rate <= 0:
            return L_PASS
        share = self.rate / self.table.node_count()
        # A rate that is too small to be shared lets one request through on each node (tyk-core 5.6, min token value).
        most = 1 if share < 1 else MOST_COUNT if share > MOST_COUNT else <int64_t>share
        while True:
            slot = self.table.slot(self._k0, self._k1, &self._hint)
            if slot == NULL:
                slot = self.table.claim(self._k0, self._k1, now, self.per, &self._hint)
                if slot == NULL:
                    return L_FULL
            state = lim_load(&slot[W_STATE])
            if state == BUSY or lim_load(&slot[W_K0]) != self._k0 or lim_load(&slot[W_K1]) != self._k1:
                self._hint = -1
                tries += 1
                if tries % 1000 == 0:
                    self.table.repair()
                continue
            start = _start(state)
            count = <int64_t>(state & COUNT_MASK)
            if now >= start + self.per:
                start = now
                count = 0
            if count >= most:
                self.count = count + 1
                self.reset = start + self.per
                return L_BLOCKED
            fresh = _state(start, <uint64_t>(count + 1))
            if lim_swap(&slot[W_STATE], state, fresh):
                self.count = count + 1
                self.reset = start + self.per
                if <int64_t>slot[W_KEEP] != self.per:
                    lim_store(&slot[W_KEEP], <uint64_t>self.per)
                return L_PASS

    def take(self, int64_t now):
        """Count a request at `now` ms of the monotonic clock: PASS, BLOCKED or FULL."""
        return self.hit(now)

    def peek(self, int64_t now):
        """Requests counted in the window that runs at `now`."""
        cdef uint64_t* slot = self.table.slot(self._k0, self._k1, &self._hint)
        if slot == NULL:
            return 0
        cdef uint64_t state = lim_load(&slot[W_STATE])
        return 0 if state == BUSY or now >= _start(state) + self.per else <int64_t>(state & COUNT_MASK)


@cython.final
cdef class QuotaWindow:
    """A quota whose count is the store's; this node counts what it lets through and tells the store in batches.

    `take` answers PASS (counted), BLOCKED, or ASK: the store has to be spoken to first, in one flight: `begin`, a script
    that adds what `begin` gave, `land`. There is one flight at a time for each quota of a node, so what the store said
    last plus what it has not been told is exact for all that this node did. A node that is `alone` with its store decides
    by that; one that shares it asks when what is left is within the margin: 32, a 64th of the quota, or twice what is
    under way in all nodes, whichever is most, and when the store has said nothing for a second.
    """

    def __init__(self, LimitTable table not None, bytes key not None, int64_t max, bint alone=False):
        """key: the same for all that count together; max: requests in a period; alone: no other node counts."""
        self.table = table
        self.max = max
        self.alone = alone
        self._k0, self._k1 = _key_words(key)
        self._hint = -1

    cdef int64_t _margin(self, int64_t unacked) noexcept:
        cdef int64_t under_way = 2 * self.table.node_count() * unacked
        cdef int64_t margin = self.max >> 6
        if margin < LEAST_MARGIN:
            margin = LEAST_MARGIN
        return margin if margin > under_way else under_way

    cdef bint _mine(self, uint64_t* slot) noexcept:
        return slot[W_K0] == self._k0 and slot[W_K1] == self._k1

    cdef int take(self, int64_t now) except -1:
        cdef uint64_t* slot = self.table.slot(self._k0, self._k1, &self._hint)
        cdef int64_t unacked
        cdef int said = L_ASK
        if slot == NULL:
            return L_ASK
        self.ends = <int64_t>lim_load(&slot[W_ENDS])
        if now >= self.ends:
            return L_ASK
        if not self.alone and now - _start(lim_load(&slot[W_STATE])) > OLD:
            return L_ASK            # while nothing was counted here, others may have used it up
        unacked = <int64_t>lim_load(&slot[W_UNACKED])
        if self.max - <int64_t>lim_load(&slot[W_SEEN]) - unacked > self._margin(unacked):
            # Far from the end: others may do the same at this moment, but there are fewer of them than are left.
            unacked = <int64_t>lim_add(&slot[W_UNACKED], 1)
            self.used = <int64_t>lim_load(&slot[W_SEEN]) + unacked
            if not self._mine(slot):
                return L_ASK            # the slot went to another key just now, which counts one too many at worst
            if self.used <= self.max:
                return L_PASS
            lim_add(&slot[W_UNACKED], -1)
        if not self.alone or self.table.lock(slot):
            return L_ASK
        self.ends = <int64_t>slot[W_ENDS]
        if self._mine(slot) and now < self.ends:
            said = self._count(slot)
        self.table.unlock(slot)
        return said

    cdef int _count(self, uint64_t* slot) noexcept:
        """Count one request, with the slot's mutex held."""
        self.used = <int64_t>slot[W_SEEN] + <int64_t>lim_load(&slot[W_UNACKED])
        if self.used >= self.max:
            return L_BLOCKED
        self.used = <int64_t>slot[W_SEEN] + <int64_t>lim_add(&slot[W_UNACKED], 1)
        return L_PASS

    def try_take(self, int64_t now):
        """Count a request at `now` ms of the monotonic clock, if that needs no word of the store: PASS, BLOCKED or ASK."""
        return self.take(now)

    def begin(self, int64_t now, int64_t longest_ms):
        """Begin a flight to the store, which ends after `longest_ms` at the latest.

        Returns (requests to add to the store's count, ticket for `land`); None while another flight is under way, and
        raises MemoryError when no slot is free.
        """
        cdef uint64_t* slot = self.table.slot(self._k0, self._k1, &self._hint)
        cdef int64_t ends, added
        cdef uint64_t ticket
        if slot == NULL:
            slot = self.table.claim(self._k0, self._k1, now, longest_ms + KEEP_UNKNOWN, &self._hint)
            if slot == NULL:
                raise MemoryError("no counter is free")
        if self.table.lock(slot):
            raise MemoryError("the counter cannot be locked")
        try:
            if not self._mine(slot) or <int64_t>slot[W_FLIGHT] >> FLIGHT_BITS > now:
                return None
            ends = <int64_t>slot[W_ENDS]
            if ends and now >= (ends if ends > 0 else -ends):
                lim_store(&slot[W_UNACKED], 0)      # of a period that is over; the store has forgotten it as well
            added = <int64_t>lim_load(&slot[W_UNACKED])
            # The end of the flight, and a number, so that a flight that is given up does not end its successor.
            ticket = <uint64_t>(now + longest_ms) << FLIGHT_BITS | (slot[W_FLIGHT] + 1) & FLIGHT_MASK
            slot[W_FLIGHT] = ticket
            return added, ticket
        finally:
            self.table.unlock(slot)

    def land(self, uint64_t ticket, int64_t added, int64_t count, int64_t left_ms, int64_t now):
        """End a flight: the store has added `added` (and what asked besides) and counts `count` now.

        left_ms: until the end of the period, below 0 if it has none. count: below 0 when the store was not told.
        """
        cdef uint64_t* slot = self.table.slot(self._k0, self._k1, &self._hint)
        # A month's quota of a key that is not used now leaves its place to others: the store keeps the count.
        cdef int64_t keep = left_ms + 1000 if 0 <= left_ms < KEEP_IDLE else KEEP_IDLE
        if count >= 0:
            self.used = count
            self.ends = now + left_ms if left_ms >= 0 else FOREVER
        if slot == NULL or self.table.lock(slot):
            return
        if self._mine(slot) and slot[W_FLIGHT] == ticket:
            slot[W_FLIGHT] = ticket & FLIGHT_MASK
            if count >= 0:
                # First what is more, then what is less: who reads without the mutex sees too much, never too little.
                lim_store(&slot[W_SEEN], <uint64_t>count)
                lim_add(&slot[W_UNACKED], -added)
                lim_store(&slot[W_ENDS], <uint64_t>self.ends)
                slot[W_KEEP] = <uint64_t>keep
                lim_store(&slot[W_STATE], _state(now, 0))
        self.table.unlock(slot)

    def known(self):
        """Whether this node counts for the quota."""
        return self.table.slot(self._k0, self._k1, &self._hint) != NULL

    def unacked(self):
        """Requests that this node has let through and the store does not count yet."""
        cdef uint64_t* slot = self.table.slot(self._k0, self._k1, &self._hint)
        return 0 if slot == NULL else <int64_t>lim_load(&slot[W_UNACKED])

    def away(self, int64_t now, int64_t renewal_ms):
        """Count a request while the store is away: PASS, BLOCKED, or FULL if nothing is known about this quota.

        A period that ends meanwhile is followed by one of renewal_ms (0 and below: never).
        """
        cdef uint64_t* slot = self.table.slot(self._k0, self._k1, &self._hint)
        cdef int said = L_FULL
        if slot == NULL or slot[W_ENDS] == 0 or self.table.lock(slot):
            return L_FULL
        if self._mine(slot):
            self.ends = <int64_t>slot[W_ENDS]
            if self.ends < 0:
                self.ends = -self.ends
            if now >= self.ends and renewal_ms > 0:
                self.ends = now + renewal_ms
                lim_store(&slot[W_SEEN], 0)
                lim_store(&slot[W_UNACKED], 0)
                # Negative: the store has the last word once it is back.
                lim_store(&slot[W_ENDS], <uint64_t>(-self.ends))
                slot[W_KEEP] = <uint64_t>(renewal_ms + 1000 if renewal_ms < KEEP_IDLE else KEEP_IDLE)
                lim_store(&slot[W_STATE], _state(now, 0))
            said = self._count(slot)
        self.table.unlock(slot)
        return said

    def forget(self):
        """Ask the store again with the next request: someone else may have changed the count."""
        cdef uint64_t* slot = self.table.slot(self._k0, self._k1, &self._hint)
        cdef int64_t ends
        if slot != NULL:
            ends = <int64_t>lim_load(&slot[W_ENDS])
            if ends > 0:
                lim_store(&slot[W_ENDS], <uint64_t>(-ends))

    def reset(self):
        """The count in the store was removed: what it has not been told belongs to nothing any more."""
        cdef uint64_t* slot = self.table.slot(self._k0, self._k1, &self._hint)
        if slot == NULL or self.table.lock(slot):
            return
        if self._mine(slot):
            slot[W_FLIGHT] = slot[W_FLIGHT] & FLIGHT_MASK
            lim_store(&slot[W_UNACKED], 0)
            if <int64_t>slot[W_ENDS] > 0:
                lim_store(&slot[W_ENDS], <uint64_t>(-<int64_t>slot[W_ENDS]))
        self.table.unlock(slot)
