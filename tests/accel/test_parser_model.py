"""The parser against httptools (llhttp): what ours accepts, the reference must accept, and read the same way.

The other direction does not hold on purpose: ours refuses more (tests/corpus says what).
"""

from __future__ import annotations

from typing import Any

import httptools
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from accel import chunked, headers


class Reference:
    """Collects what httptools reports."""

    def __init__(self) -> None:
        self.target = b""
        self.fields: list[tuple[bytes, bytes]] = []
        self.body = b""
        self.complete = False

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((headers.canonical(name), value.rstrip(b" \t")))

    def on_body(self, data: bytes) -> None:
        self.body += data

    def on_message_complete(self) -> None:
        self.complete = True


NAMES = st.sampled_from(
    [b"Host", b"host", b"Content-Length", b"Transfer-Encoding", b"X-A", b"x_b", b"Connection", b"Accept", b"Te", b""]
)
VALUES = st.one_of(
    st.sampled_from([b"a.test", b"5", b"05", b"+5", b"5, 5", b"chunked", b"Chunked", b"gzip", b"close", b"keep-alive, X-A"]),
    st.binary(max_size=8),
)
LINES = st.tuples(NAMES, st.sampled_from([b": ", b":", b" : ", b":\t"]), VALUES, st.sampled_from([b"\r\n", b"\n", b"\r\n "]))
START = st.tuples(
    st.sampled_from([b"GET", b"POST", b"HEAD", b"OPTIONS", b"G\0T"]),
    st.sampled_from([b" ", b"  ", b"\t"]),
    st.sampled_from([b"/", b"/a?b=c", b"*", b"http://h/x", b"/%41", b"/%zz", b"/a b", b"/\x80", b"x"]),
    st.sampled_from([b" HTTP/1.1", b" HTTP/1.0", b" HTTP/1.2", b" HTTP/2.0", b"", b" http/1.1"]),
    st.sampled_from([b"\r\n", b"\n"]),
)


def build(start: tuple[bytes, ...], lines: list[tuple[bytes, ...]]) -> bytes:
    return b"".join(start) + b"".join(b"".join(line) for line in lines) + b"\r\n"


@settings(max_examples=600, deadline=None)
@given(START, st.lists(LINES, max_size=4))
@example((b"GET", b" ", b"/", b" HTTP/1.1", b"\r\n"), [(b"Host", b": ", b"a.test", b"\r\n")])
def test_whatever_is_accepted_is_accepted_by_the_reference_and_read_alike(
    start: tuple[bytes, ...], lines: list[tuple[bytes, ...]]
) -> None:
    data = build(start, lines)
    try:
        ours: dict[str, Any] | int = headers.check_request(data)
    except ValueError:
        return  # an empty line in the middle: more than one head
    if isinstance(ours, int):
        assert 400 <= ours < 600
        return
    reference = Reference()
    parser = httptools.HttpRequestParser(reference)
    parser.feed_data(data)
    assert parser.get_method() == ours["method"]
    assert reference.fields == ours["headers"]
    if not reference.target.startswith(b"http:"):
        assert reference.target == ours["target"]
    assert reference.complete == (ours["body"] == "none")


@settings(max_examples=400, deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=40), max_size=5), st.sampled_from([b"", b";a=b"]), st.booleans())
def test_chunks_are_decoded_as_the_reference_decodes_them(parts: list[bytes], extension: bytes, upper: bool) -> None:
    wire = b""
    for part in parts:
        size = f"{len(part):X}" if upper else f"{len(part):x}"
        wire += size.encode() + extension + b"\r\n" + part + b"\r\n"
    wire += b"0\r\n\r\n"
    body, rest, trailer = chunked.decode(wire + b"NEXT")
    reference = Reference()
    httptools.HttpRequestParser(reference).feed_data(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + wire)
    assert (body, rest, trailer) == (b"".join(parts), b"NEXT", None)
    assert reference.body == body
    assert reference.complete


@settings(max_examples=600, deadline=None)
@given(st.binary(max_size=60))
def test_broken_chunks_never_give_more_than_the_reference(data: bytes) -> None:
    try:
        body, rest, _ = chunked.decode(data)
    except ValueError:
        return
    reference = Reference()
    parser = httptools.HttpRequestParser(reference)
    parser.feed_data(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
    parser.feed_data(data if rest is None else data[: len(data) - len(rest)])
    assert reference.body == body
    assert reference.complete == (rest is not None)


@pytest.mark.parametrize(
    "line",
    [b"1;", b"1;=a", b"1;(", b"1;a b", b"1;a=", b"1;a= b", b"1; a", b'1;a="b', b'1;a="b"c', b"1;a=\x80"],
)
def test_a_chunk_extension_that_another_parser_may_read_otherwise_is_refused(line: bytes) -> None:
    with pytest.raises(ValueError, match="-1"):
        chunked.decode(line + b"\r\na\r\n0\r\n\r\n")


@pytest.mark.parametrize("line", [b"1;a", b"1;a=b", b'1;a="b c;\\"d"', b"1;a;b=c;d", b'1;a="";b'])
def test_a_chunk_extension_of_the_standard_is_skipped(line: bytes) -> None:
    assert chunked.decode(line + b"\r\na\r\n0\r\n\r\n")[0] == b"a"


@pytest.mark.parametrize("cut", range(1, 40))
def test_a_chunked_body_is_the_same_however_it_is_split(cut: int) -> None:
    wire = b"5;x=y\r\nhello\r\n10\r\n0123456789abcdef\r\n0\r\nX: 1\r\n\r\n"
    whole = chunked.decode(wire)
    assert whole[0] == b"hello0123456789abcdef"
    assert whole[2] == b"X: 1\r\n\r\n"
    assert chunked.decode(wire[:cut])[0] == whole[0][: len(chunked.decode(wire[:cut])[0])]
