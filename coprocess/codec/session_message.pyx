"""SessionState in the Protocol Buffers wire format, to and from a session's JSON; the fields are those of schema.py."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.math cimport isfinite, signbit
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcpy, memmove

from accel.http1 cimport Buffer

from coprocess.codec.replies import MOST_ENTRIES, CodecError, member, wrong
from coprocess.codec.schema import EXPECTED

cdef Py_ssize_t MOST = MOST_ENTRIES
cdef Py_ssize_t MOST_BYTES = 0x7fffffff

include "wire_out.pxi"
include "wire_in.pxi"


cdef int put_double(Buffer out, double value) except -1:
    """Eight bytes, the least significant one first."""
    cdef uint64_t bits
    cdef int i
    memcpy(&bits, &value, 8)
    out.reserve(8)
    for i in range(8):
        out.p[out.size + i] = <char>(bits >> (8 * i) & 0xff)
    out.size += 8
    return 0


cdef double as_double(object value, str path) except? -1:
    cdef double number
    if type(value) is not float and type(value) is not int:
        raise wrong(path, EXPECTED["double"], value)
    try:
        number = value
    except OverflowError:
        raise wrong(path, EXPECTED["double"], value) from None
    if not isfinite(number):
        raise wrong(path, EXPECTED["double"], value)
    return number


cdef bytes as_text(object value, str path):
    if type(value) is not str:
        raise wrong(path, EXPECTED["string"], value)
    try:
        return (<str>value).encode()
    except UnicodeEncodeError:
        raise CodecError(path, "expected text without lone surrogates") from None


cdef int put_value(Buffer out, int number, str kind, tuple fields, object value, str path, bint always) except -1:
    """One field. always: also if it has its zero value, as entries of lists and maps need it."""
    cdef bytes text
    cdef double real
    cdef int64_t integer
    cdef Py_ssize_t begin
    if kind == "string":
        text = as_text(value, path)
        if always or text:
            put_bytes(out, number, PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text))
    elif kind == "int64":
        if type(value) is not int:
            raise wrong(path, EXPECTED[kind], value)
        try:
            integer = value
        except OverflowError:
            raise wrong(path, EXPECTED[kind], value) from None
        put_number(out, number, integer)
    elif kind == "double":
        real = as_double(value, path)
        if real or signbit(real):
            put_varint(out, number << 3 | FIXED64)
            put_double(out, real)
    elif kind == "bool":
        if type(value) is not bool:
            raise wrong(path, EXPECTED[kind], value)
        put_number(out, number, 1 if value else 0)
    else:
        if not isinstance(value, dict):
            raise wrong(path, EXPECTED[kind], value)
        begin = begin_message(out, number)
        put_fields(out, fields, value, path)
        end_message(out, begin)
    return 0


cdef int put_fields(Buffer out, tuple fields, dict session, str path) except -1:
    """The inside of a message. Members that are missing or null are not written; messages always are."""
    cdef int number
    cdef str wire, name, kind, label, place
    cdef tuple inner
    cdef bint sent
    cdef Py_ssize_t begin
    for number, wire, name, kind, label, inner, sent in fields:
        value = session.get(name)
        if not sent:
            continue
        if value is None:
            if kind != "message" or label != "one":
                continue
            value = {}
        place = f"{path}.{wire}"
        if label == "one":
            put_value(out, number, kind, inner, value, place, False)
        elif label == "list":
            if not isinstance(value, list):
                raise wrong(place, EXPECTED[label], value)
            if kind == "double":
                if value:
                    begin = begin_message(out, number)
                    for at, item in enumerate(value):
                        put_double(out, as_double(item, f"{place}[{at}]"))
                    end_message(out, begin)
            else:
                for at, item in enumerate(value):
                    put_value(out, number, kind, inner, item, f"{place}[{at}]", True)
        else:
            if not isinstance(value, dict):
                raise wrong(place, EXPECTED[label], value)
            for key, item in value.items():
                begin = begin_message(out, number)
                put_value(out, 1, "string", (), key, place, True)
                put_value(out, 2, kind, inner, item, member(place, key), True)
                end_message(out, begin)
    return 0


def encode_session(tuple fields not None, dict session not None):
    """The SessionState of a session. Raises CodecError, naming the field, for what it cannot hold."""
    cdef Buffer out = Buffer()
    put_fields(out, fields, session, "session")
    return out.take()


cdef dict empty(tuple fields):
    """A message without anything in it."""
    cdef dict found = {}
    for _, _, name, kind, label, inner, _ in fields:
        if label == "list":
            found[name] = []
        elif label == "map":
            found[name] = {}
        elif kind == "message":
            found[name] = empty(inner)
        else:
            found[name] = "" if kind == "string" else False if kind == "bool" else 0 if kind == "int64" else 0.0
    return found


cdef double read_double(Reader* r, str path) except? -1:
    cdef uint64_t bits = 0
    cdef double value
    cdef int i
    if r.end - r.p < 8:
        raise broken(path, "the message ends within a field")
    for i in range(8):
        bits |= <uint64_t><unsigned char>r.p[i] << (8 * i)
    r.p += 8
    memcpy(&value, &bits, 8)
    if not isfinite(value):
        raise wrong(path, EXPECTED["double"], value)
    return value


cdef object read_value(Reader* r, uint64_t tag, str kind, tuple fields, object before, str path, str name):
    """One value. before: the message that a message is merged into."""
    cdef str place
    if kind == "string":
        return read_text(r, tag, path, name)
    if kind == "int64":
        check_wire(tag, VARINT, path, name)
        return <int64_t>read_varint(r, path)
    if kind == "bool":
        check_wire(tag, VARINT, path, name)
        return read_varint(r, path) != 0
    place = f"{path}.{name}"
    if kind == "double":
        check_wire(tag, FIXED64, path, name)
        return read_double(r, place)
    check_wire(tag, SPAN, path, name)
    read_fields(read_span(r, path), fields, <dict>before, place)
    return before


cdef int read_entry(Span span, dict found, str kind, tuple fields, str path, str name) except -1:
    """One entry of a map."""
    cdef Reader r = inside(span)
    cdef uint64_t tag
    cdef str key = ""
    value = empty(fields) if kind == "message" else ""
    while r.p != r.end:
        tag = read_tag(&r, path)
        if tag >> 3 == 1:
            key = read_text(&r, tag, path, name)
        elif tag >> 3 == 2:
            value = read_value(&r, tag, kind, fields, value, path, name)
        else:
            skip(&r, tag, path)
    found[key] = value
    return bounded(len(found), path, name)


cdef int read_list(Reader* r, uint64_t tag, list found, str kind, tuple fields, str path, str name) except -1:
    """One more of a list; numbers may come packed (protobuf.dev, "Encoding", packed repeated fields)."""
    cdef Reader packed
    if kind == "double" and tag & 7 == SPAN:
        packed = inside(read_span(r, path))
        while packed.p != packed.end:
            found.append(read_double(&packed, f"{path}.{name}"))
            bounded(len(found), path, name)
    else:
        found.append(read_value(r, tag, kind, fields, empty(fields), path, name))
    return bounded(len(found), path, name)


cdef int read_fields(Span span, tuple fields, dict found, str path) except -1:
    cdef Reader r = inside(span)
    cdef uint64_t tag, number
    cdef str wire, name, kind, label
    cdef tuple inner
    while r.p != r.end:
        tag = read_tag(&r, path)
        number = tag >> 3
        if number > <uint64_t>len(fields):
            skip(&r, tag, path)
            continue
        _, wire, name, kind, label, inner, _ = fields[number - 1]
        if label == "list":
            read_list(&r, tag, found[name], kind, inner, path, wire)
        elif label == "map":
            check_wire(tag, SPAN, path, wire)
            read_entry(read_span(&r, path), found[name], kind, inner, path, wire)
        else:
            found[name] = read_value(&r, tag, kind, inner, found[name], path, wire)
    return 0


def decode_session(tuple fields not None, bytes message not None):
    """The session of a SessionState, every field of it. fields: numbered from 1 without a gap. Raises CodecError."""
    cdef Span span
    cdef dict found = empty(fields)
    span.p = PyBytes_AS_STRING(message)
    span.n = PyBytes_GET_SIZE(message)
    read_fields(span, fields, found, "session")
    return found
