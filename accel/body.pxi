cdef int whole_body(Exchange x) except -1:
    """For a step that needs the request body: GO_ON when it is in `x.body` (None: there is none), else what to return.

    The step runs again from its start when the body is there.
    """
    if x.body is not None:
        return GO_ON
    if x.body_done:
        if x.body_parts is not None:
            x.body = collected_body(x)
            x.body_held = 0
            x.client.resume()
        return GO_ON
    if x.req.length > x.gw.max_buffered or x.body_held > x.gw.max_buffered:
        x._too_much()
        return ANSWERED
    x.step -= 1
    x.stage = X_BODY
    x._continue()
    x.client.resume()
    return WAIT


cdef int collect(Exchange x, const char* p, Py_ssize_t n) except -1:
    """A piece of the request body for the steps; many small ones take no more room than few."""
    cdef bytes piece
    x.body_held += n
    if x.body_held > x.gw.max_buffered:
        return x._too_much()
    if x.collected is None:
        x.collected = Buffer()
        for piece in x.body_parts or ():
            x.collected.add(piece)
        x.body_parts = None
    return x.collected.put(p, n)


cdef bytes collected_body(Exchange x):
    """The request body, which is whole."""
    cdef bytes body = b""
    if x.collected is not None:
        body = x.collected.take()
    elif x.body_parts is not None:
        body = b"".join(x.body_parts)
    x.collected = x.body_parts = None
    return body


cdef int change_body(Exchange x, bytes body) except -1:
    """Exchange.set_body: the fields of the request that speak of its framing follow (RFC 9112 section 6)."""
    cdef HeaderBlock head = x.req
    if not x.body_done:
        raise RuntimeError("the request body has not been read")
    if not body and head.body == BODY_NONE:
        return 0
    x.body = body
    x.body_parts = None
    x.body_held = 0
    x.client.resume()
    x.body_chunked = False
    x.trailer = None
    head.drop_known(F_TRANSFER_ENCODING)
    head.drop_known(F_TRAILER)
    head.drop_known(F_CONTENT_LENGTH)
    head.put(b"Content-Length", b"%d" % PyBytes_GET_SIZE(body))
    head.body = BODY_LENGTH
    head.length = PyBytes_GET_SIZE(body)
    return 0
