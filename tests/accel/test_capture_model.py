"""Searching with groups finds what `re` finds, however the text is searched."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accel.capture import CaptureSearch

ATOMS = st.sampled_from([b"a", b"b", b"[ab]", b"[^a]", b".", b"\\b", b"^", b"\\Z", b"c", b"\\d", b"(?i:A)"])


def grow(inner: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    repeat = st.sampled_from([b"*", b"+", b"?", b"*?", b"+?", b"??", b"{1,2}", b"{2}", b"{0,2}?"])
    return st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(b"".join),
        st.lists(inner, min_size=2, max_size=3).map(lambda ways: b"(" + b"|".join(ways) + b")"),
        inner.map(lambda one: b"(" + one + b")"),
        # What a repetition repeats takes at least one byte, for engines differ about empty turns.
        st.tuples(inner, repeat).map(lambda pair: b"(?:c" + pair[0] + b")" + pair[1]),
        st.tuples(st.sampled_from([b"a", b"[ab]", b"."]), repeat).map(b"".join),
    )


EXPRESSIONS = st.recursive(ATOMS, grow, max_leaves=8)
TEXTS = st.lists(st.sampled_from(b"abcA1\n "), max_size=24).map(bytes)


@given(EXPRESSIONS, TEXTS)
def test_short_and_long_texts_are_searched_alike(source: bytes, text: bytes) -> None:
    match = re.compile(source).search(text)
    expected = None if match is None else [match[0], *match.groups()]
    search = CaptureSearch(source)
    assert search.find(text) == expected
    # Behind 600 bytes in which nothing can match, the slow but steady search is used.
    filler = b"-" * 600
    guarded = b"(?:-{600}|X)" + b"(?:" + source + b")" if b"^" not in source and b"\\b" not in source else source
    long = re.compile(guarded).search(filler + text)
    assert CaptureSearch(guarded).find(filler + text) == (None if long is None else [long[0], *long.groups()])


@pytest.mark.parametrize(
    ("source", "text"),
    [
        (b"(a+)+b", b"a" * 20_000 + b"c ab"),
        (b"(a|a)*b", b"a" * 5_000 + b"c aab"),
        (b"(.*)x(.*)y(.*)z\\Z", b"xy" * 4_000 + b"z"),
        (b"(a*)*(a*)*c", b"a" * 4_000 + b"bc"),
    ],
)
def test_text_that_takes_a_backtracking_search_for_ever_is_searched(source: bytes, text: bytes) -> None:
    groups = CaptureSearch(source).find(text)
    assert groups is not None
    assert groups[0] is not None
    assert text.endswith(groups[0])


def test_groups_that_took_no_part_are_none() -> None:
    assert CaptureSearch(b"(a)|(b)").find(b"b") == [b"b", None, b"b"]
    assert CaptureSearch(b"(a)|(b)").find(b"c") is None
    assert CaptureSearch(b"(x)?y").groups == 1


@pytest.mark.parametrize("source", [b"(", b"(a)\\1", b"(?=a)", b"(?<!a)b"])
def test_expression_that_go_does_not_have_is_refused(source: bytes) -> None:
    with pytest.raises(re.error):
        CaptureSearch(source)
