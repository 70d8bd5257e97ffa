cdef enum:
    V_HEADER = 0
    V_PARAM = 1
    V_URL = 2


cdef class VersionCheck(Step):
    """Choose the version of an API and go on with its plan (tyk-core 2.3).

    failed(exchange, status, message): answers.
    """
    cdef int location
    cdef bytes key
    cdef dict children          # name -> Plan of another API
    cdef dict plans             # name -> (Plan, expiry in unix seconds or None, its text for X-Tyk-Api-Expires)
    cdef bytes default
    cdef bint fallback, strip
    cdef object pattern, failed
    cdef bytes header
    cdef int unknown_status

    def __init__(self, int location, bytes key not None, object plans, bytes default=b"", bint fallback=False,
                 bint strip=False, object pattern=None, bytes header=b"", object failed=None, int unknown_status=403):
        """location: 0 header, 1 query parameter, 2 first segment of the path; key: name of header or parameter;
        plans: {name: (Plan, expiry or None, text)}; strip: take the version out of the request; pattern: compiled
        bytes expression that a segment has to fit to be taken for a version; header: of the response, says which
        version served a request that named none."""
        self.location = location
        self.key = canonical(key) if location == V_HEADER else key
        self.plans = dict(plans)
        self.children = {}
        self.default, self.fallback, self.strip = default, fallback, strip
        self.pattern, self.header, self.failed = pattern, header, failed
        self.unknown_status = unknown_status

    cdef int run(self, Exchange x) except -1:
        cdef bytes name = self._find(x)
        cdef bytes given = name
        cdef object found
        cdef Plan plan
        if not name:
            name = self.default
            if not name:
                self.failed(x, 403, "Version information not found")
                return ANSWERED
        found = self.plans.get(name)
        if found is None and name not in self.children and self.fallback and self.default:
            name = self.default
            found = self.plans.get(name)
            given = b""
        if found is None and name in self.children:
            return self._child(x, <Plan>self.children[name], given)
        if found is None:
            self.failed(x, self.unknown_status, "This API version does not seem to exist")
            return ANSWERED
        plan, expiry, text = found
        if expiry is not None:
            if (x.gw.epoch_ms + x.gw.wheel.now) // 1000 >= expiry:
                self.failed(x, 403, "Api Version has expired, please check documentation or contact administrator")
                return ANSWERED
            x.add_header(b"X-Tyk-Api-Expires", text)
        x.version = plan.version or name
        if self.fallback:
            x.default_version = self.default
        if self.strip and given:
            self._strip(x, given)
        elif self.location == V_URL and given:
            x.version_end = self._end(x)
        if self.header and not given:
            x.add_header(self.header, x.version)
        if plan.needs_body and not x.body_done and x.body is None:
            x._enter(plan)
            return ANSWERED
        x.plan = plan
        x.step = 0
        return GO_ON

    def adopt(self, dict children not None):
        """Take {name: Plan} of versions that are APIs of their own."""
        self.children = children

    cdef int _child(self, Exchange x, Plan plan, bytes given) except -1:
        """Go on in another API's plan; it strips its own listen path only if that is in front."""
        if self.strip and given:
            self._strip(x, given)
        if x.plan.strip:
            x.path = x.path[x.route_end:] if not x.req.encoded else escape_decoded(self._rest(x))
            if x.path[:1] != b"/":
                x.path = b"/" + x.path
            x.route_end = 0
        x._enter(plan)
        return ANSWERED

    cdef bytes _find(self, Exchange x):
        cdef int at
        cdef bytes segment
        if self.location == V_HEADER:
            at = x.req.lookup(PyBytes_AS_STRING(self.key), PyBytes_GET_SIZE(self.key))
            return x.req.value_of(at) if at >= 0 else b""
        if self.location == V_PARAM:
            return query_value(x.query, self.key) if self.key in x.query else b""
        segment = self._rest(x).lstrip(b"/").partition(b"/")[0]
        if self.pattern is not None and not self.pattern.search(segment):
            return b""
        return segment

    cdef bytes _rest(self, Exchange x):
        """The decoded path behind the listen path."""
        cdef bytes path = unquote_to_bytes(x.path) if x.req.encoded else x.path
        return path[x.route_end:]

    cdef int _end(self, Exchange x) except -1:
        """Where the version segment ends in the decoded path."""
        cdef bytes rest = self._rest(x)
        cdef bytes bare = rest.lstrip(b"/")
        cdef Py_ssize_t end = bare.find(b"/")
        return <int>(x.route_end + len(rest) - len(bare) + (end if end >= 0 else len(bare)))

    cdef int _strip(self, Exchange x, bytes given) except -1:
        cdef bytes path, head
        cdef Py_ssize_t at
        if self.location == V_HEADER:
            x.req.remove(self.key)
        elif self.location == V_PARAM:
            x.query = without_parameter(x.query, self.key)
        else:
            # A version that is the whole rest stays: only "version/" is taken out, as in Tyk.
            path = unquote_to_bytes(x.path) if x.req.encoded else x.path
            head, path = path[:x.route_end], path[x.route_end:]
            at = path.find(given + b"/")
            if at >= 0:
                path = path[:at] + path[at + len(given) + 1:]
                x.path = escape_decoded(head + path) if x.req.encoded else head + path
        return 0


cdef class GateCheck(Step):
    """Apply the path lists of a version: stop, answer, or let pass without a key. failed: see VersionCheck."""
    cdef Gate gate
    cdef object failed
    cdef bint preflights

    def __init__(self, Gate gate not None, object failed, bint preflights=False):
        """preflights: CORS answers preflight requests, which carry no key."""
        self.gate = gate
        self.failed = failed
        self.preflights = preflights

    cdef int run(self, Exchange x) except -1:
        cdef bytes full = unquote_to_bytes(x.path) if x.req.encoded else x.path
        cdef bytes rest = full[x.route_end:] if x.route_end else full
        cdef bytes bare = full[x.version_end:] if x.version_end else rest
        cdef int said
        if rest[:1] != b"/":
            rest = b"/" + rest
        if bare[:1] != b"/":
            bare = b"/" + bare
        said = self.gate.decide(x.method, full, rest, bare, x.loops > 0)
        if said == GATE_OPEN:
            return GO_ON
        if said == GATE_IGNORED:
            x.ignored = True
            return GO_ON
        if said == GATE_FORBIDDEN:
            self.failed(x, 403, "Requested endpoint is forbidden")
            return ANSWERED
        status, headers, body = self.gate.reply
        x.untracked = True
        if not any(name.lower() == b"content-type" for name, _ in headers):
            headers = [*headers, (b"Content-Type", sniff(PyBytes_AS_STRING(<bytes>body), min(512, len(body))))]
        x.send(status, list(headers), body)
        return ANSWERED
