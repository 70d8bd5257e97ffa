"""coprocess.Object in the Protocol Buffers wire format, fields in ascending order."""

cdef int put_pair(Buffer out, int number, const char* key, Py_ssize_t key_n, const char* value, Py_ssize_t value_n) except -1:
    """An entry of a map from text to text; number below 16."""
    cdef Py_ssize_t size = 2 + varint_size(key_n) + key_n + varint_size(value_n) + value_n
    cdef char* at
    out.reserve(size + 15)
    at = write_varint(out.p + out.size, number << 3 | 2)
    at = write_varint(at, size)
    at[0] = 0x0a
    at = write_varint(at + 1, key_n)
    memcpy(at, key, key_n)
    at += key_n
    at[0] = 0x12
    at = write_varint(at + 1, value_n)
    memcpy(at, value, value_n)
    out.size = at + value_n - out.p
    return 0


cdef bytes protobuf_head(int hook_type, bytes hook_name):
    """Fields 1 and 2."""
    scratch.size = 0
    put_number(scratch, 1, hook_type)
    put_some(scratch, 2, PyBytes_AS_STRING(hook_name), PyBytes_GET_SIZE(hook_name))
    return scratch.take()


cdef bytes protobuf_spec(dict spec):
    """Field 6."""
    scratch.size = 0
    put_texts(scratch, 6, spec)
    return scratch.take()


cdef int put_texts(Buffer out, int number, dict texts) except -1:
    """A map of bytes that are known to be UTF-8."""
    cdef bytes key, value
    for key, value in texts.items():
        put_pair(out, number, PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key), PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value))
    return 0


cdef int put_checked(Buffer out, int number, bytes text, str path) except -1:
    if not is_utf8(PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text)):
        raise not_text(path)
    return put_some(out, number, PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text))


cdef int put_request(Buffer out, Exchange x, bytes url, bytes query, bytes method, bytes body, bint raw_only) except -1:
    """The inside of MiniRequestObject."""
    cdef HeaderBlock head = x.req
    cdef HeaderNames names = HeaderNames.__new__(HeaderNames)
    cdef Field* field
    cdef bytes name, value
    cdef int i
    if not is_utf8(head.at(head.host), head.host_len):
        raise not_text("request.headers.Host")
    put_pair(out, 1, "Host", 4, head.at(head.host), head.host_len)
    names.head = head
    for i in range(head.count):
        if names.first(i):
            field = &head.fields[i]
            if not is_utf8(head.at(field.value), field.value_len) or not is_utf8(head.at(field.name), field.name_len):
                raise not_text_of("request.headers", head.at(field.name), field.name_len)
            put_pair(out, 1, head.at(field.name), field.name_len, head.at(field.value), field.value_len)
    if not raw_only and is_utf8(PyBytes_AS_STRING(body), PyBytes_GET_SIZE(body)):
        put_some(out, 4, PyBytes_AS_STRING(body), PyBytes_GET_SIZE(body))
    put_checked(out, 5, url, "request.url")
    for name, value in query_params(query).items():
        if not (is_utf8(PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name))
                and is_utf8(PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value))):
            raise not_text_of("request.params", PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name))
        put_pair(out, 6, PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name), PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value))
    out.add(b"\x52\x0b\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")     # return_overrides {response_code: -1}
    put_checked(out, 11, method, "request.method")
    if rewritten(x):
        put_some(out, 12, PyBytes_AS_STRING(url), PyBytes_GET_SIZE(url))
    elif is_utf8(head.at(head.target), head.target_len):
        put_some(out, 12, head.at(head.target), head.target_len)
    else:
        raise not_text("request.request_uri")
    put_bytes(out, 13, "https", 5 if x.client.secure else 4)
    return put_some(out, 14, PyBytes_AS_STRING(body), PyBytes_GET_SIZE(body))


cdef int put_response(Buffer out, int status, list headers, bytes body, bint raw_only) except -1:
    """Field 7. The bodies stand in front, so that only the headers' length has to be found out."""
    cdef Py_ssize_t size, n = PyBytes_GET_SIZE(body)
    cdef bint text = n > 0 and not raw_only and is_utf8(PyBytes_AS_STRING(body), n)
    cdef bytes name, value
    cdef list values
    cdef Py_ssize_t begin
    scratch.size = 0
    groups = grouped(headers)
    for name, values in groups:
        value = values[0]
        if not is_utf8(PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name)) or \
                not is_utf8(PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value)):
            raise not_text_of("response.headers", PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name))
        put_pair(scratch, 4, PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name), PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value))
    for name, values in groups:
        begin = begin_message(scratch, 5)
        put_some(scratch, 1, PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name))
        for value in values:
            if not is_utf8(PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value)):
                raise not_text_of("response.multivalue_headers", PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name))
            put_bytes(scratch, 2, PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value))
        end_message(scratch, begin)
    size = scratch.size
    if status:
        size += 1 + varint_size(<uint64_t>status)
    if n:
        size += (1 + varint_size(n) + n) * (2 if text else 1)
    if size > MOST_BYTES:
        raise CodecError("response", f"it would be longer than {MOST_BYTES} bytes")
    out.reserve(size + 16)
    put_varint(out, 7 << 3 | 2)
    put_varint(out, size)
    put_number(out, 1, status)
    put_some(out, 2, PyBytes_AS_STRING(body), n)
    if text:
        put_some(out, 3, PyBytes_AS_STRING(body), n)
    return out.put(scratch.p, scratch.size)


cdef Py_ssize_t begin_object(Buffer out, bytes head) except -1:
    """Leave room in front of the request for what can be written only when its length is known."""
    out.size = 0
    out.reserve(PyBytes_GET_SIZE(head) + 6)
    out.size = PyBytes_GET_SIZE(head) + 6
    return out.size


cdef Py_ssize_t end_request(Buffer out, Py_ssize_t begin, bytes head) except -1:
    """Write the head and the request's length into that room; returns where the message begins."""
    cdef Py_ssize_t n = out.size - begin, start
    if n > MOST_BYTES:
        raise CodecError("request", f"it would be longer than {MOST_BYTES} bytes")
    start = begin - varint_size(n) - 1 - PyBytes_GET_SIZE(head)
    memcpy(out.p + start, PyBytes_AS_STRING(head), PyBytes_GET_SIZE(head))
    out.p[start + PyBytes_GET_SIZE(head)] = 3 << 3 | 2
    write_varint(out.p + start + PyBytes_GET_SIZE(head) + 1, n)
    return start
