cdef int forget_request(Exchange x) except -1:
    """Begin with nothing that the request before on this connection has left."""
    x.started_us = now_us()
    x.sent_us = x.upstream_us = x.bytes_out = x.body_read = x.body_held = x.hard_ms = 0
    x.status = x.loops = x.loop_limit = x.route_end = 0
    x.plan = None
    x.target = x.chosen = None
    x.later = None
    x.view = None
    x.unlimited = x.unforwarded = False
    x.breaker = None
    x.body = None
    x.body_parts = None
    x.trailer = None
    x.state = x.waits_for = None
    x.key = None
    x.key_api = None
    x.grant = None
    x.capture = None
    x.copy = None
    x.cached = False
    x.limit_max = x.limit_left = x.limit_reset = 0
    x.limits_known = x.ignored = x.untracked = False
    x.version_end = x.hops = 0
    x.extra = None
    x.served = None
    x.tracked = None
    x.version = NON_VERSIONED
    x.default_version = None
    x.inflate = None
    x.inflate_rest = None
    x.flag = None
    x.retried = x.ungzip = x.upgrade = x.defer_head = x.response_whole = x.reused = False
    return 0
