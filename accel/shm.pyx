"""Counters in memory that all processes of one gateway share; see shm.pxd for layout and ownership."""

cimport cython

import fcntl
import hashlib
import os

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy, memset

cdef extern from "<sys/mman.h>" nogil:
    void* mmap(void* address, size_t length, int protection, int flags, int fd, long offset)
    int munmap(void* address, size_t length)
    int PROT_READ, PROT_WRITE, MAP_SHARED
    void* MAP_FAILED

cdef extern from *:
    """
    #include <stdint.h>
    #include <time.h>
    static inline int shm_claim(uint64_t *word, uint64_t value) {
        uint64_t expected = 0;
        return __atomic_compare_exchange_n(word, &expected, value, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
    }
    static inline uint64_t shm_load(const uint64_t *word) { return __atomic_load_n(word, __ATOMIC_ACQUIRE); }
    static inline void shm_store(uint64_t *word, uint64_t value) { __atomic_store_n(word, value, __ATOMIC_RELEASE); }
    static inline uint64_t shm_next(uint64_t *word) { return __atomic_fetch_add(word, 1, __ATOMIC_ACQ_REL); }
    static inline uint64_t shm_clock_ms(void) {
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
    }
    """
    bint shm_claim(uint64_t* word, uint64_t value) noexcept nogil
    uint64_t shm_load(const uint64_t* word) noexcept nogil
    void shm_store(uint64_t* word, uint64_t value) noexcept nogil
    uint64_t shm_next(uint64_t* word) noexcept nogil
    uint64_t shm_clock_ms() noexcept nogil

cdef enum:
    # words of the header
    H_MAGIC = 0
    H_VERSION = 1
    H_SIZE = 2
    H_REGIONS = 3
    H_ROWS = 4
    H_GLOBAL_WORDS = 5
    H_ROW_WORDS = 6
    H_SLOT_WORDS = 7
    H_NEXT_ROW = 8
    H_OVERFLOWS = 9
    # words of a directory entry
    S_HASH = 0
    S_ROW = 1
    S_LENGTH = 2
    S_NAME = 3
    # test only: where row_for() stops
    STOP_NEVER = 0
    STOP_AFTER_HASH = 1
    STOP_AFTER_ROW = 2

cdef uint64_t MAGIC = 0x5052_4546_4f52_4745     # "PREFORGE"
cdef uint64_t VERSION = 1
cdef Py_ssize_t PAGE = 4096

MAX_REGIONS = 4096
MAX_ROWS = 1 << 20
OTHER = "_other"
BUCKET_BOUNDS_US = (500, 1000, 2500, 5000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
                    2_500_000, 5_000_000, 10_000_000, 30_000_000, 60_000_000)


cdef Py_ssize_t _aligned(Py_ssize_t size) noexcept:
    return (size + PAGE - 1) // PAGE * PAGE


def stored_name(api_id: str) -> bytes:
    """The name under which an API id is kept: its UTF-8, cut and marked with its hash when over 120 bytes."""
    raw = api_id.encode("utf-8", "surrogatepass")
    if len(raw) <= NAME_BYTES:
        return raw
    head = raw[:NAME_BYTES - 17].decode("utf-8", "ignore").encode()
    return head + b"~" + hashlib.blake2b(raw, digest_size=8).hexdigest().encode()


