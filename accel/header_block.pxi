"""Part of headers.pyx: the fields of one message, held in one buffer (see headers.pxd for who owns what)."""


cdef class HeaderBlock:
    def __cinit__(self):
        self.capacity = 1024
        self.room = 24
        self.buf = <char*>realloc(NULL, self.capacity)
        self.fields = <Field*>realloc(NULL, self.room * sizeof(Field))
        if self.buf == NULL or self.fields == NULL:
            raise MemoryError

    def __dealloc__(self):
        free(self.buf)
        free(self.fields)

    cdef void reset(self) noexcept:
        self.size = 0
        self.count = 0
        self.seen = 0
        self.method_len = self.target_len = self.path_len = self.host_len = 0
        self.encoded = self.unclean = self.nominated = self.expect = False
        self.status = 0
        self.minor = 1
        self.body = BODY_NONE
        self.length = 0
        self.connection = 0

    cdef int reserve(self, Py_ssize_t more) except -1:
        cdef Py_ssize_t need = self.size + more
        cdef char* moved
        if need > self.capacity:
            need += need // 2
            moved = <char*>realloc(self.buf, need)
            if moved == NULL:
                raise MemoryError
            self.buf = moved
            self.capacity = need
        return 0

    cdef int append(self, const char* data, Py_ssize_t n) except -1:
        """Copy bytes to the end; returns their offset."""
        cdef int start
        self.reserve(n)
        start = self.size
        memcpy(self.buf + start, data, n)
        self.size += <int>n
        return start

    cdef Field* push(self) except NULL:
        cdef Field* moved
        if self.count == self.room:
            moved = <Field*>realloc(self.fields, self.room * 2 * sizeof(Field))
            if moved == NULL:
                raise MemoryError
            self.fields = moved
            self.room *= 2
        self.count += 1
        self.fields[self.count - 1].gone = False
        return &self.fields[self.count - 1]

    cdef int find(self, int known) noexcept:
        """Index of the first field with this F_* number, -1 if there is none."""
        cdef int i
        if self.seen & (<uint64_t>1 << known):
            for i in range(self.count):
                if self.fields[i].id == known and not self.fields[i].gone:
                    return i
        return -1

    cdef int lookup(self, const char* name, Py_ssize_t n) noexcept:
        """Index of the first field with this canonical name, -1 if there is none."""
        cdef int i
        for i in range(self.count):
            if (self.fields[i].name_len == n and not self.fields[i].gone
                    and memcmp(self.buf + self.fields[i].name, name, n) == 0):
                return i
        return -1

    cdef void drop(self, int index) noexcept:
        cdef int i, known = self.fields[index].id
        self.fields[index].gone = True
        if known != F_OTHER:
            for i in range(self.count):
                if self.fields[i].id == known and not self.fields[i].gone:
                    return
            self.seen &= ~(<uint64_t>1 << known)

    cdef void drop_known(self, int known) noexcept:
        cdef int i
        if self.seen & (<uint64_t>1 << known):
            for i in range(self.count):
                if self.fields[i].id == known:
                    self.fields[i].gone = True
            self.seen &= ~(<uint64_t>1 << known)

    cdef int drop_name(self, bytes canonical) except -1:
        """Remove every field of this name; returns how many there were."""
        cdef int i, found = 0
        cdef Py_ssize_t n = PyBytes_GET_SIZE(canonical)
        for i in range(self.count):
            if (self.fields[i].name_len == n and not self.fields[i].gone
                    and strncasecmp(self.buf + self.fields[i].name, PyBytes_AS_STRING(canonical), n) == 0):
                self.drop(i)
                found += 1
        return found

    cdef int put(self, bytes name, bytes value) except -1:
        """Append a field. Raises ValueError for a name or value that could end the line or the head."""
        cdef Py_ssize_t i
        cdef const unsigned char* s = <const unsigned char*>PyBytes_AS_STRING(name)
        cdef Field* field
        cdef int at
        if not PyBytes_GET_SIZE(name):
            raise ValueError("a header name is empty")
        for i in range(PyBytes_GET_SIZE(name)):
            if not ch_is(s[i], CH_TOKEN):
                raise ValueError(f"header name {name!r} holds a byte that is not allowed there")
        s = <const unsigned char*>PyBytes_AS_STRING(value)
        for i in range(PyBytes_GET_SIZE(value)):
            if not ch_is(s[i], CH_VALUE):
                raise ValueError(f"the value of header {name!r} holds a control byte")
        at = self.append(PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name))
        field = self.push()
        field.name = at
        field.name_len = <int>PyBytes_GET_SIZE(name)
        field.id = known_in_any_case(PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name))
        self.seen |= <uint64_t>1 << field.id
        at = self.append(PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value))
        field.value = at
        field.value_len = <int>PyBytes_GET_SIZE(value)
        return 0

    cdef bytes value_of(self, int index):
        return PyBytes_FromStringAndSize(self.buf + self.fields[index].value, self.fields[index].value_len)

    cdef int drop_nominated(self) except -1:
        """Remove the fields that Connection names (RFC 9110 section 7.6.1). End-to-end framing cannot be named away."""
        cdef int i
        cdef bytes token
        for i in range(self.count):
            if self.fields[i].id == F_CONNECTION and not self.fields[i].gone:
                for token in self.value_of(i).split(b","):
                    token = canonical(token.strip(b" \t"))
                    if token and token not in (b"Close", b"Keep-Alive", b"Upgrade", b"Host", b"Content-Length"):
                        self.drop_name(token)
        return 0

    # -- what Python steps use ---------------------------------------------

    def get(self, bytes name not None):
        """The first value of a header, or None."""
        cdef bytes key = canonical(name)
        cdef int i = self.lookup(PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key))
        return None if i < 0 else self.value_of(i)

    def items(self):
        """All (name, value) pairs in order, names in canonical spelling."""
        cdef int i
        return [(PyBytes_FromStringAndSize(self.buf + self.fields[i].name, self.fields[i].name_len), self.value_of(i))
                for i in range(self.count) if not self.fields[i].gone]

    def remove(self, bytes name not None):
        """Remove every field of a name; returns how many there were."""
        return self.drop_name(name)

    def add(self, bytes name not None, bytes value not None):
        """Append a field. Raises ValueError for forbidden bytes."""
        self.put(name, value)

    def set(self, bytes name not None, bytes value not None):
        """Replace every field of a name by one."""
        self.drop_name(name)
        self.put(name, value)


cdef int known_in_any_case(const char* name, Py_ssize_t n) noexcept:
    """F_* of a name that may be spelled in another way than the canonical one."""
    cdef char[32] text
    cdef Py_ssize_t i
    cdef bint start = True
    if n > 32:
        return F_OTHER
    for i in range(n):
        text[i] = ch_upper[<unsigned char>name[i]] if start else ch_lower[<unsigned char>name[i]]
        start = name[i] == c"-"
    return known_field(text, n)
