"""The part of Go's template language that error pages use: ``{{.Message}}`` and ``{{.StatusCode}}``.

Source: text/template, "Text and spaces" for the trim markers; tyk-core 3.3 for the two names.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Literal

Kind = Literal["json", "xml"]

_ACTION = re.compile(
    r"\{\{(?P<trim_left>-(?=\s))?\s*(?P<body>.*?)\s*(?P<trim_right>(?<=\s)-)?\}\}", re.DOTALL
)
_NAMES = {".Message": "message", ".StatusCode": "status"}
_SPACE = " \t\r\n"
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_XML = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&#34;", "'": "&#39;"})
_JSON = str.maketrans({char: f"\\u{ord(char):04x}" for char in "<>&\u2028\u2029"})


class TemplateError(ValueError):
    """A template uses something outside the supported part of the language; the text says what and where."""


@dataclass(frozen=True, slots=True)
class Template:
    """A parsed page: ``literals`` has one more element than ``names``, whose values go between them."""

    literals: tuple[str, ...]
    names: tuple[str, ...]

    def render(self, kind: Kind, status: int, message: str) -> bytes:
        """Return the page as UTF-8, with the message escaped for a JSON string or for XML text."""
        values = {"status": str(status), "message": escape(kind, message)}
        parts = [self.literals[0]]
        for name, literal in zip(self.names, self.literals[1:], strict=True):
            parts += (values[name], literal)
        return "".join(parts).encode("utf-8", "replace")


def parse(source: str) -> Template:
    """Parse a page. Raises TemplateError for any action but the two names."""
    literals: list[str] = []
    names: list[str] = []
    at = 0
    trim = False
    for match in _ACTION.finditer(source):
        literals.append(_literal(source, at, match.start(), trim, match["trim_left"] is not None))
        name = _NAMES.get(match["body"])
        if name is None:
            raise TemplateError(
                f"line {_line(source, match.start())}: {match.group()!r} is not supported, "
                "expected {{.Message}} or {{.StatusCode}}"
            )
        names.append(name)
        at, trim = match.end(), match["trim_right"] is not None
    literals.append(_literal(source, at, len(source), trim, False))
    return Template(tuple(literals), tuple(names))


def escape(kind: Kind, text: str) -> str:
    """Escape a text for the inside of a JSON string or for XML text and attributes.

    Always well-formed: an apostrophe stays as it is in JSON, where Tyk writes an invalid escape
    (tyk-wrong 12); characters that XML 1.0 section 2.2 excludes become U+FFFD. ``<>&`` are written
    as ``\\u003c`` and so on in JSON, as Go does.
    """
    if kind == "xml":
        return _NOT_XML.sub("\ufffd", text).translate(_XML)
    return json.dumps(_well_formed(text), ensure_ascii=False)[1:-1].translate(_JSON)


def _well_formed(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def _literal(source: str, start: int, end: int, trim_left: bool, trim_right: bool) -> str:
    text = source[start:end]
    opened = text.find("{{")
    if opened >= 0:
        raise TemplateError(f"line {_line(source, start + opened)}: '{{{{' without '}}}}'")
    if trim_left:
        text = text.lstrip(_SPACE)
    return text.rstrip(_SPACE) if trim_right else text


def _line(source: str, at: int) -> int:
    return source.count("\n", 0, at) + 1
