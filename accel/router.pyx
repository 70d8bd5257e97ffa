"""See router.pxd. Rules: tyk-core 3.2 (longest first, prefix semantics, variables, custom domains)."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcmp, memcpy

cdef enum:
    MOST_CANDIDATES = 64    # listen paths that are prefixes of one another


cdef class Route:
    def __init__(self, bytes prefix not None, object plan, object pattern=None, int sort_length=-1, bint strict=False):
        """prefix: the literal start; pattern: compiled bytes regex matched at the start of the path, if there are
        variables; sort_length: length that decides among several matches (default: of the prefix)."""
        self.prefix = prefix
        self.plan = plan
        self.pattern = pattern
        self.sort_length = len(prefix) if sort_length < 0 else sort_length
        self.strict = strict


cdef class PathTrie:
    """Radix tree over the literal starts of listen paths."""

    def __cinit__(self, list routes not None):
        cdef dict groups = {}
        cdef Route route
        for route in routes:
            groups.setdefault(route.prefix, []).append(route)
        cdef list prefixes = sorted(groups)
        self.entries = [tuple(sorted(groups[p], key=_by_length)) for p in prefixes]
        # Shape of the tree in Python objects first: (label, entry, children)
        cdef list flat = []
        root = _build(prefixes, 0, len(prefixes), 0)
        queue = [(root, 0)]
        order = []
        flat.append(root)
        at = 0
        while at < len(flat):
            label, entry, children = flat[at]
            order.append((len(flat), len(children)))
            flat.extend(children)
            at += 1
        self.node_count = len(flat)
        cdef Py_ssize_t size = sum(len(node[0]) for node in flat)
        self.nodes = <Node*>calloc(self.node_count, sizeof(Node))
        self.labels = <char*>malloc(size + 1)
        if self.nodes == NULL or self.labels == NULL:
            raise MemoryError
        cdef int offset = 0, i
        cdef bytes text
        for i in range(self.node_count):
            text = flat[i][0]
            self.nodes[i].label = offset
            self.nodes[i].label_len = <int>len(text)
            memcpy(self.labels + offset, PyBytes_AS_STRING(text), len(text))
            offset += <int>len(text)
            self.nodes[i].entry = flat[i][1]
            self.nodes[i].first = order[i][0]
            self.nodes[i].children = order[i][1]

    def __dealloc__(self):
        free(self.nodes)
        free(self.labels)

    cdef int _collect(self, const char* path, Py_ssize_t n, int* found, int most) noexcept:
        """Entries on the way down, shortest first; returns how many."""
        cdef int node = 0, count = 0, low, high, middle
        cdef Py_ssize_t at = 0
        cdef unsigned char want, have
        cdef Node* at_node
        while True:
            at_node = &self.nodes[node]
            if at_node.label_len:
                if n - at < at_node.label_len or memcmp(path + at, self.labels + at_node.label, at_node.label_len):
                    return count
                at += at_node.label_len
            if at_node.entry >= 0:
                if count == most:
                    count -= 1
                found[count] = at_node.entry
                count += 1
            if at == n:
                return count
            want = <unsigned char>path[at]
            low, high = at_node.first, at_node.first + at_node.children
            while low < high:
                middle = (low + high) >> 1
                have = <unsigned char>self.labels[self.nodes[middle].label]
                if have < want:
                    low = middle + 1
                else:
                    high = middle
            if low == at_node.first + at_node.children or <unsigned char>self.labels[self.nodes[low].label] != want:
                return count
            node = low

    cdef Route match(self, bytes path, Py_ssize_t* end):
        """The route with the greatest sort length whose literal start and pattern fit; end: where the listen path ends."""
        cdef int[MOST_CANDIDATES] found
        cdef const char* p = PyBytes_AS_STRING(path)
        cdef Py_ssize_t n = PyBytes_GET_SIZE(path), stop, best_end = 0
        cdef int count = self._collect(p, n, found, MOST_CANDIDATES), i
        cdef Route route, best = None
        for i in range(count - 1, -1, -1):
            for route in <tuple>self.entries[found[i]]:
                if best is not None and route.sort_length <= best.sort_length:
                    break
                if route.pattern is None:
                    stop = PyBytes_GET_SIZE(route.prefix)
                else:
                    hit = route.pattern.match(path)
                    if hit is None:
                        continue
                    stop = hit.end()
                if route.strict and stop and p[stop - 1] != c"/" and stop < n and p[stop] != c"/":
                    continue
                best = route
                best_end = stop
                break
        end[0] = best_end
        return best


def _by_length(Route route):
    return -route.sort_length


cdef object _build(list prefixes, Py_ssize_t low, Py_ssize_t high, Py_ssize_t depth):
    """Node (label, entry, children) for prefixes[low:high], which agree on their first `depth` bytes."""
    cdef bytes first
    cdef Py_ssize_t shared = depth, at, start
    cdef int entry = -1
    cdef list children = []
    if low == high:
        return (b"", -1, [])
    first = prefixes[low]
    last = <bytes>prefixes[high - 1]
    while shared < len(first) and shared < len(last) and first[shared] == last[shared]:
        shared += 1
    if len(first) == shared:
        entry = <int>low
        low += 1
    at = low
    while at < high:
        start = at
        while at < high and (<bytes>prefixes[at])[shared] == (<bytes>prefixes[start])[shared]:
            at += 1
        children.append(_build(prefixes, start, at, shared))
    return (first[depth:shared], entry, children)


cdef class Router:
    """Immutable table of routes.

    routes: (host, Route) pairs; host is None for any host, bytes for one host (lower case, no port), or a compiled
    bytes regular expression that must match the whole host.
    """

    def __init__(self, object routes=()):
        cdef dict exact = {}, patterns = {}
        cdef list plain = []
        self.size = 0
        for host, route in routes:
            self.size += 1
            if host is None:
                plain.append(route)
            elif isinstance(host, bytes):
                exact.setdefault(host, []).append(route)
            else:
                patterns.setdefault(host, []).append(route)
        self.anywhere = PathTrie(plain)
        self.domains = {host: PathTrie(found) for host, found in exact.items()}
        self.patterns = [(host, PathTrie(found)) for host, found in patterns.items()]

    cdef Route find(self, bytes host, bytes path, Py_ssize_t* end):
        """host: lower case without port, b"" if unknown; path: decoded. None if nothing matches."""
        cdef Route route
        cdef object trie
        if self.domains or self.patterns:
            trie = self.domains.get(host)
            if trie is not None:
                route = (<PathTrie>trie).match(path, end)
                if route is not None:
                    return route
            for pattern, trie in self.patterns:
                if pattern.fullmatch(host):
                    route = (<PathTrie>trie).match(path, end)
                    if route is not None:
                        return route
        return self.anywhere.match(path, end)

    def lookup(self, bytes host, bytes path):
        """(route, end of the listen path) or None; for tests and tools."""
        cdef Py_ssize_t end = 0
        cdef Route route = self.find(host, path, &end)
        return None if route is None else (route, end)
