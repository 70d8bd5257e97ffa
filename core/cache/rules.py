"""Which answers may serve more than the request they were made for.

Tyk keeps whatever it is told to. Here an answer that would show one client what was made for another, or that no other
request can use, stays out of the cache, and what a Tyk has stored of that kind is passed over.
"""

from __future__ import annotations

from accel.http1 import Exchange
from core.cache.keys import CREDENTIALS, digest
from core.cache.wire import Fields

VARIANT = b"X-Preforge-Cache-Variant"   # of stored answers: what the request had in the headers that Vary names
# They answer conditions and ranges, which are no part of the key (RFC 9110 sections 13 and 14).
_OF_ONE_REQUEST = frozenset((206, 304, 412, 416))
_ENCODING = b"accept-encoding"          # judged by what the answer is encoded with, not by its text
_STREAM = b"text/event-stream"


def reusable(status: int, fields: Fields, shared: bool) -> bool:
    """Whether an answer may be kept at all. shared: several clients may ask under its name."""
    if not 200 <= status <= 599 or status in _OF_ONE_REQUEST:
        return False
    for name, value in fields:
        match name.lower():
            case b"set-cookie" | b"set-cookie2":
                return False
            case b"cache-control":
                if shared and b"private" in (part.strip().partition(b"=")[0] for part in value.lower().split(b",")):
                    return False
            case b"content-type":
                if value.lower().startswith(_STREAM):
                    return False
            case b"vary":
                if b"*" in (part.strip() for part in value.split(b",")):
                    return False
    return True


def varied(x: Exchange, fields: Fields, named: frozenset[bytes]) -> frozenset[bytes]:
    """The request headers that tell the variants of an answer apart, and that its name has not (RFC 9111 section 4.1).

    named: lower-case headers that are part of every name of the API.
    """
    wanted = {part.strip().lower() for name, value in fields if name.lower() == b"vary" for part in value.split(b",")}
    return frozenset(wanted - {b"", _ENCODING, *named, *(CREDENTIALS if x.key is None else ())})


def variant(wanted: frozenset[bytes], asked: Fields) -> bytes:
    """What tells a variant apart, b"" if nothing has to. asked: the headers of its request."""
    if not wanted:
        return b""
    values = [(name.lower(), value) for name, value in asked if name.lower() in wanted]
    return digest([*sorted(wanted), b"", *(part for pair in sorted(values) for part in pair)])


def fits(x: Exchange, fields: Fields, named: frozenset[bytes]) -> bool:
    """Whether a stored answer is one for this request."""
    stored = next((value for name, value in fields if name.lower() == VARIANT.lower()), b"")
    codings = {
        part.strip().lower() for name, value in fields if name.lower() == b"content-encoding" for part in value.split(b",")
    }
    same = stored == variant(varied(x, fields, named), x.req.items())
    return same and all(_accepts(x, coding) for coding in codings - {b"", b"identity"})


def _accepts(x: Exchange, coding: bytes) -> bool:
    """Whether the client names a content coding as one that it takes (RFC 9110 section 12.5.3)."""
    found = {}
    for part in (x.header(b"Accept-Encoding") or b"").lower().split(b","):
        name, _, weight = part.partition(b";")
        found[name.strip()] = weight.replace(b" ", b"").rstrip(b"0") not in (b"q=", b"q=0.")
    return found.get(coding, found.get(b"*", False))
