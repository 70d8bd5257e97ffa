"""Whose request it is when it came through a proxy (tyk-core 3.8, real IP)."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from functools import lru_cache

from core.analytics.settings import Network

CACHED = 4096

AddressOf = Callable[[bytes, bytes | None, bytes | None], bytes]


def client_address(trusted: tuple[Network, ...], depth: int) -> AddressOf | None:
    """A function (peer, X-Real-IP, X-Forwarded-For) -> address of the client; None when no proxy is trusted.

    The headers are believed only from a trusted peer. depth: 0 takes the first entry of X-Forwarded-For, n the n-th from
    the right; with a depth that no entry has the address is empty, as in Tyk.
    """
    if not trusted:
        return None

    @lru_cache(maxsize=CACHED)
    def believed(peer: bytes) -> bool:
        address = _parse(peer)
        return address is not None and any(address in network for network in trusted)

    def address_of(peer: bytes, real: bytes | None, forwarded: bytes | None) -> bytes:
        if not believed(peer):
            return peer
        if real is not None and _parse(real) is not None:
            return real.strip()
        if forwarded:
            entries = forwarded.split(b",")
            if depth < 0 or depth > len(entries):
                return b""
            entry = entries[-depth if depth else 0].strip()
            if _parse(entry) is not None:
                return entry
        return peer

    return address_of


def _parse(text: bytes) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text.strip().decode("latin-1"))
    except ValueError:
        return None
