cdef enum:
    MOST_ALLOWED_LOOPS = 100    # what loop_limit can ask for


cdef class PathRewrite(Step):
    """Let the url_rewrites entry that the request meets say where it goes (tyk-core 2.6).

    The entry's data is called with the exchange, when its body is there if `reads_body` is true. It calls
    `Exchange.rewrite`, `loop` or `fail`, or leaves the request alone. What it says takes effect when all steps have run,
    so that they all see the URL that the client sent (tyk-jsvm 3.2).
    """

    cdef int run(self, Exchange x) except -1:
        cdef Endpoint endpoint = endpoint_of(x, K_URL_REWRITE)
        cdef Later before = x.later
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
        if x.later is not None and x.later is not before:
            x.later.rewritten = True
        return GO_ON if x.stage == X_STEPS and not x.status else ANSWERED


cdef class PathMethod(Step):
    """Note the method that the method_transforms entry says which the request meets: its data, None for one that is not
    allowed (tyk-core 2.6)."""

    cdef int run(self, Exchange x) except -1:
        cdef Endpoint endpoint = endpoint_of(x, K_METHOD)
        if endpoint is None:
            return GO_ON
        if endpoint.data is None:
            x.fail_now(405, "Method not allowed")
            return ANSWERED
        later_of(x).method = endpoint.data
        return GO_ON


cdef View view_of(Exchange x):
    cdef View view = View()
    view.path, view.query, view.method, view.encoded = x.path, x.query, x.method, x.encoded
    view.route_end, view.version_end = x.route_end, x.version_end
    return view


cdef Later later_of(Exchange x):
    if x.later is None:
        x.later = Later()
    return x.later


cdef Later elsewhere(Exchange x, bytes path, bytes query):
    """Put off a move, instead of one that was put off before."""
    cdef Later later = Later()
    if x.later is not None:
        later.method, later.rewritten = x.later.method, x.later.rewritten
    later.path, later.query = path, query
    x.later = later
    return later


cdef int rewrite_later(Exchange x, bytes path, bytes query, Target target, bytes address) except -1:
    cdef Later later = elsewhere(x, path, query)
    later.target, later.address = target, address
    return 0


cdef int loop_later(Exchange x, Plan plan, bytes path, bytes query, int end, bytes method, int limit, bint limits,
                    bint same, bytes address) except -1:
    cdef Later later = elsewhere(x, path, query)
    later.plan, later.loop_method, later.address = plan, method, address
    later.end, later.limit, later.limits, later.same = end, limit, limits, same
    return 0


cdef int settle(Exchange x) except -1:
    """Do what was put off. Returns what a step returns."""
    cdef Later later = x.later
    x.later = None
    x.view = view_of(x)
    if later.method is not None and take_method(x, later.method) != GO_ON:
        return ANSWERED
    if later.plan is not None:
        if later.loop_method and take_method(x, later.loop_method) != GO_ON:
            return ANSWERED
        x.unlimited = not later.limits
        go_round(x, later.plan, later.path, later.query, later.end, later.limit, later.same)
    elif later.path is not None:
        move(x, later.path, later.query, 0)
        x.chosen = later.target
    return GO_ON if x.stage == X_STEPS and not x.status else ANSWERED


cdef int take_method(Exchange x, bytes method) except -1:
    """Use another method from now on. Returns what a step returns."""
    if method == x.method:
        return GO_ON
    if method == b"HEAD" or not method.isalpha():
        # To another method than HEAD the client expects a body, and a HEAD request would bring only its length.
        x.gw.logger.error("API %s: a request is to have the method %r", x.plan.api_id.decode(), method[:20])
        x.fail_now(500, PROBLEM)
        return ANSWERED
    x.method = method
    x.upgrade = x.up_head = False
    if x.body is None and x.req.body == BODY_NONE and method in (b"POST", b"PUT", b"PATCH"):
        x.body = b""                # so that it says its length (RFC 9110 section 8.6)
    return GO_ON


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
    x.view = None
    x.ignored = x.unforwarded = False
    if not same:
        x.version = NON_VERSIONED
        x.default_version = None
    go_on_in(x, plan)
    return 0
