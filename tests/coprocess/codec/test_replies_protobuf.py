"""Replies in the Protocol Buffers wire format, beside what their own library makes of them."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st

from coprocess.codec import CodecError, Overrides, PluginReply, decode
from coprocess.codec.replies import MOST_ENTRIES
from coprocess.proto.coprocess_object_pb2 import Object
from coprocess.proto.coprocess_session_state_pb2 import SessionState
from tests.coprocess.codec.messages import kept_aside, objects, ordered, reply, strict, texts


def field(number: int, wire: int, payload: bytes = b"") -> bytes:
    """One field; payload: what stands behind the tag."""
    return varint(number << 3 | wire) + payload


def span(number: int, content: bytes) -> bytes:
    return field(number, 2, varint(len(content)) + content)


def varint(value: int) -> bytes:
    found = bytearray()
    while value >= 0x80:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)


def check_same(message: bytes) -> None:
    """Read as the library reads it; session compared as what it means, because its bytes may be in another order."""
    found, wanted = decode("protobuf", message), reply(Object.FromString(message))
    assert (found.session is None) == (wanted.session is None)
    if found.session is not None:
        assert SessionState.FromString(found.session) == SessionState.FromString(wanted.session or b"")
    found.session = wanted.session = None
    assert ordered(found) == ordered(wanted)


@given(objects)
@settings(max_examples=300, deadline=None)
def test_any_object_is_read_as_its_library_reads_it(message: Any) -> None:
    check_same(message.SerializeToString())


@given(objects, objects)
@settings(max_examples=150, deadline=None)
def test_pieces_are_merged_as_the_format_wants_it(one: Any, other: Any) -> None:
    check_same(one.SerializeToString() + other.SerializeToString())


entry = st.tuples(texts, texts).map(lambda pair: span(1, pair[0].encode()) + span(2, pair[1].encode()))
scalars = st.one_of(
    st.tuples(st.integers(1, 40), st.just(0), st.integers(0, 2**64 - 1).map(varint)),
    st.tuples(st.integers(1, 40), st.just(1), st.binary(min_size=8, max_size=8)),
    st.tuples(st.integers(1, 40), st.just(5), st.binary(min_size=4, max_size=4)),
    st.tuples(st.integers(1, 40), st.just(2), (st.binary(max_size=20) | entry).map(lambda data: varint(len(data)) + data)),
)
pieces = st.recursive(
    st.lists(scalars.map(lambda parts: field(*parts)), max_size=6).map(b"".join),
    lambda inner: st.lists(
        st.one_of(
            st.tuples(st.integers(1, 40), inner).map(lambda part: span(*part)),
            st.tuples(st.integers(30, 40), inner).map(lambda part: field(part[0], 3) + part[1] + field(part[0], 4)),
        ),
        max_size=5,
    ).map(b"".join),
    max_leaves=6,
)


def check_not_worse(message: bytes) -> None:
    """Both read the same; what is refused cannot be read by the library either, or it does not know what it should."""
    try:
        wanted = Object.FromString(message)
    except DecodeError:
        wanted = None
    refused = None
    try:
        decode("protobuf", message)
    except CodecError as error:
        refused = error
    if refused is not None:
        assert wanted is None or kept_aside(wanted) or strict(refused), message
    elif wanted is not None and not kept_aside(wanted):
        check_same(message)


@given(pieces)
@settings(max_examples=400, deadline=None)
def test_any_fields_are_read_or_refused(message: bytes) -> None:
    check_not_worse(message)


@given(st.binary(max_size=60))
@settings(max_examples=400, deadline=None)
def test_any_bytes_are_read_or_refused(message: bytes) -> None:
    check_not_worse(message)


@given(objects, st.data())
@settings(max_examples=300, deadline=None)
def test_a_mutated_message_is_read_or_refused(message: Any, data: st.DataObject) -> None:
    raw = bytearray(message.SerializeToString() or b"\x1a\x00")
    for _ in range(data.draw(st.integers(1, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    check_not_worse(bytes(raw))


@given(objects)
@settings(max_examples=60, deadline=None)
def test_a_message_that_ends_early_is_read_or_refused(message: Any) -> None:
    raw = message.SerializeToString()
    for end in range(len(raw)):
        check_not_worse(raw[:end])


REQUEST_TEXTS = [("url", 5), ("method", 11)]
OVERRIDE_TEXTS = [("response_error", 2), ("response_body", 5)]


@pytest.mark.parametrize(
    ("message", "path"),
    [
        *((span(3, span(number, b"\xff")), f"request.{name}") for name, number in REQUEST_TEXTS),
        *((span(3, span(number, b"\xed\xa0\x80")), f"request.{name}") for name, number in REQUEST_TEXTS),
        *((span(3, span(10, span(number, b"a\x80"))), f"request.return_overrides.{name}") for name, number in OVERRIDE_TEXTS),
        (span(3, span(3, b"\xff")), "request.delete_headers"),
        (span(3, span(9, b"\xff")), "request.delete_params"),
        (span(3, span(2, span(1, b"X-A") + span(2, b"\xff"))), "request.set_headers.X-A"),
        (span(3, span(7, span(1, b"\xff") + span(2, b"v"))), "request.add_params"),
        (span(3, span(10, span(3, span(2, b"\xff")))), "request.return_overrides.headers."),
        (span(5, span(1, b"token") + span(2, b"\xff")), "metadata.token"),
        (span(7, span(4, span(1, b"a\nb") + span(2, b"\xff"))), r"response.headers.'a\nb'"),
        (span(7, span(5, span(1, b"\xff"))), "response.multivalue_headers.key"),
        (span(7, span(5, span(2, b"\xff"))), "response.multivalue_headers.values"),
    ],
)
def test_text_that_is_not_utf8_is_named(message: bytes, path: str) -> None:
    with pytest.raises(CodecError) as caught:
        decode("protobuf", message)
    assert (caught.value.field, caught.value.problem) == (path, "expected UTF-8 text")


KNOWN = {
    "hook_name": 2, "request": 3, "session": 4, "metadata": 5, "spec": 6, "response": 7,
    "request.headers": (3, 1), "request.set_headers": (3, 2), "request.delete_headers": (3, 3), "request.body": (3, 4),
    "request.url": (3, 5), "request.params": (3, 6), "request.add_params": (3, 7), "request.extended_params": (3, 8),
    "request.delete_params": (3, 9), "request.return_overrides": (3, 10), "request.method": (3, 11),
    "request.request_uri": (3, 12), "request.scheme": (3, 13), "request.raw_body": (3, 14),
    "request.return_overrides.response_error": (3, 10, 2), "request.return_overrides.headers": (3, 10, 3),
    "request.return_overrides.response_body": (3, 10, 5), "response.raw_body": (7, 2), "response.body": (7, 3),
    "response.headers": (7, 4), "response.multivalue_headers": (7, 5), "response.multivalue_headers.key": (7, 5, 1),
    "response.multivalue_headers.values": (7, 5, 2),
}  # fmt: skip
NUMBERS = {
    "hook_type": (1,), "response.status_code": (7, 1),
    "request.return_overrides.response_code": (3, 10, 1), "request.return_overrides.override_error": (3, 10, 4),
}  # fmt: skip


@pytest.mark.parametrize("path", [*KNOWN, *NUMBERS])
def test_a_known_field_in_another_encoding_is_refused(path: str) -> None:
    numbers = NUMBERS[path] if path in NUMBERS else KNOWN[path]
    *outer, last = numbers if isinstance(numbers, tuple) else (numbers,)
    wrong = {0: b"\x01", 1: bytes(8), 2: b"\x00", 3: varint(last << 3 | 4), 5: bytes(4)}
    del wrong[0 if path in NUMBERS else 2]
    for wire, payload in wrong.items():
        message = field(last, wire, payload)
        for number in reversed(outer):
            message = span(number, message)
        with pytest.raises(CodecError, match="encoding") as caught:
            decode("protobuf", message)
        assert caught.value.field == path


@pytest.mark.parametrize(
    ("message", "problem"),
    [
        (b"\x80", "the message ends within a number"),
        (b"\x1a", "request: the message ends within a number"),
        (b"\x1a\x05", "request: the message ends within a field"),
        (b"\x1a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "request: the message ends within a field"),
        (b"\x1a\xff\xff\xff\xff\xff\xff\xff\xff\x7f", "request: the message ends within a field"),
        (b"\x08" + b"\xff" * 9 + b"\x02", "a number has more than 64 bits"),
        (b"\x08" + b"\x80" * 10 + b"\x00", "a number has more than 64 bits"),
        (b"\x00", "0 is not the number of a field"),
        (b"\x02\x00", "0 is not the number of a field"),
        (varint(1 << 32), "536870912 is not the number of a field"),
        (field(20, 6), "6 is not an encoding of a field"),
        (field(20, 7), "7 is not an encoding of a field"),
        (field(20, 1, bytes(7)), "the message ends within a field"),
        (field(20, 5, bytes(3)), "the message ends within a field"),
        (field(20, 4), "a group ends that has not begun"),
        (field(20, 3) + field(21, 4), "a group ends that has not begun"),
        (field(20, 3), "the message ends within a number"),
        (field(20, 3) * 101, "groups are nested deeper than 100 levels"),
        (span(3, field(20, 3)) + field(20, 4), "request: the message ends within a number"),
    ],
)
def test_a_message_that_is_none_is_refused(message: bytes, problem: str) -> None:
    with pytest.raises(CodecError) as caught:
        decode("protobuf", message)
    assert str(caught.value) == problem


def test_unknown_fields_are_passed_over() -> None:
    unknown = field(20, 0, b"\xff" * 9 + b"\x01") + field(21, 1, bytes(8)) + span(22, b"\xff") + field(2**29 - 1, 5, bytes(4))
    groups = b"".join(field(at, 3) for at in range(100, 200)) + b"".join(field(at, 4) for at in reversed(range(100, 200)))
    more = unknown + groups
    pair = more + span(2, b"v") + more + span(1, b"k") + more
    overrides = span(10, more + field(1, 0, b"\x05") + more + span(3, pair))
    request = span(3, more + overrides + span(2, pair) + more)
    found = decode("protobuf", more + request + span(7, more + span(5, more + span(1, b"A")) + more) + more)
    assert found.request is not None
    assert found.response is not None
    assert (found.request.set_headers, found.response.multivalue_headers) == ([("k", "v")], [("A", [])])
    assert found.request.overrides == Overrides(5, headers=[("k", "v")])


def test_what_is_missing_is_none() -> None:
    assert decode("protobuf", b"") == PluginReply(None, None, {}, None)
    found = decode("protobuf", span(3, b"") + span(4, b"") + span(7, b""))
    assert found.request is not None
    assert (found.request.overrides, found.session, found.response is None) == (None, b"", False)


@pytest.mark.parametrize(
    ("code", "number"),
    [(b"\xff" * 9 + b"\x01", -1), (b"\xff\xff\xff\xff\x0f", -1), (b"\x80\x80\x80\x80\x10", 0), (b"\xc8\x01", 200)],
)
def test_codes_are_the_lower_bits_of_a_number(code: bytes, number: int) -> None:
    message = span(3, span(10, field(1, 0, code)))
    found = decode("protobuf", message)
    assert found.request is not None
    assert found.request.overrides == Overrides(number)
    check_same(message)


def test_the_last_of_a_key_counts() -> None:
    pair = span(2, span(1, b"k") + span(2, b"1")) + span(2, span(2, b"2") + span(1, b"no") + span(1, b"k"))
    found = decode("protobuf", span(3, pair))
    assert found.request is not None
    assert found.request.set_headers == [("k", "2")]


@pytest.mark.parametrize(
    ("path", "wrap"),
    [
        ("request.delete_headers", lambda many: span(3, many(3, b"a"))),
        ("request.add_params", lambda many: span(3, many(7, None))),
        ("metadata", lambda many: many(5, None)),
        ("response.multivalue_headers", lambda many: span(7, many(5, b""))),
    ],
)
def test_endless_lists_and_maps_are_refused(path: str, wrap: Any) -> None:
    def many(count: int) -> bytes:
        def make(number: int, content: bytes | None) -> bytes:
            return b"".join(span(number, span(1, b"%d" % at) if content is None else content) for at in range(count))

        made: bytes = wrap(make)
        return made

    decode("protobuf", many(MOST_ENTRIES))
    with pytest.raises(CodecError, match="more than 65536 entries") as caught:
        decode("protobuf", many(MOST_ENTRIES + 1))
    assert caught.value.field == path


def test_what_is_read_is_a_copy() -> None:
    raw = bytearray(span(3, span(14, b"body")) + span(4, b"\x0a\x00"))
    message = bytes(raw)
    found = decode("protobuf", message)
    del message
    assert found.request is not None
    assert (type(found.request.raw_body), found.request.raw_body, found.session) == (bytes, b"body", b"\x0a\x00")
