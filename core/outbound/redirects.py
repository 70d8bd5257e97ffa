"""Which request follows a redirect: the rules of Go's net/http client (tyk-jsvm 6.1)."""

from __future__ import annotations

import ipaddress

from core.outbound.messages import Answer, OutboundError, Outgoing
from core.outbound.urls import Url, UrlError, join

MOST_REQUESTS = 10
_TO_GET = frozenset((301, 302, 303))
_AGAIN = frozenset((307, 308))
# For the first host only.
_SECRET = frozenset(
    ("authorization", "cookie", "cookie2", "proxy-authenticate", "proxy-authorization", "www-authenticate")
)
_HOST = frozenset(("host",))
_OF_BODY = frozenset(("content-encoding", "content-language", "content-location", "content-type"))


class Trail:
    """The way of one request over its redirects."""

    def __init__(self, first: Outgoing) -> None:
        self._first = first
        self._requests = 1
        self._secrets = True
        self._body = True

    def follow(self, now: Outgoing, answer: Answer) -> Outgoing | None:
        """The next request, None if the answer is the last. Raises OutboundError if it cannot be followed."""
        status = answer.status
        if status not in _TO_GET and status not in _AGAIN:
            return None
        location = next((value for name, value in answer.headers if name.lower() == "location"), "")
        if not location:
            return None
        if self._requests >= MOST_REQUESTS:
            raise OutboundError(f"stopped after {MOST_REQUESTS} requests that were redirected")
        self._requests += 1
        try:
            url = join(now.url, location)
        except UrlError as error:
            raise OutboundError(f"redirect: {error}") from None
        method = now.method
        if status in _TO_GET:
            self._body = False
            if method != "HEAD":
                method = "GET"
        # What was left out once does not come back.
        self._secrets = self._secrets and _may_know(self._first.url, url)
        dropped = _HOST | (frozenset() if self._secrets else _SECRET) | (frozenset() if self._body else _OF_BODY)
        headers = [header for header in self._first.headers if header[0].lower() not in dropped]
        referer = _referer(now.url, url)
        if referer and self._first.get("referer") is None:
            headers.append(("Referer", referer))
        return Outgoing(method, url, tuple(headers), self._first.body if self._body else b"")


def _may_know(first: Url, target: Url) -> bool:
    """Whether a host may see the credentials that were meant for the first one: itself and hosts below it do. Unlike
    in Go, never without the encryption that the first one had."""
    if first.scheme == "https" and target.scheme != "https":
        return False
    if target.host == first.host:
        return True
    try:
        ipaddress.ip_address(first.host)
    except ValueError:
        return target.host.endswith(f".{first.host}")
    return False


def _referer(now: Url, target: Url) -> str:
    return "" if now.scheme == "https" and target.scheme == "http" else now.text()
