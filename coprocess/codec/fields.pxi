"""What both formats take from an exchange in the same way."""

cdef object not_text(str path):
    return CodecError(path, "expected UTF-8 text")


cdef object not_text_of(str path, const char* name, Py_ssize_t n):
    return not_text(member(path, PyBytes_FromStringAndSize(name, n).decode("utf-8", "replace")))


cdef class HeaderNames:
    """Which names of a head have been seen, in whatever case."""
    cdef HeaderBlock head
    cdef uint64_t marks     # a bit per length, first and last letter: most names need no comparison

    cdef bint first(self, int index) noexcept:
        """Whether the field is there, is not Host, and no field before it has its name. Ask for each field in turn."""
        cdef Field* field = &self.head.fields[index]
        cdef const char* name = self.head.at(field.name)
        cdef uint64_t mark
        cdef int i
        if field.gone or field.id == F_HOST or not field.name_len:
            return False
        mark = <uint64_t>1 << ((field.name_len * 5 + (name[0] | 32) + (name[field.name_len - 1] | 32) * 3) & 63)
        if self.marks & mark:
            for i in range(index):
                if not self.head.fields[i].gone and self.head.fields[i].name_len == field.name_len and \
                        strncasecmp(self.head.at(self.head.fields[i].name), name, field.name_len) == 0:
                    return False
        self.marks |= mark
        return True


cdef bytes unescaped(bytes text):
    """A name or value of a query; None for a broken escape."""
    cdef bytearray found
    cdef const unsigned char* p
    cdef Py_ssize_t i = 0, n
    cdef int high, low
    if b"+" in text:
        text = text.replace(b"+", b" ")
    if b"%" not in text:
        return text
    found = bytearray()
    p = <const unsigned char*>PyBytes_AS_STRING(text)
    n = PyBytes_GET_SIZE(text)
    while i < n:
        if p[i] != c"%":
            found.append(p[i])
            i += 1
            continue
        high = hex_value(p[i + 1]) if i + 2 < n else -1
        low = hex_value(p[i + 2]) if i + 2 < n else -1
        if high < 0 or low < 0:
            return None
        found.append(high << 4 | low)
        i += 3
    return bytes(found)


cdef dict query_params(bytes query):
    """The first value of each parameter, as Go's net/url reads them: pairs with a broken escape or a semicolon are left out."""
    cdef dict found = {}
    cdef bytes pair, name, value
    if not query:
        return found
    for pair in query.split(b"&"):
        if not pair or b";" in pair:
            continue
        name, _, value = pair.partition(b"=")
        name, value = unescaped(name), unescaped(value)
        if name is not None and value is not None and name not in found:
            found[name] = value
    return found


cdef list grouped(list headers):
    """[name, [values ...]] for each name in whatever case, spelled as it was first."""
    cdef dict found = {}
    cdef bytes name, value, key
    for name, value in headers:
        key = name.lower()
        if key in found:
            (<list>found[key])[1].append(value)
        else:
            found[key] = [name, [value]]
    return list(found.values())


cdef inline bint rewritten(Exchange x) noexcept:
    """Whether a rewrite has said where the request goes: request_uri is that URL then (tyk-plugins 3.3)."""
    return x.later is not None and x.later.address is not None
