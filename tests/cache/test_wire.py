"""Stored answers: the format of Tyk, written and read, and what is no answer."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.cache.wire import HOP, Answer, BrokenAnswer, decode, encode, plain

NAMES = st.from_regex(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,20}", fullmatch=True).map(str.encode)
VALUES = st.binary(max_size=30).map(lambda raw: bytes(c for c in raw if c == 9 or 32 <= c != 127).strip(b" \t"))
FIELDS = st.lists(st.tuples(NAMES, VALUES), max_size=6).map(plain)


def packed(wire: bytes, ends: bytes = b"2000000000") -> bytes:
    return base64.b64encode(wire) + b"|" + ends


@given(st.integers(200, 599), FIELDS, st.binary(max_size=200))
def test_what_is_written_is_read_again(status: int, fields: list[tuple[bytes, bytes]], body: bytes) -> None:
    body = b"" if status in (204, 304) else body
    found = decode(encode(Answer(status, fields, body, len(body)), 100), 99.5, head=False)
    assert found is not None
    assert (found.status, found.fields, found.body) == (status, fields, body)


def test_the_text_is_what_tyk_writes_and_reads() -> None:
    raw = encode(Answer(200, [(b"Content-Type", b"text/plain"), (b"X-A", b"1"), (b"X-A", b"2")], b"hello", 5), 1700000060)
    text, _, ends = raw.partition(b"|")
    assert ends == b"1700000060"
    assert base64.b64decode(text) == (
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Type: text/plain\r\nX-A: 1\r\nX-A: 2\r\n\r\nhello"
    )


@pytest.mark.parametrize(
    ("wire", "body"),
    [
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nA: b\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n", b"abcde"),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\nA: b\r\n\r\nabcde", b"abcde"),
        (b"HTTP/2.0 200 OK\r\nContent-Length: 5\r\nA: b\r\n\r\nabcde", b"abcde"),
        (b"HTTP/1.0 200 \r\nContent-Length: 0\r\nA:   b  \r\n\r\n", b""),
        (b"HTTP/1.1 200\r\nContent-Length: 2\r\nContent-Length: 2\r\nA: b\r\n\r\nab", b"ab"),
    ],
)
def test_every_framing_that_go_writes_is_read(wire: bytes, body: bytes) -> None:
    found = decode(packed(wire), 0, head=False)
    assert found is not None
    assert (found.status, found.fields, found.body, found.length) == (200, [(b"A", b"b")], body, len(body))


def test_an_answer_to_head_keeps_the_length_of_the_body_that_it_does_not_have() -> None:
    found = decode(packed(b"HTTP/1.1 200 OK\r\nContent-Length: 77\r\n\r\n"), 0, head=True)
    assert found is not None
    assert (found.body, found.length) == (b"", 77)


def test_an_answer_whose_time_is_over_is_none() -> None:
    raw = encode(Answer(200, [], b"", 0), 100)
    assert decode(raw, 100, head=False) is not None
    assert decode(raw, 100.5, head=False) is None


def test_fields_of_a_hop_are_left_out() -> None:
    fields = [(name.title(), b"x") for name in sorted(HOP)]
    assert plain([*fields, (b"Content-Length", b"3"), (b"Kept", b"1")]) == [(b"Kept", b"1")]


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"nothing",
        b"|",
        b"|2000000000",
        packed(b"HTTP/1.1 200 OK\r\n\r\n").partition(b"|")[0],
        packed(b"HTTP/1.1 200 OK\r\n\r\n", b""),
        packed(b"HTTP/1.1 200 OK\r\n\r\n", b"-1"),
        packed(b"HTTP/1.1 200 OK\r\n\r\n", b"2e9"),
        packed(b"HTTP/1.1 200 OK\r\n\r\n", b"2000000000|1"),
        b"*" + packed(b"HTTP/1.1 200 OK\r\n\r\n"),
        packed(b""),
        packed(b"HTTP/1.1 200 OK\r\nA: b\r\n"),
        packed(b"HTTP/1.1 99 OK\r\n\r\n"),
        packed(b"HTTP/1.1 101 Switching Protocols\r\n\r\n"),
        packed(b"HTTP/1.1 600 OK\r\n\r\n"),
        packed(b"200 OK\r\n\r\n"),
        packed(b"HTTP/1.1 200 OK\r\nno field\r\n\r\n"),
        packed(b"HTTP/1.1 200 OK\r\nA : b\r\n\r\n"),
        packed(b"HTTP/1.1 200 OK\r\nA: b\nB: c\r\n\r\n"),
        packed(b"HTTP/1.1 200 OK\r\nA: b\x00\r\n\r\n"),
        packed(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabc"),
        packed(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nabc"),
        packed(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 2\r\n\r\nabc"),
        packed(b"HTTP/1.1 200 OK\r\nContent-Length: +3\r\n\r\nabc"),
        packed(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc"),
        packed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
        packed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab"),
        packed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"),
        packed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
    ],
)
def test_what_is_no_answer_is_said_to_be_none(raw: bytes) -> None:
    with pytest.raises(BrokenAnswer):
        decode(raw, 0, head=False)


@given(st.binary(max_size=300))
def test_nothing_that_lies_in_the_store_does_more_than_that(wire: bytes) -> None:
    try:
        found = decode(packed(wire), 0, head=False)
    except BrokenAnswer:
        return
    assert found is not None
    assert wire.startswith(b"HTTP/")
