"""The XPath expressions that ID extractors may use (tyk-plugins 4.3): a subset of XPath 1.0, section 2.

    path      = ["/" | "//"] step {("/" | "//") step} [("/" | "//") ("text()" | "@" name)]
    step      = (name | "*") {"[" predicate "]"}
    predicate = number | "last()" | "@" name ["=" literal] | name ["=" literal] | "text()=" literal | ".=" literal

A path without a leading slash begins at the document, as "/" does. Names are compared without their namespace prefix.
Everything else, such as functions, axes by name and unions, is refused when the definition is loaded.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MOST_STEPS = 64
LONGEST = 4096      # characters
_NAME = r"(?:[A-Za-z_\w][\w.-]*:)?[^\W\d][\w.-]*"
_LITERAL = r"""(?:"[^"]*"|'[^']*')"""
_PREDICATE = re.compile(
    rf"""\[\s*(?:(?P<number>[1-9]\d{{0,8}})|(?P<last>last\(\s*\))
    |(?P<what>@{_NAME}|{_NAME}|text\(\s*\)|\.)(?:\s*=\s*(?P<value>{_LITERAL}))?)\s*\]""",
    re.VERBOSE,
)
_STEP = re.compile(rf"(?P<slash>//?)(?:(?P<text>text\(\s*\))\Z|@(?P<attribute>{_NAME})\Z|(?P<name>{_NAME}|\*)(?!\())")


class XPathError(ValueError):
    """The expression is not one of the subset; the text says where it stops to be."""


@dataclass(frozen=True, slots=True)
class Predicate:
    """kind: "position" (number; 0 is the last one), "attribute", "child" or "self"; name: of the attribute or child; value:
    the text that it has, None if it only has to be there."""

    kind: str
    name: str = ""
    value: str | None = None
    number: int = 0


@dataclass(frozen=True, slots=True)
class Step:
    """deep: at any depth below; name: of the elements, "*" for all."""

    deep: bool
    name: str
    predicates: tuple[Predicate, ...] = ()


@dataclass(frozen=True, slots=True)
class XPath:
    """steps: from the document on; take: "text" of the elements, their own "text()" nodes, or the "@" attribute `name`;
    deep: these may also be those of elements below."""

    steps: tuple[Step, ...]
    take: str = "text"
    name: str = ""
    deep: bool = False


def parse(text: str) -> XPath:
    """Read an expression. Raises XPathError."""
    source = text.strip()
    if not source or len(source) > LONGEST:
        raise XPathError(f"expected an XPath expression of up to {LONGEST} characters")
    if not source.startswith("/"):
        source = f"/{source}"
    at = 0
    steps: list[Step] = []
    while at < len(source):
        found = _STEP.match(source, at)
        if found is None or len(steps) >= MOST_STEPS:
            raise XPathError(f"{source[at:]!r:.60} is not supported in an XPath expression here")
        at, deep = found.end(), found["slash"] == "//"
        if found["text"] or found["attribute"]:
            if not steps and not deep:
                raise XPathError("expected an element before text() or an attribute")
            return XPath(tuple(steps), "text()" if found["text"] else "@", _local(found["attribute"] or ""), deep)
        predicates = []
        while source.startswith("[", at):
            inside = _PREDICATE.match(source, at)
            if inside is None:
                raise XPathError(f"{source[at:]!r:.60} is not a supported predicate")
            predicates.append(_predicate(inside))
            at = inside.end()
        steps.append(Step(deep, _local(found["name"]), tuple(predicates)))
    return XPath(tuple(steps))


def _predicate(found: re.Match[str]) -> Predicate:
    if found["number"] or found["last"]:
        return Predicate("position", number=int(found["number"] or 0))
    what, value = found["what"], found["value"]
    text = None if value is None else value[1:-1]
    if what.startswith("@"):
        return Predicate("attribute", _local(what[1:]), text)
    if what == "." or what.startswith("text("):
        if text is None:
            raise XPathError(f"{found[0]!r:.60} is not a supported predicate")
        return Predicate("self", "own" if what != "." else "", text)
    return Predicate("child", _local(what), text)


def _local(name: str) -> str:
    return name.rpartition(":")[2]
