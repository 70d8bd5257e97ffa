"""Regular expressions of linear search time. See linear.pxd."""

import re
import warnings
from re import _constants as codes
from re import _parser as parser

cdef enum:
    # kinds of nodes
    N_BYTE = 0          # what: table of 256, then next
    N_WAYS = 1          # what: tuple of nodes
    N_AT = 2            # what: AT_*, then next
    N_END = 3
    # what can be asked about a position
    AT_START = 0
    AT_STOP = 1
    AT_EDGE = 2         # between a word and what is none
    AT_NO_EDGE = 3
    # what stands before a position
    B_NOTHING = 0
    B_WORD = 1
    B_OTHER = 2

cdef int MOST_WORK = 5_000     # nodes and repetitions of one expression
cdef int MOST_STATES = 256      # that are remembered; then all are forgotten
cdef int MOST_TABLES = 1024     # that expressions share
cdef dict TABLES = {}
cdef bytes DIGITS = b"0123456789"
cdef bytes SPACES = b"\t\n\f\r "
cdef bytes WORDS = DIGITS + b"ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz"
cdef dict PLACES = {
    codes.AT_BEGINNING: AT_START, codes.AT_BEGINNING_STRING: AT_START, codes.AT_END: AT_STOP, codes.AT_END_STRING: AT_STOP,
    codes.AT_BOUNDARY: AT_EDGE, codes.AT_NON_BOUNDARY: AT_NO_EDGE,
}
cdef dict CATEGORIES = {
    codes.CATEGORY_DIGIT: (DIGITS, False), codes.CATEGORY_NOT_DIGIT: (DIGITS, True),
    codes.CATEGORY_SPACE: (SPACES, False), codes.CATEGORY_NOT_SPACE: (SPACES, True),
    codes.CATEGORY_WORD: (WORDS, False), codes.CATEGORY_NOT_WORD: (WORDS, True),
}
FOREIGN = {
    codes.ASSERT: "a look-around assertion", codes.ASSERT_NOT: "a look-around assertion",
    codes.GROUPREF: "a reference to a group", codes.GROUPREF_EXISTS: "a condition",
}


cdef class State:
    pass


