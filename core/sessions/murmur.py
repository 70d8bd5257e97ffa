"""Hashes of keys as Tyk computes them (tyk-core 5.3, vectors in 10.2)."""

from __future__ import annotations

import hashlib

import mmh3

_MASK = 0xFFFFFFFF
ALGORITHMS = ("murmur32", "murmur64", "murmur128", "sha256")


def murmur32(data: bytes) -> str:
    """Tyk's variant: whole blocks of four bytes only, without tail and finalisation; 8 hexadecimal digits."""
    state = 0
    for at in range(0, len(data) - 3, 4):
        block = int.from_bytes(data[at : at + 4], "little") * 0xCC9E2D51 & _MASK
        block = (block << 15 | block >> 17) & _MASK
        state ^= block * 0x1B873593 & _MASK
        state = (state << 13 | state >> 19) & _MASK
        state = (state * 5 + 0xE6546B64) & _MASK
    return f"{state:08x}"


def murmur128(data: bytes) -> str:
    """MurmurHash3 x64, 128 bits, seed 0; 32 digits."""
    first, second = mmh3.hash64(data, 0, x64arch=True, signed=False)
    return f"{first:016x}{second:016x}"


def digest(algorithm: str, data: bytes) -> str:
    """Hexadecimal digest; an unknown algorithm is murmur32, as for keys without one."""
    if algorithm == "murmur64":
        return murmur128(data)[:16]
    if algorithm == "murmur128":
        return murmur128(data)
    if algorithm == "sha256":
        return hashlib.sha256(data).hexdigest()
    return murmur32(data)
