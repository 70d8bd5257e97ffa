"""How values are written into HTML, XML, JSON and URLs."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import quote

from core.gotemplate.values import MISSING, text

_HTML = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&#34;", "'": "&#39;", "\0": "\ufffd"})
# html/template writes "+" as an entity too, against the UTF-7 trick.
_PAGE = _HTML | {ord("+"): "&#43;"}
_UNQUOTED = _PAGE | {ord(char): f"&#{ord(char)};" for char in "\t\n\v\f\r =`"}
_JSON = str.maketrans({char: f"\\u{ord(char):04x}" for char in "<>&\u2028\u2029"})
_JS = {"\\": "\\\\", "'": "\\'", '"': '\\"', "<": "\\u003C", ">": "\\u003E", "&": "\\u0026", "=": "\\u003D"}
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_SCHEMES = ("http", "https", "mailto")
_NOT_PART = re.compile(rb"%(?![0-9a-fA-F]{2})|[^A-Za-z0-9!#$&*+,/:;=?@\[\]._~%-]")
_NOT_QUERY = re.compile(rb"[^A-Za-z0-9._~-]")
UNSAFE = "ZgotmplZ"


def page_text(value: Any) -> str:
    """A value as html/template prints it, before it is escaped: nothing for no value."""
    return "" if value is None or value is MISSING else text(value)


def well_formed(value: str) -> str:
    """A text without lone surrogates, which UTF-8 cannot carry."""
    return value.encode("utf-8", "replace").decode()


def html(value: str) -> str:
    """The function html of the language."""
    return value.translate(_HTML)


def js(value: str) -> str:
    """The function js: for the inside of a JavaScript string."""
    return "".join(
        _JS.get(char) or (char if char.isprintable() else f"\\u{ord(char):04X}" if ord(char) < 0x10000 else char)
        for char in value
    )


def urlquery(value: str) -> str:
    """The function urlquery: for the value of a query parameter."""
    return quote(value, safe="-_.~", errors="replace").replace("%20", "+")


def html_text(value: Any) -> str:
    """Between tags."""
    return page_text(value).translate(_PAGE)


def html_unquoted(value: Any) -> str:
    """The value of an attribute without quotes; never empty, so that it cannot swallow what follows."""
    return page_text(value).translate(_UNQUOTED) or UNSAFE


def _percent(unsafe: re.Pattern[bytes], value: Any) -> str:
    raw = page_text(value).encode("utf-8", "replace")
    return unsafe.sub(lambda match: b"%%%02x" % match.group()[0], raw).decode()


def url_start(value: Any) -> str:
    """The start of a URL: only schemes that run nothing."""
    found = page_text(value)
    scheme, colon, _ = found.partition(":")
    if colon and "/" not in scheme and scheme.lower() not in _SCHEMES:
        return "#" + UNSAFE
    return url_part(found)


def url_part(value: Any) -> str:
    """The path of a URL; what is escaped already stays."""
    return _percent(_NOT_PART, value)


def url_query(value: Any) -> str:
    """Query and fragment of a URL."""
    return _percent(_NOT_QUERY, value)


def xml_text(value: Any) -> str:
    """Text and attributes of XML; characters that XML 1.0 section 2.2 excludes become U+FFFD."""
    return _NOT_XML.sub("\ufffd", page_text(value)).translate(_HTML)


def json_inside(value: Any) -> str:
    """The inside of a JSON string; ``<>&`` are escaped as Go does. An apostrophe stays (RFC 8259 section 7)."""
    found = page_text(value)
    return json.dumps(well_formed(found), ensure_ascii=False)[1:-1].translate(_JSON)


def html_json(value: Any) -> str:
    """HTML inside of a JSON string. html/template alone leaves backslashes and control characters, which end the JSON."""
    return json.dumps(well_formed(html_text(value)), ensure_ascii=False)[1:-1]


def json_value(value: Any) -> str:
    """A JSON value: numbers, lists and maps as such, everything else as a string."""
    if value is MISSING:
        return "null"
    found = json.dumps(value, ensure_ascii=False, default=text, sort_keys=True, allow_nan=False)
    return well_formed(found).translate(_JSON)
