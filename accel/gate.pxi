cdef enum:
    V_HEADER = 0
    V_PARAM = 1
    V_URL = 2

cdef bytes NON_VERSIONED = b"Non Versioned"
cdef str FORBIDDEN = "Requested endpoint is forbidden"
cdef str VERSION_EXPIRED = "Api Version has expired, please check documentation or contact administrator"
cdef str VERSION_MISSING = "Version information not found"
cdef str VERSION_UNKNOWN = "This API version does not seem to exist"


cdef class VersionCheck(Step):
    """Choose the version of an API and go on in its plan (tyk-core 2.3).

    failed(exchange, status, message): answers, and tells whoever wants to know; called on failures only. What the
    request named is in `Exchange.version` then, if it named anything.
    """
    cdef int location
    cdef bytes key, slug
    cdef dict plans             # name -> (Plan, expiry in unix seconds or None, its text for X-Tyk-Api-Expires)
    cdef dict children          # name -> (Plan of another API, the literal start of its listen path or b"")
    cdef bytes default
    cdef bint fallback, strip
    cdef Pattern pattern
    cdef object failed
    cdef bytes header
    cdef int unknown_status

    def __init__(self, int location, bytes key not None, object plans, bytes default=b"", bint fallback=False,
                 bint strip=False, Pattern pattern=None, bytes slug=b"", bytes header=b"", object failed=None,
                 int unknown_status=403):
        """location: 0 header, 1 query parameter, 2 first segment behind the listen path, else nowhere; key: name of the
        header or parameter; plans: {name: (Plan, expiry or None, text)}; strip: take the version out of the request;
        pattern: what a segment must have in it to be taken out; slug: a segment that may stand in
        front of the version; header: of the response, says which version served a request that named none."""
        self.location, self.slug = location, slug
        self.key = canonical(key) if location == V_HEADER else key
        self.plans = dict(plans)
        self.children = {}
        self.default, self.fallback, self.strip = default, fallback, strip
        self.pattern, self.failed = pattern, failed
        self.header = canonical(header)
        self.unknown_status = unknown_status

    def adopt(self, dict children not None):
        """Take {name: (Plan, start of its listen path)} of versions that are APIs of their own."""
        self.children = children

    cdef int run(self, Exchange x) except -1:
        cdef bytes name = self._take(x)
        cdef bint named = PyBytes_GET_SIZE(name) > 0
        cdef object found, child
        cdef Plan plan
        if named:
            x.version = name
        else:
            name = self.default
            if not name:
                self.failed(x, 403, VERSION_MISSING)
                return ANSWERED
        found = self.plans.get(name)
        child = self.children.get(name) if found is None else None
        if found is None and child is None and self.fallback and self.default:
            name = x.default_version = self.default
            found = self.plans.get(name)
            child = self.children.get(name) if found is None else None
        if child is not None:
            return self._adopted(x, name, <Plan>child[0], <bytes>child[1])
        if found is None:
            self.failed(x, self.unknown_status, VERSION_UNKNOWN)
            return ANSWERED
        plan, expiry, text = <tuple>found
        x.version = plan.version or name or NON_VERSIONED
        if x.default_version is not None:
            x.default_version = x.version
        if expiry is not None:
            if (x.gw.epoch_ms + x.gw.wheel.now) // 1000 >= expiry:
                self.failed(x, 403, VERSION_EXPIRED)
                return ANSWERED
            x.add_header(b"X-Tyk-Api-Expires", text)
        if self.header and not named:
            x.served = (self.header, x.version)
        return go_on_in(x, plan)

    cdef int _adopted(self, Exchange x, bytes name, Plan plan, bytes start) except -1:
        """Go on in another API's plan, which strips its own listen path if that is in front."""
        cdef bytes path
        x.hops += 1
        if x.hops > MOST_LOOPS:
            x.fail_now(500, f"Loop level too deep. Found more than {MOST_LOOPS} loops in single request")
            return ANSWERED
        x.version = name
        if x.plan.strip and x.route_end:
            cut_path(x, 0, x.route_end)
            if x.path[:1] != b"/":
                x.path = b"/" + x.path
        path = decoded_path(x)
        x.route_end = <int>PyBytes_GET_SIZE(start) if start and path.startswith(start) else 0
        x.version_end = 0
        return go_on_in(x, plan)

    cdef bytes _take(self, Exchange x):
        """What the request names, b"" if nothing; taken out of the request where that is wanted."""
        cdef bytes value = b""
        cdef int at
        if self.location == V_HEADER:
            at = x.req.lookup(PyBytes_AS_STRING(self.key), PyBytes_GET_SIZE(self.key))
            if at >= 0:
                value = x.req.value_of(at)
                if self.strip:
                    x.req.drop_name(self.key)
        elif self.location == V_PARAM:
            if x.query:
                value = query_value(x.query, self.key)
                if value and self.strip:
                    x.query = without_parameter(x.query, self.key)
        elif self.location == V_URL:
            value = self._segment(x)
        return value

    cdef bytes _segment(self, Exchange x):
        """The first segment behind the listen path. Taken out, it goes with the slash behind it, so the last one stays."""
        cdef bytes path = decoded_path(x)
        cdef Py_ssize_t start = x.route_end, end, n = PyBytes_GET_SIZE(path)
        cdef bytes value
        if self.slug:
            end = start + (start < n and path[start] == c"/")
            if path.startswith(self.slug, end):
                end += PyBytes_GET_SIZE(self.slug)
                if end == n or path[end] == c"/":
                    start = end
        while start < n and path[start] == c"/":
            start += 1
        end = path.find(b"/", start)
        if end < 0:
            end = n
        value = path[start:end]
        if value and (self.pattern is None or self.pattern.search(value)):
            if not self.strip:
                x.version_end = <int>end
            elif end < n:
                cut_path(x, start, end + 1)
        return value


