cdef class Step:
    cdef int run(self, Exchange x) except -1:
        raise NotImplementedError(type(self).__name__)


cdef class HeaderEdit(Step):
    """Remove, then set header fields. remove: names; put: (name, value) pairs; on the response if `response`."""
    cdef tuple names
    cdef tuple pairs
    cdef bint response, unforwarded

    def __init__(self, object remove, object put, bint response=False):
        self.names = tuple(canonical(name) for name in remove)
        self.pairs = tuple((name, value) for name, value in put)
        self.response = response
        self.unforwarded = not response and b"X-Forwarded-For" in self.names

    cdef int run(self, Exchange x) except -1:
        cdef HeaderBlock block = x.res if self.response else x.req
        cdef bytes name, value
        if self.unforwarded:
            x.unforwarded = True
        for name in self.names:
            block.drop_name(name)
        for name, value in self.pairs:
            block.drop_name(canonical(name))
            block.put(name, value)
        return GO_ON


cdef class PathEdits(Step):
    """Run the steps that the entry of a kind which the request meets has as its data; none of them waits."""
    cdef int number
    cdef bint response

    def __init__(self, str kind not None, bint response=False):
        """kind: one of accel.endpoints.KINDS; response: the request is taken as it was before it was rewritten. Raises
        ValueError for another kind."""
        self.number = KINDS.index(kind)
        self.response = response

    cdef int run(self, Exchange x) except -1:
        cdef Endpoint endpoint = endpoint_before(x, self.number) if self.response else endpoint_of(x, self.number)
        cdef Step step
        cdef int said
        if endpoint is not None:
            for step in <tuple>endpoint.data:
                said = step.run(x)
                if said != GO_ON:
                    return said
        return GO_ON


cdef class PyStep(Step):
    """A step in Python: function(exchange) -> None, or an awaitable to wait for.

    The function answers with `exchange.answer(...)` or `exchange.fail(...)`; otherwise the request goes on. An
    exception refuses the request with 500 and is logged. Among the response steps only one that wants the whole body
    can wait.
    """
    cdef object function

    def __init__(self, object function, *, bint whole_body=False):
        """whole_body: it wants the whole body, in `exchange.body` or `exchange.response_body`."""
        self.function = function
        self.whole = whole_body

    cdef int run(self, Exchange x) except -1:
        cdef object waiting
        cdef int stage = x.stage, said
        if self.whole and stage == X_STEPS:
            said = whole_body(x)
            if said != GO_ON:
                return said
        try:
            waiting = self.function(x)
        except Exception:
            x.gw.logger.exception("a step of API %s failed", x.plan.api_id.decode())
            x.fail_now(500, PROBLEM)
            return ANSWERED
        if waiting is None:
            return GO_ON if x.stage == stage and not x.status else ANSWERED
        x.task = x.gw.loop.create_task(_finish_step(x, waiting, x.serial))
        return WAIT


cdef class WaitStep(Step):
    """A step in Python that may wait without a task: function(exchange) -> bool.

    True: the request waits until somebody calls `exchange.resume(serial)` or answers it. Otherwise it goes on, unless
    the function has answered it. An exception refuses the request with 500 and is logged. Among the response steps only
    one that wants the whole body can wait.
    """
    cdef object function

    def __init__(self, object function, *, bint whole_body=False):
        """whole_body: it wants the whole body, in `exchange.body` or `exchange.response_body`."""
        self.function = function
        self.whole = whole_body

    cdef int run(self, Exchange x) except -1:
        cdef int said
        if self.whole and x.stage == X_STEPS:
            said = whole_body(x)
            if said != GO_ON:
                return said
        return said_by(x, self.function, None)


cdef class PathStep(Step):
    """A WaitStep for requests that meet a path entry of one kind: function(exchange, data of the entry) -> bool.

    The request body is in `exchange.body` if `reads_body` of the data is true.
    """
    cdef object function
    cdef int number

    def __init__(self, str kind not None, object function):
        """kind: one of accel.endpoints.KINDS. Raises ValueError for another one."""
        self.number = KINDS.index(kind)
        self.function = function

    cdef int run(self, Exchange x) except -1:
        cdef Endpoint endpoint = endpoint_of(x, self.number)
        cdef int said
        if endpoint is None:
            return GO_ON
        if getattr(endpoint.data, "reads_body", False):
            said = whole_body(x)
            if said != GO_ON:
                return said
        return said_by(x, self.function, endpoint)


cdef int said_by(Exchange x, object function, Endpoint endpoint) except -1:
    """What the function of a WaitStep or PathStep (with an endpoint) leads to."""
    cdef int stage = x.stage
    try:
        if function(x) if endpoint is None else function(x, endpoint.data):
            return WAIT
    except Exception:
        x.gw.logger.exception("a step of API %s failed", x.plan.api_id.decode())
        x.fail_now(500, PROBLEM)
        return ANSWERED
    return GO_ON if x.stage == stage and not x.status else ANSWERED


async def _finish_step(Exchange x not None, object waiting, uint64_t serial):
    """Wait for a step's awaitable, then let the request go on where it stopped."""
    try:
        await waiting
    except asyncio.CancelledError:
        raise
    except Exception:
        x.gw.logger.exception("a step of API %s failed", x.plan.api_id.decode() if x.plan is not None else "")
        if x.serial == serial and in_steps(x):
            x.fail_now(500, PROBLEM)
    if x.serial == serial:
        x.task = None
        x.resume(serial)


cdef class Target:
    def __init__(self, Origin origin not None, bytes host not None, bytes path=b"", bytes query=b""):
        """host: value of the Host header; path, query: of the target URL."""
        self.origin = origin
        self.host = host
        self.base = path.rstrip(b"/")
        self.exact = path
        self.query = query


cdef class Plan:
    def __init__(self, bytes api_id not None, *, bytes name=b"", bytes org_id=b"", int row=0, object steps=(),
                 object response_steps=(), object targets=(), bint strip=False, bint exact_target=False,
                 bint preserve_host=False, bint needs_body=False,
                 int64_t head_timeout_ms=30000, EndpointMatcher matcher=None, int64_t exchange_timeout_ms=0, bytes loop_path=b"",
                 object grant_key=None, bytes version=b"", RecordPlan recording=None, object others=()):
        """steps, response_steps: Step objects; targets: Target objects, used in turn; others: those that only steps
        choose; strip: remove the listen path;
        exact_target: with nothing left of the path send the target's path as configured (disable_strip_slash);
        matcher: path entries, the data of its hard_timeouts are milliseconds; exchange_timeout_ms: where none of them
        applies, 0 for none; grant_key: hashable, what the rights of a key at this API depend on, the api_id if None;
        version: name of the version that it is for; recording: what analytics needs to know, None if its requests are
        not recorded."""
        self.api_id = api_id
        self.name = name
        self.org_id = org_id
        self.row = row
        self.steps = list(steps)
        self.response_steps = list(response_steps)
        self.holds = any((<Step>step).whole for step in self.response_steps)
        self.targets = list(targets)
        self.others = list(others)
        self.strip = strip
        self.exact_target = exact_target
        self.preserve_host = preserve_host
        self.needs_body = needs_body
        self.head_timeout = head_timeout_ms
        self.matcher = matcher
        self.exchange_timeout = exchange_timeout_ms
        self.loop_path = loop_path
        self.version = version
        self.recording = recording
        self.grant_key = api_id if grant_key is None else grant_key

    def link(self, Plan loop not None):
        """Let requests continue in another plan instead of an upstream (a tyk:// target). Call before the first use."""
        self.loop = loop
