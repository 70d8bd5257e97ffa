cdef int write_request(Exchange x) except -1:
    """Write the request head for the upstream into gw.out."""
    cdef Gateway gw = x.gw
    cdef Plan plan = x.plan
    cdef Target target = x.target
    cdef HeaderBlock head = x.req
    cdef Buffer out = gw.out
    cdef int i
    cdef uint64_t own = OWN_REQUEST
    cdef bytes query = x.query
    if x.unforwarded:
        own &= ~(<uint64_t>1 << F_X_FORWARDED_FOR)      # one that was put there afterwards
    i = head.find(F_USER_AGENT)
    if i >= 0 and head.fields[i].value_len == 0:
        own |= <uint64_t>1 << F_USER_AGENT              # as Go's transport does
    if head.nominated:
        head.drop_nominated()
    if gw.id_upstream:
        head.drop_name(gw.id_header)
    out.reserve(head.size + PyBytes_GET_SIZE(x.path) + PyBytes_GET_SIZE(query) + 512)
    out.add(x.method)
    out.put(" ", 1)
    out.add(x.path)
    if target.query:
        query = target.query + b"&" + query if query else target.query
    if query:
        out.put("?", 1)
        out.add(query)
    out.put(" HTTP/1.1\r\nHost: ", 17)
    if plan.preserve_host and head.host_len:
        out.put(head.at(head.host), head.host_len)
    else:
        out.add(target.host)
    out.put("\r\n", 2)
    put_fields(out, head, own)
    if not x.unforwarded:
        out.put("X-Forwarded-For: ", 17)
        if head.seen & (<uint64_t>1 << F_X_FORWARDED_FOR):
            for i in range(head.count):
                if head.fields[i].id == F_X_FORWARDED_FOR and not head.fields[i].gone and head.fields[i].value_len:
                    out.put(head.at(head.fields[i].value), head.fields[i].value_len)
                    out.put(", ", 2)
        out.add(x.client.address)
        out.put("\r\n", 2)
    if not head.seen & (<uint64_t>1 << F_USER_AGENT):
        out.add(gw.user_agent)
    if not (head.seen & (<uint64_t>1 << F_ACCEPT_ENCODING | <uint64_t>1 << F_RANGE) or x.head_only):
        x.ungzip = True
        out.put("Accept-Encoding: gzip\r\n", 23)
    if head.seen & (<uint64_t>1 << F_TE):
        i = head.find(F_TE)
        if head.fields[i].value_len == 8 and strncasecmp(head.at(head.fields[i].value), b"trailers", 8) == 0:
            out.put("Te: trailers\r\nConnection: Te\r\n", 30)
    if gw.id_upstream:
        out.add(gw.id_header)
        out.put(": ", 2)
        out.add(x.request_id)
        out.put("\r\n", 2)
    if x.upgrade:
        out.put("Connection: Upgrade\r\nUpgrade: websocket\r\n", 41)
    elif gw.up_close:
        out.put("Connection: close\r\n", 19)
    if x.body is not None:
        out.put("Content-Length: ", 16)
        out.number(PyBytes_GET_SIZE(x.body))
        out.put("\r\n", 2)
    elif x.body_chunked:
        out.put("Transfer-Encoding: chunked\r\n", 28)
    elif head.seen & (<uint64_t>1 << F_CONTENT_LENGTH):
        out.put("Content-Length: ", 16)
        out.number(head.length)
        out.put("\r\n", 2)
    out.put("\r\n", 2)
    return 0


cdef int write_interim(Exchange x, HeaderBlock head) except -1:
    """Pass a 1xx response on (RFC 9110 section 15.2); HTTP/1.0 clients do not know them."""
    cdef Buffer out = x.gw.out
    if x.http10:
        return 0
    out.put("HTTP/1.1", 8)
    out.add(<bytes>STATUS_LINES[head.status])
    put_fields(out, head, OWN_RESPONSE)
    out.put("\r\n", 2)
    return x.flush()


