cdef bytes told_address(Exchange x, object believe):
    """The address of the client: of its peer, unless that is a proxy whose word is taken.

    believe(peer, X-Real-IP or None, X-Forwarded-For or None) -> address; None when no proxy is trusted. Several
    X-Forwarded-For fields are one list (RFC 9110 section 5.3).
    """
    cdef HeaderBlock head = x.req
    cdef Field* field
    cdef bytes forwarded = None
    cdef int i
    if believe is None:
        return x.client.address
    cdef int real = head.find(F_X_REAL_IP)
    if head.seen & (<uint64_t>1 << F_X_FORWARDED_FOR):
        for i in range(head.count):
            field = &head.fields[i]
            if field.id == F_X_FORWARDED_FOR and not field.gone:
                forwarded = head.value_of(i) if forwarded is None else forwarded + b"," + head.value_of(i)
    return believe(x.client.address, None if real < 0 else head.value_of(real), forwarded)
