cdef class CopyBounds:
    """Bytes of response bodies that may be copied: of one response, and of all that are being copied."""

    def __init__(self, Py_ssize_t each, Py_ssize_t together):
        self.configure(each, together)

    def configure(self, Py_ssize_t each, Py_ssize_t together):
        """Other bounds for copies that grow from now on."""
        self.each = each
        self.together = together


cdef int want_copy(Exchange x, CopyBounds bounds, object began, object ended) except -1:
    """Exchange.copy_response."""
    if x.copy is not None:
        drop_copy(x)
    x.copy = Copy()
    x.copy.bounds = bounds
    x.copy.began = began
    x.copy.ended = ended
    return 0


cdef int copy_head(Exchange x) except -1:
    """The response head is on its way: ask whether its body is wanted. What fails here does not concern the client."""
    cdef Copy copy = x.copy
    cdef HeaderBlock head = x.res
    copy.parts = None
    try:
        if not copy.began(x):
            x.copy = None
            return 0
    except Exception:
        x.gw.logger.exception("API %s: a response cannot be copied", x.plan.api_id.decode())
        x.copy = None
        return 0
    copy.parts = Buffer()
    if not x.head_only and head.seen & (<uint64_t>1 << F_CONTENT_LENGTH) and head.length > copy.bounds.each:
        return end_copy(x, False)
    return 0


cdef int copy_piece(Exchange x, const char* p, Py_ssize_t n) except -1:
    """A piece of the body of a response whose head has been seen."""
    cdef Copy copy = x.copy
    if copy.parts is None:
        return 0
    if copy.parts.size + n > copy.bounds.each or copy.bounds.held + n > copy.bounds.together:
        return end_copy(x, False)
    copy.bounds.held += n
    return copy.parts.put(p, n)


cdef int end_copy(Exchange x, bint whole) except -1:
    """Hand over a copy that is whole, or say that it is too large."""
    cdef Copy copy = x.copy
    cdef object ended = copy.ended
    cdef bytes body = None
    if copy.parts is None:
        x.copy = None
        return 0
    if whole:
        body = PyBytes_FromStringAndSize(copy.parts.p, copy.parts.size)
    drop_copy(x)
    try:
        ended(x, body)
    except Exception:
        x.gw.logger.exception("API %s: a copied response cannot be used", x.plan.api_id.decode())
    return 0


cdef int drop_copy(Exchange x) except -1:
    """The copy is not wanted any more, or will not become whole."""
    if x.copy.parts is not None:
        x.copy.bounds.held -= x.copy.parts.size
    x.copy = None
    return 0
