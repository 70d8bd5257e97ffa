cdef bytes encode_path(bytes path):
    """Percent-encode what must not stand plain in a path; what is encoded already stays (Go's path rules, tyk-core 3.9)."""
    cdef const unsigned char* s = <const unsigned char*>PyBytes_AS_STRING(path)
    cdef Py_ssize_t i, n = PyBytes_GET_SIZE(path), extra = 0
    cdef bytes out
    cdef unsigned char* d
    for i in range(n):
        if not ch_is(s[i], CH_PATH):
            extra += 2
    if extra == 0:
        return path
    out = PyBytes_FromStringAndSize(NULL, n + extra)
    d = <unsigned char*>PyBytes_AS_STRING(out)
    for i in range(n):
        if ch_is(s[i], CH_PATH):
            d[0] = s[i]
            d += 1
        else:
            d[0] = c"%"
            d[1] = b"0123456789ABCDEF"[s[i] >> 4]
            d[2] = b"0123456789ABCDEF"[s[i] & 15]
            d += 3
    return out


cpdef bytes clean_path(bytes path):
    """A decoded path without repeated slashes and dot segments; a final slash stays (tyk-core 3.2, URL cleaning)."""
    cdef list kept = []
    cdef bytes segment
    cdef list segments = path.split(b"/")
    for segment in segments:
        if segment == b"..":
            if kept:
                kept.pop()
        elif segment not in (b"", b"."):
            kept.append(segment)
    cleaned = b"/" + b"/".join(kept)
    if path.endswith(b"/") and cleaned != b"/":
        cleaned += b"/"
    return cleaned


cdef bytes escape_decoded(bytes path):
    """A decoded path, encoded again: "%" is data here."""
    return encode_path(path.replace(b"%", b"%25"))
