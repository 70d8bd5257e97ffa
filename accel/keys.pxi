cdef class KeyEntry:
    """A session that this worker knows. See http1.pxd; the constructor takes what the cache and the steps need."""

    def __init__(self, bytes token not None, bytes name not None, object session, int64_t loaded_ms):
        """token: as the client sent it; name: what stands for it in the store, records and logs; session: the decoded
        session with its policies applied; loaded_ms: monotonic time of the load."""
        self.token = token
        self.name = name
        self.session = session
        self.loaded = self.fetched = loaded_ms
        self.place = mark_of(name)
        self.seen = -1
        self.grants = {}


cdef class Grant:
    """What one key may do at one API: the answers to all checks that do not depend on the request."""

    def __init__(self, KeyEntry entry not None, *, int64_t expires=0, bint inactive=False, object deny=None,
                 object versions=None, object urls=None, RateWindow rate=None, QuotaWindow quota=None,
                 int64_t quota_max=0, int64_t quota_left=0, int64_t quota_renews=0, double throttle_interval=0,
                 int throttle_retries=0, object endpoint_rates=(), object data=None):
        """expires: unix seconds, 0 and below never; deny: None, or (status, message) for every request; versions:
        frozenset of version names (bytes) that may be used, None for all; urls: ((bytes pattern, frozenset of methods),
        ...) of which one must fit, None for all; rate, quota: the key's limits at this API, None without; quota_max,
        quota_left, quota_renews: what X-Ratelimit-* say while no quota counts; throttle_*: seconds and times that a
        request over the rate tries again; endpoint_rates: ((pattern, method, RateWindow), ...) that go before `rate`;
        data: for whoever made it."""
        self.entry = entry
        self.expires = expires
        self.inactive = inactive
        self.deny = deny
        self.versions = versions
        self.urls = urls
        self.rate = rate
        self.quota = quota
        self.quota_max, self.quota_left, self.quota_renews = quota_max, quota_left, quota_renews
        self.throttle_interval, self.throttle_retries = throttle_interval, throttle_retries
        self.endpoint_rates = tuple(endpoint_rates)
        self.data = data


cdef class KeyCache:
    """Sessions of one worker by organisation and token; oldest out first when it is full."""

    def __init__(self, int most, int64_t fresh_ms, LimitTable marks not None):
        """most: entries; fresh_ms: age up to which an entry is used without asking the store again; marks: say which keys
        any worker of this node has changed."""
        self.marks = marks
        self.entries = {}
        self.names = {}
        self.most = most
        self.fresh = fresh_ms
        self.evicted = 0

    def configure(self, int most, int64_t fresh_ms):
        """Take other bounds from now on."""
        self.most = most
        self.fresh = fresh_ms

    def get(self, bytes key not None):
        """The entry under a key (TokenAuth.prefix + token), however old, or None."""
        return self.entries.get(key)

    def put(self, bytes key not None, KeyEntry entry not None):
        """Keep an entry. Without `seen` it is one of now."""
        self.forget(key)
        if entry.seen < 0:
            entry.seen = self.marks.changes
        while self.entries and len(self.entries) >= self.most:
            self.forget(next(iter(self.entries)))
            self.evicted += 1
        self.entries[key] = entry
        self.names.setdefault(entry.name, []).append(key)

    def forget(self, bytes key not None):
        """Remove the entry under a key; True if there was one."""
        cdef KeyEntry entry
        found = self.entries.pop(key, None)
        if found is None:
            return False
        entry = <KeyEntry>found
        keys = self.names[entry.name]
        keys.remove(key)
        if not keys:
            del self.names[entry.name]
        return True

    cdef bint holds(self, KeyEntry entry) noexcept:
        return not self.marks.marked(entry.place, <uint64_t>entry.seen)

    def current(self, KeyEntry entry not None):
        """Whether nobody on this node has changed the key since its session was read."""
        return self.holds(entry)

    def named(self, bytes name not None):
        """The entries that the store, and so a notification, calls `name`."""
        return [self.entries[key] for key in self.names.get(name, ())]

    def forget_name(self, bytes name not None):
        """Remove those entries. Returns how many there were."""
        keys = list(self.names.get(name, ()))
        for key in keys:
            self.forget(key)
        return len(keys)

    def expire(self):
        """Let the next request of each key ask the store first."""
        cdef KeyEntry entry
        for entry in self.entries.values():
            entry.loaded = -(<int64_t>1 << 60)

    def __len__(self):
        return len(self.entries)


