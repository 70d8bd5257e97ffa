/* Byte classes of HTTP/1.1 (RFC 9110 section 5.6.2, RFC 3986 section 2, RFC 9112) and the names of known header fields. */
#ifndef PREFORGE_TABLES_H
#define PREFORGE_TABLES_H
#include <string.h>

enum {
    CH_TOKEN = 1,  /* tchar */
    CH_VALUE = 2,  /* field-content: HTAB, SP, visible ASCII, obs-text */
    CH_TARGET = 4, /* visible ASCII: what a request target may hold before it is looked at closely */
    CH_PATH = 8,   /* stays as it is in a path; the rest is percent-encoded (Go's rule for paths) */
    CH_HOST = 16,  /* reg-name or IPv4 address, without brackets and colon */
    CH_HEX = 32,
    CH_DIGIT = 64,
};

static unsigned char ch_class[256];
static unsigned char ch_upper[256];
static unsigned char ch_lower[256];

static inline void tables_init(void)
{
    static const char tokens[] = "!#$%&'*+-.^_`|~", path[] = "-_.~$&+,/:;=@%", host[] = "-._~!$&'()*+,;=%";
    for (int c = 0; c < 256; c++) {
        unsigned char k = 0;
        int digit = c >= '0' && c <= '9', alpha = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (digit || alpha || (c && strchr(tokens, c))) k |= CH_TOKEN;
        if (c == '\t' || (c >= 0x20 && c != 0x7f)) k |= CH_VALUE;
        if (c > 0x20 && c < 0x7f) k |= CH_TARGET;
        if (digit || alpha || (c && strchr(path, c))) k |= CH_PATH;
        if (digit || alpha || (c && strchr(host, c))) k |= CH_HOST;
        if (digit || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F')) k |= CH_HEX;
        if (digit) k |= CH_DIGIT;
        ch_class[c] = k;
        ch_upper[c] = (c >= 'a' && c <= 'z') ? c - 32 : c;
        ch_lower[c] = (c >= 'A' && c <= 'Z') ? c + 32 : c;
    }
}

static inline int ch_is(unsigned char c, int mask) { return ch_class[c] & mask; }

static inline int hex_value(unsigned char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    c |= 32;
    return (c >= 'a' && c <= 'f') ? c - 'a' + 10 : -1;
}

/* Header fields that the gateway itself reads or writes; the names are in canonical spelling. */
enum known_field {
    F_OTHER, F_HOST, F_CONNECTION, F_CONTENT_LENGTH, F_TRANSFER_ENCODING, F_UPGRADE, F_EXPECT, F_TE, F_TRAILER,
    F_KEEP_ALIVE, F_PROXY_CONNECTION, F_PROXY_AUTHENTICATE, F_PROXY_AUTHORIZATION, F_USER_AGENT, F_ACCEPT_ENCODING,
    F_X_FORWARDED_FOR, F_CONTENT_TYPE, F_CONTENT_ENCODING, F_DATE, F_RANGE, F_AUTHORIZATION, F_X_RATELIMIT_LIMIT,
    F_X_RATELIMIT_REMAINING, F_X_RATELIMIT_RESET, F_SEC_WEBSOCKET_KEY, F_X_REAL_IP, F_IDEMPOTENCY_KEY, F_COUNT
};

#define IS(text, id) (memcmp(s, text, sizeof(text) - 1) == 0 ? (id) : F_OTHER)

static inline int known_field(const char *s, Py_ssize_t n)
{
    switch (n) {
    case 2: return IS("Te", F_TE);
    case 4: return s[0] == 'H' ? IS("Host", F_HOST) : IS("Date", F_DATE);
    case 5: return IS("Range", F_RANGE);
    case 6: return IS("Expect", F_EXPECT);
    case 7: return s[0] == 'U' ? IS("Upgrade", F_UPGRADE) : IS("Trailer", F_TRAILER);
    case 9: return IS("X-Real-Ip", F_X_REAL_IP);
    case 10: return s[0] == 'C' ? IS("Connection", F_CONNECTION)
                  : s[0] == 'K' ? IS("Keep-Alive", F_KEEP_ALIVE) : IS("User-Agent", F_USER_AGENT);
    case 12: return IS("Content-Type", F_CONTENT_TYPE);
    case 13: return IS("Authorization", F_AUTHORIZATION);
    case 14: return IS("Content-Length", F_CONTENT_LENGTH);
    case 15: return s[0] == 'A' ? IS("Accept-Encoding", F_ACCEPT_ENCODING)
                  : s[0] == 'I' ? IS("Idempotency-Key", F_IDEMPOTENCY_KEY) : IS("X-Forwarded-For", F_X_FORWARDED_FOR);
    case 16: return s[0] == 'C' ? IS("Content-Encoding", F_CONTENT_ENCODING) : IS("Proxy-Connection", F_PROXY_CONNECTION);
    case 17: return s[0] == 'T' ? IS("Transfer-Encoding", F_TRANSFER_ENCODING)
                  : s[0] == 'S' ? IS("Sec-Websocket-Key", F_SEC_WEBSOCKET_KEY)
                  : IS("X-Ratelimit-Limit", F_X_RATELIMIT_LIMIT) ? F_X_RATELIMIT_LIMIT
                  : IS("X-Ratelimit-Reset", F_X_RATELIMIT_RESET);
    case 18: return IS("Proxy-Authenticate", F_PROXY_AUTHENTICATE);
    case 19: return IS("Proxy-Authorization", F_PROXY_AUTHORIZATION);
    case 21: return IS("X-Ratelimit-Remaining", F_X_RATELIMIT_REMAINING);
    default: return F_OTHER;
    }
}

#undef IS
#endif
