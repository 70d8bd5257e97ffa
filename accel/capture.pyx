"""Regular expressions with groups, of linear search time. See capture.pxd."""

import re
from re import _constants as codes
from re import _parser as parser

from accel.linear cimport Linear

cdef enum:
    # kinds of nodes, as in linear.pyx; N_WAYS with one way and a positive third value notes a bound of a group
    N_BYTE = 0
    N_WAYS = 1
    N_AT = 2
    N_END = 3
    AT_START = 0
    AT_STOP = 1
    AT_EDGE = 2

cdef Py_ssize_t SHORT = 512     # bytes of a text that `re` may search
cdef int FEW = 2                # unbounded repetitions of an expression that `re` may search with


cdef class CaptureSearch(Linear):
    """An expression over bytes (see Linear)."""

    def __init__(self, bytes source not None):
        """source: see Linear. Raises re.error."""
        cdef int count = 0
        Linear.__init__(self, source)
        compiled = re.compile(source)
        self.groups = compiled.groups
        self.source = source
        self.simple = compiled if cost(parser.parse(source), False) <= FEW else None

    cdef int _one(self, object op, object value, int flags, int after) except -1:
        cdef int entry, _
        if op is codes.SUBPATTERN and value[0] is not None:
            after = self._node(N_WAYS, (after,), 2 * <int>value[0] + 2)
            after = self._sequence(value[3], (flags | value[1]) & ~value[2], after)
            return self._node(N_WAYS, (after,), 2 * <int>value[0] + 1)
        if op is codes.MIN_REPEAT:
            entry = after
            if value[1] is codes.MAXREPEAT:
                entry = self._node(N_WAYS, None, 0)
                self.nodes[entry] = (N_WAYS, (after, self._sequence(value[2], flags, entry)), 0)
            else:
                for _ in range(value[1] - value[0]):
                    entry = self._node(N_WAYS, (after, self._sequence(value[2], flags, entry)), 0)
            for _ in range(value[0]):
                entry = self._sequence(value[2], flags, entry)
            return entry
        return Linear._one(self, op, value, flags, after)

    def find(self, bytes text not None):
        """The first match in a text: the whole of it, then its groups, None for one that took no part; None without."""
        cdef list bounds
        cdef Py_ssize_t i
        if not self.search(text):
            return None
        if self.simple is not None and len(text) <= SHORT:
            match = self.simple.search(text)
            return None if match is None else [match[0], *match.groups()]
        bounds = self._ways(text, 0)
        if bounds is None:
            return None
        return [None if bounds[i] < 0 or bounds[i + 1] < 0 else text[bounds[i]:bounds[i + 1]]
                for i in range(0, len(bounds), 2)]

    def bounds(self, bytes text not None, Py_ssize_t start=0):
        """Where the first match that begins at `start` or behind is, (begin, end); None without. What stands before `start`
        is still the context of "^" and of word boundaries."""
        cdef list found
        if start < 0 or start > len(text) or start == 0 and not self.search(text):
            return None
        if self.simple is not None and len(text) <= SHORT:
            match = self.simple.search(text, start)
            return None if match is None else match.span()
        found = self._ways(text, start)
        return None if found is None else (found[0], found[1])

    cdef list _ways(self, bytes text, Py_ssize_t start):
        """The bounds of the first match and its groups, -1 for those without; None when there is none."""
        cdef list now = [], then
        cdef set seen
        cdef tuple bounds, found = None
        cdef tuple fresh = (-1,) * (2 * self.groups + 2)
        cdef Py_ssize_t at, n = len(text)
        cdef int node
        for at in range(start, n + 1):
            if found is None:
                # A match that begins here is worth less than all that began before.
                seen = {node for node, _ in now}
                self._add(now, seen, self.start, (at, *fresh[1:]), at, text)
            elif not now:
                break
            then, seen = [], set()
            for node, bounds in now:
                kind, what, after = <tuple>self.nodes[node]
                if kind == N_END:
                    found = (bounds[0], at, *bounds[2:])
                    break
                if at < n and (<bytes>what)[<unsigned char>text[at]]:
                    self._add(then, seen, after, bounds, at + 1, text)
            now = then
        return None if found is None else list(found)

    cdef int _add(self, list found, set seen, int node, tuple bounds, Py_ssize_t at, bytes text) except -1:
        """Put the places that can be reached without a byte behind `found`, the preferred ones first."""
        cdef list todo = [(node, bounds)]
        cdef int kind, slot
        cdef bint before, behind
        while todo:
            node, bounds = todo.pop()
            if node in seen:
                continue
            seen.add(node)
            kind, what, after = <tuple>self.nodes[node]
            if kind == N_BYTE or kind == N_END:
                found.append((node, bounds))
            elif kind == N_AT:
                before = at > 0 and is_word(text[at - 1])
                behind = at < len(text) and is_word(text[at])
                if (at == 0 if what == AT_START else at == len(text) if what == AT_STOP
                        else before != behind if what == AT_EDGE else before == behind):
                    todo.append((after, bounds))
            elif after > 0:
                slot = after - 1
                todo.append(((<tuple>what)[0], (*bounds[:slot], at, *bounds[slot + 1:])))
            else:
                for way in reversed(<tuple>what):
                    todo.append((way, bounds))
        return 0


cdef bint is_word(unsigned char byte):
    return 48 <= byte <= 57 or 65 <= byte <= 90 or byte == 95 or 97 <= byte <= 122


cdef int cost(object tree, bint repeated) except -1:
    """How many repetitions without a bound there are; many when one is inside another."""
    cdef int total = 0
    for op, value in tree:
        endless = (op is codes.MAX_REPEAT or op is codes.MIN_REPEAT) and (value[1] is codes.MAXREPEAT or value[1] > 16)
        total += endless
        if endless and repeated:
            return 1000
        for inner in inside(value):
            total = min(1000, total + cost(inner, repeated or endless))
    return total


def inside(object value):
    """The expressions below one node of Python's parse tree."""
    if isinstance(value, parser.SubPattern):
        yield value
    elif isinstance(value, (tuple, list)):
        for part in value:
            yield from inside(part)
