cdef int send_body(Exchange x, bytes piece) except -1:
    """A piece of the request body, to the upstream."""
    cdef Buffer out = x.gw.out
    cdef object transport = x.up.transport
    if x.capture is not None:
        x.capture.add_request(piece)
    if not x.body_chunked:
        transport.write(piece)
    else:
        out.chunk_size(PyBytes_GET_SIZE(piece))
        if PyBytes_GET_SIZE(piece) <= SMALL:
            out.add(piece)
            out.put("\r\n", 2)
            transport.write(out.take())
        else:
            transport.write(out.take())
            transport.write(piece)
            transport.write(b"\r\n")
    return 0


cdef int send_end(Exchange x, bytearray trailer) except -1:
    """The end of the request body, to the upstream."""
    if x.body_chunked:
        if trailer is not None and x.gw.forward_trailers:
            x.up.transport.write(b"0\r\n" + bytes(trailer))
        else:
            x.up.transport.write(b"0\r\n\r\n")
    x.body_sent = True
    return 0


cdef int relay(Exchange x, bytes data, const char* p, Py_ssize_t n) except -1:
    """Body bytes from the upstream: n bytes at p, inside data."""
    if x.inflate is not None:
        return unpack(x, PyBytes_FromStringAndSize(p, n))
    if x.defer_head:
        write_response(x, p, n)
    return body_out(x, data, p, n)


cdef int body_out(Exchange x, bytes data, const char* p, Py_ssize_t n) except -1:
    """A piece of the response body as it is to reach the client: n bytes at p, inside data."""
    cdef Buffer out = x.gw.out
    if x.out >= OUT_NONE:
        # Without a place for it the upstream was asked with another method than HEAD.
        return hold_piece(x, p, n) if x.out == OUT_HELD else 0
    x.bytes_out += n
    if x.capture is not None:
        x.capture.add_response(p, n)
    if x.copy is not None:
        copy_piece(x, p, n)
    if x.out == OUT_CHUNKED:
        out.chunk_size(n)
    if n <= SMALL:
        out.put(p, n)
    else:
        x.flush()
        x.client.write(data if n == PyBytes_GET_SIZE(data) else PyBytes_FromStringAndSize(p, n))
    if x.out == OUT_CHUNKED:
        out.put("\r\n", 2)
    return 0


cdef int unpack(Exchange x, bytes data) except -1:
    """Unpack gzip in bounded pieces; what the client cannot take now waits, packed."""
    cdef bytes piece
    if x.inflate_rest is not None:
        data = x.inflate_rest + data
        x.inflate_rest = None
    while data:
        try:
            piece = x.inflate.decompress(data, HOLD)
        except zlib.error:
            x.gw.g[R_BAD_RESPONSE] += 1
            return broken_body(x)
        data = x.inflate.unconsumed_tail
        if piece:
            if x.defer_head:
                write_response(x, PyBytes_AS_STRING(piece), PyBytes_GET_SIZE(piece))
            body_out(x, piece, PyBytes_AS_STRING(piece), PyBytes_GET_SIZE(piece))
        if x.stage != X_RESPONSE:
            return 0                    # too much to be held
        if data and x.client.write_paused and x.out != OUT_HELD:
            x.flush()
            x.inflate_rest = data
            return 0
        if x.inflate.eof:
            break
    return 0


cdef int broken_body(Exchange x) except -1:
    """What came of the response body is no gzip."""
    if x.bytes_out == 0 and x.gw.out.size:
        x.gw.out.size = 0           # the head has not left yet: the error page can take its place
        x.status = 0
    if x.status == 0:
        x.stage = X_SENT
        x.defer_head = False
        if x.up is not None:
            return x.up._broken(E_INVALID)
        return x.upstream_failed(E_INVALID, None)
    return x.drop()


cdef int response_end(Exchange x, bytearray trailer) except -1:
    """The upstream's response is whole, and its connection already given back."""
    cdef HeaderBlock fields
    cdef Buffer out = x.gw.out
    x.response_whole = True
    if x.inflate is not None:
        if x.inflate_rest is not None:
            return 0                # the rest goes out when the client can take it
        if not x.inflate.eof:
            return broken_body(x)
    if x.out == OUT_HELD:
        return begin_chain(x)
    if x.defer_head:
        write_response(x, NULL, 0)
    if x.out == OUT_CHUNKED:
        out.put("0\r\n", 3)
        if trailer is not None:
            fields = HeaderBlock()
            raw = bytes(trailer)
            if not parse_trailers(fields, raw, len(raw), 64):
                for name, value in fields.items():
                    out.add(name + b": " + value + b"\r\n")
        out.put("\r\n", 2)
    x.flush()
    if x.copy is not None:
        end_copy(x, True)
    return x.finish()


cdef int become_tunnel(Exchange x, HeaderBlock head, bytes rest) except -1:
    """101: a tunnel if this is the switch that the client asked for (RFC 9110 section 7.8)."""
    cdef Gateway gw = x.gw
    cdef Buffer out = gw.out
    cdef int i = head.find(F_UPGRADE)
    cdef bytes early
    if not (x.upgrade and head.connection & CONN_UPGRADE and i >= 0 and head.fields[i].value_len == 9
            and strncasecmp(head.at(head.fields[i].value), b"websocket", 9) == 0):
        return x.up._broken(E_INVALID)
    if x.breaker is not None:
        tell_breaker(x, True, True)
    x.status = 101
    x.stage = X_TUNNEL
    x.up.deadline = 0
    x.upstream_us = now_us() - x.sent_us
    gw.g[G_TUNNELS] += 1
    out.put("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n", 75)
    put_fields(out, head, OWN_RESPONSE)
    out.put("\r\n", 2)
    out.add(rest)
    x.flush()
    x.client.state = C_TUNNEL
    x.client.deadline = 0
    early = x.client.pending
    x.client.pending = None
    if early:
        x.up.transport.write(early)
    return x.client.resume()
