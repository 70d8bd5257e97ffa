"""What goes to a plugin: one coprocess.Object (tyk-plugins 2.2 and 3.3), written straight from an exchange.

The buffers belong to the module and are used again for each message; nothing runs between a message's beginning and its end
that could begin another one.
"""

from binascii import b2a_base64

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcpy, memmove

from accel.headers cimport F_HOST, Field, HeaderBlock, hex_value
from accel.http1 cimport Buffer, Exchange
from accel.utf8 cimport is_utf8, utf8_sequence

from coprocess.codec.replies import CodecError, member

cdef extern from "<strings.h>" nogil:
    int strncasecmp(const char* one, const char* other, size_t n)

cdef Py_ssize_t MOST_BYTES = 0x7fffffff     # of a message (protobuf.dev, "Encoding", message size)
cdef dict HOOK_TYPES = {1: b"pre", 2: b"post", 3: b"postkeyauth", 4: b"customkeycheck", 5: b"response"}
cdef Buffer out = Buffer()
cdef Buffer scratch = Buffer()

include "wire_out.pxi"
include "fields.pxi"
include "protobuf_object.pxi"
include "json_object.pxi"


cdef class SessionWire:
    """A session as plugins get it. message: the session alone, metadata: texts by name; both are in `members` again,
    encoded as they stand in an Object. tail: the part of these that is the metadata's."""
    cdef readonly str format
    cdef readonly bytes message
    cdef readonly dict metadata
    cdef bytes members, tail

    def __init__(self, str format not None, bytes message not None, dict metadata not None):
        """message: a SessionState in the format; metadata: str -> str. Raises CodecError."""
        cdef dict texts = {
            encoded(key, "metadata"): encoded(value, member("metadata", key)) for key, value in metadata.items()
        }
        self.format = format
        self.message = message
        self.metadata = metadata
        scratch.size = 0
        if format == "json":
            scratch.add(b',"metadata":')
            put_members(scratch, texts, "metadata")
        else:
            put_texts(scratch, 5, texts)
        self.tail = scratch.take()
        self.join()

    cdef int join(self) except -1:
        """Make `members` of the message and the tail."""
        scratch.size = 0
        if self.format == "json":
            scratch.add(b',"session":')
            scratch.add(self.message)
        else:
            put_bytes(scratch, 4, PyBytes_AS_STRING(self.message), PyBytes_GET_SIZE(self.message))
        scratch.add(self.tail)
        self.members = scratch.take()
        return 0

    def with_quota(self, int64_t left):
        """The same session with so much left of its quota, which `message` says nothing of: it changes with each request."""
        cdef SessionWire wire = SessionWire.__new__(SessionWire)
        wire.format = self.format
        wire.metadata = self.metadata
        wire.tail = self.tail
        if self.format == "json":
            wire.message = b'{"quota_remaining":%d,' % left + self.message[1:]
        else:
            scratch.size = 0
            scratch.add(self.message)
            put_number(scratch, 8, left)
            wire.message = scratch.take()
        wire.join()
        return wire


cdef bytes encoded(str text, str path):
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise CodecError(path, "expected text without lone surrogates") from None


cdef class HookFrame:
    """What is the same in all messages of one hook."""
    cdef readonly int hook_type
    cdef readonly str hook_name, format
    cdef readonly bint raw_body_only
    cdef bytes head, spec
    cdef bint json

    def __init__(self, int hook_type, str hook_name not None, dict spec not None, bint raw_body_only, str format not None):
        """hook_type: a number of HookType, 1 to 5; spec: str -> str. Raises CodecError for text with lone surrogates,
        ValueError for a hook type or a format that does not exist."""
        cdef dict texts = {encoded(key, "spec"): encoded(value, member("spec", key)) for key, value in spec.items()}
        if hook_type not in HOOK_TYPES:
            raise ValueError(f"hook type {hook_type}: expected 1 to 5")
        if format != "protobuf" and format != "json":
            raise ValueError(f"format {format!r}: expected 'protobuf' or 'json'")
        self.hook_type = hook_type
        self.hook_name = hook_name
        self.raw_body_only = raw_body_only
        self.format = format
        self.json = format == "json"
        if self.json:
            self.head = json_head(hook_type, encoded(hook_name, "hook_name"))
            self.spec = json_spec(texts)
        else:
            self.head = protobuf_head(hook_type, encoded(hook_name, "hook_name"))
            self.spec = protobuf_spec(texts)

    def request(self, Exchange x not None, bytes url not None, bytes method not None, bytes body not None, SessionWire session):
        """The message of a request hook. url: path and query as the plugin is to see them; session: None where there is none.
        Raises CodecError for what is not UTF-8, and for a message of 2 GiB."""
        return self.write(x, url, method, body, session, False, 0, None, None)

    def response(self, Exchange x not None, bytes url not None, bytes method not None, bytes request_body not None,
                 SessionWire session, int status, list headers not None, bytes body not None):
        """The message of a response hook. url: that the upstream was asked for; headers: (name, value) with the upstream's names; body: as it came. Raises as
        `request` does."""
        return self.write(x, url, method, request_body, session, True, status, headers, body)

    cdef bytes write(self, Exchange x, bytes url, bytes method, bytes body, SessionWire session, bint respond,
                     int status, list headers, bytes response_body):
        cdef Py_ssize_t begin, start = 0
        cdef bytes message, query
        if session is not None and session.format != self.format:
            raise ValueError(f"a session for {session.format} cannot stand in a message for {self.format}")
        if respond:
            query = url.partition(b"?")[2]      # of the request that the upstream got
        else:
            query = x.query if x.view is None else x.view.query
        if self.json:
            out.size = 0
            out.add(self.head)
            put_json_request(out, x, url, query, method, body, self.raw_body_only)
        else:
            begin = begin_object(out, self.head)
            put_request(out, x, url, query, method, body, self.raw_body_only)
            start = end_request(out, begin, self.head)
        if session is not None:
            out.add(session.members)
        elif self.json:
            out.add(b',"metadata":{}')
        out.add(self.spec)
        if respond:
            if self.json:
                put_json_response(out, status, headers, response_body, self.raw_body_only)
            else:
                put_response(out, status, headers, response_body, self.raw_body_only)
        if self.json:
            out.put("}", 1)
        elif out.size - start > MOST_BYTES:
            raise CodecError("", f"the message would be longer than {MOST_BYTES} bytes")
        message = PyBytes_FromStringAndSize(out.p + start, out.size - start)
        out.size = 0
        out.take()              # gives up the memory of a large message
        return message