@cython.final
cdef class SharedCounters:
    """A mapping of the shared counters. Use `create` or `attach`, never the constructor."""

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
    def create(int regions, int rows):
        """Make the memory for `regions` writers and `rows` API rows, on an inheritable memfd.

        Raises ValueError for a number out of range and OSError when the system refuses the memory.
        """
        _check_sizes(regions, rows)
        cdef SharedCounters self = SharedCounters.__new__(SharedCounters)
        size = _layout_size(regions, rows)
        fd = os.memfd_create("preforge-counters", os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(fd, size)
            # A file that cannot shrink cannot turn a read into SIGBUS.
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
            self._map(fd, size)
        except BaseException:
            os.close(fd)
            raise
        self.fd = fd
        cdef uint64_t* header = <uint64_t*>self._base
        header[H_VERSION] = VERSION
        header[H_SIZE] = size
        header[H_REGIONS] = regions
        header[H_ROWS] = rows
        header[H_GLOBAL_WORDS] = GLOBAL_WORDS
        header[H_ROW_WORDS] = ROW_WORDS
        header[H_SLOT_WORDS] = SLOT_WORDS
        header[H_NEXT_ROW] = 1
        self._describe(regions, rows)
        shm_store(&header[H_MAGIC], MAGIC)
        return self

    @staticmethod
    def attach(int fd):
        """Map what `create` made, by a descriptor that this object owns from now on.

        Raises ValueError, and leaves the descriptor to the caller, when the file is not such a memory or
        has another layout (it was made by a different version).
        """
        cdef SharedCounters self = SharedCounters.__new__(SharedCounters)
        size = os.fstat(fd).st_size
        if size < PAGE:
            raise ValueError(f"shared counters: {size} bytes, expected at least {PAGE}")
        self._map(fd, size)
        cdef uint64_t* header = <uint64_t*>self._base
        if shm_load(&header[H_MAGIC]) != MAGIC:
            raise ValueError("shared counters: not made by preforge (wrong magic number)")
        if header[H_VERSION] != VERSION:
            raise ValueError(f"shared counters: layout version {header[H_VERSION]}, expected {VERSION}")
        found = (header[H_GLOBAL_WORDS], header[H_ROW_WORDS], header[H_SLOT_WORDS])
        expected = (GLOBAL_WORDS, ROW_WORDS, SLOT_WORDS)
        if found != expected:
            raise ValueError(f"shared counters: block sizes {found}, expected {expected}")
        if header[H_REGIONS] > <uint64_t>MAX_REGIONS or header[H_ROWS] > <uint64_t>MAX_ROWS:
            raise ValueError("shared counters: number of regions or rows out of range")
        regions, rows = int(header[H_REGIONS]), int(header[H_ROWS])
        _check_sizes(regions, rows)
        wanted = _layout_size(regions, rows)
        if size != wanted or header[H_SIZE] != <uint64_t>size:
            raise ValueError(f"shared counters: {size} bytes, expected {wanted} for {regions} regions of {rows} rows")
        self._describe(regions, rows)
        self.fd = fd
        return self

    cdef object _map(self, int fd, Py_ssize_t size):
        cdef void* address = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)
        if address == MAP_FAILED:
            raise OSError("shared counters: the memory cannot be mapped")
        self._base = <unsigned char*>address
        self.size = size

    def _describe(self, int regions, int rows):
        self.regions = regions
        self.rows_max = rows
        self._slots = rows
        self._first = PAGE + _aligned(<Py_ssize_t>rows * SLOT_WORDS * 8)
        self._stride = _region_size(rows)

    cdef uint64_t* _directory(self) noexcept:
        return <uint64_t*>(self._base + PAGE)

    cdef uint64_t* _region(self, int index) noexcept:
        return <uint64_t*>(self._base + self._first + index * self._stride)

    cdef int _used(self) noexcept:
        cdef uint64_t used = shm_load(&(<uint64_t*>self._base)[H_NEXT_ROW])
        return self.rows_max if used > <uint64_t>self.rows_max else <int>used

    def region(self, int index):
        """The region of one writer. Raises IndexError outside 0..regions-1."""
        if index < 0 or index >= self.regions:
            raise IndexError(f"shared counters: region {index}, expected 0..{self.regions - 1}")
        cdef Region region = Region.__new__(Region)
        region.owner = self
        region.index = index
        region.g = self._region(index)
        region._rows = region.g + GLOBAL_WORDS
        region._limit = self.rows_max
        return region

    def row_for(self, str api_id not None, int _stop=STOP_NEVER):
        """The row of an API: the same number in every process, claimed at the first call.

        0 (`_other`) when all rows are taken; that is counted under B_API_ROWS. Every step can be repeated
        by another process, so one that dies in the middle leaves at worst one number unused. `_stop`
        is for tests of that: it returns -1 after the given step, as if the process had ended there.
        """
        cdef bytes name = stored_name(api_id)
        if api_id == OTHER:
            return 0
        cdef const char* text = name
        cdef Py_ssize_t length = len(name)
        cdef uint64_t* header = <uint64_t*>self._base
        cdef uint64_t hashed = int.from_bytes(hashlib.blake2b(name, digest_size=8).digest(), "little") or 1
        cdef int at = <int>(hashed % <uint64_t>self._slots)
        cdef int tried
        cdef uint64_t* slot
        cdef uint64_t current, row
        for tried in range(self._slots):
            slot = self._directory() + <Py_ssize_t>at * SLOT_WORDS
            current = shm_load(&slot[S_HASH])
            if current == 0 and shm_claim(&slot[S_HASH], hashed):
                current = hashed
                if _stop == STOP_AFTER_HASH:
                    return -1
            elif current == 0:
                current = shm_load(&slot[S_HASH])
            if current == hashed and self._named(slot, text, length):
                row = shm_load(&slot[S_ROW])
                if row == 0:
                    if shm_load(&header[H_NEXT_ROW]) < <uint64_t>self.rows_max:
                        row = shm_next(&header[H_NEXT_ROW])
                    else:
                        row = self.rows_max
                    if row < <uint64_t>self.rows_max:
                        shm_claim(&slot[S_ROW], row)
                    # Another process may have been faster; its number counts, also when none was left for us.
                    row = shm_load(&slot[S_ROW])
                    if row == 0:
                        break
                if _stop == STOP_AFTER_ROW:
                    return -1
                if shm_load(&slot[S_LENGTH]) == 0:
                    # Everyone who gets here writes the same bytes, so a second writer does no harm.
                    memcpy(&slot[S_NAME], text, length)
                    shm_store(&slot[S_LENGTH], length + 1)
                return <int>row
            at = at + 1 if at + 1 < self._slots else 0
        shm_next(&header[H_OVERFLOWS])
        return 0

    cdef bint _named(self, uint64_t* slot, const char* text, Py_ssize_t length) noexcept:
        """Is the entry, whose hash is ours, free of a different name?"""
        cdef uint64_t stored = shm_load(&slot[S_LENGTH])
        return stored == 0 or (stored == <uint64_t>length + 1 and memcmp(&slot[S_NAME], text, length) == 0)

    def rows(self):
        """All rows in use as (row, API id as stored), in the order of the rows; row 0 is `_other`."""
        cdef list found = [(0, OTHER)]
        cdef int at
        cdef uint64_t* slot
        cdef uint64_t length, row
        for at in range(self._slots):
            slot = self._directory() + <Py_ssize_t>at * SLOT_WORDS
            length = shm_load(&slot[S_LENGTH])
            row = shm_load(&slot[S_ROW])
            if length and length <= NAME_BYTES + 1 and row and row < <uint64_t>self.rows_max:
                name = PyBytes_FromStringAndSize(<char*>&slot[S_NAME], <Py_ssize_t>length - 1)
                found.append((int(row), name.decode("utf-8", "replace")))
        found.sort()
        return found

    @property
    def overflows(self):
        """How often row_for() found no free row."""
        return shm_load(&(<uint64_t*>self._base)[H_OVERFLOWS])

    def totals(self):
        """The global words summed over all regions, by name; heartbeat, pid and generation are left out."""
        cdef int index, word
        cdef uint64_t* words
        cdef uint64_t[GLOBAL_WORDS] sums
        memset(sums, 0, sizeof(sums))
        for index in range(self.regions):
            words = self._region(index)
            for word in range(GLOBAL_WORDS):
                sums[word] += shm_load(&words[word])
        sums[B_API_ROWS] += self.overflows
        return {name: sums[<int>value] for name, value in word_numbers().items() if value > G_GENERATION}

    def row_totals(self):
        """Row -> its A_WORDS words summed over all regions, for the rows that have counted anything.

        Pages that no writer touched are skipped (SEEK_DATA), because reading them would allocate them.
        """
        cdef int used = self._used()
        cdef Py_ssize_t word, first, last, count = <Py_ssize_t>used * ROW_WORDS
        cdef uint64_t* words
        cdef uint64_t* sums = <uint64_t*>calloc(count, sizeof(uint64_t))
        if sums == NULL:
            raise MemoryError
        try:
            for index in range(self.regions):
                words = self._region(index) + GLOBAL_WORDS
                base = <Py_ssize_t>(<unsigned char*>words - self._base)
                for start, end in _extents(self.fd, base, base + count * 8):
                    first = (start - base) // 8
                    last = (end - base) // 8
                    for word in range(first, last):
                        sums[word] += shm_load(&words[word])
            result = {}
            for index in range(used):
                words = sums + <Py_ssize_t>index * ROW_WORDS
                if words[0] | words[1] | words[2] | words[3] | words[4]:
                    result[index] = tuple([words[word] for word in range(A_WORDS)])
            return result
        finally:
            free(sums)


