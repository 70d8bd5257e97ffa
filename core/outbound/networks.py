"""Which addresses the gateway sends no request of its own to."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable, Iterator

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# Translators reach IPv4 behind these (RFC 6052, RFC 8215).
_TRANSLATED = (ipaddress.IPv6Network("64:ff9b::/96"), ipaddress.IPv6Network("64:ff9b:1::/48"))
_LOOPBACK = {4: ipaddress.ip_address("127.0.0.1"), 6: ipaddress.ip_address("::1")}


def blocks(address: str, networks: Iterable[Network]) -> bool:
    """Whether an address is in one of the networks, in any form that leads there; a text that is none is blocked."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return True
    forms = tuple(_forms(found))
    return any(form in network for network in networks for form in forms)


def _forms(address: Address) -> Iterator[Address]:
    """The address, and those that a connection to it really reaches."""
    yield address
    if address.is_unspecified:
        # Connecting to "any address" is connecting to this machine.
        yield _LOOPBACK[address.version]
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and (int(address) >> 32 == 0 or any(address in network for network in _TRANSLATED)):
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            yield from _forms(inner)


def literal(host: str) -> str | None:
    """The address that a host is in itself, also in the old forms of inet_aton such as 0x7f.1; None for a name."""
    try:
        return str(ipaddress.ip_address(host.partition("%")[0]))
    except ValueError:
        pass
    try:
        return socket.inet_ntoa(socket.inet_aton(host))
    except OSError:
        return None
