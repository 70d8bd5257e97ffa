"""Framing: what is wrapped on one side is found on the other, however the bytes are cut."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coprocess.jsonrpc.framing import JOIN, Framing, FramingError, Kind, framing

KINDS: tuple[Kind, ...] = ("newline", "length")
BODIES = st.lists(st.binary(min_size=1, max_size=60).map(lambda b: b.replace(b"\n", b"_")), max_size=8)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """The data in pieces."""
    at = sorted({p % (len(data) + 1) for p in places} | {0, len(data)})
    return [data[a:b] for a, b in itertools.pairwise(at)]


def all_of(one: Framing, pieces: list[bytes]) -> list[bytes]:
    """The messages of a stream that comes in pieces."""
    return [message for piece in pieces for message in one.feed(piece)]


@pytest.mark.parametrize("kind", KINDS)
@given(bodies=BODIES, places=st.lists(st.integers(0, 2000), max_size=30))
def test_messages_are_found_again_however_they_are_cut(kind: Kind, bodies: list[bytes], places: list[int]) -> None:
    one = framing(kind, 1000)
    stream = b"".join(b"".join(one.wrap(b"<", body, b">")) for body in bodies)
    assert all_of(one, cut(stream, places)) == [b"<" + body + b">" for body in bodies]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [0, 1, JOIN, JOIN + 1, 3 * JOIN])
def test_long_messages_are_not_copied_and_stay_the_same(kind: Kind, size: int) -> None:
    one = framing(kind, 1 << 20)
    pieces = one.wrap(b"<", b"x" * size, b">")
    assert (len(pieces) == 1) == (size <= JOIN)
    assert list(one.feed(b"".join(pieces))) == [b"<" + b"x" * size + b">"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_limit_is_exact(kind: Kind) -> None:
    fits = b"".join(framing(kind, 100).wrap(b"", b"x" * 100, b""))
    assert list(framing(kind, 100).feed(fits)) == [b"x" * 100]
    over = b"".join(framing(kind, 100).wrap(b"", b"x" * 101, b""))
    with pytest.raises(FramingError, match="longer than 100 bytes"):
        list(framing(kind, 100).feed(over))
    one = framing(kind, 100)
    with pytest.raises(FramingError, match="longer than 100 bytes"):
        all_of(one, [bytes([byte]) for byte in over])


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_right_comes_before_the_error(kind: Kind) -> None:
    one = framing(kind, 100)
    right = b"".join(one.wrap(b"", b"right", b""))
    wrong = b"x" * 200 if kind == "newline" else b"\n"
    messages = one.feed(right + wrong)
    assert next(messages) == b"right"
    with pytest.raises(FramingError):
        next(messages)


def test_other_fields_and_spellings_are_accepted() -> None:
    stream = b"content-type: application/json; charset=utf-8\r\nCONTENT-LENGTH:\t 2 \r\n\r\n{}Content-Length: 0\r\n\r\n"
    for size in (1, 7, len(stream)):
        one = framing("length", 100)
        pieces = [stream[i : i + size] for i in range(0, len(stream), size)]
        assert all_of(one, pieces) == [b"{}", b""]


@pytest.mark.parametrize(
    "head",
    [
        b"\r\n\r\n",
        b"{}\n",
        b"Traceback (most recent call last):",
        b"Content-Length: 2\n\n{}",
        b"Content-Length: 2\r\nX\n",
        b"Content-Length : 2\r\n\r\n{}",
        b"Content-Length: -2\r\n\r\n{}",
        b"Content-Length: 2x\r\n\r\n{}",
        b"Content-Length: \r\n\r\n{}",
        b"Content-Length: 0x2\r\n\r\n{}",
        b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
        b"Content-Length: 99999999999999999\r\n\r\n{}",
        b"Content-Type: text\r\n\r\n{}",
        b"Content-Length: 2\r\n folded\r\n\r\n{}",
        b"X-Y: \x01\r\n",
        b"X-Y: " + b"a" * 2000,
        b" \r\n",
    ],
)
def test_garbage_in_front_of_a_message_is_refused_at_once(head: bytes) -> None:
    with pytest.raises(FramingError):
        list(framing("length", 100).feed(head))
