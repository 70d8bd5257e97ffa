"""Which path entries of a version a request meets (tyk-core 2.5). See endpoints.pxd."""

import re

KINDS = (
    "mock_response", "ignored", "black_list", "white_list", "cache", "transform", "transform_response", "transform_jq",
    "transform_jq_response", "transform_headers", "transform_response_headers", "hard_timeouts", "circuit_breakers",
    "url_rewrites", "size_limits", "go_plugin", "persist_graphql", "virtual", "method_transforms", "track_endpoints",
    "do_not_track_endpoints", "validate_json", "internal", "rate_limit", "validate_request",
)
OPEN, PASS_IGNORED, FORBIDDEN, REPLY = GATE_OPEN, GATE_IGNORED, GATE_FORBIDDEN, GATE_REPLY

cdef dict NUMBERS = {name: number for number, name in enumerate(KINDS)}
cdef frozenset SPECIAL = frozenset(b".^$*+?{}[]\\|()")
cdef object ESCAPED = re.compile(rb"\\([^0-9A-Za-z])")
cdef Py_ssize_t LONGEST_MEMO = 512     # bytes of a path that is worth keeping

assert len(KINDS) == K_COUNT and NUMBERS["internal"] == K_INTERNAL and NUMBERS["hard_timeouts"] == K_HARD_TIMEOUT
assert NUMBERS["track_endpoints"] == K_TRACK and NUMBERS["do_not_track_endpoints"] == K_DO_NOT_TRACK
assert NUMBERS["rate_limit"] == K_RATE_LIMIT and NUMBERS["url_rewrites"] == K_URL_REWRITE
assert NUMBERS["circuit_breakers"] == K_BREAKER and NUMBERS["method_transforms"] == K_METHOD


cdef class Pattern:
    def __init__(self, bytes source not None):
        """source: an expression over bytes, searched anywhere in the path. It is compiled on first use, so a source that
        nobody has tried raises re.error then."""
        cdef bytes text = source
        self.source = source
        self.at_start = text.startswith(b"^")
        if self.at_start:
            text = text[1:]
        self.at_end = text.endswith(b"\\Z")
        if self.at_end:
            text = text[:len(text) - 2]
        self.plain = not SPECIAL.intersection(ESCAPED.sub(b"", text))
        self.text = ESCAPED.sub(rb"\1", text)
        self.expression = None

    cpdef bint search(self, bytes path) except -1:
        """Whether the pattern is somewhere in the path. Raises re.error."""
        if not self.plain:
            return self._search(path)
        if self.at_start:
            return path == self.text if self.at_end else path.startswith(self.text)
        return path.endswith(self.text) if self.at_end else self.text in path

    cdef bint _search(self, bytes path) except -1:
        if self.expression is None:
            self.expression = Linear(self.source)
        return self.expression.search(path)


cdef class Endpoint:
    def __init__(self, str kind not None, bytes source not None, object methods=None, object data=None, *,
                 bytes path=b"", object actions=None):
        """kind: one of KINDS; source: see Pattern; methods: names that the entry is for, None for all; data: what its
        kind needs, for mock_response (status, headers, body); path: as configured; actions: of the deprecated
        method_actions, {method: None for what the list itself says, False to forbid, or a reply}. Raises KeyError for
        an unknown kind."""
        self.number = NUMBERS[kind]
        self.kind = kind
        self.path = path
        self.pattern = Pattern(source)
        self.methods = None if methods is None else frozenset(methods)
        self.actions = None if actions is None else dict(actions)
        self.data = data

    cdef bint on(self, bytes full, bytes rest, bytes bare) except -1:
        cdef Pattern pattern = self.pattern
        return (bare is not rest and pattern.search(bare)) or pattern.search(rest) or (full is not rest and pattern.search(full))


cdef class Verdict:
    pass


cdef Verdict stricter(Verdict a, Verdict b):
    """The one of two verdicts that lets less through."""
    if b.said == GATE_FORBIDDEN:
        return b
    if a.said == GATE_IGNORED and b.said != GATE_IGNORED or a.said == GATE_REPLY and b.said == GATE_OPEN:
        return b
    return a