cdef int go_on_in(Exchange x, Plan plan) except -1:
    """Continue with another plan of the same request, from its first step; for a step to return."""
    if plan.needs_body and not x.body_done and x.body is None:
        x._enter(plan)
        return ANSWERED
    x.plan = plan
    x.step = 0
    return GO_ON


cdef class Expiry(Step):
    """Refuse what has expired; before that, say when it will (tyk-core 2.2 expiration, 2.3 expires)."""
    cdef double at
    cdef bytes text
    cdef str message
    cdef object failed

    def __init__(self, double at, bytes text not None, str message not None, object failed):
        """at: unix seconds; text: for X-Tyk-Api-Expires; message: for the refusal; failed: see VersionCheck."""
        self.at, self.text, self.message, self.failed = at, text, message, failed

    cdef int run(self, Exchange x) except -1:
        if x.gw.epoch_ms + x.gw.wheel.now >= self.at * 1000:
            self.failed(x, 403, self.message)
            return ANSWERED
        x.add_header(b"X-Tyk-Api-Expires", self.text)
        return GO_ON


cdef class GateCheck(Step):
    """Apply the path entries of a version: stop, answer, let pass without a key, mark for the analytics."""
    cdef EndpointMatcher matcher
    cdef VerdictMemo memo
    cdef object failed

    def __init__(self, EndpointMatcher matcher not None, VerdictMemo memo not None, object failed):
        """failed: see VersionCheck."""
        self.matcher, self.memo = matcher, memo
        self.failed = failed

    cdef int run(self, Exchange x) except -1:
        cdef Verdict verdict
        # The same path can have been routed in several ways: where it was cut is a part of the question.
        cdef tuple key = (self.matcher, x.method, x.path,
                          <int64_t>x.version_end << 32 | <int64_t>x.route_end << 1 | (x.loops > 0))
        cdef PyObject* known = PyDict_GetItem(self.memo.known, key)
        if known != NULL:
            verdict = <Verdict>known
        else:
            verdict = self._look(x)
            self.memo.keep(key, x.path, verdict)
        if verdict.tracked is not None:
            x.tracked = verdict.tracked
        if verdict.untracked:
            x.untracked = True
        if verdict.said == GATE_OPEN:
            return GO_ON
        if verdict.said == GATE_IGNORED:
            x.ignored = True
            return GO_ON
        x.extra = None
        if verdict.said == GATE_FORBIDDEN:
            self.failed(x, 403, FORBIDDEN)
            return ANSWERED
        status, headers, body = <tuple>verdict.reply
        if not any(name.lower() == b"content-type" for name, _ in headers):
            headers = [*headers, (b"Content-Type", sniff(PyBytes_AS_STRING(<bytes>body), min(512, len(body))))]
        x.untracked = True
        x.send(status, list(headers), body)
        return ANSWERED

    cdef Verdict _look(self, Exchange x):
        cdef bytes full = decoded_path(x)
        cdef bytes rest = behind(full, x.route_end)
        cdef bytes bare = behind(full, x.version_end) if x.version_end else rest
        cdef bytes clean = clean_path(full) if x.unclean else full
        cdef Verdict verdict = self.matcher.look(x.method, full, rest, bare, x.loops > 0)
        if clean == full:
            return verdict
        # An upstream may read this path as the clean one (skip_url_cleaning): what either of them may not do is refused.
        rest, bare = clean_path(rest), clean_path(bare)
        return stricter(verdict, self.matcher.look(x.method, clean, rest, bare, x.loops > 0))


cdef Endpoint endpoint_of(Exchange x, int number):
    """The entry of a kind that the request meets behind the gate."""
    return entry_of(x, number, x.method, decoded_path(x), x.route_end, x.version_end)


cdef Endpoint endpoint_before(Exchange x, int number):
    """The entry of a kind that the request met before it was rewritten, for what is done with its response."""
    cdef View view = x.view
    if view is None:
        return endpoint_of(x, number)
    return entry_of(x, number, view.method, unquote_to_bytes(view.path) if view.encoded else view.path, view.route_end,
                    view.version_end)


cdef Endpoint entry_of(Exchange x, int number, bytes method, bytes full, int route_end, int version_end):
    cdef bytes rest = behind(full, route_end)
    return x.plan.matcher.first(number, method, rest, rest, behind(full, version_end) if version_end else rest)
