cdef int append(int kind, int slot, uint64_t sequence, Raw* value, uint16_t* units, size_t count, bint more) noexcept nogil:
    """Add an event, and wake the loop, unless that has been done or more will follow at once (a few are worth one waking)."""
    global events, events_head, events_count, events_capacity, woken
    cdef uint64_t one = 1
    cdef Event* grown
    cdef Event* event
    cdef size_t i
    cdef bint wake
    pthread_mutex_lock(&events_lock)
    if events_count == events_capacity:
        grown = <Event*>malloc(sizeof(Event) * (events_capacity * 2 or 1024))
        for i in range(events_count):
            grown[i] = events[(events_head + i) % events_capacity]
        free(events)
        events = grown
        events_head = 0
        events_capacity = events_capacity * 2 or 1024
    event = &events[(events_head + events_count) % events_capacity]
    event.kind, event.slot, event.sequence = kind, slot, sequence
    event.value, event.units, event.count = value, units, count
    events_count += 1
    wake = not woken and (not more or events_count >= BATCH)
    woken = woken or wake
    pthread_mutex_unlock(&events_lock)
    if wake:
        write(event_fd, &one, 8)
    return 0


cdef void on_callback(uint64_t id, Raw* value) noexcept nogil:
    """What the library calls on an isolate's thread: a task is done, or the script rings the bell."""
    cdef int slot
    cdef Box* box
    if id & BELL:
        on_bell(<int>(id & 0xffff))
        lib.free_value(boxes[id & 0xffff].context, value)       # the arguments, none: each one is an array in the heap
        return
    if id & START:
        box = boxes[id & 0xffff]
        pthread_mutex_lock(&box.lock)
        box.started = value
        box.thread = gettid()
        be_batch()                      # what it does is work in bulk: it need not interrupt the loop to begin
        box.start_done = True
        pthread_cond_broadcast(&box.change)
        pthread_mutex_unlock(&box.lock)
        return
    slot = <int>(id >> 40)
    append(E_VALUE, slot, id & SEQUENCE, value, NULL, 0, add(&boxes[slot].pending, -1) > 0)


cdef void on_bell(int slot) noexcept nogil:
    """The script has put a piece of a message into the mailbox, or wants the next piece of the answer."""
    cdef Box* box = boxes[slot]
    cdef int32_t* mail = box.mail
    cdef uint16_t* units = <uint16_t*>((<char*>mail) + MAIL_HEAD)
    cdef size_t n
    cdef int op = mail[W_OP]
    cdef uint16_t* said
    if op == OP_NEXT:
        put_piece(box)
        return
    n = <size_t>mail[W_UNITS]
    said = <uint16_t*>realloc(box.said, (box.said_units + n) * 2 or 2)
    memcpy(said + box.said_units, units, n * 2)
    box.said = said
    box.said_units += n
    if mail[W_MORE]:
        return
    n = box.said_units
    box.said = NULL
    box.said_units = 0
    if op != OP_CALL:
        append(op, slot, <uint32_t>mail[W_STARTED], NULL, said, n, False)
        return
    pthread_mutex_lock(&box.lock)
    box.waiting = True
    box.answered = box.aborted
    box.status = 0
    pthread_mutex_unlock(&box.lock)
    append(op, slot, <uint32_t>mail[W_STARTED], NULL, said, n, False)
    pthread_mutex_lock(&box.lock)
    while not box.answered:
        pthread_cond_wait(&box.change, &box.lock)
    box.waiting = False
    pthread_mutex_unlock(&box.lock)
    mail[W_STATUS] = box.status
    box.answer_at = 0
    put_piece(box)


cdef void put_piece(Box* box) noexcept nogil:
    """Put the next piece of the answer into the mailbox."""
    cdef size_t n = box.answer_units - box.answer_at
    if n > box.units:
        n = box.units
    memcpy((<char*>box.mail) + MAIL_HEAD, box.answer + box.answer_at, n * 2)
    box.answer_at += n
    box.mail[W_UNITS] = <int32_t>n
    box.mail[W_MORE] = box.answer_at < box.answer_units
    if not box.mail[W_MORE]:
        free(box.answer)
        box.answer = NULL
        box.answer_units = box.answer_at = 0
