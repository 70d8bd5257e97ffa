"""See hpack.pxd."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from coprocess.grpc.hpack_tables import CODE_LENGTHS, STATIC

cdef enum:
    SYMBOLS = 257
    END_OF_STRING = 256
    SHORTEST = 5
    LONGEST = 30
    FIELD_OVERHEAD = 32         # of each field in the size of a list (RFC 9113 6.5.2)

cdef tuple STATIC_TABLE = STATIC
cdef uint32_t[LONGEST + 1] first_code       # of this length
cdef uint32_t[LONGEST + 1] many             # codes of this length
cdef uint32_t[LONGEST + 1] first_index      # of this length's first symbol in `symbols`
cdef unsigned short[SYMBOLS] symbols        # in order of their codes


class HpackError(ValueError):
    """A block that cannot be read: the connection is at its end (RFC 9113 4.3, COMPRESSION_ERROR)."""


class TooLarge(ValueError):
    """The fields of a block are larger than was announced (RFC 9113 10.5.1)."""


cdef int fill_tables() except -1:
    cdef int symbol, length, at = 0
    cdef uint32_t code = 0
    for length in range(1, LONGEST + 1):
        code <<= 1
        first_code[length] = code
        first_index[length] = at
        for symbol in range(SYMBOLS):
            if CODE_LENGTHS[symbol] == length:
                symbols[at] = symbol
                at += 1
                code += 1
        many[length] = code - first_code[length]
    return 0


fill_tables()


cdef object integer(const uint8_t* p, Py_ssize_t n, Py_ssize_t* pos, int bits, Py_ssize_t* value):
    """RFC 7541 5.1. Sets *value and moves *pos behind it."""
    cdef uint64_t most = (1 << bits) - 1
    cdef uint64_t number = p[pos[0]] & most
    cdef int shift = 0
    cdef uint8_t byte
    pos[0] += 1
    if number == most:
        while True:
            if pos[0] >= n:
                raise HpackError("an integer has no end")
            byte = p[pos[0]]
            pos[0] += 1
            number += <uint64_t>(byte & 0x7F) << shift
            if number > MOST_INTEGER or shift > 28:
                raise HpackError("an integer is too large")
            if not byte & 0x80:
                break
            shift += 7
    value[0] = <Py_ssize_t>number


cdef bytes huffman(const uint8_t* p, Py_ssize_t n, Py_ssize_t most):
    """RFC 7541 5.2 and Appendix B. At most `most` bytes come out."""
    cdef bytearray out = bytearray()
    cdef uint64_t code = 0
    cdef int length = 0, bit
    cdef Py_ssize_t i
    cdef unsigned short symbol
    for i in range(n):
        for bit in range(7, -1, -1):
            code = code << 1 | (p[i] >> bit & 1)
            length += 1
            if length >= SHORTEST and code - first_code[length] < many[length]:
                symbol = symbols[first_index[length] + (code - first_code[length])]
                if symbol == END_OF_STRING:
                    raise HpackError("a string holds the code of its end")
                if len(out) >= most:
                    raise TooLarge("a field is larger than was announced")
                out.append(symbol)
                code = 0
                length = 0
            elif length == LONGEST:
                raise HpackError("a string holds bits that are no code")
    if length > 7 or code != (<uint64_t>1 << length) - 1:
        raise HpackError("a string ends with something else than a part of the code of its end")
    return bytes(out)


cdef bytes string(const uint8_t* p, Py_ssize_t n, Py_ssize_t* pos, Py_ssize_t most):
    cdef bint coded
    cdef Py_ssize_t length = 0, at
    if pos[0] >= n:
        raise HpackError("a string is missing")
    coded = p[pos[0]] & 0x80
    integer(p, n, pos, 7, &length)
    if length > n - pos[0]:
        raise HpackError("a string is longer than its block")
    at = pos[0]
    pos[0] += length
    if coded:
        return huffman(p + at, length, most)
    if length > most:
        raise TooLarge("a field is larger than was announced")
    return PyBytes_FromStringAndSize(<const char*>p + at, length)


cdef list decode_block(const uint8_t* p, Py_ssize_t n, Py_ssize_t most):
    """(name, value) of each field of a block. Raises HpackError; TooLarge if name, value and 32 bytes of each field make more
    than `most` bytes."""
    cdef list fields = []
    cdef Py_ssize_t pos = 0, index = 0, left = most
    cdef uint8_t byte
    cdef bytes name, value
    while pos < n:
        byte = p[pos]
        if byte & 0x80:                             # 6.1 indexed field
            integer(p, n, &pos, 7, &index)
            if not 0 < index <= len(STATIC_TABLE):
                raise HpackError(f"there is no field {index}")
            name, value = STATIC_TABLE[index - 1]
        elif byte & 0xE0 == 0x20:                   # 6.3 size update
            integer(p, n, &pos, 5, &index)
            if index != 0:
                raise HpackError("a dynamic table larger than was announced")
            if fields:
                raise HpackError("a size update behind a field")
            continue
        else:                                       # 6.2 literal, with indexing (into a table without room), without, never
            integer(p, n, &pos, 6 if byte & 0x40 else 4, &index)
            if index > len(STATIC_TABLE):
                raise HpackError(f"there is no field {index}")
            name = STATIC_TABLE[index - 1][0] if index else string(p, n, &pos, left)
            value = string(p, n, &pos, left)
        left -= PyBytes_GET_SIZE(name) + PyBytes_GET_SIZE(value) + FIELD_OVERHEAD
        if left < 0:
            raise TooLarge("the fields are larger than was announced")
        fields.append((name, value))
    return fields


cdef bytes encode_integer(unsigned long value, int bits, int flags):
    """RFC 7541 5.1; flags: the bits of the first byte above the integer."""
    cdef unsigned long most = (1 << bits) - 1
    cdef bytearray out = bytearray()
    if value < most:
        out.append(flags | value)
        return bytes(out)
    out.append(flags | most)
    value -= most
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


cdef bytes encode_literal(bytes name, bytes value, int flags, int bits):
    """A literal field; its name is a reference where the static table has it. flags and bits: 0x40 and 6 with indexing, 0 and 4
    without."""
    cdef int i
    for i in range(len(STATIC_TABLE)):
        if STATIC_TABLE[i][0] == name:
            return encode_integer(i + 1, bits, flags) + encode_integer(len(value), 7, 0) + value
    return encode_integer(0, bits, flags) + encode_integer(len(name), 7, 0) + name + encode_integer(len(value), 7, 0) + value


def decode(bytes block not None, Py_ssize_t most):
    """decode_block() for Python."""
    return decode_block(<const uint8_t*>PyBytes_AS_STRING(block), PyBytes_GET_SIZE(block), most)


def encode(fields):
    """A block of these fields: references where the static table has the whole field, literals without indexing otherwise."""
    cdef list out = []
    for field in fields:
        name, value = field
        if (name, value) in STATIC_TABLE:
            out.append(encode_integer(STATIC_TABLE.index((name, value)) + 1, 7, 0x80))
        else:
            out.append(encode_literal(name, value, 0, 4))
    return b"".join(out)
