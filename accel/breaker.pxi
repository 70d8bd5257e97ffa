cdef bint breaker_refuses(Exchange x) except -1:
    """Ask the circuit_breakers entry that the request meets; True when it has been answered with 503.

    The entry's data has ready() -> ticket, 0 to refuse; done(ticket, good) and dropped(ticket).
    """
    cdef Endpoint endpoint
    if x.plan.matcher is None or x.plan.matcher.groups[K_BREAKER] is None:
        return False
    endpoint = endpoint_of(x, K_BREAKER)
    if endpoint is None:
        return False
    x.ticket = endpoint.data.ready()
    if x.ticket == 0:
        x.gw.g[G_BREAKER_REFUSED] += 1
        x.flag = b"CBO"
        x.fail_now(503, BUSY)
        return True
    x.breaker = endpoint.data
    return False


cdef int tell_breaker(Exchange x, bint known, bint good) except -1:
    """Say what came of the request, once. known: the upstream has answered, or failed to."""
    cdef object breaker = x.breaker
    x.breaker = None
    try:
        if known:
            breaker.done(x.ticket, good)
        else:
            breaker.dropped(x.ticket)
    except Exception:
        x.gw.logger.exception("circuit breaker")
    return 0
