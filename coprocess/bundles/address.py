"""Where a bundle is: ``bundle_base_url`` joined with the bundle's name (tyk-plugins 7.2, step 6)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote, unquote, urljoin, urlsplit

from coprocess.bundles.settings import BundleError

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_PORTS = {"http": 80, "https": 443}
_UNSENDABLE = re.compile(r"[^\x21-\x7e]")


@dataclass(frozen=True, slots=True)
class Address:
    """One http or https address. ``target`` is path and query; ``credentials`` is "user:password" or empty."""

    scheme: str
    host: str
    port: int
    target: str
    credentials: str = ""

    @property
    def origin(self) -> str:
        """Scheme, host and port, as in messages."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"

    def __str__(self) -> str:
        """The address without credentials and without its query, which may be a credential too."""
        return self.origin + self.target.partition("?")[0]


def locate(base_url: str, name: str) -> Address | str:
    """Return the address of a bundle, or its path for ``file://`` and for a plain path. Raises BundleError."""
    if not _SCHEME.match(base_url):
        return f"{base_url.rstrip('/')}/{name}"
    scheme, _, rest = base_url.partition("://")
    scheme = scheme.lower()
    if scheme == "file":
        return f"{unquote(rest).rstrip('/')}/{name}"
    if scheme not in _PORTS:
        raise BundleError(f"bundle_base_url: unknown URL scheme {scheme!r:.40}; expected http, https, file or a path")
    address = parse(base_url, "bundle_base_url")
    path, question, query = address.target.partition("?")
    joined = re.sub(r"/{2,}", "/", f"{path}/{quote(name)}")
    return Address(scheme, address.host, address.port, joined + question + query, address.credentials)


def parse(text: str, what: str) -> Address:
    """Parse an http or https address. Raises BundleError."""
    try:
        parts = urlsplit(text)
        port = parts.port
        host = (parts.hostname or "").encode("idna").decode() if not (parts.hostname or "").isascii() else parts.hostname
    except ValueError as error:
        raise BundleError(f"{what}: not an address: {error}") from None
    if parts.scheme not in _PORTS or not host:
        raise BundleError(f"{what}: expected an http or https address with a host")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if _UNSENDABLE.search(target) or _UNSENDABLE.search(host):
        raise BundleError(f"{what}: has spaces, control characters or letters that are not ASCII")
    credentials = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}" if parts.username else ""
    return Address(parts.scheme, host, port or _PORTS[parts.scheme], target, credentials)


def redirected(address: Address, location: str) -> Address:
    """Where a redirect leads: to the same host only, and never from https to http. Raises BundleError."""
    found = parse(urljoin(address.origin + address.target, location), f"{address}: the redirect")
    if found.host != address.host or (address.scheme == "https" and found.scheme != "https"):
        raise BundleError(f"{address}: redirects to {found.origin}; only redirects to the same host are followed")
    # Another port of the host may belong to someone else.
    credentials = address.credentials if found.origin == address.origin else ""
    return Address(found.scheme, found.host, found.port, found.target, credentials)
