cdef KeyRecord key_record(Exchange x):
    """What analytics knows about the key of a request: described once for each session in the cache."""
    cdef Recorder recorder = x.gw.recorder
    if x.key is None:
        return recorder.anonymous
    if x.key.record is None:
        x.key.record = recorder.describe(x.key)
    return <KeyRecord>x.key.record


cdef int begin_capture(Exchange x) except -1:
    """Keep the wire text of this exchange if its API or its key asks for it."""
    cdef Gateway gw = x.gw
    if gw.recorder is None or x.untracked or x.capture is not None:
        return 0
    if not x.plan.recording.detailed:
        try:
            if not key_record(x).detailed:
                return 0
        except Exception:
            gw.logger.exception("analytics: the session of a key cannot be described")
            return 0
    x.capture = Capture(gw.recorder)
    return 0


cdef int capture_head(Exchange x) except -1:
    """The response head has just been written into gw.out, alone; without its empty line."""
    return x.capture.set_head(x.gw.out.p, x.gw.out.size - 2)


cdef int begin_answer_capture(Exchange x) except -1:
    """The same for an answer that no upstream gives."""
    begin_capture(x)
    if x.capture is not None and x.capture.request_size == 0 and x.body is not None:
        x.capture.add_request(x.body)
    return 0


cdef int capture_answer(Exchange x, bytes body) except -1:
    """An answer of the gateway itself; its head has just been written."""
    begin_answer_capture(x)
    if x.capture is None:
        return 0
    x.capture.forget_response()
    x.capture.add_response(PyBytes_AS_STRING(body), PyBytes_GET_SIZE(body))
    return capture_head(x)


cdef int count_refusal(Exchange x) except -1:
    """Count requests that a limit or a key check refused, for /tyk/health (tyk-core 8.2)."""
    cdef bytes flag = x.flag
    if flag == b"RLT":
        x.gw.region.add_to(x.plan.row, A_THROTTLED)
    elif flag == b"QEX":
        x.gw.region.add_to(x.plan.row, A_OVER_QUOTA)
    elif flag == b"AKI" or flag == b"TKE" or flag == b"TKI" or flag == b"TCV":
        x.gw.region.add_to(x.plan.row, A_KEY_FAILURES)
    return 0


cdef bytes recorded_path(Exchange x):
    """The decoded path without the listen path, without what the target's URL puts in front (tyk-core 6)."""
    cdef bytes path = x.path
    if x.target is not None:
        path = path[PyBytes_GET_SIZE(x.target.base):]
    if b"%" in path:
        path = unquote_to_bytes(path)
    if x.target is None and x.plan.strip and x.route_end:
        path = path[x.route_end:]
    return path if path[:1] == b"/" else b"/" + path


cdef bytes client_address(Exchange x):
    """Of the client; of its peer unless that is a proxy that is trusted."""
    return told_address(x, x.gw.recorder.address)


cdef int record_request(Exchange x, int status, int64_t total) except -1:
    """Hand the finished request to analytics. A failure is logged: the request itself is not concerned."""
    cdef Gateway gw = x.gw
    cdef HeaderBlock head = x.req
    cdef RecordPlan plan = x.plan.recording
    cdef AnalyticsRecord record
    cdef bytes path, original, address, host
    cdef int at
    try:
        path = recorded_path(x)
        original = PyBytes_FromStringAndSize(head.at(head.target), head.path_len)
        if head.encoded:
            original = unquote_to_bytes(original)
        address = client_address(x)
        host = plan.host if x.target is None else x.target.host
        clear(&record)
        record.time_us = gw.epoch_ms * 1000 + x.started_us + total
        record.total_us = total
        record.upstream_us = x.upstream_us
        record.content_length = head.length if head.body == BODY_LENGTH else -1 if head.body == BODY_CHUNKED else 0
        record.status = status
        record.cached = x.cached
        set_part(&record, P_METHOD, PyBytes_AS_STRING(x.method), PyBytes_GET_SIZE(x.method))
        set_part(&record, P_HOST, PyBytes_AS_STRING(host), PyBytes_GET_SIZE(host))
        set_part(&record, P_PATH, PyBytes_AS_STRING(path), PyBytes_GET_SIZE(path))
        set_part(&record, P_ORIGINAL_PATH, PyBytes_AS_STRING(original), PyBytes_GET_SIZE(original))
        set_part(&record, P_VERSION, PyBytes_AS_STRING(x.version), PyBytes_GET_SIZE(x.version))
        set_part(&record, P_ADDRESS, PyBytes_AS_STRING(address), PyBytes_GET_SIZE(address))
        if x.capture is not None:
            set_part(&record, P_QUERY, PyBytes_AS_STRING(x.query), PyBytes_GET_SIZE(x.query))
        at = head.find(F_USER_AGENT)
        if at >= 0:
            set_part(&record, P_USER_AGENT, head.at(head.fields[at].value), head.fields[at].value_len)
        if x.tracked is not None:
            set_part(&record, P_TRACKED, PyBytes_AS_STRING(x.tracked), PyBytes_GET_SIZE(x.tracked))
        gw.recorder.add(&record, plan, key_record(x), head, x.capture)
    except Exception:
        gw.logger.exception("analytics: a request of API %s is not recorded", x.plan.api_id.decode())
    return 0


cdef int end_capture(Exchange x) except -1:
    """Give back what was kept for the record."""
    x.capture.release()
    x.capture = None
    return 0
