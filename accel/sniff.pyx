"""Content type of a body that came without one, from its first 512 bytes.

Source: WHATWG MIME Sniffing, sections 5 to 7, with the order and the resulting strings that Go's
net/http.DetectContentType documents ("text/html; charset=utf-8", "application/octet-stream" as fallback).
A gateway that must answer like a Go server needs those, because net/http adds the header to such answers.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.string cimport memcmp, memcpy

cdef enum:
    SNIFF_LENGTH = 512
    RULES_MAX = 64
    PATTERN_MAX = 36

cdef struct Rule:
    int size
    bint skip_space         # leading white space does not count
    unsigned char[36] pattern
    unsigned char[36] mask

cdef Rule[64] _rules
cdef int _rule_count = 0
cdef list _types = []       # content type of each rule, by index

cdef bytes TEXT = b"text/plain; charset=utf-8"
cdef bytes BINARY = b"application/octet-stream"
cdef bytes HTML = b"text/html; charset=utf-8"


def _rule(bytes content_type, bytes pattern, bytes mask=b"", bint skip_space=False):
    """Append one row of the standard's tables; without a mask every byte must be equal."""
    global _rule_count
    assert len(pattern) <= PATTERN_MAX and _rule_count < RULES_MAX
    cdef Rule* rule = &_rules[_rule_count]
    cdef bytes full = mask or b"\xff" * len(pattern)
    rule.size = len(pattern)
    rule.skip_space = skip_space
    memcpy(rule.pattern, PyBytes_AS_STRING(pattern), rule.size)
    memcpy(rule.mask, PyBytes_AS_STRING(full), rule.size)
    _types.append(content_type)
    _rule_count += 1


# Section 7.1: tags, letters in either case, which a space or ">" must follow.
cdef tuple _tags = (
    b"<!DOCTYPE HTML", b"<HTML", b"<HEAD", b"<SCRIPT", b"<IFRAME", b"<H1", b"<DIV", b"<FONT", b"<TABLE", b"<A",
    b"<STYLE", b"<TITLE", b"<B", b"<BODY", b"<BR", b"<P", b"<!--",
)
cdef Py_ssize_t _tag_count = len(_tags)


def _fill():
    _rule(b"text/xml; charset=utf-8", b"<?xml", skip_space=True)
    _rule(b"application/pdf", b"%PDF-")
    _rule(b"application/postscript", b"%!PS-Adobe-")
    # Byte order marks; the mask leaves the bytes behind the mark open, but they must be there.
    _rule(b"text/plain; charset=utf-16be", b"\xfe\xff\0\0", b"\xff\xff\0\0")
    _rule(b"text/plain; charset=utf-16le", b"\xff\xfe\0\0", b"\xff\xff\0\0")
    _rule(b"text/plain; charset=utf-8", b"\xef\xbb\xbf\0", b"\xff\xff\xff\0")
    # Section 6.1: images.
    _rule(b"image/x-icon", b"\0\0\1\0")
    _rule(b"image/x-icon", b"\0\0\2\0")
    _rule(b"image/bmp", b"BM")
    _rule(b"image/gif", b"GIF87a")
    _rule(b"image/gif", b"GIF89a")
    _rule(b"image/webp", b"RIFF\0\0\0\0WEBPVP", b"\xff\xff\xff\xff\0\0\0\0\xff\xff\xff\xff\xff\xff")
    _rule(b"image/png", b"\x89PNG\r\n\x1a\n")
    _rule(b"image/jpeg", b"\xff\xd8\xff")
    # Section 6.2: audio and video.
    _rule(b"audio/aiff", b"FORM\0\0\0\0AIFF", b"\xff\xff\xff\xff\0\0\0\0\xff\xff\xff\xff")
    _rule(b"audio/mpeg", b"ID3")
    _rule(b"application/ogg", b"OggS\0")
    _rule(b"audio/midi", b"MThd\0\0\0\6")
    _rule(b"video/avi", b"RIFF\0\0\0\0AVI ", b"\xff\xff\xff\xff\0\0\0\0\xff\xff\xff\xff")
    _rule(b"audio/wave", b"RIFF\0\0\0\0WAVE", b"\xff\xff\xff\xff\0\0\0\0\xff\xff\xff\xff")


