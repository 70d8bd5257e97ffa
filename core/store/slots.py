"""Which node of a cluster a command belongs to (Redis cluster specification: key distribution model)."""

from __future__ import annotations

from binascii import crc_hqx
from collections.abc import Sequence
from typing import Any

from core.store.connection import Argument
from core.store.errors import StoreAway
from core.store.settings import Address

SLOTS = 16384
# Commands that any node can answer.
ANYWHERE = frozenset(
    ("PING", "ECHO", "PUBLISH", "INFO", "TIME", "SCRIPT", "CLUSTER", "COMMAND", "CONFIG", "CLIENT", "DBSIZE", "ROLE")
)
# Commands with the number of their keys before the keys: where the number stands.
COUNTED = {"EVAL": 2, "EVALSHA": 2, "EVAL_RO": 2, "EVALSHA_RO": 2}
# Commands whose first key is their second argument.
SECOND = frozenset(("OBJECT", "MEMORY", "XINFO", "XGROUP", "BITOP"))
# Commands of any number of keys whose reply can be put together from those of parts.
SUMMED = frozenset(("DEL", "UNLINK", "EXISTS", "TOUCH"))
LISTED = frozenset(("MGET",))


def as_bytes(argument: Argument) -> bytes:
    """An argument as it goes over the wire."""
    if isinstance(argument, bytes):
        return argument
    return str(argument).encode()


def slot_of(key: bytes) -> int:
    """The slot of a key: CRC16 of what stands in the first braces, if anything does, else of the whole key."""
    start = key.find(b"{")
    if start >= 0:
        end = key.find(b"}", start + 1)
        if end > start + 1:
            key = key[start + 1 : end]
    return crc_hqx(key, 0) % SLOTS


def name_of(arguments: Sequence[Argument]) -> str:
    """The command, in capitals."""
    first = arguments[0]
    return (first.decode("ascii", "replace") if isinstance(first, bytes) else str(first)).upper()


def command_slot(arguments: Sequence[Argument]) -> int | None:
    """The slot of the first key of a command, None if any node can answer it."""
    name = name_of(arguments)
    if name in ANYWHERE:
        return None
    place = 1
    if name in COUNTED:
        place = COUNTED[name] + 1
        if len(arguments) < place or not int(arguments[place - 1]):
            return None
    elif name in SECOND:
        place = 2
    return slot_of(as_bytes(arguments[place])) if len(arguments) > place else None


def slot_ranges(reply: Any, asked: Address) -> list[tuple[int, int, Address]]:
    """(first slot, last slot, master) from an answer to CLUSTER SLOTS, which has for each range its first and last slot
    and [host, port, ...] of the master and of its replicas. asked: who answered, and whose host stands for an unknown
    one. Raises StoreAway for what is no such answer.
    """
    ranges = []
    try:
        for first, last, master, *_ in reply:
            host = (master[0] or b"").decode()
            address = Address(host if host not in ("", "?") else asked.host, int(master[1]))
            if not 0 <= first <= last < SLOTS:
                raise ValueError
            ranges.append((first, last, address))
    except (TypeError, ValueError, LookupError, AttributeError):
        raise StoreAway(f"{asked}: what it says about the slots of the cluster cannot be read") from None
    return ranges
