"""Fields from a server: what is decoded is what was sent, and nothing else is believed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coprocess.grpc import hpack
from coprocess.grpc.hpack_tables import STATIC
from tests.coprocess.grpc.model import Malformed, Reader, huffman_decode, huffman_encode, literal, put_integer, put_string

MOST = 1 << 20

# RFC 7541 C.2.1 to C.2.4, C.3.1, C.4.1, C.6.1 (indexing into a table without room changes nothing)
EXAMPLES = [
    ("400a637573746f6d2d6b65790d637573746f6d2d686561646572", [(b"custom-key", b"custom-header")]),
    ("040c2f73616d706c652f70617468", [(b":path", b"/sample/path")]),
    ("100870617373776f726406736563726574", [(b"password", b"secret")]),
    ("82", [(b":method", b"GET")]),
    (
        "828684410f7777772e6578616d706c652e636f6d",
        [(b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/"), (b":authority", b"www.example.com")],
    ),
    (
        "828684418cf1e3c2e5f23a6ba0ab90f4ff",
        [(b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/"), (b":authority", b"www.example.com")],
    ),
    (
        "488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad171863c78f0b97c8e9ae82ae43d3",
        [
            (b":status", b"302"), (b"cache-control", b"private"), (b"date", b"Mon, 21 Oct 2013 20:13:21 GMT"),
            (b"location", b"https://www.example.com"),
        ],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("block", "fields"), EXAMPLES)
def test_examples_of_the_standard(block: str, fields: list[tuple[bytes, bytes]]) -> None:
    assert hpack.decode(bytes.fromhex(block), MOST) == fields
    assert Reader(bytes.fromhex(block)).fields() == fields


BROKEN = {
    "index 0": b"\x80",
    "index into a dynamic table": b"\xbe",
    "name from a dynamic table": b"\x7e\x01a",
    "index that is cut off": b"\xff",
    "index without an end": b"\xff" + b"\x80" * 10,
    "huge index": b"\xff\xff\xff\xff\xff\x7f",
    "string without a length": b"\x00",
    "string that is cut off": b"\x00\x05abc",
    "value that is missing": b"\x00\x01a",
    "huffman padded with zeros": b"\x00\x81" + bytes([0b00011000]) + b"\x00",
    "huffman padded with a whole byte": b"\x00\x82" + bytes([0b00011111, 0xFF]) + b"\x00",
    "huffman with the end of string": b"\x00\x84\xff\xff\xff\xff\x00",
    "table larger than announced": b"\x3f\xe1\x1f",
    "table size behind a field": b"\x88\x20",
}


@pytest.mark.parametrize("block", BROKEN.values(), ids=BROKEN.keys())
def test_broken_blocks_are_refused(block: bytes) -> None:
    with pytest.raises(hpack.HpackError):
        hpack.decode(block, MOST)


def test_a_list_larger_than_announced_is_refused_before_it_is_built() -> None:
    block = literal(b"a", b"b" * 1000) * 10
    assert len(hpack.decode(block, 10 * 1033)) == 10
    with pytest.raises(hpack.TooLarge):
        hpack.decode(block, 10 * 1033 - 1)
    with pytest.raises(hpack.TooLarge):
        hpack.decode(b"\x00\x01a" + put_string(b"0" * 5000, True), 1000)


def test_a_size_update_to_nothing_is_taken() -> None:
    assert hpack.decode(b"\x20\x20\x88", MOST) == [(b":status", b"200")]


@given(st.binary(max_size=200))
def test_huffman_both_ways(text: bytes) -> None:
    assert huffman_decode(huffman_encode(text)) == text
    assert hpack.decode(b"\x00" + put_string(b"n", False) + put_string(text, True), MOST) == [(b"n", text)]


FIELD = st.one_of(
    st.integers(1, 61).map(lambda i: (put_integer(i, 7, 0x80), STATIC[i - 1])),
    st.tuples(st.integers(1, 61), st.binary(max_size=80), st.booleans(), st.sampled_from([(0x40, 6), (0x10, 4), (0, 4)])).map(
        lambda t: (put_integer(t[0], t[3][1], t[3][0]) + put_string(t[1], t[2]), (STATIC[t[0] - 1][0], t[1]))
    ),
    st.tuples(st.binary(max_size=300), st.binary(max_size=300), st.booleans(), st.sampled_from([0x40, 0x10, 0])).map(
        lambda t: (literal(t[0], t[1], coded=t[2], flags=t[3]), (t[0], t[1]))
    ),
)


@given(st.lists(FIELD, max_size=12))
def test_every_form_of_a_field_is_read(fields: list[tuple[bytes, tuple[bytes, bytes]]]) -> None:
    block = b"".join(raw for raw, _ in fields)
    assert hpack.decode(block, MOST) == [pair for _, pair in fields]


@given(st.lists(st.tuples(st.binary(min_size=1, max_size=40), st.binary(max_size=200)), max_size=8))
def test_what_is_encoded_is_what_others_read(fields: list[tuple[bytes, bytes]]) -> None:
    block = hpack.encode(fields)
    assert Reader(block).fields() == fields


@given(st.one_of(st.binary(max_size=64), st.lists(FIELD, max_size=4).map(lambda f: b"".join(raw for raw, _ in f))), st.data())
def test_any_bytes_mean_what_the_model_says(block: bytes, data: st.DataObject) -> None:
    if block and data.draw(st.booleans()):
        at = data.draw(st.integers(0, len(block) - 1))
        block = block[:at] + bytes([data.draw(st.integers(0, 255))]) + block[at + 1 :]
    try:
        expected = Reader(block).fields()
    except Malformed:
        with pytest.raises(hpack.HpackError):
            hpack.decode(block, MOST)
    else:
        assert hpack.decode(block, MOST) == expected
