cdef class Buffer:
    def __cinit__(self):
        self.capacity = 8192
        self.p = <char*>realloc(NULL, self.capacity)
        if self.p == NULL:
            raise MemoryError

    def __dealloc__(self):
        free(self.p)

    cdef int reserve(self, Py_ssize_t more) except -1:
        cdef Py_ssize_t need = self.size + more
        cdef char* moved
        if need > self.capacity:
            need += need // 2
            moved = <char*>realloc(self.p, need)
            if moved == NULL:
                raise MemoryError
            self.p = moved
            self.capacity = need
        return 0

    cdef int put(self, const char* data, Py_ssize_t n) except -1:
        if self.size + n > self.capacity:
            self.reserve(n)
        memcpy(self.p + self.size, data, n)
        self.size += n
        return 0

    cdef int add(self, bytes data) except -1:
        return self.put(PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))

    cdef int number(self, int64_t value) except -1:
        """Decimal digits."""
        cdef char[24] digits
        cdef int at = 24
        if value < 0:
            self.put("-", 1)
            value = -value
        while True:
            at -= 1
            digits[at] = c"0" + <char>(value % 10)
            value //= 10
            if value == 0:
                return self.put(digits + at, 24 - at)

    cdef int chunk_size(self, Py_ssize_t n) except -1:
        """The line in front of a chunk: hexadecimal size and CRLF."""
        cdef char[20] digits
        cdef int at = 18
        digits[18] = c"\r"
        digits[19] = c"\n"
        while True:
            at -= 1
            digits[at] = b"0123456789abcdef"[n & 15]
            n >>= 4
            if n == 0:
                return self.put(digits + at, 20 - at)

    cdef bytes take(self):
        cdef bytes data = PyBytes_FromStringAndSize(self.p, self.size)
        self.size = 0
        if self.capacity > 262144:
            free(self.p)
            self.p = <char*>realloc(NULL, 8192)
            self.capacity = 8192 if self.p != NULL else 0
        return data
