"""Unary gRPC calls over HTTP/2, for one server as one worker sees it (RFC 9113, RFC 7541, gRPC over HTTP/2).

How a call goes. Caller.dispatch() makes a Call, which is written to a Connection that has room (Connection.begin), or waits.
What is written in one turn of the loop collects in the connection's buffer and leaves in one write (Output); Sender keeps to the
server's windows. Replies are read where the bytes arrive: Frames takes the stream apart, Connection gives the frames their
meaning, and a call whose trailers came is ended with Caller.end(), the only place that calls `done`. Deadlines are slots of ten milliseconds with one timer for all.

Bounds. Calls and events are counted apart, so that events, which nobody waits for, never hold calls up: each have a queue and a
number in flight of their own, and events leave the last stream of a connection to calls. The messages of all of them together,
requests and replies, are bounded in bytes (`held`); one alone may be larger, as far as its own limit goes.

Ownership. Caller owns the calls that wait (`waiting`, `later`), a Connection those that it has written (`streams`), and either gives a
call up before `done` is called. Caller.ready holds the connections that take calls; others live as long as their transport or
the link that opens them. A Call keeps its message until it ends, so that it can be sent anew when the server says that it has
not looked at it. `done` may do anything, call dispatch() included: whoever calls end() looks at its own state anew afterwards.

Memory. A request is copied into the buffer frame by frame, as far as the server's windows and HIGH allow; a reply has the size
that its prefix names, which is at most recv_limit, and takes part of it only as it arrives.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t

cdef enum Outcome:          # also the first totals
    O_OK, O_ERROR, O_TIMEOUT, O_BUSY, O_AWAY, O_TOO_LARGE, O_DISABLED

cdef enum:                  # totals go on
    N_CALLS = 7
    N_CANCELLED, N_RETRIES, N_EVENTS, N_EVENTS_DROPPED, N_EVENTS_FAILED, N_CONNECTS, N_CONNECT_FAILURES, N_DISCONNECTS, N_GOAWAYS
    N_PROTOCOL_ERRORS, N_BYTES_IN, N_BYTES_OUT, TOTALS

cdef enum Phase:            # of a Caller
    P_CONNECTING, P_UP, P_DOWN, P_DISABLED

cdef enum Stage:            # of a Call
    S_NEW, S_WAITING, S_SENT, S_OVER

cdef enum State:            # of a Connection
    H_OPENING, H_READY, H_DRAINING, H_CLOSED

cdef class Call:
    cdef Caller caller
    cdef Connection connection          # that it was written to
    cdef object done
    cdef bytes message
    cdef Stage stage
    cdef bint event, retried
    cdef int64_t due                    # CLOCK_MONOTONIC, microseconds
    cdef Call before, after             # neighbours in its slot of Deadlines
    cdef int slot                       # -1: in none
    cdef uint32_t stream
    cdef Py_ssize_t sent                # of the prefix and the message
    cdef int64_t send_window, receive_window
    cdef bint blocked                   # by its own window: not in Connection.sending
    cdef Answer head                    # None until the response's fields have come
    cdef uint8_t[5] prefix              # of the reply's message
    cdef int prefix_got
    cdef bytes reply
    cdef Py_ssize_t size, got           # of the reply
    cdef Py_ssize_t held                # its part of Caller.held
    cdef int hold(self, Py_ssize_t n) except -1
    cdef void clear(self)
    cdef inline Py_ssize_t total(self)

cdef class Deadlines:
    cdef object loop, timer
    cdef list heads                     # the first Call of each slot, or None
    cdef int64_t cursor                 # the last step that was looked at
    cdef Py_ssize_t many
    cdef int add(self, Call call, int64_t now) except -1
    cdef int remove(self, Call call) except -1

cdef class Answer:
    """What a block of fields means."""
    cdef bytes block                    # the bytes it was read from
    cdef int status                     # HTTP's, 0: none
    cdef int code                       # gRPC's, -1: none
    cdef bytes message                  # grpc-message as it came
    cdef bint grpc                      # by its content-type
    cdef str wrong                      # why it is malformed, or None
    cdef str describe(self)

cdef class Caller:
    cdef readonly object settings
    cdef public object loop, logger
    cdef list ready
    cdef unsigned int turn              # of the connections
    cdef object waiting, later          # OrderedDicts of calls and of events: Call -> None, first come first
    cdef Deadlines deadlines
    cdef Phase phase
    cdef str why                        # it is not up
    cdef bint closing
    cdef object quiet                   # a future of those who wait for the last call
    cdef Py_ssize_t in_flight, max_in_flight, max_waiting
    cdef Py_ssize_t events, max_events, events_in_flight, max_events_in_flight
    cdef Py_ssize_t held, max_bytes     # of messages
    cdef Py_ssize_t receive_limit, send_limit
    cdef int64_t stream_window
    cdef int64_t say_again, unsaid      # when to log failed events again, and how many there are
    cdef bytes head, event_head         # all fields but the timeout
    cdef int64_t[TOTALS] n
    cdef int submit(self, Call call, double deadline) except -1
    cdef int refuse(self, Call call, Outcome outcome, str detail) except -1
    cdef bint full(self, Py_ssize_t n, Py_ssize_t own) noexcept
    cdef bint room(self, bint event) noexcept
    cdef Connection pick(self, bint event)
    cdef int count(self, Call call, int change) except -1
    cdef int pump(self) except -1
    cdef int drain(self, queue, bint event) except -1
    cdef int requeue(self, Call call) except -1
    cdef int end(self, Call call, Outcome outcome, bytes message, str detail) except -1
    cdef int event_failed(self, str detail) except -1
    cdef int calm(self) except -1

cdef class Output:
    """What is to be written in this turn of the loop."""
    cdef object loop, transport
    cdef uint8_t* buffer
    cdef size_t size, room
    cdef bint armed, paused
    cdef object flush_later
    cdef uint8_t* space(self, size_t n) except NULL
    cdef uint8_t* frame(self, size_t length, int kind, int flags, uint32_t stream) except NULL
    cdef int word(self, int kind, uint32_t stream, uint32_t value) except -1
    cdef int arm(self) except -1
    cdef int flush(self) except -1
    cdef int fill(self) except -1
    cdef int flushed(self, Py_ssize_t n) except -1

cdef class Frames(Output):
    """Takes the server's bytes apart."""
    cdef bytes rest                     # the begin of a frame that is not whole
    cdef Py_ssize_t data_left, pad_left # of a DATA frame
    cdef uint32_t data_stream
    cdef bint data_ends
    cdef bint settled                   # SETTINGS have come
    cdef uint32_t block_stream          # of the block that CONTINUATION frames go on with, 0: none
    cdef bint block_ends
    cdef bytearray block
    cdef int block_frames
    cdef int chatter                    # frames that did not bring any call on, since the last beat
    cdef int feed(self, bytes data) except -1
    cdef int fields(self, int kind, int flags, uint32_t stream, const uint8_t* p, Py_ssize_t n) except -1
    cdef int control(self, int kind, int flags, uint32_t stream, const uint8_t* p, Py_ssize_t n) except -1
    cdef int idle(self) except -1
    cdef int on_data_frame(self, uint32_t stream, Py_ssize_t n, Py_ssize_t padding) except -1
    cdef int on_data(self, uint32_t stream, const uint8_t* p, Py_ssize_t n, bint ends) except -1
    cdef int on_fields(self, uint32_t stream, const uint8_t* p, Py_ssize_t n, bint ends) except -1
    cdef int on_reset(self, uint32_t stream, uint32_t code) except -1
    cdef int on_settings(self, const uint8_t* p, Py_ssize_t n) except -1
    cdef int on_ping(self, const uint8_t* p) except -1
    cdef int on_pong(self) except -1
    cdef int on_goaway(self, uint32_t last, uint32_t code, bytes text) except -1
    cdef int on_window(self, uint32_t stream, uint32_t more) except -1