cdef class Linear:
    def __init__(self, bytes source not None):
        """source: an expression over bytes in Python's syntax, of what Go's syntax has too: no look-around, no
        references to groups. "$" is the end of the text only. Raises re.error, for one that is too large as well."""
        try:
            with warnings.catch_warnings():
                # Set operations that a later Python may have: today these are plain characters.
                warnings.simplefilter("ignore", FutureWarning)
                tree = parser.parse(source)
            self.nodes = [(N_END, None, 0)]
            self.work = 0
            self.start = self._sequence(tree, tree.state.flags, 0)
        except (OverflowError, RecursionError) as error:
            raise re.error(str(error)) from None

    # -- from the parse tree to nodes, the last one first ----------------------------------

    cdef int _node(self, int kind, object what, int after) except -1:
        self._count()
        self.nodes.append((kind, what, after))
        return len(self.nodes) - 1

    cdef int _count(self) except -1:
        self.work += 1
        if self.work > MOST_WORK:
            raise re.error("the expression is too large")
        return 0

    cdef int _sequence(self, object tree, int flags, int after) except -1:
        self._count()
        for op, value in reversed(list(tree)):
            after = self._one(op, value, flags, after)
        return after

    cdef int _one(self, object op, object value, int flags, int after) except -1:
        if op is codes.LITERAL or op is codes.NOT_LITERAL:
            return self._node(N_BYTE, table([(codes.LITERAL, value)], flags, op is codes.NOT_LITERAL), after)
        if op is codes.IN:
            negative = value[0][0] is codes.NEGATE
            return self._node(N_BYTE, table(value[1:] if negative else value, flags, negative), after)
        if op is codes.ANY:
            return self._node(N_BYTE, table([] if flags & re.DOTALL else [(codes.LITERAL, 10)], 0, True), after)
        if op is codes.AT:
            return self._node(N_AT, PLACES[value], after)
        if op is codes.SUBPATTERN:
            return self._sequence(value[3], (flags | value[1]) & ~value[2], after)
        if op is codes.BRANCH:
            return self._node(N_WAYS, tuple([self._sequence(way, flags, after) for way in value[1]]), 0)
        if op is codes.MAX_REPEAT or op is codes.MIN_REPEAT:
            return self._repeat(value[0], value[1], value[2], flags, after)
        raise re.error(f"{FOREIGN.get(op, str(op))} is not supported")

    cdef int _repeat(self, object least, object most, object tree, int flags, int after) except -1:
        cdef int entry = after
        cdef object _
        if most is codes.MAXREPEAT:
            entry = self._node(N_WAYS, None, 0)
            self.nodes[entry] = (N_WAYS, (self._sequence(tree, flags, entry), after), 0)
        else:
            for _ in range(most - least):
                entry = self._node(N_WAYS, (self._sequence(tree, flags, entry), after), 0)
        for _ in range(least):
            entry = self._sequence(tree, flags, entry)
        return entry

    # -- the search --------------------------------------------------------------------------

    cpdef bint search(self, bytes text) except -1:
        """Whether the expression is somewhere in the text."""
        cdef const unsigned char* p
        cdef const unsigned char* classes
        cdef Py_ssize_t i
        cdef State state
        cdef object move
        if self.classes is None:
            self._prepare()
        p = <const unsigned char*>text
        classes = <const unsigned char*>self.classes
        state = self.first
        for i in range(len(text)):
            move = state.moves[classes[p[i]]]
            if move is None:
                move = self._move(state, classes[p[i]])
            if move is True:
                return True
            state = <State>move
        move = state.moves[self.width]
        if move is None:
            move = self._move(state, self.width)
        return move is True

    cdef int _prepare(self) except -1:
        """Sort bytes that no node tells apart into one class."""
        cdef list tables = list({what for kind, what, _ in self.nodes if kind == N_BYTE})
        cdef dict kinds = {}
        cdef bytearray classes = bytearray(256), samples = bytearray()
        cdef int byte
        for byte in range(256):
            mark = bytes([(<bytes>one)[byte] for one in tables] + [byte in WORDS])
            if mark not in kinds:
                kinds[mark] = len(samples)
                samples.append(byte)
            classes[byte] = kinds[mark]
        self.width = len(samples)
        self.samples = bytes(samples)
        self.states = {}
        self.first = self._state((self.start,), B_NOTHING)
        self.classes = bytes(classes)
        return 0

    cdef State _state(self, tuple places, int before):
        cdef object known = self.states.get((places, before))
        cdef State state
        if known is not None:
            return <State>known
        if len(self.states) >= MOST_STATES:
            self.states = {}
            self.first = self._state((self.start,), B_NOTHING)
        state = State.__new__(State)
        state.places, state.before = places, before
        state.moves = [None] * (self.width + 1)
        self.states[(places, before)] = state
        return state

    cdef object _move(self, State state, int kind):
        """Where a byte of a class leads: another state, or True when the expression has been found."""
        cdef bint end = kind == self.width
        cdef int byte = 0 if end else self.samples[kind]
        cdef bint word = not end and byte in WORDS
        cdef list found = []
        cdef set places
        cdef int node
        if self._reach(state, end, word, found):
            state.moves[kind] = True
        elif end:
            state.moves[kind] = False
        else:
            places = {self.start}
            for node in found:
                _, what, after = <tuple>self.nodes[node]
                if (<bytes>what)[byte]:
                    places.add(after)
            state.moves[kind] = self._state(tuple(sorted(places)), B_WORD if word else B_OTHER)
        return state.moves[kind]

    cdef bint _reach(self, State state, bint end, bint word_next, list found) except -1:
        """Collect the N_BYTE nodes that can be reached without a byte; True when the end can."""
        cdef list todo = list(state.places)
        cdef set seen = set(todo)
        cdef bint edge = (state.before == B_WORD) != word_next
        cdef int node, kind
        cdef object what, after
        while todo:
            node = todo.pop()
            kind, what, after = <tuple>self.nodes[node]
            if kind == N_END:
                return True
            if kind == N_BYTE:
                found.append(node)
                continue
            if kind == N_AT:
                if not (state.before == B_NOTHING if what == AT_START else end if what == AT_STOP
                        else edge if what == AT_EDGE else not edge):
                    continue
                ways = (after,)
            else:
                ways = <tuple>what
            for node in ways:
                if node not in seen:
                    seen.add(node)
                    todo.append(node)
        return False


cdef bytes table(object members, int flags, bint negative):
    """256 bytes, 1 for a byte that one of the members of a class stands for."""
    cdef bytearray found = bytearray(256)
    cdef int byte
    for op, value in members:
        if op is codes.LITERAL:
            wanted = [value]
        elif op is codes.RANGE:
            wanted = range(value[0], value[1] + 1)
        else:
            chars, other = CATEGORIES[value]
            wanted = [byte for byte in range(256) if (byte in chars) != other]
        for byte in wanted:
            found[byte] = 1
            if flags & re.IGNORECASE and bytes([byte]).isalpha():
                found[byte ^ 32] = 1
    whole = bytes([not byte for byte in found]) if negative else bytes(found)
    if len(TABLES) >= MOST_TABLES:
        TABLES.clear()
    return TABLES.setdefault(whole, whole)
