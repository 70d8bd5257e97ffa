cdef int find_route(Exchange x) except -1:
    """Begin with the plan of the API that the request is for, or answer where there is none (tyk-core 3.2)."""
    cdef Gateway gw = x.gw
    cdef HeaderBlock head = x.req
    cdef bytes decoded, cleaned, host = b""
    cdef Py_ssize_t end = 0
    cdef Route route
    cdef Plan plan
    cdef Router router = gw.router
    x.path = decoded = PyBytes_FromStringAndSize(head.at(head.target), head.path_len)
    x.encoded, x.unclean = head.encoded, head.unclean
    if head.target_len > head.path_len + 1:
        x.query = PyBytes_FromStringAndSize(head.at(head.target + head.path_len + 1),
                                          head.target_len - head.path_len - 1)
    else:
        x.query = b""
    if head.encoded:
        decoded = unquote_to_bytes(decoded)
    if head.unclean and gw.clean_urls:
        cleaned = clean_path(decoded)
        if cleaned != decoded:
            gw.g[G_REDIRECTS] += 1
            location = escape_decoded(cleaned)
            if head.target_len > head.path_len:
                location += b"?" + x.query
            return x.send(301, [(b"Location", location)], b"")
    plan = gw.control(decoded)
    if plan is not None:
        return x._enter(plan)
    if router.domains or router.patterns:
        host = PyBytes_FromStringAndSize(head.at(head.host), head.host_len).lower()
        host = host[:host.find(b"]") + 1] if host.startswith(b"[") else host.partition(b":")[0]
    route = router.find(host, decoded, &end)
    if route is None:
        gw.g[G_NOT_FOUND] += 1
        x.flag = b"NRH"
        return x.send(404, [(b"Content-Type", b"text/plain; charset=utf-8")], b"Not Found")
    x.route_end = <int>end
    return x._enter(<Plan>route.plan)