cdef int write_response(Exchange x, const char* sample, Py_ssize_t n) except -1:
    """Write the response head for the client into gw.out. sample: the start of a body without a content type."""
    cdef Gateway gw = x.gw
    cdef HeaderBlock head = x.res
    cdef Buffer out = gw.out
    x.status = head.status
    x.defer_head = False
    if not x.body_done:
        x.close = True              # the rest of the request stands between us and the next one
    out.reserve(head.size + 512)
    out.put("HTTP/1.0" if x.http10 else "HTTP/1.1", 8)
    out.add(<bytes>STATUS_LINES[head.status])
    put_fields(out, head, OWN_RESPONSE | RATELIMIT)
    if n:
        out.put("Content-Type: ", 14)
        out.add(sniff(sample, n if n < 512 else 512))
        out.put("\r\n", 2)
    if not gw.rate_headers or x.limits_known:
        write_limits(x)
    if x.extra is not None:
        write_pairs(x, x.extra)
    if x.served is not None:
        write_pairs(x, [x.served])
    if not head.seen & (<uint64_t>1 << F_DATE):
        out.add(gw.date)
    if x.out == OUT_CHUNKED:
        out.put("Transfer-Encoding: chunked\r\n", 28)
    elif head.seen & (<uint64_t>1 << F_CONTENT_LENGTH) and head.status != 204:
        out.put("Content-Length: ", 16)
        out.number(head.length)
        out.put("\r\n", 2)
    write_tail(x)
    if x.capture is not None:
        capture_head(x)
    if x.copy is not None:
        copy_head(x)
    return 0


cdef int write_answer(Exchange x, Py_ssize_t length) except -1:
    """Write the head of an answer of the gateway itself into gw.out. length: of its body, bytes."""
    cdef Gateway gw = x.gw
    cdef HeaderBlock head = x.res
    cdef Buffer out = gw.out
    out.size = 0
    out.put("HTTP/1.0" if x.http10 else "HTTP/1.1", 8)
    out.add(<bytes>STATUS_LINES[head.status])
    put_fields(out, head, OWN_RESPONSE)
    if x.limits_known:
        write_limits(x)
    if x.extra is not None:
        write_pairs(x, x.extra)
    if x.cached and x.served is not None and head.get(x.served[0]) is None:
        write_pairs(x, [x.served])
    if not head.seen & (<uint64_t>1 << F_DATE):
        out.add(gw.date)
    if head.status != 204 and head.status != 304 and head.status >= 200:
        out.put("Content-Length: ", 16)
        out.number(length)
        out.put("\r\n", 2)
    return write_tail(x)


cdef int put_fields(Buffer out, HeaderBlock head, uint64_t skipped) except -1:
    """Write the fields of a block. skipped: bit per F_* that is left out."""
    cdef Field* field
    cdef int i
    for i in range(head.count):
        field = &head.fields[i]
        if field.gone or skipped & (<uint64_t>1 << field.id):
            continue
        out.put(head.at(field.name), field.name_len)
        out.put(": ", 2)
        out.put(head.at(field.value), field.value_len)
        out.put("\r\n", 2)
    return 0


cdef int write_limits(Exchange x) except -1:
    """X-Ratelimit-*: of the quota, or of the rate (tyk-core 3.7)."""
    cdef Buffer out = x.gw.out
    if x.limit_max == 0 and x.limit_left == 0 and x.limit_reset == 0:
        return out.add(ZERO_LIMITS)
    out.put("X-Ratelimit-Limit: ", 19)
    out.number(x.limit_max)
    out.put("\r\nX-Ratelimit-Remaining: ", 25)
    out.number(x.limit_left)
    out.put("\r\nX-Ratelimit-Reset: ", 21)
    out.number(x.limit_reset)
    return out.put("\r\n", 2)


cdef int write_pairs(Exchange x, list fields) except -1:
    cdef Buffer out = x.gw.out
    cdef bytes name, value
    for name, value in fields:
        out.add(name)
        out.put(": ", 2)
        out.add(value)
        out.put("\r\n", 2)
    return 0


cdef int write_tail(Exchange x) except -1:
    """Request id, Connection, end of head."""
    cdef Buffer out = x.gw.out
    if x.gw.id_response and x.res.lookup(PyBytes_AS_STRING(x.gw.id_header), PyBytes_GET_SIZE(x.gw.id_header)) < 0:
        out.add(x.gw.id_header)
        out.put(": ", 2)
        out.add(x.request_id)
        out.put("\r\n", 2)
    if x.gw.draining:
        x.close = True
    if x.close:
        out.put("Connection: close\r\n", 19)
    elif x.http10:
        out.put("Connection: keep-alive\r\n", 24)
    return out.put("\r\n", 2)
