"""JSON as Go's encoding/json writes it, so that every reader of a shared store sees what it is used to (tyk-core C.6)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from json.encoder import encode_basestring
from typing import Any

# Go keeps these out of its JSON: the first three for HTML, the others because they end lines in JavaScript.
_ESCAPES = {ord(char): f"\\u{ord(char):04x}" for char in "<>&\u2028\u2029"}


class Struct(dict[str, Any]):
    """An object whose members keep their order, as the fields of a Go struct do."""


def dumps(value: Any) -> str:
    """One line of JSON: members of a Struct in their order, of other mappings sorted by name.

    Raises ValueError for a number that JSON cannot hold, and for what is not JSON.
    """
    parts: list[str] = []
    _write(value, parts)
    return "".join(parts).translate(_ESCAPES)


def number(value: float) -> str:
    """A float as Go prints it: no fraction for whole numbers, an exponent below 1e-6 and from 1e21.

    Raises ValueError for infinity and NaN.
    """
    if not math.isfinite(value):
        raise ValueError(f"{value!r} is not a JSON number")
    shortest = repr(value).removesuffix(".0")
    mantissa, _, power = shortest.partition("e")
    if value == 0 or (1e-6 <= abs(value) < 1e21):
        if not power:
            return shortest
        digits = len(mantissa.partition(".")[2])
        return f"{value:.{max(0, digits - int(power))}f}"
    return f"{mantissa}e{int(power):+d}" if power else shortest


def text(value: str) -> str:
    """A JSON string with its quotes. Lone surrogates become U+FFFD."""
    try:
        value.encode()
    except UnicodeEncodeError:
        value = value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return encode_basestring(value)


def _write(value: Any, parts: list[str]) -> None:
    if value is None:
        parts.append("null")
    elif isinstance(value, bool):
        parts.append("true" if value else "false")
    elif isinstance(value, str):
        parts.append(text(value))
    elif isinstance(value, int):
        parts.append(str(value))
    elif isinstance(value, float):
        parts.append(number(value))
    elif isinstance(value, Mapping):
        before = "{"
        for key in value if isinstance(value, Struct) else sorted(value):
            parts.append(f"{before}{text(key)}:")
            _write(value[key], parts)
            before = ","
        parts.append("}" if before == "," else "{}")
    elif isinstance(value, list | tuple):
        before = "["
        for item in value:
            parts.append(before)
            _write(item, parts)
            before = ","
        parts.append("]" if before == "," else "[]")
    else:
        raise ValueError(f"a {type(value).__name__} cannot stand in JSON")
