"""What a definition says about custom authentication and its ID extractor (tyk-plugins 3.1, 4.2, 4.3)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

from accel.capture import CaptureSearch
from core.apidef.access import credential_source
from core.apidef.decode import Definition
from core.apidef.edits import Notes
from core.apidef.features import asks_for_plugin_auth
from core.apidef.patterns import translated
from core.apidef.specs import AuthSpec
from core.apidef.xpath import XPath, XPathError, parse

Source = Literal["header", "form", "body", "querystring"]
SOURCES = ("header", "form", "body", "querystring")
KINDS = ("value", "regex", "xpath")
HIGHEST_INDEX = 15  # each match in front of the one that counts is another search
_PLACE = "$.custom_middleware.id_extractor"
_CONFIG = f"{_PLACE}.extractor_config"
_EVERY = "every request is answered with 400"
# A character of UTF-8 outside ASCII (RFC 3629 section 4), so that "." is never half of one.
_WIDE = (
    r"[\xc2-\xdf][\x80-\xbf]|\xe0[\xa0-\xbf][\x80-\xbf]|[\xe1-\xec\xee\xef][\x80-\xbf]{2}|\xed[\x80-\x9f][\x80-\xbf]"
    r"|\xf0[\x90-\xbf][\x80-\xbf]{2}|[\xf1-\xf3][\x80-\xbf]{3}|\xf4[\x80-\x8f][\x80-\xbf]{2}"
)
_NO_LINE_FEED = rf"(?:[^\n\x80-\xff]|{_WIDE})"
_ANY = rf"(?:[\x00-\x7f]|{_WIDE})"
_ESCAPE = r"\\x[0-9A-Fa-f]{2}|\\[0-7]{3}|\\."
_PIECE = re.compile(rf"{_ESCAPE}|\[\^?\]?(?:\[:\^?[a-z]*:\]|\\.|[^\]\\])*\]|[^\\\[]|[\\\[]", re.DOTALL)
_IN_CLASS = re.compile(rf"{_ESCAPE}|.", re.DOTALL)
_SPACE = r"\t\n\f\r "  # \s in Go, where a vertical tab is none
_OPPOSITE = {r"\D": r"\d", r"\W": r"\w", r"\S": _SPACE}
_FLAGS = re.compile(r"\(\?([is]+)\)")
_GROUP = re.compile(r"\(\?(?!P<\w+>|-?i?:)[^:)]{0,20}.?")


@dataclass(frozen=True, slots=True)
class ExtractorSpec:
    """An ID extractor. name: of the header or parameter; pattern: for "regex", see CaptureSearch; index: which match counts,
    from 0; path: for "xpath"; problem: why it cannot extract anything, every request is then answered with 400."""

    source: str
    kind: str
    name: str = ""
    pattern: bytes = b""
    index: int = 0
    path: XPath | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class CustomAuthSpec:
    """Custom authentication of one API. extractor: None without; lifetime: seconds that the API keeps sessions, 0 and below
    for ever; respects_expiration: at least until they expire; gives_identity: the session counts, not that of another method
    (base_identity_provided_by); credential: where events look for the key that a client showed."""

    extractor: ExtractorSpec | None
    lifetime: int
    respects_expiration: bool
    gives_identity: bool
    credential: AuthSpec


def custom_auth(definition: Definition, notes: Notes) -> CustomAuthSpec | None:
    """Return what custom authentication of an API does, None for an API without."""
    if not asks_for_plugin_auth(definition):
        return None
    get = definition.get
    return CustomAuthSpec(
        _extractor(definition.get("custom_middleware", {}).get("id_extractor") or {}, notes),
        get("session_lifetime", 0),
        get("session_lifetime_respects_key_expiration", False),
        get("base_identity_provided_by", "") in ("", "custom_auth"),
        credential_source(definition),
    )


def _extractor(section: dict[str, Any], notes: Notes) -> ExtractorSpec | None:
    source, kind = section.get("extract_from", ""), section.get("extract_with", "")
    if section.get("disabled") or not (source or kind):
        return None
    if kind not in KINDS:
        message = f'{kind!r:.40} is not a kind of extractor, expected "value", "regex" or "xpath"'
        notes.flaw(f"{_PLACE}.extract_with", f"{message}; the plugin is asked about every request")
        return None
    try:
        return _checked(source, kind, section.get("extractor_config") or {})
    except _Wrong as error:
        notes.flaw(error.place, f"{error.text}; {_EVERY}")
        return ExtractorSpec(source, kind, problem=error.text)


class _Wrong(Exception):
    def __init__(self, place: str, text: str) -> None:
        self.place, self.text = place, text


def _checked(source: str, kind: str, config: dict[str, Any]) -> ExtractorSpec:
    if source not in SOURCES:
        text = f'{source!r:.40} is not a place, expected "header", "form", "body" or "querystring"'
        raise _Wrong(f"{_PLACE}.extract_from", text)
    name = "" if source == "body" else _text(config, "header_name" if source == "header" else "param_name")
    if kind == "value":
        return ExtractorSpec(source, kind, name)
    if kind == "xpath":
        try:
            return ExtractorSpec(source, kind, name, path=parse(_text(config, "xpath_expression")))
        except XPathError as error:
            raise _Wrong(f"{_CONFIG}.xpath_expression", str(error)) from None
    index = config.get("regex_match_index") or 0
    if isinstance(index, float) and index.is_integer():
        index = int(index)
    if type(index) is not int or not 0 <= index <= HIGHEST_INDEX:
        text = f"expected a whole number from 0 to {HIGHEST_INDEX}, got {index!r:.40}"
        raise _Wrong(f"{_CONFIG}.regex_match_index", text)
    try:
        pattern = _pattern(_text(config, "regex_expression"))
        CaptureSearch(pattern)
    except re.error as error:
        raise _Wrong(f"{_CONFIG}.regex_expression", f"it does not compile: {error}") from None
    return ExtractorSpec(source, kind, name, pattern, index)


def _text(config: dict[str, Any], key: str) -> str:
    found = config.get(key)
    if not isinstance(found, str) or not found:
        raise _Wrong(f"{_CONFIG}.{key}", f"expected a text that is not empty, got {found!r:.40}")
    return found


def _pattern(expression: str) -> bytes:
    """A Go expression as one over UTF-8 bytes, in which "." and negated classes stand for whole characters: a count of bytes
    would cut credentials short, and so give different ones the same id. Raises re.error."""
    pieces = _PIECE.findall(expression)
    flags = _FLAGS.match(expression)
    plain = "".join(piece if len(piece) == 1 else "x" for piece in pieces)
    group = _GROUP.search(plain, flags.end() if flags else 0)
    if group:
        raise re.error(f"{group[0]!r} is not supported here")
    if not expression.isascii() and ((flags and "i" in flags[1]) or "(?i:" in plain):
        raise re.error("characters outside ASCII are not supported together with the flag i")
    any_one = _ANY if flags and "s" in flags[1] else _NO_LINE_FEED
    return translated("".join(_piece(piece, any_one) for piece in pieces), dot_all=False).encode()


def _piece(piece: str, any_one: str) -> str:
    """One character, escape or class of an expression, for bytes. any_one: what "." stands for."""
    if piece == ".":
        return any_one
    if piece in _OPPOSITE:
        return rf"(?:[^{_OPPOSITE[piece]}\x80-\xff]|{_WIDE})"
    if len(piece) == 1:
        return piece if piece.isascii() else f"(?:{piece})"
    if piece.startswith("["):
        if not piece.isascii() or "[:" in piece:
            raise re.error(f"{piece!r} is not supported here; write its characters, outside ASCII as alternatives")
        inside = "".join(_in_class(one) for one in _IN_CLASS.findall(piece[1:-1]))
        return rf"(?:[{inside}\x80-\xff]|{_WIDE})" if inside.startswith("^") else f"[{inside}]"
    _check_escape(piece)
    return f"[{_SPACE}]" if piece == r"\s" else piece


def _in_class(one: str) -> str:
    if one in _OPPOSITE:
        raise re.error(f"{one} in a class is not supported here; write the characters of the class")
    if len(one) > 1:
        _check_escape(one)
    if one == r"\s":
        return _SPACE
    return f"\\{one}" if one in "[&|~" else one  # of which Python warns, as of set operations to come


def _check_escape(escape: str) -> None:
    wide = int(escape[2:], 16) if escape[1] == "x" and escape[2:] else int(escape[1:], 8) if len(escape) == 4 else 0
    if wide > 0x7F or not escape.isascii():
        raise re.error(f"{escape} is not supported here; write the character itself")