@cython.final
cdef class Region:
    """The block of one writing process. Made by SharedCounters.region()."""

    def begin(self, uint64_t generation, uint64_t pid):
        """Take the region over: gauges start at zero, counters continue, the first heartbeat is now."""
        memset(self.g, 0, G_GAUGES_END * sizeof(uint64_t))
        self.g[G_GENERATION] = generation
        self.g[G_HEARTBEAT] = shm_clock_ms()
        self.g[G_PID] = pid

    def end(self):
        """Clear the gauges of a process that is gone, so that sums no longer contain them."""
        memset(self.g, 0, G_GAUGES_END * sizeof(uint64_t))

    def beat(self):
        """Write the heartbeat: CLOCK_MONOTONIC in milliseconds, which all processes read alike."""
        self.g[G_HEARTBEAT] = shm_clock_ms()

    @property
    def heartbeat_ms(self):
        return self.g[G_HEARTBEAT]

    @property
    def pid(self):
        return self.g[G_PID]

    @property
    def generation(self):
        return self.g[G_GENERATION]

    def value(self, int word):
        """One global word, by its G_, B_ or R_ number. Raises IndexError out of range."""
        return self.g[_word(word)]

    def add(self, int word, uint64_t amount=1):
        """Add to one global word. Raises IndexError out of range."""
        self.g[_word(word)] += amount

    def set(self, int word, uint64_t value):
        """Set one global word (a gauge). Raises IndexError out of range."""
        self.g[_word(word)] = value

    def count(self, int row, int status, uint64_t total_us, uint64_t upstream_us=0,
              uint64_t bytes_in=0, uint64_t bytes_out=0):
        """Count one exchange in an API row; what `observe` does, for Python."""
        self.observe(row, status, total_us, upstream_us, bytes_in, bytes_out)

    def snapshot(self):
        """All global words by name."""
        return {name: self.g[<int>value] for name, value in word_numbers().items()}


