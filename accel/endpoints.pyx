"""Which entries of a path list a request meets (tyk-core 2.5). See endpoints.pxd."""

import re

cdef int MOST_MEMO = 4096       # results that are kept; then all are forgotten
cdef int LONGEST_MEMO = 512     # bytes of a path that is worth keeping
cdef frozenset SPECIAL = frozenset(b".^$*+?{}[]\\|()")

MOCK, IGNORED, BLACK, WHITE, INTERNAL = E_MOCK, E_IGNORED, E_BLACK, E_WHITE, E_INTERNAL


cdef class Pattern:
    def __init__(self, bytes source not None):
        """source: a regular expression over bytes, searched anywhere in the path. Raises re.error."""
        cdef bytes text = source
        self.at_start = text.startswith(b"^")
        if self.at_start:
            text = text[1:]
        self.at_end = text.endswith(b"$") and not text.endswith(b"\\$")
        if self.at_end:
            text = text[:len(text) - 1]
        self.plain = not SPECIAL.intersection(text)
        self.text = text
        self.expression = None if self.plain else re.compile(source)

    cdef bint test(self, bytes path) except -1:
        if not self.plain:
            return self.expression.search(path) is not None
        if self.at_start:
            return path == self.text if self.at_end else path.startswith(self.text)
        return path.endswith(self.text) if self.at_end else self.text in path

    def matches(self, bytes path not None):
        """Whether the pattern is somewhere in the path."""
        return self.test(path)


cdef class Gate:
    """The entries of one version that let pass, stop or answer before anything else is asked.

    entries: (kind, pattern source, method or b"", actions, reply) in order; actions: None, or {method: None for the
    list's own meaning, or a reply}; reply: (status, headers, body). Raises re.error.
    """

    def __init__(self, object entries):
        self.internal = []
        self.entries = []
        self.memo = {}
        self.listed = False
        for kind, source, method, actions, reply in entries:
            if kind == E_INTERNAL:
                self.internal.append((Pattern(source), method))
            else:
                self.entries.append((kind, Pattern(source), method, actions, reply))
                self.listed = self.listed or kind == E_WHITE
        self.entries.sort(key=lambda entry: entry[0])

    cdef int decide(self, bytes method, bytes full, bytes rest, bytes bare, bint looping) except -1:
        """GATE_*. full: the whole decoded path; rest: without the listen path; bare: without the version too."""
        cdef object key = (method, full, looping)
        cdef object known = self.memo.get(key)
        if known is None:
            known = self.look(method, full, rest, bare, looping)
            if len(full) <= LONGEST_MEMO:
                if len(self.memo) >= MOST_MEMO:
                    self.memo.clear()
                self.memo[key] = known
        self.reply = (<tuple>known)[1]
        return (<tuple>known)[0]

    cdef tuple look(self, bytes method, bytes full, bytes rest, bytes bare, bint looping):
        cdef Pattern pattern
        cdef int kind
        if not looping:
            for pattern, only in self.internal:
                if only == method and (pattern.test(bare) or pattern.test(rest) or pattern.test(full)):
                    return GATE_FORBIDDEN, None
        for kind, pattern, only, actions, reply in self.entries:
            if not (pattern.test(bare) or pattern.test(rest) or pattern.test(full)):
                continue
            if actions:
                if method not in actions:
                    continue
                reply = actions[method]
                if reply is not None:
                    return GATE_REPLY, reply
            elif kind == E_MOCK:
                if only != method:
                    continue
                return GATE_REPLY, reply
            elif only and only != method:
                continue
            if kind == E_IGNORED:
                return GATE_IGNORED, None
            return (GATE_FORBIDDEN if kind == E_BLACK else GATE_OPEN), None
        return (GATE_FORBIDDEN if self.listed else GATE_OPEN), None

    def judge(self, bytes method not None, bytes full not None, bytes rest not None, bytes bare not None,
              bint looping=False):
        """(GATE_*, reply) for tests and tools."""
        said = self.decide(method, full, rest, bare, looping)
        return said, self.reply
