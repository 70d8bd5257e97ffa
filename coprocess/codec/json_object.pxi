"""coprocess.Object as JSON; OBJECT.md has its form."""

cdef const char* HEX = b"0123456789abcdef"


cdef int put_text(Buffer out, const char* p, Py_ssize_t n) except -1:
    """A JSON string; 1 if the bytes are not UTF-8, and what has been written is to be thrown away."""
    cdef Py_ssize_t i = 0, begin = 0, width
    cdef unsigned char c
    out.reserve(n + 2)
    out.put('"', 1)
    while i < n:
        c = <unsigned char>p[i]
        if c >= 0x20 and c < 0x80 and c != c'"' and c != c"\\":
            i += 1
            continue
        if c >= 0x80:
            width = utf8_sequence(p + i, n - i)
            if not width:
                return 1
            i += width
            continue
        out.put(p + begin, i - begin)
        if c >= 0x20:
            out.add(b"\\")
            out.put(p + i, 1)
        else:
            out.add(b"\\u00")
            out.put(HEX + (c >> 4), 1)
            out.put(HEX + (c & 15), 1)
        i += 1
        begin = i
    out.put(p + begin, n - begin)
    out.put('"', 1)
    return 0


cdef int put_json(Buffer out, bytes text, str path) except -1:
    if put_text(out, PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text)):
        raise not_text(path)
    return 0


cdef int put_member(Buffer out, const char* key, Py_ssize_t key_n, const char* value, Py_ssize_t value_n, str path) except -1:
    """`"key":"value"`"""
    if put_text(out, key, key_n):
        raise not_text_of(path, key, key_n)
    out.put(":", 1)
    if put_text(out, value, value_n):
        raise not_text_of(path, key, key_n)
    return 0


cdef int put_members(Buffer out, dict texts, str path) except -1:
    """An object of strings, from bytes."""
    cdef bytes key, value
    cdef bint more = False
    out.put("{", 1)
    for key, value in texts.items():
        if more:
            out.put(",", 1)
        put_member(out, PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key), PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value), path)
        more = True
    return out.put("}", 1)


cdef int put_base64(Buffer out, bytes data) except -1:
    out.put('"', 1)
    if data:
        out.add(b2a_base64(data, newline=False))
    return out.put('"', 1)


cdef bytes json_head(int hook_type, bytes hook_name):
    """Up to the request's headers."""
    scratch.size = 0
    scratch.add(b'{"hook_type":"')
    scratch.add(HOOK_TYPES[hook_type])
    scratch.add(b'","hook_name":')
    put_json(scratch, hook_name, "hook_name")
    scratch.add(b',"request":{"headers":{')
    return scratch.take()


cdef bytes json_spec(dict spec):
    scratch.size = 0
    scratch.add(b',"spec":')
    put_members(scratch, spec, "spec")
    return scratch.take()


cdef int put_body(Buffer out, bytes body, bint raw_only) except -1:
    """The two members of a body."""
    cdef Py_ssize_t begin
    out.add(b',"body":')
    begin = out.size
    if raw_only or put_text(out, PyBytes_AS_STRING(body), PyBytes_GET_SIZE(body)):
        out.size = begin
        out.add(b'""')
    out.add(b',"raw_body":')
    return put_base64(out, body)


cdef int put_json_request(Buffer out, Exchange x, bytes url, bytes query, bytes method, bytes body, bint raw_only) except -1:
    """The request from its first header to its end."""
    cdef HeaderBlock head = x.req
    cdef HeaderNames names = HeaderNames.__new__(HeaderNames)
    cdef Field* field
    cdef int i
    put_member(out, "Host", 4, head.at(head.host), head.host_len, "request.headers")
    names.head = head
    for i in range(head.count):
        if names.first(i):
            field = &head.fields[i]
            out.put(",", 1)
            put_member(out, head.at(field.name), field.name_len, head.at(field.value), field.value_len, "request.headers")
    out.add(b'},"set_headers":{},"delete_headers":[]')
    put_body(out, body, raw_only)
    out.add(b',"url":')
    put_json(out, url, "request.url")
    out.add(b',"params":')
    put_members(out, query_params(query), "request.params")
    out.add(b',"add_params":{},"extended_params":{},"delete_params":[],"return_overrides":{"response_code":-1,')
    out.add(b'"response_error":"","headers":{},"override_error":false,"response_body":""},"method":')
    put_json(out, method, "request.method")
    out.add(b',"request_uri":')
    if rewritten(x):
        put_json(out, url, "request.request_uri")
    elif put_text(out, head.at(head.target), head.target_len):
        raise not_text("request.request_uri")
    if x.client.secure:
        return out.add(b',"scheme":"https"}')
    return out.add(b',"scheme":"http"}')


cdef int put_json_response(Buffer out, int status, list headers, bytes body, bint raw_only) except -1:
    cdef list groups = grouped(headers), values
    cdef bytes name, value
    cdef bint more = False
    out.add(b',"response":{"status_code":')
    out.number(status)
    put_body(out, body, raw_only)
    out.add(b',"headers":')
    put_members(out, {name: values[0] for name, values in groups}, "response.headers")
    out.add(b',"multivalue_headers":[')
    for name, values in groups:
        out.add(b',{"key":' if more else b'{"key":')
        put_json(out, name, "response.multivalue_headers")
        out.add(b',"values":')
        more = False
        for value in values:
            out.put("," if more else "[", 1)
            if put_text(out, PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value)):
                raise not_text_of("response.multivalue_headers", PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name))
            more = True
        out.add(b"]}")
    return out.add(b"]}")