cdef class TokenSource:
    """Where a client puts its token (tyk-core 2.2): a parameter goes before the header, a cookie before both."""

    def __init__(self, bytes header=b"", bytes param=b"", bytes cookie=b""):
        """Names; an empty one is not looked at."""
        self.header, self.param, self.cookie = canonical(header) if header else b"", param, cookie

    cdef bytes find(self, Exchange x):
        cdef HeaderBlock head = x.req
        cdef bytes found = b""
        cdef bytes other
        cdef int at
        if self.header:
            at = head.lookup(PyBytes_AS_STRING(self.header), PyBytes_GET_SIZE(self.header))
            if at >= 0:
                found = head.value_of(at)
        if self.param and self.param in x.query:
            other = query_value(x.query, self.param)
            if other:
                found = other
        if self.cookie:
            other = cookie_value(head, self.cookie)
            if other:
                found = other
        if PyBytes_GET_SIZE(found) > 7 and strncasecmp(PyBytes_AS_STRING(found), b"bearer ", 7) == 0:
            found = found[7:]
        return found

    def remove(self, Exchange x not None):
        """Take the credentials out of the request (strip_auth_data)."""
        if self.header:
            x.req.remove(self.header)
        if self.param and self.param in x.query:
            x.query = without_parameter(x.query, self.param)
        if self.cookie:
            remove_cookie(x.req, self.cookie)


cdef bytes query_value(bytes query, bytes name):
    """The first value of a query parameter, decoded; b"" if there is none."""
    cdef bytes pair, key, value
    for pair in query.split(b"&"):
        key, _, value = pair.partition(b"=")
        if key == name or (b"%" in key or b"+" in key) and unquote_to_bytes(key.replace(b"+", b" ")) == name:
            return unquote_to_bytes(value.replace(b"+", b" "))
    return b""


cdef bytes without_parameter(bytes query, bytes name):
    """The query without a parameter, sorted and encoded anew as Go's url.Values does."""
    pairs = [pair for pair in parse_qsl(query, keep_blank_values=True) if pair[0] != name]
    pairs.sort(key=lambda pair: pair[0])
    return urlencode(pairs).encode()


cdef bytes cookie_value(HeaderBlock head, bytes name):
    cdef bytes line, pair, key, value
    for key, line in head.items():
        if key == b"Cookie":
            for pair in line.split(b";"):
                key, _, value = pair.strip().partition(b"=")
                if key == name:
                    return value.strip(b'"')
    return b""


cdef int remove_cookie(HeaderBlock head, bytes name) except -1:
    lines = [value for key, value in head.items() if key == b"Cookie"]
    if not lines:
        return 0
    head.remove(b"Cookie")
    for line in lines:
        kept = [pair.strip() for pair in line.split(b";") if pair.strip().partition(b"=")[0] != name]
        if kept:
            head.add(b"Cookie", b"; ".join(kept))
    return 0


cdef class TokenAuth(Step):
    """Find the client's token and its session (tyk-core 3.4, auth token).

    load(exchange, token) -> awaitable: sets `exchange.key` or fails the request. refresh(exchange, token): the entry
    is used but was loaded `refresh_ms` ago; load it again beside.
    """
    cdef tuple sources
    cdef bytes prefix
    cdef KeyCache cache
    cdef object load, refresh, missing
    cdef int64_t refresh_ms

    def __init__(self, object sources, bytes prefix not None, KeyCache cache not None, object load, object refresh,
                 int64_t refresh_ms, object missing):
        """sources: TokenSource objects, the first one with a token counts; prefix: of the API's keys in the cache;
        missing(exchange): no token was sent."""
        self.sources = tuple(sources)
        self.prefix = prefix
        self.cache = cache
        self.load, self.refresh, self.missing = load, refresh, missing
        self.refresh_ms = refresh_ms

    cdef int run(self, Exchange x) except -1:
        cdef TokenSource source
        cdef KeyEntry entry
        cdef bytes token = b""
        cdef object known
        cdef int64_t age
        # A request that comes back to its API has shown its key; behind a loop another API asks for its own.
        if x.ignored or x.key is not None and x.loops and x.key_api == x.plan.api_id:
            return GO_ON
        x.key = None
        x.grant = None
        x.key_api = x.plan.api_id
        for source in self.sources:
            token = source.find(x)
            if token:
                break
        else:
            self.missing(x)
            return ANSWERED
        known = self.cache.entries.get(self.prefix + token)
        if known is not None:
            entry = <KeyEntry>known
            age = x.started_us // 1000 - entry.loaded
            if age < self.cache.fresh and self.cache.holds(entry):
                if age >= self.refresh_ms and not entry.refreshing:
                    entry.refreshing = True
                    self.refresh(x, token)
                x.key = entry
                return GO_ON
        x.task = x.gw.loop.create_task(_finish_step(x, self.load(x, token), x.serial))
        return WAIT


