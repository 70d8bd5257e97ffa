"""The linear search against Python's own: same answers, and an end for texts on which that one has none."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accel.linear import Linear

ATOMS = st.sampled_from(
    ["a", "b", "/", "A", ".", "[ab]", "[^a]", "[a-c/]", "[^/]", r"\w", r"\W", r"\d", r"\D", "^", r"\Z", r"\b", r"\B", r"\.",
     r"\A", "é", r"[^\wb]"]
)  # fmt: skip
EXPRESSIONS = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map("".join),
        st.lists(inner, min_size=1, max_size=3).map(lambda ways: f"({'|'.join(ways)})"),
        st.tuples(inner, st.sampled_from(["*", "+", "?", "*?", "+?", "??", "{2}", "{0,2}", "{1,}", "{0}"])).map(
            lambda pair: f"(?:{pair[0]}){pair[1]}"
        ),
        inner.map(lambda one: f"(?i:{one})"),
        inner.map(lambda one: f"(?s:{one})"),
    ),
    max_leaves=8,
)
# Not the empty text: there Python before 3.14 finds no \B, which Go does.
TEXTS = st.lists(st.text("ab/A.1\n_ é", min_size=1, max_size=8), min_size=1, max_size=8)


@settings(max_examples=3000, deadline=None)
@given(EXPRESSIONS, TEXTS)
def test_search_finds_what_the_backtracking_one_finds(source: str, texts: list[str]) -> None:
    mine, theirs = Linear(source.encode()), re.compile(source.encode())
    for text in texts:
        assert mine.search(text.encode()) == (theirs.search(text.encode()) is not None), text


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("(a+)+$", "a" * 16000 + "!"),
        ("(a|a)*b", "a" * 16000),
        ("(?s:/.*/.*/.*/x)", "/a" * 8000),
        ("/([a-z]+/?)+$", "/" + "a" * 16000 + "1"),
        ("(.*a){12}x", "a" * 16000),
        ("a?" * 60 + "a" * 60 + "b", "a" * 4000),
    ],
)
def test_hostile_text_is_searched_to_its_end(source: str, text: str) -> None:
    assert Linear(source.encode()).search(text.encode()) is False


def test_more_states_than_are_remembered_do_not_change_the_answer() -> None:
    wanted = Linear(b"a[ab]{11}c")
    texts = [format(n, "012b").replace("0", "a").replace("1", "b") for n in range(0, 4096, 3)]
    for text in texts:
        assert wanted.search(text.encode() * 3) is False
        assert wanted.search(text.encode() + b"c") is text.startswith("a")


def test_numbers_and_spaces_are_those_of_ascii() -> None:
    digits, spaces = Linear(rb"^\d$"), Linear(rb"^\s$")
    assert [digits.search(bytes([byte])) for byte in range(256)] == [byte in b"0123456789" for byte in range(256)]
    assert [spaces.search(bytes([byte])) for byte in range(256)] == [byte in b"\t\n\f\r " for byte in range(256)]


@pytest.mark.parametrize(
    "source", [b"(?=a)", b"(?<!a)b", rb"(a)\1", b"(a", b"a**", b"(a{500}){500}", b"(){1000000}", b"(" * 2000]
)
def test_what_has_no_linear_search_is_refused(source: bytes) -> None:
    with pytest.raises(re.error):
        Linear(source)
