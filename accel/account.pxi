cdef int count_exchange(Exchange x, int status) except -1:
    """Counters and the access log, once per exchange."""
    cdef Gateway gw = x.gw
    cdef HeaderBlock head = x.req
    cdef AccessRecord record
    cdef int64_t total = now_us() - x.started_us
    cdef Plan plan = x.plan
    cdef bytes address
    cdef int at
    if x.breaker is not None:
        tell_breaker(x, False, False)
    if x.target is not None and x.up is None and x.target.origin.waiters:
        x.target.origin.forget(x)
    x.serial += 1
    if x.waits_for is not None:
        x.waits_for.cancel()
        x.waits_for = None
    x.held = x.collected = None
    if x.copy is not None:
        drop_copy(x)
    gw.g[G_ACTIVE_REQUESTS] -= 1
    gw.g[G_BYTES_OUT] += x.bytes_out
    if plan is not None and plan.row >= 0:
        gw.region.observe(plan.row, status, total, x.upstream_us, x.body_read, x.bytes_out)
        if x.flag is not None:
            count_refusal(x)
        if plan.recording is not None and gw.recorder is not None and not x.untracked:
            record_request(x, status, total)
    if x.capture is not None:
        end_capture(x)
    x.body = x.body_parts = None        # an idle connection holds no body, and neither does one that waits to be collected
    if gw.log is None:
        return 0
    clear_record(&record)
    record.time_ms = gw.epoch_ms + gw.wheel.now
    record.total_us = total
    record.upstream_us = x.upstream_us
    record.bytes_in = x.body_read
    record.bytes_out = x.bytes_out
    record.status = status
    record.upstream_status = status if x.upstream_us else 0
    set_text(&record, T_REQUEST_ID, PyBytes_AS_STRING(x.request_id), PyBytes_GET_SIZE(x.request_id))
    if plan is not None:
        set_text(&record, T_API_ID, PyBytes_AS_STRING(plan.api_id), PyBytes_GET_SIZE(plan.api_id))
        set_text(&record, T_API_NAME, PyBytes_AS_STRING(plan.name), PyBytes_GET_SIZE(plan.name))
        set_text(&record, T_ORG_ID, PyBytes_AS_STRING(plan.org_id), PyBytes_GET_SIZE(plan.org_id))
    address = told_address(x, gw.address_of)
    set_text(&record, T_CLIENT_IP, PyBytes_AS_STRING(address), PyBytes_GET_SIZE(address))
    set_text(&record, T_REMOTE_ADDR, PyBytes_AS_STRING(x.client.address), PyBytes_GET_SIZE(x.client.address))
    set_text(&record, T_HOST, head.at(head.host), head.host_len)
    set_text(&record, T_METHOD, PyBytes_AS_STRING(x.method), PyBytes_GET_SIZE(x.method))
    set_text(&record, T_PATH, PyBytes_AS_STRING(x.path), PyBytes_GET_SIZE(x.path))
    set_text(&record, T_ORIGINAL_PATH, head.at(head.target), head.path_len)
    set_text(&record, T_PROTOCOL, "HTTP/1.0" if x.http10 else "HTTP/1.1", 8)
    if x.target is not None:
        set_text(&record, T_UPSTREAM_ADDR, PyBytes_AS_STRING(x.target.origin.label),
                 PyBytes_GET_SIZE(x.target.origin.label))
    at = head.find(F_USER_AGENT)
    if at >= 0:
        set_text(&record, T_USER_AGENT, head.at(head.fields[at].value), head.fields[at].value_len)
    if x.flag is not None:
        set_text(&record, T_RESPONSE_FLAG, PyBytes_AS_STRING(x.flag), PyBytes_GET_SIZE(x.flag))
    gw.log.add(&record)
    return 0
