"""Lists of client addresses that an API is open to, or closed to (tyk-core 2.2)."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Any

from core.apidef.edits import Notes

_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")
_EXPECTED = "expected an IP address or a CIDR range such as 10.0.0.0/8"


@dataclass(frozen=True, slots=True)
class AddressLists:
    """Networks in their usual notation. ``allowed``: only these, () for all; ``blocked``: all but these."""

    allowed: tuple[str, ...]
    blocked: tuple[str, ...]


def address_lists(definition: dict[str, Any], notes: Notes) -> AddressLists | None:
    """The lists that are in force, None without any. An entry that is no address is an error, in force or not."""
    allowed = _list(definition, "allowed_ips", "enable_ip_whitelisting", notes)
    blocked = _list(definition, "blacklisted_ips", "enable_ip_blacklisting", notes)
    return AddressLists(allowed, blocked) if allowed or blocked else None


def _list(definition: dict[str, Any], key: str, flag: str, notes: Notes) -> tuple[str, ...]:
    found: list[str] = []
    for index, entry in enumerate(definition.get(key, [])):
        try:
            found.append(str(_network(entry)))
        except ValueError:
            notes.error(f"$.{key}[{index}]", f"{entry!r:.60} is not an address; {_EXPECTED}")
    switched = definition.get(flag, False)
    if switched and not definition.get(key):
        notes.warn(f"$.{flag}", f"the list {key} is empty, so it keeps nobody out", "Add addresses, or switch it off.")
    if found and not switched:
        if definition.get("ip_access_control_disabled"):
            return ()
        notes.warn(
            f"$.{key}",
            f"the list is in force although {flag} is off",
            f"Empty it, or set ip_access_control_disabled, if it is not wanted; else set {flag}.",
        )
    return tuple(dict.fromkeys(found))


def _network(entry: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    """Raises ValueError. An IPv4 address that is written as an IPv6 one is taken for what it is."""
    network = ipaddress.ip_network(entry.strip(), strict=False)
    if isinstance(network, ipaddress.IPv6Network) and network.prefixlen >= 96 and network.subnet_of(_MAPPED):
        first = ipaddress.IPv4Address(int(network.network_address) & 0xFFFFFFFF)
        return ipaddress.IPv4Network((first, network.prefixlen - 96))
    return network
