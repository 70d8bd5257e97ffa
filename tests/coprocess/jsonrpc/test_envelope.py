"""The scanner of answers against Python's json module: it accepts what that accepts and finds the same."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coprocess.jsonrpc.envelope import parse

NUMBER = st.one_of(st.integers(), st.floats(allow_nan=False, allow_infinity=False))
LEAF = st.one_of(st.none(), st.booleans(), NUMBER, st.text())
TREE = st.recursive(LEAF, lambda t: st.lists(t, max_size=4) | st.dictionaries(st.text(), t, max_size=4), max_leaves=12)
OBJECT = st.dictionaries(st.text(), TREE, max_size=5)
SPACE = st.text(" \t\r\n", max_size=3)
OTHERS = st.dictionaries(st.text(), TREE, max_size=2)


def no_constant(name: str) -> Any:
    """NaN and Infinity are no JSON."""
    raise ValueError(name)


def whole(text: str) -> int | float:
    """A number without fraction and exponent; -0 is one, but no id."""
    return -0.0 if text == "-0" else int(text)


def reference(frame: bytes) -> tuple[int, Any, Any] | None:
    """What parse() is described to find; None for what it refuses. An object becomes a tuple of pairs. Bytes are taken as
    characters: UTF-8 is not its business."""
    try:
        pairs = json.loads(frame.decode("latin-1"), object_pairs_hook=tuple, parse_int=whole, parse_constant=no_constant)
    except ValueError:
        return None
    if not isinstance(pairs, tuple):
        return None
    names = [name for name, _ in pairs if name in ("id", "result", "error", "jsonrpc")]
    members = dict(pairs)
    number = members.get("id")
    if len(set(names)) != len(names) or members.get("jsonrpc") != "2.0":
        return None
    if type(number) is not int or not 0 <= number < 10**15:
        return None
    result, error = members.get("result"), members.get("error")
    if (result is None) == (error is None) or not isinstance(result, tuple | None):
        return None
    return number, result, error


def loads(text: bytes | None) -> Any:
    return None if text is None else json.loads(text.decode("latin-1"), object_pairs_hook=tuple, parse_int=whole)


@st.composite
def frames(draw: st.DrawFn) -> tuple[bytes, int, Any, Any]:
    """(frame, id, result, error) of a right answer, with its members in any order and white space between the tokens."""
    number = draw(st.integers(0, 10**15 - 1))
    result, error = draw(st.one_of(st.tuples(OBJECT, st.none()), st.tuples(st.none(), OBJECT)))
    members: dict[str, Any] = {k: v for k, v in draw(OTHERS).items() if k not in ("id", "result", "error", "jsonrpc")}
    members |= {"jsonrpc": "2.0", "id": number, "error" if result is None else "result": error if result is None else result}
    if draw(st.booleans()):
        members["result" if result is None else "error"] = None
    order = draw(st.permutations(list(members)))
    ascii_only = draw(st.booleans())

    comma, colon = (draw(SPACE) + mark + draw(SPACE) for mark in ",:")

    def text(value: Any) -> str:
        return json.dumps(value, ensure_ascii=ascii_only, separators=(comma, colon))

    inside = ",".join(f"{draw(SPACE)}{text(k)}{draw(SPACE)}:{draw(SPACE)}{text(members[k])}{draw(SPACE)}" for k in order)
    return f"{draw(SPACE)}{{{inside}}}{draw(SPACE)}".encode("utf-8", "surrogatepass"), number, result, error


@given(frames())
def test_a_right_answer_is_found_whole(made: tuple[bytes, int, Any, Any]) -> None:
    frame, number, result, error = made
    got = parse(frame)
    assert got[0] == number
    for found, expected in ((got[1], result), (got[2], error)):
        assert (found is None) == (expected is None)
        assert found is None or json.loads(found.decode("utf-8", "surrogatepass")) == expected


@given(frames())
def test_every_beginning_of_an_answer_is_refused(made: tuple[bytes, int, Any, Any]) -> None:
    frame = made[0].rstrip()
    for end in range(0, len(frame), max(1, len(frame) // 40)):
        with pytest.raises(ValueError, match=r"."):
            parse(frame[:end])


EDITS = st.lists(st.tuples(st.integers(0, 400), st.binary(max_size=2), st.integers(0, 2)), min_size=1, max_size=3)


@given(frames(), EDITS)
def test_what_was_damaged_is_judged_as_json_judges_it(
    made: tuple[bytes, int, Any, Any], edits: list[tuple[int, bytes, int]]
) -> None:
    frame = made[0]
    for at, put, gone in edits:
        where = at % (len(frame) + 1)
        frame = frame[:where] + put + frame[where + gone :]
    check_frame(frame)


TOKENS = [
    "{", "}", "[", "]", ",", ":", '"id"', '"jsonrpc":"2.0"', '"result"', '"error"', '"id":1', '"result":{}', "0", "-", "1e5",
    ".5", "01", "true", "nul", "null", '"', "\\", "\\u12", " ", "\n", "\x00", '"\\ud800"', "é",
]  # fmt: skip


@given(st.lists(st.sampled_from(TOKENS), max_size=14))
def test_tokens_in_any_order_are_judged_as_json_judges_them(tokens: list[str]) -> None:
    check_frame("".join(tokens).encode())
    check_frame(("{" + "".join(tokens) + "}").encode())
    check_frame(('{"jsonrpc":"2.0","id":1,"result":{"a":' + "".join(tokens) + "}}").encode())


def check_frame(frame: bytes) -> None:
    """The same as the reference. Names that are written with escapes may be passed over."""
    expected = reference(frame)
    try:
        number, result, error = parse(frame)
    except ValueError:
        assert expected is None or b"\\u" in frame, frame
        return
    assert (number, loads(result), loads(error)) == expected, frame


@pytest.mark.parametrize(
    ("frame", "why"),
    [
        (b"", "not a JSON object"),
        (b"[]", "not a JSON object"),
        (b'[{"jsonrpc":"2.0","id":1,"result":{}}]', "not a JSON object"),
        (b"{}", "not JSON"),
        (b'{"id":1,"result":{}}', "jsonrpc"),
        (b'{"jsonrpc":"1.0","id":1,"result":{}}', "jsonrpc"),
        (b'{"jsonrpc":"2.0","result":{}}', "it has no id"),
        (b'{"jsonrpc":"2.0","id":null,"result":{}}', "its id is null"),
        (b'{"jsonrpc":"2.0","id":"1","result":{}}', "not one that was given"),
        (b'{"jsonrpc":"2.0","id":1.0,"result":{}}', "not one that was given"),
        (b'{"jsonrpc":"2.0","id":-1,"result":{}}', "not one that was given"),
        (b'{"jsonrpc":"2.0","id":1000000000000000,"result":{}}', "not one that was given"),
        (b'{"jsonrpc":"2.0","id":1}', "needs a result or an error"),
        (b'{"jsonrpc":"2.0","id":1,"result":null}', "needs a result or an error"),
        (b'{"jsonrpc":"2.0","id":1,"result":{},"error":{}}', "needs a result or an error"),
        (b'{"jsonrpc":"2.0","id":1,"result":[]}', "not an object"),
        (b'{"jsonrpc":"2.0","id":1,"result":"{}"}', "not an object"),
        (b'{"jsonrpc":"2.0","id":1,"id":2,"result":{}}', "twice"),
        (b'{"jsonrpc":"2.0","id":1,"result":{},"result":{}}', "twice"),
        (b'{"jsonrpc":"2.0","id":1,"result":null,"result":{}}', "twice"),
        (b'{"jsonrpc":"2.0","id":1,"result":{}}{', "not JSON"),
        (b'{"jsonrpc":"2.0","id":1,"result":{}}\x00', "not JSON"),
        (b'{"jsonrpc":"2.0","id":1,"result":{"a":' + b"[" * 600 + b"]" * 600 + b"}}", "not JSON"),
    ],
)
def test_what_is_no_answer_is_refused(frame: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse(frame)


def test_nesting_is_followed_to_its_bound() -> None:
    inside = b"[" * 511 + b"]" * 511
    assert parse(b'{"jsonrpc":"2.0","id":1,"result":{"a":' + inside + b"}}")[1] == b'{"a":' + inside + b"}"
    with pytest.raises(ValueError, match="not JSON"):
        parse(b'{"jsonrpc":"2.0","id":1,"result":{"a":[' + inside + b"]}}")


@pytest.mark.parametrize("special", [bytes([n]) for n in (0x22, 0x5C, 0x1F, 0, 0x0A, 0xFF, 0x7F, 0x80, 0x20, 0xA2, 0xDC)])
def test_each_place_in_a_word_of_eight_bytes_is_looked_at(special: bytes) -> None:
    for before in range(20):
        for after in range(20):
            check_frame(b'{"jsonrpc":"2.0","id":1,"result":{"a":"' + b"x" * before + special + b"y" * after + b'"}}')