cdef int _word(int word) except -1:
    if word < 0 or word >= GLOBAL_WORDS:
        raise IndexError(f"shared counters: word {word}, expected 0..{GLOBAL_WORDS - 1}")
    return word


def _check_sizes(int regions, int rows):
    if not 1 <= regions <= MAX_REGIONS:
        raise ValueError(f"shared counters: {regions} regions, expected 1..{MAX_REGIONS}")
    if not 2 <= rows <= MAX_ROWS:
        raise ValueError(f"shared counters: {rows} rows, expected 2..{MAX_ROWS}")


cdef Py_ssize_t _region_size(Py_ssize_t rows) noexcept:
    return _aligned((GLOBAL_WORDS + rows * ROW_WORDS) * 8)


def _layout_size(Py_ssize_t regions, Py_ssize_t rows):
    return PAGE + _aligned(rows * SLOT_WORDS * 8) + regions * _region_size(rows)


def _extents(int fd, Py_ssize_t start, Py_ssize_t end):
    """The parts of [start, end) that hold pages, as (start, end) pairs."""
    while start < end:
        try:
            data = os.lseek(fd, start, os.SEEK_DATA)
        except OSError:     # ENXIO: nothing but a hole up to the end of the file
            return
        if data >= end:
            return
        hole = min(os.lseek(fd, data, os.SEEK_HOLE), end)
        yield data, hole
        start = hole


def clock_ms():
    """CLOCK_MONOTONIC in milliseconds, the clock of the heartbeats."""
    return shm_clock_ms()


_names = {}


def word_numbers():
    """Name -> number of every global word, from the enumeration in shm.pxd."""
    # Not at import: the enumeration becomes visible as module attributes only after the module's body.
    if not _names:
        _names.update({name: value for name, value in globals().items()
                       if name[:2] in ("G_", "B_", "R_") and name != "G_GAUGES_END"})
    return _names
