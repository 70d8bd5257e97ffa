"""What comes back from a plugin in the Protocol Buffers wire format: one coprocess.Object, read into a PluginReply.

Only fields that the gateway reads back are looked into (tyk-plugins 3.4); of the others the encoding is checked. A field that
comes twice follows the format's rules: the last value counts, messages are merged, lists go on.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdint cimport int32_t, uint32_t, uint64_t

from coprocess.codec.replies import MOST_ENTRIES, CodecError, Overrides, PluginReply, RequestReply, ResponseReply, member

cdef Py_ssize_t MOST = MOST_ENTRIES

include "wire_in.pxi"


cdef int read_texts(Reader* r, uint64_t tag, list texts, str path, str name) except -1:
    """One more of a repeated field."""
    texts.append(read_text(r, tag, path, name))
    return bounded(len(texts), path, name)


cdef int read_pair(Reader* r, uint64_t tag, dict found, str path, str name) except -1:
    """One entry of a map from text to text; the last one of a key counts."""
    cdef Reader entry
    cdef Span value
    cdef Span key
    cdef str label
    check_wire(tag, SPAN, path, name)
    entry = inside(read_span(r, path))
    key.n = value.n = 0
    key.p = value.p = entry.p
    while entry.p != entry.end:
        tag = read_tag(&entry, path)
        if tag >> 3 == 1:
            check_wire(tag, SPAN, path, name)
            key = read_span(&entry, path)
        elif tag >> 3 == 2:
            check_wire(tag, SPAN, path, name)
            value = read_span(&entry, path)
        else:
            skip(&entry, tag, path)
    label = text_of(key, path, name)
    try:
        found[label] = PyUnicode_DecodeUTF8(value.p, value.n, NULL)
    except UnicodeDecodeError:
        raise broken(member(f"{path}.{name}" if path else name, label), "expected UTF-8 text") from None
    return bounded(len(found), path, name)


cdef bytes bytes_of(Span span):
    return PyBytes_FromStringAndSize(span.p, span.n)


cdef bytes read_bytes(Reader* r, uint64_t tag, str path, str name):
    check_wire(tag, SPAN, path, name)
    return bytes_of(read_span(r, path))


cdef int32_t read_int32(Reader* r, uint64_t tag, str path, str name) except? -1:
    """The lower 32 bits, as every reader of the format takes them."""
    check_wire(tag, VARINT, path, name)
    return <int32_t><uint32_t>read_varint(r, path)


cdef class Piece:
    """What is known of a message, which may come in several pieces."""
    cdef str path

    cdef int read(self, Span span) except -1:
        cdef Reader r = inside(span)
        while r.p != r.end:
            self.field(&r, read_tag(&r, self.path))
        return 0

    cdef int field(self, Reader* r, uint64_t tag) except -1:
        """One field; the reader stands behind its tag."""
        return skip(r, tag, self.path)


cdef class OverridesPiece(Piece):
    """ReturnOverrides."""
    cdef int32_t code
    cdef str error, body
    cdef dict headers
    cdef bint override_error

    def __cinit__(self):
        self.path = "request.return_overrides"
        self.error = self.body = ""
        self.headers = {}

    cdef int field(self, Reader* r, uint64_t tag) except -1:
        cdef uint64_t number = tag >> 3
        if number == 1:
            self.code = read_int32(r, tag, self.path, "response_code")
        elif number == 2:
            self.error = read_text(r, tag, self.path, "response_error")
        elif number == 3:
            read_pair(r, tag, self.headers, self.path, "headers")
        elif number == 4:
            check_wire(tag, VARINT, self.path, "override_error")
            self.override_error = read_varint(r, self.path) != 0
        elif number == 5:
            self.body = read_text(r, tag, self.path, "response_body")
        else:
            skip(r, tag, self.path)
        return 0

    cdef object found(self):
        return Overrides(self.code, self.error, list(self.headers.items()), self.override_error, self.body)


cdef class RequestPiece(Piece):
    """MiniRequestObject."""
    cdef str url, method
    cdef bytes raw_body
    cdef dict set_headers, add_params
    cdef list delete_headers, delete_params
    cdef OverridesPiece overrides

    def __cinit__(self):
        self.path = "request"
        self.url = self.method = ""
        self.raw_body = b""
        self.set_headers = {}
        self.add_params = {}
        self.delete_headers = []
        self.delete_params = []

    cdef int field(self, Reader* r, uint64_t tag) except -1:
        cdef uint64_t number = tag >> 3
        if number == 2:
            read_pair(r, tag, self.set_headers, self.path, "set_headers")
        elif number == 3:
            read_texts(r, tag, self.delete_headers, self.path, "delete_headers")
        elif number == 5:
            self.url = read_text(r, tag, self.path, "url")
        elif number == 7:
            read_pair(r, tag, self.add_params, self.path, "add_params")
        elif number == 9:
            read_texts(r, tag, self.delete_params, self.path, "delete_params")
        elif number == 10:
            check_wire(tag, SPAN, self.path, "return_overrides")
            if self.overrides is None:
                self.overrides = OverridesPiece()
            self.overrides.read(read_span(r, self.path))
        elif number == 11:
            self.method = read_text(r, tag, self.path, "method")
        elif number == 14:
            self.raw_body = read_bytes(r, tag, self.path, "raw_body")
        else:
            if number <= 13 and tag & 7 != SPAN:
                check_wire(tag, SPAN, self.path, IGNORED[number])
            skip(r, tag, self.path)
        return 0

    cdef object found(self):
        return RequestReply(
            self.url, self.method, self.raw_body, list(self.set_headers.items()), self.delete_headers,
            list(self.add_params.items()), self.delete_params, None if self.overrides is None else self.overrides.found(),
        )


cdef dict IGNORED = {1: "headers", 4: "body", 6: "params", 8: "extended_params", 12: "request_uri", 13: "scheme"}


cdef class HeaderPiece(Piece):
    """Header: one name with all its values."""
    cdef str key
    cdef list values

    def __cinit__(self):
        self.path = "response.multivalue_headers"
        self.key = ""
        self.values = []

    cdef int field(self, Reader* r, uint64_t tag) except -1:
        if tag >> 3 == 1:
            self.key = read_text(r, tag, self.path, "key")
        elif tag >> 3 == 2:
            read_texts(r, tag, self.values, self.path, "values")
        else:
            skip(r, tag, self.path)
        return 0


cdef class ResponsePiece(Piece):
    """ResponseObject."""
    cdef int32_t status
    cdef bytes raw_body
    cdef dict headers
    cdef list multivalue

    def __cinit__(self):
        self.path = "response"
        self.raw_body = b""
        self.headers = {}
        self.multivalue = []

    cdef int field(self, Reader* r, uint64_t tag) except -1:
        cdef uint64_t number = tag >> 3
        cdef HeaderPiece header
        if number == 1:
            self.status = read_int32(r, tag, self.path, "status_code")
        elif number == 2:
            self.raw_body = read_bytes(r, tag, self.path, "raw_body")
        elif number == 3:
            check_wire(tag, SPAN, self.path, "body")
            skip(r, tag, self.path)
        elif number == 4:
            read_pair(r, tag, self.headers, self.path, "headers")
        elif number == 5:
            check_wire(tag, SPAN, self.path, "multivalue_headers")
            header = HeaderPiece()
            header.read(read_span(r, self.path))
            self.multivalue.append((header.key, header.values))
            bounded(len(self.multivalue), self.path, "multivalue_headers")
        else:
            skip(r, tag, self.path)
        return 0

    cdef object found(self):
        return ResponseReply(self.status, self.raw_body, list(self.headers.items()), self.multivalue)


cdef class ObjectPiece(Piece):
    """Object."""
    cdef RequestPiece request
    cdef bytes session
    cdef dict metadata
    cdef ResponsePiece response

    def __cinit__(self):
        self.path = ""
        self.metadata = {}

    cdef int field(self, Reader* r, uint64_t tag) except -1:
        cdef uint64_t number = tag >> 3
        cdef bytes more
        if number == 3:
            check_wire(tag, SPAN, "", "request")
            if self.request is None:
                self.request = RequestPiece()
            self.request.read(read_span(r, "request"))
        elif number == 4:
            check_wire(tag, SPAN, "", "session")
            more = bytes_of(read_span(r, "session"))
            self.session = more if self.session is None else self.session + more
        elif number == 5:
            read_pair(r, tag, self.metadata, "", "metadata")
        elif number == 7:
            check_wire(tag, SPAN, "", "response")
            if self.response is None:
                self.response = ResponsePiece()
            self.response.read(read_span(r, "response"))
        else:
            if number == 1:
                check_wire(tag, VARINT, "", "hook_type")
            elif number == 2 or number == 6:
                check_wire(tag, SPAN, "", "hook_name" if number == 2 else "spec")
            skip(r, tag, "")
        return 0

    cdef object found(self):
        return PluginReply(
            None if self.request is None else self.request.found(), self.session, self.metadata,
            None if self.response is None else self.response.found(),
        )


def decode_protobuf(bytes message not None):
    """The PluginReply of a message. Raises CodecError."""
    cdef ObjectPiece whole = ObjectPiece()
    cdef Span span
    span.p = PyBytes_AS_STRING(message)
    span.n = PyBytes_GET_SIZE(message)
    whole.read(span)
    return whole.found()