cdef class KeyChecks(Step):
    """Is the key active, not expired, and does it open this API, version, path and method (tyk-core 3.5)?

    compile(exchange, entry) -> Grant: called once per session and API. deny(exchange, what, status, message): answers,
    and tells whoever wants to know; what: "inactive", "expired", "version", "rights" or "url".
    """
    cdef object compile, deny
    cdef bint full_paths

    def __init__(self, object compile, object deny, bint full_paths):
        """full_paths: match allowed_urls against the whole request path too."""
        self.compile = compile
        self.deny = deny
        self.full_paths = full_paths

    cdef int run(self, Exchange x) except -1:
        cdef KeyEntry entry = x.key
        cdef Grant grant
        cdef object found
        if x.ignored:
            return GO_ON
        if entry is None:
            x.fail_now(400, "Session state is missing or unset! Please make sure that auth headers are properly applied")
            return ANSWERED
        found = entry.grants.get(x.plan.grant_key)
        if found is None:
            grant = self.compile(x, entry)
            entry.grants[x.plan.grant_key] = grant
        else:
            grant = <Grant>found
        x.grant = grant
        x.limit_max, x.limit_left, x.limit_reset = grant.quota_max, grant.quota_left, grant.quota_renews
        if grant.inactive:
            return self._deny(x, "inactive", 403, "Key is inactive, please renew")
        if grant.expires > 0 and (x.gw.epoch_ms + x.gw.wheel.now) // 1000 >= grant.expires:
            return self._deny(x, "expired", 401, "Key has expired, please renew")
        if grant.deny is not None:
            return self._deny(x, "rights", grant.deny[0], grant.deny[1])
        if grant.versions is not None and x.version not in grant.versions and x.default_version not in grant.versions:
            return self._deny(x, "version", 403, "Access to this API has been disallowed")
        if grant.urls is not None and not self._url(x, grant):
            return self._deny(x, "url", 403, "Access to this resource has been disallowed")
        return GO_ON

    cdef int _deny(self, Exchange x, str what, int status, str message) except -1:
        self.deny(x, what, status, message)
        return ANSWERED

    cdef bint _url(self, Exchange x, Grant grant) except -1:
        cdef bytes path = decoded_path(x)
        cdef bytes rest = path[x.route_end:]
        cdef bytes clean = clean_path(path) if x.unclean else path
        # An upstream may read this path as the clean one (skip_url_cleaning), so that has to be open too.
        return self._opens(x, grant, path, rest) and (clean == path or self._opens(x, grant, clean, clean_path(rest)))

    cdef bint _opens(self, Exchange x, Grant grant, bytes path, bytes rest) except -1:
        for pattern, methods in grant.urls:
            if x.method in methods and (pattern.search(path) or self.full_paths and (
                    pattern.search(rest) or pattern.search(b"/" + rest.lstrip(b"/")))):
                return True
        return False


