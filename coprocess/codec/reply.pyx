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


cdef bytes read_bytes(Reader* r, uint64_t tag, str path, str name):
    cdef Span span
    check_wire(tag, SPAN, path, name)
    span = read_span(r, path)
    return PyBytes_FromStringAndSize(span.p, span.n)


cdef int32_t read_int32(Reader* r, uint64_t tag, str path, str name) except? -1:
    """The lower 32 bits, as every reader of the format takes them."""
    check_wire(tag, VARINT, path, name)
    return <int32_t><uint32_t>read_varint(r, path)


cdef class OverridesReader:
    """ReturnOverrides, maybe in several pieces."""
    cdef int32_t code
    cdef str error, body
    cdef dict headers
    cdef bint override_error

    def __cinit__(self):
        self.error = self.body = ""
        self.headers = {}

    cdef int read(self, Span span) except -1:
        cdef Reader r = inside(span)
        cdef uint64_t tag, number
        cdef str path = "request.return_overrides"
        while r.p != r.end:
            tag = read_tag(&r, path)
            number = tag >> 3
            if number == 1:
                self.code = read_int32(&r, tag, path, "response_code")
            elif number == 2:
                self.error = read_text(&r, tag, path, "response_error")
            elif number == 3:
                read_pair(&r, tag, self.headers, path, "headers")
            elif number == 4:
                check_wire(tag, VARINT, path, "override_error")
                self.override_error = read_varint(&r, path) != 0
            elif number == 5:
                self.body = read_text(&r, tag, path, "response_body")
            else:
                skip(&r, tag, path)
        return 0

    cdef object found(self):
        return Overrides(self.code, self.error, list(self.headers.items()), self.override_error, self.body)


cdef class RequestReader:
    """MiniRequestObject, maybe in several pieces."""
    cdef str url, method
    cdef bytes raw_body
    cdef dict set_headers, add_params
    cdef list delete_headers, delete_params
    cdef OverridesReader overrides

    def __cinit__(self):
        self.url = self.method = ""
        self.raw_body = b""
        self.set_headers = {}
        self.add_params = {}
        self.delete_headers = []
        self.delete_params = []

    cdef int read(self, Span span) except -1:
        cdef Reader r = inside(span)
        cdef uint64_t tag, number
        cdef str path = "request"
        while r.p != r.end:
            tag = read_tag(&r, path)
            number = tag >> 3
            if number == 2:
                read_pair(&r, tag, self.set_headers, path, "set_headers")
            elif number == 3:
                read_texts(&r, tag, self.delete_headers, path, "delete_headers")
            elif number == 5:
                self.url = read_text(&r, tag, path, "url")
            elif number == 7:
                read_pair(&r, tag, self.add_params, path, "add_params")
            elif number == 9:
                read_texts(&r, tag, self.delete_params, path, "delete_params")
            elif number == 10:
                check_wire(tag, SPAN, path, "return_overrides")
                if self.overrides is None:
                    self.overrides = OverridesReader()
                self.overrides.read(read_span(&r, path))
            elif number == 11:
                self.method = read_text(&r, tag, path, "method")
            elif number == 14:
                self.raw_body = read_bytes(&r, tag, path, "raw_body")
            else:
                if number <= 13 and tag & 7 != SPAN:
                    check_wire(tag, SPAN, path, IGNORED[number])
                skip(&r, tag, path)
        return 0

    cdef object found(self):
        return RequestReply(
            self.url, self.method, self.raw_body, list(self.set_headers.items()), self.delete_headers,
            list(self.add_params.items()), self.delete_params, None if self.overrides is None else self.overrides.found(),
        )


cdef dict IGNORED = {1: "headers", 4: "body", 6: "params", 8: "extended_params", 12: "request_uri", 13: "scheme"}


cdef class ResponseReader:
    """ResponseObject, maybe in several pieces."""
    cdef int32_t status
    cdef bytes raw_body
    cdef dict headers
    cdef list multivalue

    def __cinit__(self):
        self.raw_body = b""
        self.headers = {}
        self.multivalue = []

    cdef int read(self, Span span) except -1:
        cdef Reader r = inside(span)
        cdef uint64_t tag, number
        cdef str path = "response"
        while r.p != r.end:
            tag = read_tag(&r, path)
            number = tag >> 3
            if number == 1:
                self.status = read_int32(&r, tag, path, "status_code")
            elif number == 2:
                self.raw_body = read_bytes(&r, tag, path, "raw_body")
            elif number == 3:
                check_wire(tag, SPAN, path, "body")
                skip(&r, tag, path)
            elif number == 4:
                read_pair(&r, tag, self.headers, path, "headers")
            elif number == 5:
                check_wire(tag, SPAN, path, "multivalue_headers")
                self.multivalue.append(read_header(read_span(&r, path)))
                bounded(len(self.multivalue), path, "multivalue_headers")
            else:
                skip(&r, tag, path)
        return 0

    cdef object found(self):
        return ResponseReply(self.status, self.raw_body, list(self.headers.items()), self.multivalue)


cdef tuple read_header(Span span):
    cdef Reader r = inside(span)
    cdef uint64_t tag
    cdef str key = "", path = "response.multivalue_headers"
    cdef list values = []
    while r.p != r.end:
        tag = read_tag(&r, path)
        if tag >> 3 == 1:
            key = read_text(&r, tag, path, "key")
        elif tag >> 3 == 2:
            read_texts(&r, tag, values, path, "values")
        else:
            skip(&r, tag, path)
    return key, values


def decode_protobuf(bytes message not None):
    """The PluginReply of a message. Raises CodecError."""
    cdef Reader r
    cdef Span span
    cdef uint64_t tag, number
    cdef RequestReader request = None
    cdef ResponseReader response = None
    cdef bytes session = None
    cdef dict metadata = {}
    r.p = PyBytes_AS_STRING(message)
    r.end = r.p + PyBytes_GET_SIZE(message)
    while r.p != r.end:
        tag = read_tag(&r, "")
        number = tag >> 3
        if number == 3:
            check_wire(tag, SPAN, "", "request")
            if request is None:
                request = RequestReader()
            request.read(read_span(&r, "request"))
        elif number == 4:
            check_wire(tag, SPAN, "", "session")
            span = read_span(&r, "session")
            session = PyBytes_FromStringAndSize(span.p, span.n) if session is None else session + span.p[:span.n]
        elif number == 5:
            read_pair(&r, tag, metadata, "", "metadata")
        elif number == 7:
            check_wire(tag, SPAN, "", "response")
            if response is None:
                response = ResponseReader()
            response.read(read_span(&r, "response"))
        else:
            if number == 1:
                check_wire(tag, VARINT, "", "hook_type")
            elif number == 2 or number == 6:
                check_wire(tag, SPAN, "", "hook_name" if number == 2 else "spec")
            skip(&r, tag, "")
    return PluginReply(
        None if request is None else request.found(), session, metadata, None if response is None else response.found()
    )
