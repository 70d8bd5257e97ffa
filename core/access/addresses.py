"""The step that looks at the address of the client (tyk-core 3.1, IPWhiteList and IPBlackList)."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable
from functools import lru_cache

from accel.http1 import Exchange, PyStep
from core.apidef.addresses import AddressLists

CACHED = 4096       # addresses of which one API remembers what its lists say

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def opens(lists: AddressLists) -> Callable[[bytes], bool]:
    """A function: may this address pass? What is no address may not: nothing can be said about it."""
    allowed = _networks(lists.allowed)
    blocked = _networks(lists.blocked)

    def open_to(text: bytes) -> bool:
        try:
            address = ipaddress.ip_address(text.partition(b"%")[0].decode("latin-1"))
        except ValueError:
            return False
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        if allowed and not any(address in network for network in allowed):
            return False
        return not any(address in network for network in blocked)

    return open_to


def address_check(lists: AddressLists, refused: Callable[[Exchange, bytes], None]) -> PyStep:
    """The step of one API. refused(exchange, address): answers, and tells whoever wants to know."""
    open_to = lru_cache(maxsize=CACHED)(opens(lists))

    def check(x: Exchange) -> None:
        address = x.client_address
        if not open_to(address):
            refused(x, address)

    return PyStep(check)


def _networks(texts: Iterable[str]) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(text) for text in texts)