cdef class RateLimit(Step):
    """The key's rate limit (tyk-core 5.6): counted on this node, or in the store.

    blocked(exchange, window) -> None or awaitable: the limit is reached; it answers, or waits and tries again.
    remote(exchange, window): asks the store and later calls `exchange.resume` or answers. It is used always, or when
    other nodes share the limit and it is small: at most `threshold` requests per second and node.
    """
    cdef object blocked, remote
    cdef bint always
    cdef double threshold

    def __init__(self, object blocked, object remote, bint always, double threshold):
        self.blocked, self.remote = blocked, remote
        self.always = always
        self.threshold = threshold

    cdef int run(self, Exchange x) except -1:
        cdef Grant grant = x.grant
        cdef RateWindow window
        if x.ignored or x.unlimited or grant is None:
            return GO_ON
        window = grant.rate
        if grant.endpoint_rates:
            window = endpoint_window(x, grant.endpoint_rates, window)
        return GO_ON if window is None else self.check(x, window)

    cdef int check(self, Exchange x, RateWindow window) except -1:
        cdef int said, nodes
        if window.rate <= 0:
            return GO_ON
        nodes = window.table.node_count()
        if self.always or nodes > 1 and window.rate * 1000 <= self.threshold * nodes * window.per:
            self.remote(x, window)
            return ANSWERED if x.status else WAIT
        said = window.hit(x.started_us // 1000)
        if x.gw.rate_headers:
            note_rate(x, window)
        if said == L_PASS:
            return GO_ON
        if said == L_FULL:
            x.cannot_count()
            return ANSWERED
        return finish_later(x, self.blocked(x, window))


cdef RateWindow endpoint_window(Exchange x, tuple rates, RateWindow default):
    cdef bytes path = decoded_path(x)
    if x.route_end:
        path = b"/" + path[x.route_end:].lstrip(b"/")
    for pattern, method, window in rates:
        if method == x.method and pattern.search(path):
            return window
    return default


cdef int note_rate(Exchange x, RateWindow window) except -1:
    """Let X-Ratelimit-* speak of a rate (rate_limit_response_headers: rate_limits)."""
    x.limits_known = True
    x.limit_max = <int64_t>window.rate
    x.limit_left = max(<int64_t>0, x.limit_max - window.count)
    x.limit_reset = (window.reset + x.gw.epoch_ms + 999) // 1000
    return 0


def note_rate_of(Exchange x not None, RateWindow window not None, int64_t left, int64_t reset_ms):
    """Let X-Ratelimit-* speak of a rate that the store has counted; reset_ms: of the monotonic clock."""
    if x.gw.rate_headers:
        x.limits_known = True
        x.limit_max, x.limit_left = <int64_t>window.rate, max(<int64_t>0, left)
        x.limit_reset = (reset_ms + x.gw.epoch_ms + 999) // 1000


cdef int finish_later(Exchange x, object waiting) except -1:
    """What a step says after a Python function returned None or an awaitable."""
    if waiting is None:
        return ANSWERED if x.status else GO_ON
    x.task = x.gw.loop.create_task(_finish_step(x, waiting, x.serial))
    return WAIT


cdef class ApiRateLimit(RateLimit):
    """A limit of all clients of an API together, with a key or without (global_rate_limit)."""
    cdef RateWindow window

    def __init__(self, RateWindow window not None, object blocked, object remote, bint always, double threshold):
        RateLimit.__init__(self, blocked, remote, always, threshold)
        self.window = window

    cdef int run(self, Exchange x) except -1:
        return GO_ON if x.unlimited else self.check(x, self.window)


cdef class PathRateLimit(RateLimit):
    """Limits of all clients together on single paths: RateWindow objects are the data of the plan's rate_limit entries."""

    cdef int run(self, Exchange x) except -1:
        cdef Endpoint endpoint = None if x.unlimited else endpoint_of(x, K_RATE_LIMIT)
        return GO_ON if endpoint is None else self.check(x, <RateWindow>endpoint.data)


cdef class Quota(Step):
    """The key's quota (tyk-core 5.5): counted here while that is exact, else asked for.

    ask(exchange, grant): asks the store and later calls `exchange.resume` or answers. exceeded(exchange): answers. `dirty`
    collects the grants that have counted without the store; whoever reports them empties it.
    """
    cdef object ask, exceeded
    cdef list dirty

    def __init__(self, object ask, object exceeded, list dirty not None):
        self.ask = ask
        self.exceeded = exceeded
        self.dirty = dirty

    cdef int run(self, Exchange x) except -1:
        cdef Grant grant = x.grant
        cdef QuotaWindow quota
        cdef int said
        if x.ignored or grant is None or grant.quota is None:
            return GO_ON
        quota = grant.quota
        if x.unlimited:
            note_quota(x, quota)
            return GO_ON
        said = quota.take(x.started_us // 1000)
        if said == L_PASS:
            if not quota.listed:
                quota.listed = True
                self.dirty.append(grant)
            note_quota(x, quota)
            return GO_ON
        if said == L_BLOCKED:
            self.exceeded(x)
            return ANSWERED
        self.ask(x, grant)
        return ANSWERED if x.status else WAIT


cdef int note_quota(Exchange x, QuotaWindow quota) except -1:
    if not x.gw.rate_headers:
        x.limit_max = quota.max
        x.limit_left = max(<int64_t>0, quota.max - quota.used)
        x.limit_reset = (quota.ends + x.gw.epoch_ms) // 1000 if quota.ends < <int64_t>1 << 60 else 0
    return 0


cdef class StripAuth(Step):
    """Remove credentials before the request goes upstream."""
    cdef tuple sources

    def __init__(self, object sources):
        self.sources = tuple(sources)

    cdef int run(self, Exchange x) except -1:
        for source in self.sources:
            source.remove(x)
        return GO_ON


cdef class PathAnswer(Step):
    """Let a function answer the requests whose path ends with a text."""
    cdef bytes suffix
    cdef object function

    def __init__(self, bytes suffix not None, object function):
        self.suffix = suffix
        self.function = function

    cdef int run(self, Exchange x) except -1:
        cdef Py_ssize_t n = PyBytes_GET_SIZE(self.suffix), size = PyBytes_GET_SIZE(x.path)
        if size < n or memcmp(PyBytes_AS_STRING(x.path) + size - n, PyBytes_AS_STRING(self.suffix), n) != 0:
            return GO_ON
        self.function(x)
        return ANSWERED if x.status else GO_ON
