"""The URL that a hook returns, read as Go's url.Parse does (tyk-jsvm 9.3), and where the listen path ends in it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import quote_from_bytes, unquote_to_bytes

from core.access.rewrite import without_dots
from core.apidef.specs import RouteSpec
from jsvm_pool.decoding import ResultError, to_bytes

_CONTROL = re.compile(rb"[\x00-\x1f\x7f]")
_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_SCHEME = re.compile(rb"([A-Za-z][A-Za-z0-9+.-]*):")
_AUTHORITY = re.compile(rb"(?:[^@\[\]\s<>\"]*@)?(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~!$&'()*+,;=-]*)(?::[0-9]*)?")
_PATH = re.compile(rb"[A-Za-z0-9\-._~!$&'()*+,;=:@\[\]/%]*")     # what Go leaves as it is written
_UNSAFE = re.compile(rb"[^\x21-\x7e]")
_KEEP = "$&+,/:;=@~"


@dataclass(frozen=True, slots=True)
class Address:
    """path: percent-encoded, with a leading slash; query: as written; loop: the API that a tyk:// URL leads to, else ""."""

    path: bytes
    query: bytes
    loop: str = ""


def parse(text: str, where: str) -> Address:
    """Read a URL; the host of one with another scheme than tyk:// does not count. where: the field of the result that has it.
    Raises ResultError."""
    raw, _, fragment = to_bytes(text).partition(b"#")
    if _CONTROL.search(raw) or _BAD_ESCAPE.search(fragment):
        raise _bad(text, where, "it holds a control character or a broken escape")
    scheme = b""
    match = _SCHEME.match(raw)
    if match is not None:
        scheme, raw = match[1].lower(), raw[match.end() :]
    path, _, query = raw.partition(b"?")
    host = b""
    if not path.startswith(b"/"):
        if scheme:
            path = b""
        elif b":" in path.partition(b"/")[0]:
            raise _bad(text, where, "its first segment holds a colon, but it has no scheme")
    elif path.startswith(b"//") and (scheme or not path.startswith(b"///")):
        host, slash, rest = path[2:].partition(b"/")
        if not _AUTHORITY.fullmatch(host):
            raise _bad(text, where, "its host is none")
        path = slash + rest
    if _BAD_ESCAPE.search(path):
        raise _bad(text, where, "its path holds a broken escape")
    if not _PATH.fullmatch(path):
        path = quote_from_bytes(unquote_to_bytes(path), safe=_KEEP).encode()
    if not path.startswith(b"/"):
        path = b"/" + path
    query = _UNSAFE.sub(lambda one: b"%%%02X" % one[0][0], query)
    return Address(without_dots(path), query, host.decode() if scheme == b"tyk" else "")


def _bad(text: str, where: str, why: str) -> ResultError:
    return ResultError(f"{text[:80]!r} is not a URL: {why}", where)


def listen_end(route: RouteSpec) -> Callable[[bytes], int]:
    """A function that says how many bytes of a decoded path are the listen path, 0 if it does not begin with it."""
    source = re.escape(route.literal_prefix) if route.pattern is None else route.pattern
    if route.strict and route.pattern is None and not route.literal_prefix.endswith("/"):
        source += r"(?=/|\Z)"
    pattern = re.compile(source.encode())

    def end(path: bytes) -> int:
        match = pattern.match(path)
        return 0 if match is None else match.end()

    return end
