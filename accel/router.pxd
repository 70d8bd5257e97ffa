"""Which plan answers a request: the longest listen path that is a prefix of the path, custom domains first.

Ownership. A Router is built once per set of plans and never changed, so a request that holds a reference to a plan
keeps it although a reload has swapped the router. `PathTrie` owns its malloc'ed node and label arrays.
"""

cdef struct Node:
    int label               # offset of the edge's bytes
    int label_len
    int first               # first child in the array of children, sorted by first byte
    int children
    int entry               # index into entries, -1: no listen path ends here

cdef class PathTrie:
    cdef Node* nodes
    cdef int node_count
    cdef int* order         # children: indexes into nodes
    cdef char* labels
    cdef list entries       # per entry: tuple of Route, longest (sort length) first
    cdef int _collect(self, const char* path, Py_ssize_t n, int* found, int most) noexcept
    cdef Route match(self, bytes path, Py_ssize_t* end)

cdef class Route:
    """One way into a plan."""
    cdef readonly bytes prefix      # literal bytes the path must begin with
    cdef readonly object pattern    # compiled regular expression over the whole path, or None
    cdef readonly int sort_length
    cdef readonly bint strict       # `/app` matches only `/app` and `/app/...`
    cdef readonly object plan

cdef class Router:
    cdef PathTrie anywhere
    cdef dict domains               # bytes host -> PathTrie
    cdef list patterns              # (compiled host pattern, PathTrie)
    cdef readonly int size
    cdef Route find(self, bytes host, bytes path, Py_ssize_t* end)
