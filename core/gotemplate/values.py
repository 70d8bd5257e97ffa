"""Values as templates see them: what is true, how they print, how they compare (text/template, "Actions", "Functions").

Data are plain Python values: dict (a Go map with text keys), list or tuple (a slice), str, int, float, bool, None (nil),
and callables in a dict, which are its methods. Byte offsets and lengths of a str are those of its UTF-8.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from core.gotemplate.errors import FunctionError


class Record(dict[str, Any]):
    """A dict that stands for a Go struct: a name that it does not have is an error instead of no value."""


class Missing:
    """The value of a key that a map does not have."""

    def __repr__(self) -> str:
        return "<no value>"


MISSING: Final = Missing()


def is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def kind(value: Any) -> str:
    """The Go type that a value would have, for messages and %T."""
    match value:
        case None | Missing():
            return "nil"
        case bool():
            return "bool"
        case int():
            return "int"
        case float():
            return "float64"
        case str():
            return "string"
        case bytes():
            return "[]uint8"
        case Mapping():
            return "map[string]interface {}"
    return "[]interface {}" if is_list(value) else "func" if callable(value) else type(value).__name__


def truth(value: Any) -> bool:
    """Whether a value is not the zero value of its type and not empty."""
    if value is MISSING:
        return False
    if isinstance(value, Record):
        return True
    return bool(value) or callable(value)


def sorted_items(value: Mapping[Any, Any]) -> list[tuple[Any, Any]]:
    """The entries of a map in the order of their keys, as range and print visit them."""
    return sorted(value.items(), key=lambda item: (type(item[0]).__name__, item[0]))


def float_text(value: float, *, exponent_from: int = 6, verb: str = "e") -> str:
    """The shortest text that reads back as the same number, as Go writes %v."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    if value == 0:
        return "-0" if math.copysign(1, value) < 0 else "0"
    sign, digits_, _ = Decimal(repr(value)).normalize().as_tuple()
    digits = "".join(map(str, digits_))
    exponent = Decimal(repr(value)).adjusted()
    minus = "-" if sign else ""
    if exponent < -4 or exponent >= exponent_from:
        rest = f".{digits[1:]}" if len(digits) > 1 else ""
        return f"{minus}{digits[0]}{rest}{verb}{'-' if exponent < 0 else '+'}{abs(exponent):02d}"
    if exponent < 0:
        return f"{minus}0.{'0' * (-exponent - 1)}{digits}"
    if len(digits) <= exponent + 1:
        return minus + digits.ljust(exponent + 1, "0")
    return f"{minus}{digits[: exponent + 1]}.{digits[exponent + 1 :]}"


def text(value: Any) -> str:
    """How a value prints: Go's %v."""
    if isinstance(value, str):
        return value
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return float_text(value)
    if isinstance(value, Record):
        return "{" + " ".join(text(item) for item in value.values()) + "}"
    if isinstance(value, Mapping):
        return "map[" + " ".join(f"{text(key)}:{text(item)}" for key, item in sorted_items(value)) + "]"
    if isinstance(value, bytes):
        return "[" + " ".join(str(byte) for byte in value) + "]"
    if is_list(value):
        return "[" + " ".join(text(item) for item in value) + "]"
    return repr(value)


def _basic(value: Any) -> str:
    """The kinds that compare with each other."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "int"
    if isinstance(value, float):
        return "float"
    return "string" if isinstance(value, str) else "nil" if value is None else ""


def equal(first: Any, second: Any) -> bool:
    """Go's eq of two values. Raises FunctionError for maps, lists and values of different kinds."""
    kinds = _basic(first), _basic(second)
    if "nil" in kinds:
        return kinds[0] == kinds[1]
    if "" in kinds:
        raise FunctionError(f"non-comparable type {kind(first if not kinds[0] else second)}")
    if kinds[0] != kinds[1]:
        raise FunctionError("incompatible types for comparison")
    return bool(first == second)


def less(first: Any, second: Any) -> bool:
    """Go's lt of two values. Raises FunctionError for everything but two numbers or two texts of one kind."""
    kinds = _basic(first), _basic(second)
    if kinds[0] != kinds[1]:
        raise FunctionError("incompatible types for comparison")
    if kinds[0] not in ("int", "float", "string"):
        raise FunctionError("invalid type for comparison")
    if kinds[0] == "string":
        return bool(first.encode("utf-8", "surrogatepass") < second.encode("utf-8", "surrogatepass"))
    return bool(first < second)


def entries(value: Any) -> Iterator[tuple[Any, Any]]:
    """What range visits. Raises FunctionError for a value that it cannot visit."""
    if isinstance(value, Mapping) and not isinstance(value, Record):
        yield from sorted_items(value)
    elif is_list(value) or isinstance(value, bytes):
        yield from enumerate(value)
    elif isinstance(value, int) and not isinstance(value, bool):
        yield from ((number, number) for number in range(value))
    elif value is not None and value is not MISSING:
        raise FunctionError(f"range can't iterate over {text(value)[:80]}")


