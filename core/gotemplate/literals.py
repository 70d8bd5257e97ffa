"""Constants as Go writes them (Go specification, "Integer literals", "Floating-point literals", "String literals")."""

from __future__ import annotations

import re

_ESCAPE = re.compile(
    r"\\(?:([abfnrtv\\'\"])|([0-7]{3})|x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.?))", re.DOTALL
)
_SIMPLE = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\", "'": "'", '"': '"'}
_INT64 = range(-(2**63), 2**64)


def number(text: str) -> int | float:
    """Read a number: a float when it has a point or an exponent. Raises ValueError."""
    digits = text.lstrip("+-").lower()
    if "__" in digits or digits.endswith("_") or ("_" in digits and not digits.startswith("0") and "." in digits):
        raise ValueError("'_' must separate successive digits")
    plain = digits.replace("_", "")
    sign = -1 if text.startswith("-") else 1
    if plain.startswith(("0x", "0b", "0o")):
        value = int(plain, 0)
    elif any(char in plain for char in ".e"):
        return sign * float(plain)
    elif plain.startswith("0") and len(plain) > 1:
        value = int(plain, 8)
    else:
        value = int(plain)
    if sign * value not in _INT64:
        raise ValueError("integer overflow")
    return sign * value


def unquote(text: str) -> str:
    """Read a string in double quotes, or a character in single quotes. Raises ValueError for an unknown escape."""
    quote = text[0]

    def replaced(match: re.Match[str]) -> str:
        simple, octal, byte, short, long, wrong = match.groups()
        if simple is not None:
            if simple in "'\"" and simple != quote:
                raise ValueError(f"unknown escape \\{simple}")
            return _SIMPLE[simple]
        if wrong is not None:
            raise ValueError(f"unknown escape \\{wrong}")
        code = int(octal, 8) if octal is not None else int(byte or short or long, 16)
        if code > 0x10FFFF or 0xD800 <= code < 0xE000 or (octal is not None and code > 255):
            raise ValueError(f"{match.group()} is not a character")
        return chr(code)

    return _ESCAPE.sub(replaced, text[1:-1])
