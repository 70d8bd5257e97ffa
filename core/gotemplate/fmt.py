"""Go's printf for the values of templates (package fmt, "Printing")."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.gotemplate.errors import FunctionError
from core.gotemplate.values import MISSING, float_text, is_list, kind, sorted_items, text

MAX_WIDTH = 10_000

_VERB = re.compile(r"%([-+# 0]*)(\*|\d+)?(?:(\.)(\*|\d+)?)?(?:\[(\d+)\])?(.?)", re.DOTALL)
_ASCII = {"\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v", "\\": "\\\\", '"': '\\"'}


@dataclass(frozen=True, slots=True)
class _Spec:
    flags: str
    width: int | None
    precision: int | None


def sprint(values: Sequence[Any]) -> str:
    """Values in a row; a space between two that are not text."""
    parts: list[str] = []
    before: Any = ""
    for value in values:
        if parts and not isinstance(value, str) and not isinstance(before, str):
            parts.append(" ")
        parts.append(text(value))
        before = value
    return "".join(parts)


def sprintln(values: Sequence[Any]) -> str:
    """Values with spaces between them and a line feed."""
    return " ".join(text(value) for value in values) + "\n"


def sprintf(form: str, values: Sequence[Any]) -> str:
    """Values in a form. Wrong verbs leave a remark in the text, as in Go. Raises FunctionError for a width over MAX_WIDTH."""
    used, reordered = 0, False
    parts: list[str] = []
    at = 0

    def star() -> int | None:
        nonlocal used
        used += 1
        value = values[used - 1] if used <= len(values) else None
        if isinstance(value, bool) or not isinstance(value, int):
            parts.append("%!(BADWIDTH)")
            return None
        return value

    while (match := _VERB.search(form, at)) is not None:
        parts.append(form[at : match.start()])
        at = match.end()
        flags, width_text, point, precision_text, chosen, verb = match.groups()
        width = star() if width_text == "*" else int(width_text) if width_text else None
        precision = None
        if point:
            precision = star() if precision_text == "*" else int(precision_text or 0)
        if width is not None and width < 0:
            flags, width = flags + "-", -width
        if chosen is not None:
            used, reordered = max(0, int(chosen) - 1), True
        if max(width or 0, precision or 0) > MAX_WIDTH:
            raise FunctionError(f"a width or precision over {MAX_WIDTH}")
        if verb == "%":
            parts.append("%")
        elif not verb:
            parts.append("%!(NOVERB)")
        elif used >= len(values):
            parts.append(f"%!{verb}({'BADINDEX' if chosen else 'MISSING'})")
        else:
            value = values[used]
            used += 1
            shown = flags.replace("+", "") if verb == "v" else flags
            parts.append(_one(verb, None if value is MISSING else value, _Spec(shown, width, precision)))
    parts.append(form[at:])
    if used < len(values) and not reordered:
        rest = ", ".join(f"{kind(value)}={text(value)}" if value is not None else "<nil>" for value in values[used:])
        parts.append(f"%!(EXTRA {rest})")
    return "".join(parts)


def quote(value: str) -> str:
    """A Go string literal, as %q writes it."""
    parts = []
    for char in value:
        if char in _ASCII:
            parts.append(_ASCII[char])
        elif char.isprintable():
            parts.append(char)
        else:
            code = ord(char)
            parts.append(f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}")
    return '"' + "".join(parts) + '"'


def _pad(found: str, spec: _Spec, *, zero: bool = False) -> str:
    if spec.width is None or len(found) >= spec.width:
        return found
    if "-" in spec.flags:
        return found.ljust(spec.width)
    if zero and "0" in spec.flags:
        sign = found[:1] if found[:1] in ("+", "-", " ") else ""
        return sign + found[len(sign) :].rjust(spec.width - len(sign), "0")
    return found.rjust(spec.width)


def _one(verb: str, value: Any, spec: _Spec) -> str:
    if verb == "T":
        return _pad("<nil>" if value is None else kind(value), spec)
    if value is None:
        return _pad("<nil>", spec) if verb == "v" else f"%!{verb}(<nil>)"
    if isinstance(value, Mapping):
        items = [f"{_one(verb, key, spec)}:{_item(verb, item, spec)}" for key, item in sorted_items(value)]
        return f"map[{' '.join(items)}]"
    if is_list(value):
        return "[" + " ".join(_item(verb, item, spec) for item in value) + "]"
    if isinstance(value, str):
        return _text(verb, value, spec)
    if isinstance(value, bool):
        return _pad(text(value), spec) if verb in "tv" else _wrong(verb, value, spec)
    if isinstance(value, int):
        return _integer(verb, value, spec)
    return _float(verb, value, spec) if isinstance(value, float) else _wrong(verb, value, spec)


def _item(verb: str, value: Any, spec: _Spec) -> str:
    """An entry of a list or map."""
    return "<nil>" if value is None else _one(verb, value, spec)


def _wrong(verb: str, value: Any, spec: _Spec) -> str:
    return f"%!{verb}({kind(value)}={_one('v', value, spec)})"


def _text(verb: str, value: str, spec: _Spec) -> str:
    cut = value if spec.precision is None else value[: spec.precision]
    if verb == "v" and "#" in spec.flags:
        return _pad(quote(value), spec)
    if verb in "sv":
        return _pad(cut, spec)
    if verb == "q":
        return _pad(quote(cut), spec)
    if verb in "xX":
        raw = value.encode("utf-8", "replace")
        found = (raw if spec.precision is None else raw[: spec.precision]).hex(*(" ",) if " " in spec.flags else ())
        return _pad(found.upper() if verb == "X" else found, spec)
    return _wrong(verb, value, spec)


def _signed(value: str, spec: _Spec) -> str:
    if value.startswith("-"):
        return value
    return ("+" if "+" in spec.flags else " " if " " in spec.flags else "") + value


def _integer(verb: str, value: int, spec: _Spec) -> str:
    if verb in "vdboxXO":
        digits = format(abs(value), {"v": "d", "O": "o"}.get(verb, verb))
        if spec.precision is not None:
            digits = "" if spec.precision == 0 and value == 0 else digits.rjust(spec.precision, "0")
        prefix = {"x": "0x", "X": "0X", "o": "0", "b": "0b"}.get(verb, "") if "#" in spec.flags else ""
        prefix = "0o" if verb == "O" else prefix
        found = _signed(("-" if value < 0 else "") + prefix + digits, spec)
        return _pad(found, spec, zero=spec.precision is None)
    if verb in "cqU":
        char = chr(value) if 0 <= value <= 0x10FFFF and not 0xD800 <= value < 0xE000 else "\ufffd"
        if verb == "U":
            return _pad(f"U+{value:04X}", spec)
        quoted = "'" + quote(char)[1:-1].replace('\\"', '"').replace("'", "\\'") + "'"
        return _pad(char if verb == "c" else quoted, spec)
    return _wrong(verb, value, spec)


def _float(verb: str, value: float, spec: _Spec) -> str:
    finite = float_text(value, exponent_from=400)
    if finite in ("NaN", "+Inf", "-Inf"):
        return _pad(finite if verb in "vgGeEfF" else _wrong(verb, value, spec), spec)
    if verb in "vgG" and spec.precision is None:
        found = float_text(value, verb="E" if verb == "G" else "e")
    elif verb in "vgGeEfF":
        form = {"v": "g", "F": "f"}.get(verb, verb)
        found = format(value, f".{6 if spec.precision is None else spec.precision}{form}")
    else:
        return _wrong(verb, value, spec)
    return _pad(_signed(found, spec), spec, zero=True)
