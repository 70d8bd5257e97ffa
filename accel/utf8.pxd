"""Whether bytes are UTF-8 (RFC 3629): no overlong forms, no surrogates, nothing above U+10FFFF.

The functions are compiled into each module that uses them, C code of such a module included. They only look at the bytes
that they are given.
"""

cdef extern from *:
    """
    #ifndef PREFORGE_UTF8
    #define PREFORGE_UTF8
    #include <stdint.h>
    #include <string.h>
    static inline Py_ssize_t utf8_sequence(const char *text, Py_ssize_t n) {
        const unsigned char *p = (const unsigned char *)text;
        unsigned char c = p[0];
        if (c < 0xc2 || n < 2 || (p[1] & 0xc0) != 0x80) return 0;
        if (c < 0xe0) return 2;
        if (n < 3 || (p[2] & 0xc0) != 0x80) return 0;
        if (c < 0xf0) return (c == 0xe0 && p[1] < 0xa0) || (c == 0xed && p[1] > 0x9f) ? 0 : 3;
        if (n < 4 || (p[3] & 0xc0) != 0x80 || c > 0xf4) return 0;
        return (c == 0xf0 && p[1] < 0x90) || (c == 0xf4 && p[1] > 0x8f) ? 0 : 4;
    }
    static inline int is_utf8(const char *text, Py_ssize_t n) {
        const char *p = text, *end = text + n;
        while (p < end) {
            uint64_t eight;
            Py_ssize_t width;
            if (end - p >= 8) {
                memcpy(&eight, p, 8);
                if (!(eight & 0x8080808080808080ULL)) {
                    p += 8;
                    continue;
                }
            }
            if (!(*p & 0x80)) {
                p++;
                continue;
            }
            width = utf8_sequence(p, end - p);
            if (!width) return 0;
            p += width;
        }
        return 1;
    }
    #endif
    """
    # Length of the sequence that begins at text with a byte above 0x7f, 0 if there is none; n: bytes that are there.
    Py_ssize_t utf8_sequence(const char* text, Py_ssize_t n) noexcept nogil
    # Whether all n bytes are.
    bint is_utf8(const char* text, Py_ssize_t n) noexcept nogil
