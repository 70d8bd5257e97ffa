"""Where in a document a value stands, for the modes that escape."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Protocol

from core.gotemplate import escapers
from core.gotemplate.html_context import HtmlMode
from core.gotemplate.nodes import Escaper


class EscapingMode(Protocol):
    """One document language. A context is what has been read so far, as far as it matters."""

    start: Hashable

    def after(self, context: Hashable, text: str) -> tuple[str, Hashable]:
        """The text to write for a literal text, and the context behind it."""
        ...

    def at_value(self, context: Hashable) -> tuple[Escaper, Hashable]:
        """How a value is escaped here, and the context behind it. Raises ValueError where no value may stand."""
        ...

    def join(self, first: Hashable, second: Hashable) -> Hashable | None:
        """The context behind two branches, None when they end in places that do not fit."""
        ...

    def unfinished(self, context: Hashable) -> str:
        """What is still open where a document ends, "" if nothing."""
        ...


class XmlMode:
    """Text and quoted attributes of XML need the same escapes."""

    start: Hashable = "text"

    def after(self, context: Hashable, text: str) -> tuple[str, Hashable]:
        return text, context

    def at_value(self, context: Hashable) -> tuple[Escaper, Hashable]:
        return escapers.xml_text, context

    def join(self, first: Hashable, second: Hashable) -> Hashable | None:
        return first

    def unfinished(self, context: Hashable) -> str:
        return ""


class JsonMode:
    """Inside of a string, or outside of all strings."""

    start: Hashable = "outside"

    def after(self, context: Hashable, text: str) -> tuple[str, Hashable]:
        for char in text:
            if context == "outside":
                context = "inside" if char == '"' else context
            elif context == "escape":
                context = "inside"
            elif char == "\\":
                context = "escape"
            elif char == '"':
                context = "outside"
        return text, context

    def at_value(self, context: Hashable) -> tuple[Escaper, Hashable]:
        if context == "escape":
            raise ValueError("a value behind a backslash in a JSON string")
        return (escapers.json_value if context == "outside" else escapers.json_inside), context

    def join(self, first: Hashable, second: Hashable) -> Hashable | None:
        return first if first == second else None

    def unfinished(self, context: Hashable) -> str:
        return "" if context == "outside" else "a JSON string"


class JsonTextMode(XmlMode):
    """For a page that is no JSON document: every value is escaped as inside of a JSON string."""

    def at_value(self, context: Hashable) -> tuple[Escaper, Hashable]:
        return escapers.json_inside, context


class HtmlJsonMode(XmlMode):
    """For a JSON document whose values are escaped for HTML, as web hooks have them."""

    def at_value(self, context: Hashable) -> tuple[Escaper, Hashable]:
        return escapers.html_json, context


MODES: Mapping[str, EscapingMode] = {
    "html": HtmlMode(),
    "xml": XmlMode(),
    "json": JsonMode(),
    "json-text": JsonTextMode(),
    "html-json": HtmlJsonMode(),
}
