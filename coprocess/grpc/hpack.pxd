"""Header compression for a client that allows its peer no dynamic table (RFC 7541).

This end announces SETTINGS_HEADER_TABLE_SIZE 0, so that what a block means depends on its bytes alone: blocks may be skipped,
kept and compared. A reference beyond the static table is therefore an error. Nothing here owns memory of its own but the
tables, which are filled once.
"""

from libc.stdint cimport uint8_t

cdef enum:
    MOST_INTEGER = 1 << 28      # larger integers are nobody's index, length or table size

cdef list decode_block(const uint8_t* p, Py_ssize_t n, Py_ssize_t most)
cdef bytes encode_integer(unsigned long value, int bits, int flags)
cdef bytes encode_literal(bytes name, bytes value, int flags, int bits)
