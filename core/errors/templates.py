"""Error pages as templates of Go's language with two fields, ``{{.Message}}`` and ``{{.StatusCode}}`` (tyk-core 3.3)."""

from __future__ import annotations

from typing import Literal

from core.gotemplate import Limits, Mode, Record, TemplateError, parse

Kind = Literal["json", "xml"]

# Inside of a JSON string everywhere: always well-formed, so that an apostrophe stays as it is, where Tyk writes an invalid
# escape (tyk-wrong 12); ``<>&`` are written as ``\u003c`` and so on, as Go does.
_MODES: dict[Kind, Mode] = {"json": "json-text", "xml": "xml"}
LIMITS = Limits(output=1 << 18, steps=10_000, depth=20)


class Page:
    """A template that has been tried with a message."""

    def __init__(self, text: str, name: str, kind: Kind) -> None:
        """Raises TemplateError, which names the place, for a template that cannot be used."""
        self._template = parse(text, name, mode=_MODES[kind], limits=LIMITS)
        self.render(500, "message")

    def render(self, status: int, message: str) -> bytes:
        """Return the page as UTF-8. Raises TemplateError where the template asks for what it cannot have."""
        return self._template.execute(Record(Message=message, StatusCode=status)).encode("utf-8", "replace")


__all__ = ["Kind", "Page", "TemplateError"]