cdef class EndpointMatcher:
    """All entries of one version, in the order in which they decide."""

    def __init__(self, object endpoints):
        """endpoints: Endpoint objects; the order within a kind is kept."""
        cdef Endpoint endpoint
        cdef dict groups = {}
        for endpoint in endpoints:
            groups.setdefault(endpoint.number, []).append(endpoint)
        self.groups = [tuple(groups[number]) if number in groups else None for number in range(K_COUNT)]
        self.listed = K_WHITE in groups
        self.timed = K_HARD_TIMEOUT in groups
        self.gated = any(n in groups for n in (K_MOCK, K_IGNORED, K_BLACK, K_WHITE, K_INTERNAL, K_TRACK, K_DO_NOT_TRACK))

    cdef Endpoint first(self, int number, bytes method, bytes full, bytes rest, bytes bare):
        """The first entry of a kind that fits. full, rest, bare: see `judge`."""
        cdef Endpoint endpoint
        cdef object group = self.groups[number]
        if group is not None:
            for endpoint in <tuple>group:
                if (endpoint.methods is None or method in endpoint.methods) and endpoint.on(full, rest, bare):
                    return endpoint
        return None

    cdef Verdict look(self, bytes method, bytes full, bytes rest, bytes bare, bint looping):
        cdef Verdict verdict = Verdict.__new__(Verdict)
        cdef Endpoint endpoint
        verdict.said = self._decide(verdict, method, full, rest, bare, looping)
        if self.groups[K_TRACK] is not None:
            endpoint = self.first(K_TRACK, method, rest, rest, bare)
            verdict.tracked = None if endpoint is None else endpoint.path
        if self.groups[K_DO_NOT_TRACK] is not None:
            verdict.untracked = self.first(K_DO_NOT_TRACK, method, rest, rest, bare) is not None
        return verdict

    cdef int _decide(self, Verdict verdict, bytes method, bytes full, bytes rest, bytes bare, bint looping) except -1:
        cdef Endpoint endpoint
        cdef object action
        cdef bint internal = self.first(K_INTERNAL, method, full, rest, bare) is not None
        cdef int number
        if internal and not looping:
            return GATE_FORBIDDEN
        for number in range(K_WHITE + 1):
            if self.groups[number] is None:
                continue
            for endpoint in <tuple>self.groups[number]:
                if endpoint.actions is not None:
                    if method not in endpoint.actions or not endpoint.on(full, rest, bare):
                        continue
                    action = endpoint.actions[method]
                    if action is False:
                        return GATE_FORBIDDEN
                    if action is not None:
                        verdict.reply = action
                        return GATE_REPLY
                elif endpoint.methods is not None and method not in endpoint.methods or not endpoint.on(full, rest, bare):
                    continue
                if number == K_MOCK:
                    verdict.reply = endpoint.data
                    return GATE_REPLY
                if number == K_IGNORED:
                    return GATE_IGNORED
                return GATE_FORBIDDEN if number == K_BLACK else GATE_OPEN
        if self.listed and not internal:
            return GATE_FORBIDDEN
        return GATE_OPEN

    def has(self, str kind not None):
        """Whether there is an entry of a kind. Raises KeyError for an unknown kind."""
        return self.groups[NUMBERS[kind]] is not None

    def find(self, str kind not None, bytes method not None, object candidates):
        """The data of the first entry of a kind that fits the method and one of the paths, else None.

        candidates: decoded paths; for what comes after the gate that is the path behind the listen path, and before it
        the one behind the version. Raises KeyError for an unknown kind, re.error for a pattern that does not compile.
        """
        cdef Endpoint endpoint
        cdef bytes path
        cdef object group = self.groups[NUMBERS[kind]]
        if group is not None:
            for endpoint in <tuple>group:
                if endpoint.methods is None or method in endpoint.methods:
                    for path in candidates:
                        if endpoint.pattern.search(path):
                            return endpoint.data
        return None

    def judge(self, bytes method not None, bytes full not None, bytes rest not None, bytes bare not None,
              bint looping=False):
        """What the path lists say. full: the whole decoded path; rest: behind the listen path; bare: behind the version
        too, where the version is a part of the path that stays; looping: the request comes from another API."""
        return self.look(method, full, rest, bare, looping)


cdef class VerdictMemo:
    def __init__(self, Py_ssize_t most):
        """most: verdicts that are kept, 0 for none."""
        self.known = {}
        self.most = most
        self.cleared = 0

    cdef int keep(self, tuple key, bytes path, Verdict verdict) except -1:
        if len(path) > LONGEST_MEMO or self.most <= 0:
            return 0
        if len(self.known) >= self.most:
            self.known.clear()
            self.cleared += 1
        self.known[key] = verdict
        return 0

    def configure(self, Py_ssize_t most):
        """Take another bound and forget everything; for every swap of plans."""
        self.most = most
        self.known.clear()

    def __len__(self):
        return len(self.known)
