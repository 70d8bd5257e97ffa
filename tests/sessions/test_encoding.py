"""Other gateways read the same store: what is written there must look as Go writes it."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.sessions.encoding import Struct, dumps, number, text

FLOATS = st.floats(allow_nan=False, allow_infinity=False)
SCALARS = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text() | FLOATS
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4))


@pytest.mark.parametrize(
    ("value", "printed"),
    [
        (0.0, "0"),
        (-0.0, "-0"),
        (2.0, "2"),
        (0.1, "0.1"),
        (1e20, "100000000000000000000"),
        (1.5e20, "150000000000000000000"),
        (1e21, "1e+21"),
        (-2.5e300, "-2.5e+300"),
        (1e-6, "0.000001"),
        (1.25e-6, "0.00000125"),
        (1e-7, "1e-7"),
        (-1.5e-9, "-1.5e-9"),
        (5e-324, "5e-324"),
        (123456789.125, "123456789.125"),
        (1e16, "10000000000000000"),
    ],
)
def test_floats_are_printed_as_go_prints_them(value: float, printed: str) -> None:
    assert number(value) == printed


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_what_json_cannot_hold_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="is not a JSON number"):
        dumps({"a": [value]})
    with pytest.raises(ValueError, match="cannot stand in JSON"):
        dumps({"a": b"bytes"})


def test_html_and_line_separators_are_escaped_and_text_is_not() -> None:
    assert dumps("<a href='x'>&é\u2028\u2029\"\\") == "\"\\u003ca href='x'\\u003e\\u0026é\\u2028\\u2029\\\"\\\\\""


def test_half_of_a_character_becomes_the_replacement() -> None:
    assert text("a\ud800b") == '"a\ufffdb"'


def test_maps_are_sorted_and_structs_are_not() -> None:
    assert dumps({"b": 1, "a": Struct(z=None, y=True)}) == '{"a":{"z":null,"y":true},"b":1}'
    assert dumps([{}, [], Struct()]) == "[{},[],{}]"


@given(FLOATS)
def test_every_float_comes_back(value: float) -> None:
    assert float(number(value)) == value


@given(VALUES)
def test_every_value_comes_back(value: object) -> None:
    assert json.loads(dumps(value)) == value
