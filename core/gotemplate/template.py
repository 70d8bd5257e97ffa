"""Templates, parsed once and executed many times."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from core.gotemplate.contexts import MODES
from core.gotemplate.errors import Source
from core.gotemplate.evaluate import Run
from core.gotemplate.functions import BUILTINS, Function
from core.gotemplate.nodes import Node
from core.gotemplate.parser import Parser
from core.gotemplate.weave import weave

Mode = Literal["text", "html", "xml", "json", "json-text", "html-json"]


@dataclass(frozen=True, slots=True)
class Limits:
    """What one execution may take: characters of output, steps, depth of templates that call each other."""

    output: int = 1 << 20
    steps: int = 100_000
    depth: int = 50


class Template:
    """A parsed template; immutable. See parse."""

    def __init__(
        self, source: Source, trees: Mapping[str, list[Node]], functions: Mapping[str, Function], limits: Limits
    ) -> None:
        self._source = source
        self._trees = trees
        self._functions = functions
        self._limits = limits

    @property
    def name(self) -> str:
        return self._source.name

    def execute(self, data: Any) -> str:
        """Return the text for these data (see values.py). Raises TemplateError with the place."""
        return Run(self._source, self._trees, self._functions, self._limits).write(self._source.name, data)


def parse(
    text: str,
    name: str = "template",
    *,
    mode: Mode = "text",
    functions: Mapping[str, Function] = BUILTINS,
    limits: Limits | None = None,
) -> Template:
    """Parse a template. Raises TemplateError with the place.

    mode: what values are escaped for. "text" escapes nothing; "html" escapes for the place in the page where the value
    stands, as html/template does; "xml" for text and attributes; "json" writes whole values outside of strings and escapes
    inside of them; "json-text" escapes as inside of a JSON string everywhere; "html-json" does so after escaping for HTML.
    """
    source = Source(name, text)
    parser = Parser(source, functions)
    parser.parse()
    trees = parser.trees
    if mode != "text":
        trees = weave(source, trees, MODES[mode])
    return Template(source, trees, functions, limits or Limits())
