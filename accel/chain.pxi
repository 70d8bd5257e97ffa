cdef bint in_steps(Exchange x) noexcept:
    """Whether the exchange is in its steps or its response steps, or waits for one."""
    return (x.stage == X_STEPS or x.stage == X_CHAIN) and not x.status


cdef int hold(Exchange x, HeaderBlock head) except -1:
    """Keep the upstream's response until it is whole: its steps want to see it so. Its head has just come."""
    cdef int i
    x.up.res = HeaderBlock()            # the connection may serve another request before the steps are done
    x.held = Held()
    x.held.parts = Buffer()
    x.out = OUT_HELD
    for i in range(head.count):
        if HOP & (<uint64_t>1 << head.fields[i].id):
            head.fields[i].gone = True
    head.seen &= ~HOP
    return too_much_to_hold(x) if head.body == BODY_LENGTH and head.length > x.gw.max_held else 0


cdef int hold_piece(Exchange x, const char* p, Py_ssize_t n) except -1:
    """A piece of the body of a response that is held."""
    cdef Buffer parts
    if x.stage != X_RESPONSE:
        return 0
    parts = x.held.parts
    return too_much_to_hold(x) if parts.size + n > x.gw.max_held else parts.put(p, n)


cdef int too_much_to_hold(Exchange x) except -1:
    x.gw.g[B_BUFFERED_RESPONSE] += 1
    x.gw.logger.warning("API %s: a response that its steps want whole has more than %d bytes "
                        "(preforge.limits.max_buffered_response_bytes)", x.plan.api_id.decode(), x.gw.max_held)
    x.flag = b"BTL"
    return x.fail_now(500, PROBLEM)


cdef int begin_chain(Exchange x) except -1:
    """The response that was held is whole."""
    x.held.body = x.held.parts.take()
    x.held.parts = None
    x.step = 0
    x.stage = X_CHAIN
    return x._proceed()


cdef int run_chain(Exchange x) except -1:
    """Run the response steps from where they stopped, then send what they have left."""
    cdef list steps = x.plan.response_steps
    cdef Step step
    while x.step < len(steps):
        step = <Step>steps[x.step]
        x.step += 1
        if step.run(x) != GO_ON:
            return 0
    return send_held(x)


cdef int send_held(Exchange x) except -1:
    """Send the response that has been held, with the length that its body has now (RFC 9110 section 8.6)."""
    cdef HeaderBlock head = x.res
    cdef bytes body = x.held.body
    cdef const char* p = PyBytes_AS_STRING(body)
    cdef Py_ssize_t n = PyBytes_GET_SIZE(body)
    cdef bint sniffed = False
    x.out = OUT_NONE if x.head_only else OUT_RAW
    if head.status == 204 or head.status == 304:
        head.drop_known(F_CONTENT_LENGTH)
        if head.status == 304:
            head.drop_known(F_CONTENT_TYPE)
        n = 0
    elif not x.head_only or head.body != BODY_NONE:
        head.drop_known(F_CONTENT_LENGTH)
        head.put(b"Content-Length", b"%d" % n)
        head.length = n
        sniffed = n > 0 and not head.seen & (<uint64_t>1 << F_CONTENT_TYPE | <uint64_t>1 << F_CONTENT_ENCODING)
    write_response(x, p, n if sniffed else 0)
    if n:
        body_out(x, body, p, n)
    x.flush()
    if x.copy is not None:
        end_copy(x, True)
    return x.finish()


cdef int change_response(Exchange x, int status, bytes body) except -1:
    """Exchange.set_response."""
    if x.stage != X_CHAIN or x.status:
        raise RuntimeError("there is no whole response")
    check_status(status)
    x.res.status = status
    x.held.body = body
    if x.head_only and x.res.body == BODY_NONE:
        x.res.drop_known(F_CONTENT_LENGTH)      # of a body that the client would not get with GET
    return 0


cdef int respond(Exchange x, int status, list headers, bytes body) except -1:
    """Exchange.respond."""
    cdef HeaderBlock head
    cdef bytes name, value
    if not in_steps(x):
        return 0
    if x.stage == X_CHAIN:
        raise RuntimeError("the request has its response, which its steps can change")
    check_status(status)
    head = HeaderBlock()
    for name, value in headers:
        head.put(canonical(name), value)
    head.status = status
    head.body = BODY_LENGTH
    x.res = head
    x.held = Held()
    x.held.body = body
    x.serial += 1                   # whoever lets the request go on is too late
    x.step = 0
    x.stage = X_CHAIN
    if x.plan.recording is not None:
        begin_answer_capture(x)
    return x._proceed()


cdef int check_status(int status) except -1:
    if not 200 <= status <= 599:
        raise ValueError(f"{status} is not the status of an answer, expected 200 to 599")
    return 0
