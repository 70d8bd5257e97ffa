cdef enum:
    MOST_ALLOWED_LOOPS = 100    # what loop_limit can ask for


cdef class PathRewrite(Step):
    """Let the url_rewrites entry that the request meets say where it goes (tyk-core 2.6).

    The entry's data is called with the exchange, when its body is there if `reads_body` is true. It calls
    `Exchange.rewrite`, `loop` or `fail`, or leaves the request alone.
    """

    cdef int run(self, Exchange x) except -1:
        cdef Endpoint endpoint = endpoint_of(x, K_URL_REWRITE)
        cdef int said
        if endpoint is None:
            return GO_ON
        if endpoint.data.reads_body:
            said = whole_body(x)
            if said != GO_ON:
                return said
        try:
            endpoint.data(x)
        except Exception:
            x.gw.logger.exception("a rewrite of API %s failed", x.plan.api_id.decode())
            x.fail_now(500, PROBLEM)
        return GO_ON if x.stage == X_STEPS and not x.status else ANSWERED


cdef int go_round(Exchange x, Plan plan, bytes path, bytes query, int end, int limit, bint same) except -1:
    """Continue in a plan as a tyk:// address says. end: of the listen path in the decoded path; limit: loops that the
    request may make, 0 for what holds already; the first one that is said counts (tyk-core 3.8)."""
    if limit and not x.loop_limit:
        x.loop_limit = min(limit, MOST_ALLOWED_LOOPS)
    limit = x.loop_limit or MOST_LOOPS
    x.loops += 1
    if x.loops > limit:
        return x.fail_now(500, f"Loop level too deep. Found more than {limit} loops in single request")
    move(x, path, query, end)
    x.ignored = False
    if not same:
        x.version = NON_VERSIONED
        x.default_version = None
    go_on_in(x, plan)
    return 0
