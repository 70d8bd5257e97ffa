"""Upstream addresses: target_url, override_target and target_list (tyk-core 2.4, 3.9)."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import quote, unquote, urlsplit

from core.apidef.specs import TargetSpec

_HTTP = {"http": "http", "ws": "http", "https": "https", "wss": "https"}
_OTHER = frozenset({"h2c", "tcp", "tls"})
_HOST = re.compile(r"[a-z0-9_](?:[a-z0-9._-]*[a-z0-9_.-])?\Z")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_KEEP_PATH = "/%!$&'()*+,;=:@~"
_KEEP_QUERY = _KEEP_PATH + '?[]{}|^\\"<>`'


class TargetError(ValueError):
    """An address that is malformed; the text says what was expected."""


class UnsupportedTarget(ValueError):
    """A well-formed address of a kind that this build does not serve."""


@dataclass(frozen=True, slots=True)
class Loop:
    """A ``tyk://`` address: the API's id or name, and the path there."""

    name: str
    path: str


@dataclass(frozen=True, slots=True)
class Parsed:
    """``target`` is where requests go, ``remarks`` what was left out of the address."""

    target: TargetSpec | Loop
    remarks: tuple[str, ...] = ()


def ensure_scheme(text: str, protocol: str) -> str:
    """Give an entry of target_list without a scheme the API's protocol, else http."""
    text = text.strip()
    return text if _SCHEME.match(text) else f"{protocol or 'http'}://{text}"


def parse(text: str) -> Parsed:
    """Parse one address. Raises TargetError or UnsupportedTarget."""
    if any(ord(char) < 33 or ord(char) == 127 for char in text):
        raise TargetError("the address has spaces or control characters")
    if not _SCHEME.match(text):
        raise TargetError("expected an address with a scheme, such as http://host:port/path")
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError as error:
        raise TargetError(f"not a valid address: {error}") from None
    if url.scheme == "tyk":
        return _loop(text)
    if url.scheme in _OTHER:
        raise UnsupportedTarget(f"{url.scheme}:// upstreams")
    scheme = _HTTP.get(url.scheme)
    if scheme is None:
        raise TargetError(f"unknown scheme {url.scheme!r}; expected http, https, ws, wss or tyk")
    host = _host(url.hostname or "")
    if port == 0:
        raise TargetError("port 0 is not valid; expected 1 to 65535")
    remarks = []
    if "@" in url.netloc:
        remarks.append("the user name and password in the address are not sent")
    if url.fragment:
        remarks.append("the part after # is not sent")
    target = TargetSpec(
        scheme,
        host,
        port or (443 if scheme == "https" else 80),
        quote(url.path, safe=_KEEP_PATH),
        quote(url.query, safe=_KEEP_QUERY),
    )
    return Parsed(target, tuple(remarks))


def _host(name: str) -> str:
    if not name:
        raise TargetError("the address has no host")
    if ":" in name:
        try:
            return str(ipaddress.IPv6Address(name))
        except ValueError:
            raise TargetError(f"{name!r} is not an IPv6 address") from None
    if not name.isascii():
        try:
            name = name.encode("idna").decode()
        except UnicodeError:
            raise TargetError(f"{name!r} is not a host name") from None
    if len(name) > 255 or not _HOST.match(name.lower()):
        raise TargetError(f"{name!r} is not a host name")
    return name.lower()


def _loop(text: str) -> Parsed:
    # The name keeps its case and may hold spaces as %20, so it is not read as a host.
    rest = text.partition("://")[2]
    address, question, query = rest.partition("?")
    name, slash, path = address.partition("/")
    if not name:
        raise TargetError("expected tyk://<api_id or name>")
    if name == "self":
        raise TargetError("an API cannot be its own target")
    if question and query:
        raise UnsupportedTarget("control parameters of tyk:// addresses")
    return Parsed(Loop(unquote(name), quote(slash + path, safe=_KEEP_PATH)))
