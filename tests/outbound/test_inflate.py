"""Compressed answers: whole, bounded, and refused when they are broken."""

from __future__ import annotations

import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.outbound.inflate import PIECE, Inflater
from core.outbound.messages import OutboundError


def inflated(raw: bytes, step: int) -> bytes:
    inflater = Inflater()
    found = b"".join(piece for at in range(0, len(raw), step) for piece in inflater.feed(raw[at : at + step]))
    inflater.check_end()
    return found


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=4), st.integers(1, 50))
def test_a_body_changes_when_it_is_split(members: list[bytes], step: int) -> None:
    assert inflated(b"".join(gzip.compress(member) for member in members), step) == b"".join(members)


def test_a_bomb_is_unpacked_at_once() -> None:
    bomb = gzip.compress(bytes(50_000_000))
    pieces = Inflater().feed(bomb)
    assert [len(next(pieces)) for _ in range(3)] == [PIECE] * 3


@pytest.mark.parametrize(
    "raw",
    [
        b"not gzip",
        gzip.compress(b"x" * 100, mtime=0)[:-1],
        gzip.compress(b"x", mtime=0) + b"garbage",
        gzip.compress(b"x", mtime=0)[:5],
        b"\x1f\x8b\x08\xff" * 9,
    ],
)
def test_a_broken_body_passes_for_a_whole_one(raw: bytes) -> None:
    with pytest.raises(OutboundError, match="gzip"):
        inflated(raw, 7)


def test_no_body_is_a_broken_one() -> None:
    assert inflated(b"", 1) == b""
