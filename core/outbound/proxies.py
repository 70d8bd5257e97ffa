"""Proxies that the environment names, chosen as Go's net/http does (tyk-jsvm 6.1).

HTTP_PROXY, HTTPS_PROXY and NO_PROXY, also in lower case. A proxy looks names up itself, so that of a host behind one
only an address can be checked here; which names it may reach is for the proxy to say.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping

from core.outbound.messages import OutboundError
from core.outbound.networks import literal
from core.outbound.urls import Url, UrlError, parse

_Rule = Callable[[str, int], bool]


class Proxies:
    """What the environment says, read once."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._of: dict[str, Url | str] = {}
        for scheme in ("http", "https"):
            name = f"{scheme}_proxy"
            value = environ.get(name.upper()) or environ.get(name) or ""
            if value:
                self._of[scheme] = _proxy(name.upper(), value)
        texts = (environ.get("NO_PROXY") or environ.get("no_proxy") or "").split(",")
        self._direct = [_rule(text) for text in (text.strip().lower() for text in texts) if text]

    def __bool__(self) -> bool:
        return bool(self._of)

    def get(self, url: Url) -> Url | None:
        """The proxy for a URL, None for none. Raises OutboundError if what the environment names cannot be used."""
        found = self._of.get(url.scheme)
        if found is None or self._goes_direct(url):
            return None
        if isinstance(found, str):
            raise OutboundError(found)
        return found

    def _goes_direct(self, url: Url) -> bool:
        address = literal(url.host)
        if url.host == "localhost" or (address is not None and ipaddress.ip_address(address).is_loopback):
            return True
        return any(rule(address or url.host, url.effective_port) for rule in self._direct)


def _proxy(name: str, value: str) -> Url | str:
    """The proxy, or why it cannot be used."""
    try:
        return parse(value if "://" in value else f"http://{value}")
    except UrlError as error:
        return f"{name} cannot be used: {error}"


def _rule(text: str) -> _Rule:
    """One entry of NO_PROXY: `*`, an address, a network, or a domain, each but the first two also with a port."""
    if text == "*":
        return lambda host, port: True
    if "/" in text:
        try:
            network = ipaddress.ip_network(text, strict=False)
        except ValueError:
            return lambda host, port: False
        return lambda host, port: _inside(host, network)
    name, only = text, 0
    head, colon, tail = text.rpartition(":")
    if colon and tail.isdigit() and (":" not in head or head.startswith("[")):
        name, only = head, int(tail)
    name = name.strip("[]").removeprefix("*")
    if name.startswith("."):
        return lambda host, port: host.endswith(name) and only in (0, port)
    return lambda host, port: (host == name or host.endswith(f".{name}")) and only in (0, port)


def _inside(host: str, network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> bool:
    try:
        return ipaddress.ip_address(host) in network
    except ValueError:
        return False