def _fill_after_mp4():
    _rule(b"video/webm", b"\x1a\x45\xdf\xa3")
    # Section 6.3: fonts.
    _rule(b"application/vnd.ms-fontobject", b"\0" * 34 + b"LP", b"\0" * 34 + b"\xff\xff")
    _rule(b"font/ttf", b"\0\1\0\0")
    _rule(b"font/otf", b"OTTO")
    _rule(b"font/collection", b"ttcf")
    _rule(b"font/woff", b"wOFF")
    _rule(b"font/woff2", b"wOF2")
    # Section 6.4: archives.
    _rule(b"application/x-gzip", b"\x1f\x8b\x08")
    _rule(b"application/zip", b"PK\3\4")
    _rule(b"application/x-rar-compressed", b"Rar!\x1a\x07\0")
    _rule(b"application/x-rar-compressed", b"Rar!\x1a\x07\1\0")
    _rule(b"application/wasm", b"\0asm")


_fill()
cdef int _mp4_at = _rule_count
_fill_after_mp4()


cdef inline bint _is_space(unsigned char c) noexcept:
    return c == 0x20 or c == 0x09 or c == 0x0A or c == 0x0C or c == 0x0D


cdef bint _matches(Rule* rule, const unsigned char* data, Py_ssize_t n) noexcept:
    cdef int at
    if n < rule.size:
        return False
    for at in range(rule.size):
        if data[at] & rule.mask[at] != rule.pattern[at]:
            return False
    return True


cdef bint _is_tag(const unsigned char* data, Py_ssize_t n, const unsigned char* tag, Py_ssize_t size) noexcept:
    cdef Py_ssize_t at
    cdef unsigned char c
    if n < size + 1:
        return False
    for at in range(size):
        c = data[at]
        if b"a" <= c <= b"z":
            c -= 32
        if c != tag[at]:
            return False
    return data[size] == b" " or data[size] == b">"


cdef bint _is_mp4(const unsigned char* data, Py_ssize_t n) noexcept:
    """Section 6.2.1: an ftyp box whose major or a compatible brand begins with "mp4"."""
    cdef Py_ssize_t size, at
    if n < 12:
        return False
    size = (<Py_ssize_t>data[0] << 24) | (data[1] << 16) | (data[2] << 8) | data[3]
    if n < size or size % 4 or memcmp(data + 4, b"ftyp", 4):
        return False
    for at in range(8, size, 4):
        # Bytes 12 to 15 are the minor version, not a brand.
        if at != 12 and memcmp(data + at, b"mp4", 3) == 0:
            return True
    return False


cdef bint _is_text(const unsigned char* data, Py_ssize_t n) noexcept:
    """Free of binary data bytes (section 3)."""
    cdef Py_ssize_t at
    cdef unsigned char c
    for at in range(n):
        c = data[at]
        if c <= 0x08 or c == 0x0B or 0x0E <= c <= 0x1A or 0x1C <= c <= 0x1F:
            return False
    return True


cdef bytes sniff(const char* data, Py_ssize_t n):
    """The content type of a body that begins with these n bytes; text for an empty one."""
    cdef const unsigned char* raw = <const unsigned char*>data
    cdef Py_ssize_t skipped = 0, index
    cdef int at
    cdef bytes tag
    if n > SNIFF_LENGTH:
        n = SNIFF_LENGTH
    while skipped < n and _is_space(raw[skipped]):
        skipped += 1
    if skipped < n and raw[skipped] == b"<":
        for index in range(_tag_count):
            tag = <bytes>_tags[index]
            if _is_tag(raw + skipped, n - skipped, <const unsigned char*>PyBytes_AS_STRING(tag),
                       PyBytes_GET_SIZE(tag)):
                return HTML
    for at in range(_rule_count):
        if at == _mp4_at and _is_mp4(raw, n):
            return b"video/mp4"
        if _rules[at].skip_space:
            if _matches(&_rules[at], raw + skipped, n - skipped):
                return <bytes>_types[at]
        elif _matches(&_rules[at], raw, n):
            return <bytes>_types[at]
    return TEXT if _is_text(raw + skipped, n - skipped) else BINARY


def detect(bytes data not None):
    """The content type of a body that begins with `data`, as bytes; only 512 bytes are looked at."""
    return sniff(PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))
