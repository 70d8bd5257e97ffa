"""What can go wrong in a template."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Place:
    """A place in a source: lines and columns count from 1, columns in characters."""

    name: str
    line: int
    column: int


class TemplateError(ValueError):
    """A template cannot be parsed or executed; the text names the template, the line and the column."""

    def __init__(self, place: Place, message: str) -> None:
        super().__init__(f"{place.name}:{place.line}:{place.column}: {message}")
        self.place = place
        self.message = message


class FunctionError(ValueError):
    """A function refuses its arguments; the caller adds the place."""


class Source:
    """A template's text, which finds the place of an offset."""

    __slots__ = ("name", "text")

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        self.text = text

    def place(self, at: int) -> Place:
        """The place of a character."""
        line = self.text.count("\n", 0, at) + 1
        return Place(self.name, line, at - self.text.rfind("\n", 0, at))

    def error(self, at: int, message: str) -> TemplateError:
        """An error at a character."""
        return TemplateError(self.place(at), message)
