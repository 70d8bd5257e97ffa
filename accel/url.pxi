cdef bytes decoded_path(Exchange x):
    """The path without percent-encoding."""
    return unquote_to_bytes(x.path) if x.encoded else x.path


cdef int cut_path(Exchange x, Py_ssize_t start, Py_ssize_t end) except -1:
    """Take bytes out of the path; start, end: in the decoded path. What is left keeps its spelling."""
    if x.encoded:
        end = encoded_offset(x.path, end)
        start = encoded_offset(x.path, start)
    x.path = x.path[:start] + x.path[end:]
    return 0


cdef Py_ssize_t encoded_offset(bytes path, Py_ssize_t offset):
    """Where byte `offset` of the decoded path is in the encoded one."""
    cdef const unsigned char* p = <const unsigned char*>PyBytes_AS_STRING(path)
    cdef Py_ssize_t at = 0, n = PyBytes_GET_SIZE(path)
    while offset > 0 and at < n:
        at += 3 if p[at] == c"%" and at + 2 < n and isxdigit(p[at + 1]) and isxdigit(p[at + 2]) else 1
        offset -= 1
    return at


cdef bytes behind(bytes path, int end):
    """What is left of a path behind a prefix, with a leading slash."""
    if end == 0:
        return path
    path = path[end:]
    return path if path[:1] == b"/" else b"/" + path


cdef int move(Exchange x, bytes path, bytes query, int end) except -1:
    """Give the request another URL. end: of the listen path, in the decoded path."""
    x.path, x.query = path, query
    x.encoded = b"%" in path
    x.unclean = True            # nobody has looked
    x.route_end, x.version_end = end, 0
    return 0


cdef int change_url(Exchange x, bytes path, bytes query, int end) except -1:
    """Exchange.set_url. A version that stands behind the listen path is still known if the new path begins alike."""
    cdef bytes decoded = unquote_to_bytes(path), front
    cdef int version_end = x.version_end
    if path[:1] != b"/" or b"?" in path or not target_bytes(path) or not target_bytes(query):
        raise ValueError(f"{path[:80]!r} with the query {query[:80]!r} is not a request target")
    if not 0 <= end <= len(decoded):
        raise ValueError(f"a listen path of {end} bytes is longer than the path {path[:80]!r}")
    front = decoded_path(x)[:version_end]
    move(x, path, query, end)
    if version_end and decoded.startswith(front):
        x.version_end = version_end
    return 0


cdef bint target_bytes(bytes text):
    """Whether a text may stand in a request target: visible ASCII without a fragment."""
    cdef const unsigned char* s = <const unsigned char*>PyBytes_AS_STRING(text)
    cdef Py_ssize_t i
    for i in range(PyBytes_GET_SIZE(text)):
        if not ch_is(s[i], CH_TARGET) or s[i] == c"#":
            return False
    return True


cdef bytes upstream_path(Exchange x, Plan plan):
    """Listen path off, target path on (tyk-core 3.9); for a loop, the path that the inner API sees."""
    cdef bytes rest = x.path, decoded, head, base, exact
    if plan.strip and x.route_end:
        if x.encoded:
            decoded = unquote_to_bytes(rest)
            head = decoded[:x.route_end]
            rest = rest[x.route_end:] if rest.startswith(head) else escape_decoded(decoded[x.route_end:])
        else:
            rest = rest[x.route_end:]
    if plan.loop is not None and x.chosen is None:
        base, exact = plan.loop_path.rstrip(b"/"), plan.loop_path
    else:
        base, exact = x.target.base, x.target.exact
        if x.gw.escape_paths:
            rest = encode_path(rest)
    if PyBytes_GET_SIZE(base) == 0 and PyBytes_GET_SIZE(rest) > 1 and rest[0] == c"/" and rest[1] != c"/":
        return rest
    rest = rest.lstrip(b"/")
    if rest:
        return base + b"/" + rest
    return (exact if plan.exact_target else base) or b"/"


cdef int hard_timeout(Exchange x, Plan plan, bytes front) except -1:
    """Entries are matched against the path that goes out, and its end behind the listen path if that is in front."""
    cdef bytes path = unquote_to_bytes(x.path), rest = path
    cdef Endpoint endpoint
    if front and path.startswith(front):
        rest = behind(path, <int>PyBytes_GET_SIZE(front))
    endpoint = plan.matcher.first(K_HARD_TIMEOUT, x.method, path, rest, rest)
    if endpoint is not None:
        x.hard_ms = endpoint.data
    return 0
