"""Values out of XML that a client chose, in time and memory proportional to it (tyk-plugins 4.3).

Nothing in the text is ever expanded or fetched: a document type declaration, and with it every entity of its own, makes it
unreadable. The caller bounds the text.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from xml.parsers import expat

from core.apidef.xpath import Predicate, Step, XPath

MOST_LEVELS = 64    # of elements in each other; in a deeper document nothing is found


class Element:
    """One element. place: its number in the document; parts: texts and elements in it, in their order."""

    __slots__ = ("attributes", "name", "parts", "place")

    def __init__(self, place: int, name: str, attributes: dict[str, str]) -> None:
        self.place = place
        self.name = name
        self.attributes = attributes
        self.parts: list[str | Element] = []

    def children(self) -> list[Element]:
        """The elements right in it."""
        return [part for part in self.parts if not isinstance(part, str)]

    def own(self) -> str:
        """The text right in it."""
        return "".join(self.texts(deep=False))

    def texts(self, *, deep: bool) -> Iterator[str]:
        """The texts right in it, or all that are in it, in the order of the document."""
        todo: list[str | Element] = self.parts[::-1]
        while todo:
            part = todo.pop()
            if isinstance(part, str):
                yield part
            elif deep:
                todo.extend(reversed(part.parts))

    def text(self) -> str:
        """All text in it (XPath 1.0 section 5.2)."""
        return "".join(self.texts(deep=True))

    def walk(self) -> Iterator[Element]:
        """The element and all below it, in the order of the document."""
        todo = [self]
        while todo:
            element = todo.pop()
            yield element
            todo.extend(reversed(element.children()))


class _Refused(Exception):
    """The document has what is not read."""


def parse(body: bytes) -> Element | None:
    """The document, an element without a name around the root; None if the text is not XML, has a document type or is nested
    too deep."""
    document = Element(0, "", {})
    open_ones = [document]
    places = count(1)

    def start(name: str, attributes: dict[str, str]) -> None:
        if len(open_ones) > MOST_LEVELS:
            raise _Refused
        element = Element(next(places), _local(name), {_local(key): value for key, value in attributes.items()})
        open_ones[-1].parts.append(element)
        open_ones.append(element)

    def end(name: str) -> None:
        open_ones.pop()

    def text(data: str) -> None:
        open_ones[-1].parts.append(data)

    def refuse(*about: object) -> None:
        raise _Refused

    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = text
    parser.StartDoctypeDeclHandler = refuse
    parser.EntityDeclHandler = refuse
    try:
        parser.Parse(body, True)
    except (expat.ExpatError, _Refused, LookupError, ValueError):
        return None
    return document


def first(body: bytes, path: XPath) -> str | None:
    """The text of the first node that the path leads to, None without one or for what is not XML."""
    document = parse(body)
    if document is None:
        return None
    found = [document]
    for step in path.steps:
        found = _below(found, step)
        if not found:
            return None
    if path.take == "text":
        return found[0].text()
    if path.take == "text()":
        # Text without an element in it is one node.
        return next((text for element in found for text in element.texts(deep=path.deep)), None)
    for element in _all_below(found) if path.deep else found:
        if path.name in element.attributes:
            return element.attributes[path.name]
    return None


def _all_below(start: list[Element]) -> Iterator[Element]:
    """These elements, which are in the order of the document, and all below them, each once."""
    last = -1
    for one in start:
        if one.place > last:
            for element in one.walk():
                last = element.place
                yield element


def _below(start: list[Element], step: Step) -> list[Element]:
    found: list[Element] = []
    for parent in _all_below(start) if step.deep else start:
        wanted = [child for child in parent.children() if step.name in ("*", child.name)]
        for predicate in step.predicates:
            wanted = _chosen(wanted, predicate)
        found += wanted
    return sorted(found, key=lambda element: element.place)


def _chosen(elements: list[Element], predicate: Predicate) -> list[Element]:
    if predicate.kind == "position":
        return elements[-1:] if not predicate.number else elements[predicate.number - 1 : predicate.number]
    return [element for element in elements if _fits(element, predicate)]


def _fits(element: Element, predicate: Predicate) -> bool:
    value = predicate.value
    if predicate.kind == "attribute":
        found = element.attributes.get(predicate.name)
        return found is not None and value in (None, found)
    if predicate.kind == "self":
        return value == (element.own() if predicate.name else element.text())
    return any(child.name == predicate.name and value in (None, child.text()) for child in element.children())


def _local(name: str) -> str:
    return name.rpartition(":")[2]
