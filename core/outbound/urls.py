"""URLs of outgoing requests: taken apart once, as Go's net/url does, so that what is checked is what is connected to."""

from __future__ import annotations

import base64
import dataclasses
import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import quote, unquote_to_bytes

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(.*)\Z", re.DOTALL)
_CONTROL = re.compile("[\x00-\x20\x7f]")
_NAME = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=-]+\Z")
_USER = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=:-]|%[0-9A-Fa-f]{2})*\Z")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_NO_UTF8 = re.compile("[\udc80-\udcff]")
_UNSENDABLE = re.compile(r"[^\x21-\x7e]")
_PATH_KEEPS = "/%!$&'()*+,;=:@~[]"
_PORTS = {"http": 80, "https": 443}
MOST_PORT = 65535


class UrlError(ValueError):
    """A text is no URL that a request can be sent to; says why."""


@dataclass(frozen=True, slots=True)
class Url:
    """host: a name in its ASCII form, or an address without brackets; port: None if not given; user: `name:password`
    as written, "" for none; target: path and query, with nothing in it that has to be escaped."""

    scheme: str
    user: str
    host: str
    port: int | None
    target: str

    @property
    def authority(self) -> str:
        """Host and port, as the Host header has them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port is None else f"{host}:{self.port}"

    @property
    def effective_port(self) -> int:
        return _PORTS[self.scheme] if self.port is None else self.port

    def text(self) -> str:
        """The URL without its credentials."""
        return f"{self.scheme}://{self.authority}{self.target}"

    def authorization(self) -> str:
        """The value of the Authorization header that the credentials stand for, "" without any."""
        if not self.user:
            return ""
        name, _, password = self.user.partition(":")
        pair = unquote_to_bytes(name) + b":" + unquote_to_bytes(password)
        return f"Basic {base64.b64encode(pair).decode()}"


def parse(text: str, *, whole: bool = False) -> Url:
    """Take a URL apart. whole: "#" is no fragment but part of the path, as in the target of a request.

    Raises UrlError.
    """
    # A space is escaped in path and query, as browsers and Go do.
    if _CONTROL.search(text.replace(" ", "")):
        raise UrlError("the URL has control characters")
    if not whole:
        text = text.partition("#")[0]
    match = _SCHEME.match(text)
    if match is None or not match[2].startswith("//"):
        raise UrlError("the URL is not absolute: expected http:// or https:// in front")
    scheme = match[1].lower()
    if scheme not in _PORTS:
        raise UrlError(f"the scheme {scheme[:20]!r} is not supported, expected http or https")
    before, mark, query = match[2][2:].partition("?")
    authority, slash, path = before.partition("/")
    user, at, place = authority.rpartition("@")
    if at and _USER.match(user) is None:
        raise UrlError("the user name in the URL has characters that must be escaped")
    host, port = _host_and_port(place)
    return Url(scheme, user, host, port, _target(slash + path, mark, query.partition("#")[0]))


def _target(path: str, mark: str, query: str) -> str:
    """Path and query with what they cannot hold escaped, and their escapes as they are."""
    if _BAD_ESCAPE.search(path):
        raise UrlError("the path of the URL has a % without two hexadecimal digits")
    try:
        escaped = quote(path, safe=_PATH_KEEPS) or "/"
        return escaped + mark + _UNSENDABLE.sub(lambda found: quote(found[0], safe=""), query)
    except UnicodeEncodeError:
        raise UrlError("the URL is no valid Unicode") from None


def _host_and_port(place: str) -> tuple[str, int | None]:
    if place.startswith("["):
        host, end, rest = place[1:].partition("]")
        try:
            host = str(ipaddress.IPv6Address(host))
        except ValueError:
            end = ""
        if not end or "%" in host or (rest and not rest.startswith(":")):
            raise UrlError("the URL has no valid address in brackets")
        return host, _port(rest[1:])
    host, _, port = place.partition(":")
    if not host:
        raise UrlError("the URL has no host")
    return _ascii(host), _port(port)


def _port(text: str) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdigit()) or len(text) > 5 or not 0 < int(text) <= MOST_PORT:
        raise UrlError("the port of the URL is no number from 1 to 65535")
    return int(text)


def _ascii(host: str) -> str:
    if not host.isascii():
        # Comes with aiohttp; needed for such names only.
        import idna  # noqa: PLC0415

        try:
            host = idna.encode(host, uts46=True).decode()
        except (idna.IDNAError, UnicodeError):
            raise UrlError("the host of the URL is no valid name") from None
    if _NAME.match(host) is None:
        raise UrlError("the host of the URL has characters that no host has")
    return host.lower()


def join(base: Url, location: str) -> Url:
    """Where a Location header leads from a URL (RFC 3986 5.2). Raises UrlError."""
    # Bytes that are no UTF-8 are passed on as they are.
    text = _NO_UTF8.sub(lambda found: f"%{ord(found[0]) - 0xDC00:02X}", location.strip(" ")).partition("#")[0]
    if _SCHEME.match(text):
        url = parse(text)
    elif text.startswith("//"):
        url = parse(f"{base.scheme}:{text}")
    else:
        path, mark, query = text.partition("?")
        old_path, old_mark, old_query = base.target.partition("?")
        if not path:
            path = old_path
            if not mark:
                mark, query = old_mark, old_query
        elif not path.startswith("/"):
            path = old_path[: old_path.rindex("/") + 1] + path
        if _CONTROL.search(text.replace(" ", "")):
            raise UrlError("the Location header has control characters")
        url = dataclasses.replace(base, target=_target(path, mark, query))
    path, mark, query = url.target.partition("?")
    return dataclasses.replace(url, target=_without_dots(path) + mark + query)


def _without_dots(path: str) -> str:
    """A path without "." and ".." (RFC 3986 5.2.4)."""
    found: list[str] = []
    parts = path.split("/")[1:]
    for part in parts:
        if part == "..":
            del found[-1:]
        elif part != ".":
            found.append(part)
    if parts[-1] in (".", ".."):
        found.append("")
    return "/" + "/".join(found)
