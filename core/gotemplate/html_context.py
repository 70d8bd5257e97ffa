"""Where in an HTML page a value stands (html/template, "Contexts"; the tokenizer is that of the HTML standard, 13.2.5).

Known: text, title and textarea, attributes with their quotes, attributes that hold a URL, comments. A value in a script, a
style sheet, an event attribute or in the name of a tag or an attribute is refused when the template is parsed.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import Any

from core.gotemplate import escapers
from core.gotemplate.nodes import Escaper

_TAG = re.compile(r"<(/?)([A-Za-z][^\s/>]*)")
_NAME = re.compile(r"[^\s/>=]+")
_BLANK = re.compile(r"[\s]*")
_UNQUOTED_END = re.compile(r"[\s>]")
_RAW = frozenset(("script", "style"))
_RCDATA = frozenset(("title", "textarea"))
_URLS = frozenset(
    (
        "action", "archive", "background", "cite", "classid", "codebase", "data", "formaction", "href", "icon",
        "longdesc", "manifest", "poster", "profile", "src", "usemap", "xmlns",
    )
)  # fmt: skip
_CODE = frozenset(("style", "srcset", "srcdoc"))


@dataclass(frozen=True, slots=True)
class Place:
    """state: text, rcdata, raw, comment, tag, name, behind (a name), before (a value), value.

    element: the element whose content is raw or rcdata. what: plain, url or code, for a value; quote: its delimiter, "" for
    none; url: start, path or query.
    """

    state: str = "text"
    element: str = ""
    what: str = ""
    quote: str = ""
    url: str = ""


class HtmlMode:
    """See contexts.EscapingMode."""

    start: Hashable = Place()

    def after(self, context: Hashable, text: str) -> tuple[str, Hashable]:
        place = _place(context)
        parts: list[str] = []
        at = 0
        while at < len(text):
            place, end, piece = _STEPS[place.state](place, text, at)
            parts.append(piece)
            at = end
        return "".join(parts), replace(place, state="behind") if place.state == "name" else place

    def at_value(self, context: Hashable) -> tuple[Escaper, Hashable]:
        place = _place(context)
        if place.state == "before":
            place = replace(place, state="value", quote="")
        if place.state in ("text", "rcdata"):
            return escapers.html_text, place
        if place.state == "comment":
            return _nothing, place
        if place.state == "raw":
            raise ValueError(f"a value inside of <{place.element}> is not supported")
        if place.state != "value":
            raise ValueError("a value in the name of a tag or an attribute is not supported")
        if place.what == "code":
            raise ValueError("a value in an attribute that holds code, styles or several addresses is not supported")
        escape = escapers.html_text if place.quote else escapers.html_unquoted
        if place.what == "plain":
            return escape, place
        part = {"start": escapers.url_start, "path": escapers.url_part, "query": escapers.url_query}[place.url]
        behind = replace(place, url="path") if place.url == "start" else place
        return _both(part, escape), behind

    def join(self, first: Hashable, second: Hashable) -> Hashable | None:
        if first == second:
            return first
        one, two = _settled(_place(first)), _settled(_place(second))
        if one == two:
            return one
        if one.state == two.state == "value" and replace(one, url="") == replace(two, url=""):
            # Query is the stricter of the two; a place that may still be the start keeps its check of the scheme.
            return None if "start" in (one.url, two.url) else replace(one, url="query")
        return None

    def unfinished(self, context: Hashable) -> str:
        place = _place(context)
        if place.state in ("text", "raw", "rcdata"):
            return f"<{place.element}>" if place.element else ""
        return "a comment" if place.state == "comment" else "a tag"


def _place(context: Hashable) -> Place:
    if not isinstance(context, Place):
        raise TypeError("the context of another mode")
    return context


def _settled(place: Place) -> Place:
    return replace(place, state="tag", what="") if place.state == "behind" else place


def _nothing(value: Any) -> str:
    return ""


def _both(first: Escaper, second: Escaper) -> Escaper:
    return lambda value: second(first(value))


def _text(place: Place, text: str, at: int) -> tuple[Place, int, str]:
    opened = text.find("<", at)
    if opened < 0:
        return place, len(text), text[at:]
    if text.startswith("<!--", opened):
        return Place("comment"), opened + 4, text[at:opened]
    match = _TAG.match(text, opened)
    if match is None:
        keeps = text[opened : opened + 9].lower() == "<!doctype"
        return place, opened + 1, text[at:opened] + ("<" if keeps else "&lt;")
    closing, name = match.groups()
    element = "" if closing else name.lower()
    return Place("tag", element if element in _RAW | _RCDATA else ""), match.end(), text[at : match.end()]


def _content(place: Place, text: str, at: int) -> tuple[Place, int, str]:
    """Inside of script, style, title and textarea: up to their end tag."""
    match = re.compile(rf"</{place.element}(?=[\s/>]|$)", re.IGNORECASE).search(text, at)
    if match is None:
        return place, len(text), _literal(place, text[at:])
    end = match.start()
    return Place("tag"), match.end(), _literal(place, text[at:end]) + text[end : match.end()]


def _literal(place: Place, text: str) -> str:
    return text.replace("<", "&lt;") if place.state == "rcdata" else text


def _comment(place: Place, text: str, at: int) -> tuple[Place, int, str]:
    end = text.find("-->", at)
    return (place, len(text), "") if end < 0 else (Place(), end + 3, "")


def _tag(place: Place, text: str, at: int) -> tuple[Place, int, str]:
    char = text[at]
    if char == ">":
        kind = "raw" if place.element in _RAW else "rcdata" if place.element else "text"
        return Place(kind, place.element), at + 1, char
    if char.isspace() or char == "/":
        return place, at + 1, char
    match = _NAME.match(text, at)
    if match is None:
        return place, at + 1, char
    return replace(place, state="name", what=_what(match.group().lower())), match.end(), match.group()


def _behind(place: Place, text: str, at: int) -> tuple[Place, int, str]:
    char = text[at]
    if char.isspace():
        return replace(place, state="behind"), at + 1, char
    if char == "=":
        return replace(place, state="before"), at + 1, char
    return replace(place, state="tag", what=""), at, ""


def _before(place: Place, text: str, at: int) -> tuple[Place, int, str]:
    char = text[at]
    if char.isspace():
        return place, at + 1, char
    if char == ">":
        return replace(place, state="tag", what=""), at, ""
    url = "start" if place.what == "url" else ""
    if char in "\"'":
        return replace(place, state="value", quote=char, url=url), at + 1, char
    return replace(place, state="value", quote="", url=url), at, ""


def _value(place: Place, text: str, at: int) -> tuple[Place, int, str]:
    if place.quote:
        end = text.find(place.quote, at)
        closed = end + 1
    else:
        match = _UNQUOTED_END.search(text, at)
        end = match.start() if match else -1
        closed = end
    piece = text[at : end if end >= 0 else len(text)]
    if end < 0:
        if place.what == "url" and piece.strip():
            url = "query" if place.url == "query" or "?" in piece or "#" in piece else "path"
            place = replace(place, url=url)
        return place, len(text), piece
    return Place("tag", place.element), closed, text[at:closed]


def _what(name: str) -> str:
    """What an attribute holds."""
    if name.startswith("data-"):
        name = name.removeprefix("data-")
    elif ":" in name:
        prefix, _, name = name.partition(":")
        if prefix == "xmlns":
            return "url"
    if name.startswith("on") or name in _CODE:
        return "code"
    return "url" if name in _URLS or any(part in name for part in ("src", "uri", "url")) else "plain"


_STEPS = {
    "text": _text,
    "rcdata": _content,
    "raw": _content,
    "comment": _comment,
    "tag": _tag,
    "name": _behind,
    "behind": _behind,
    "before": _before,
    "value": _value,
}