cdef class Sender(Frames):
    """Writes requests, as far as the server allows."""
    cdef readonly Caller caller
    cdef State state
    cdef dict streams                   # id -> Call
    cdef object sending                 # deque: calls with a part of their request unwritten that their window allows
    cdef uint32_t next_stream, written_stream
    cdef int64_t send_window, initial_window, most_streams
    cdef Py_ssize_t most_frame
    cdef bytes table_update             # to be said in the next block of fields
    cdef int unread                     # acknowledgements since writing was paused
    cdef bint has_room(self, bint event)
    cdef int begin(self, Call call, int64_t now) except -1
    cdef int pump_data(self) except -1
    cdef int put_data(self, Call call, Py_ssize_t n, bint ends) except -1
    cdef int acknowledge(self) except -1
    cdef int greeted(self) except -1
    cdef int take_no_more(self, str why) except -1
    cdef int fail_call(self, Call call, Outcome outcome, uint32_t code, str detail) except -1
    cdef Call find(self, uint32_t stream, bint carries)

cdef class Connection(Sender):
    cdef readonly object opened         # future: the server's SETTINGS have come
    cdef readonly object ended          # future: it takes no more calls; its result says why
    cdef readonly object gone           # future: the transport is lost
    cdef readonly bint useful           # it has carried a reply
    cdef readonly bint drained          # it ended because the server wanted it to, without an error
    cdef object wire                    # the transport, also when nothing more is to be written
    cdef int64_t receive_window
    cdef Answer usual_head, usual_end   # as they came last
    cdef bint heard, asked              # bytes since the last beat; a PING of ours is open
    cdef int pings                      # of ours since the last reply
    cdef object timer
    cdef int drop(self, Call call) except -1
    cdef int give_up(self, Call call, uint32_t code) except -1
    cdef int received(self, Call call, const uint8_t* p, Py_ssize_t n) except -1
    cdef Answer meaning(self, const uint8_t* p, Py_ssize_t n, bint ends)
    cdef int answered(self, Call call, Answer answer) except -1
    cdef int fail(self, Outcome outcome, str detail) except -1
    cdef int goodbye(self, uint32_t code, str detail) except -1
