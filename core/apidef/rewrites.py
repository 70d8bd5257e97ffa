"""Entries of url_rewrites: what they look for, and where they lead (tyk-core 2.6, 3.8)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from core.apidef import targets
from core.apidef.edits import Notes
from core.apidef.features import REFUSED
from core.apidef.patterns import translated
from core.apidef.specs import TargetSpec
from core.apidef.versions import unsupported

SELF = "self"

_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#]*)")
_PIECE = re.compile(r"\$(\d+)|\$tyk_(context|meta)\.([A-Za-z0-9_\-.]+)")
_SECRET = re.compile(r"\$secret_[a-z]+\.")
_PLACES = ("header_matches", "query_val_matches", "path_part_matches", "session_meta_matches")

Piece = str | int | tuple[str, str]
"""Of a template: text, the number of a group, or ("context" | "meta", name)."""


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a rewrite leads. pieces: the path and query; loop: id or name of the API, "self" for the one that the entry
    is in; target: another upstream; scheme and host: one that is known at the request only; none of them: the API's own
    upstream, unless (``named``) the first piece, of a key's meta data, turns out to begin with an http address."""

    pieces: tuple[Piece, ...]
    loop: str = ""
    target: TargetSpec | None = None
    scheme: str = ""
    host: tuple[Piece, ...] = ()

    @property
    def named(self) -> bool:
        """Whether meta data of the key may say the whole address."""
        first = self.pieces[0] if self.pieces and not (self.loop or self.target or self.scheme) else ""
        return isinstance(first, tuple) and first[0] == "meta"


@dataclass(frozen=True, slots=True)
class Match:
    """One condition. place: its key in ``options``; pattern: regex source over bytes; reverse: it must not be found."""

    place: str
    name: str
    pattern: str
    reverse: bool


@dataclass(frozen=True, slots=True)
class Trigger:
    """Another destination for requests that meet the conditions: one of them, or (``every``) all."""

    every: bool
    matches: tuple[Match, ...]
    destination: Destination


@dataclass(frozen=True, slots=True)
class RewriteSpec:
    """pattern: regex source that is searched in the path and query; the first trigger that fits says where to."""

    pattern: str
    destination: Destination
    triggers: tuple[Trigger, ...] = ()

    @property
    def destinations(self) -> tuple[Destination, ...]:
        """All that there are."""
        return self.destination, *(trigger.destination for trigger in self.triggers)

    @property
    def reads_body(self) -> bool:
        """Whether a trigger looks at the request body."""
        return any(match.place == "payload_matches" for trigger in self.triggers for match in trigger.matches)


def rewrite(entry: dict[str, Any], place: str, notes: Notes) -> RewriteSpec | None:
    """Compile one entry, None when it cannot be: then there is an error, or a reason to refuse every request."""
    pattern = _pattern(entry.get("match_pattern", ""), f"{place}.match_pattern", notes)
    leads = _destination(entry.get("rewrite_to", ""), f"{place}.rewrite_to", notes)
    triggers: list[Trigger | None] = []
    for index, trigger in enumerate(entry.get("triggers", [])):
        triggers.append(_trigger(trigger, f"{place}.triggers[{index}]", notes))
    good = tuple(trigger for trigger in triggers if trigger is not None)
    if pattern is None or leads is None or len(good) < len(triggers):
        return None
    return RewriteSpec(pattern, leads, good)


def _pattern(text: str, place: str, notes: Notes) -> str | None:
    try:
        return translated(text, dot_all=False)
    except re.error as error:
        notes.error(place, f"the expression does not compile: {error}")
        return None


def _trigger(value: dict[str, Any], place: str, notes: Notes) -> Trigger | None:
    on = value.get("on", "")
    if on not in ("any", "all"):
        notes.warn(f"{place}.on", f'{on!r:.40} is neither "any" nor "all"; it is taken for "all"')
    options = value.get("options", {})
    conditions = [
        (kind, name, condition, f"{place}.options.{kind}.{name}")
        for kind in _PLACES
        for name, condition in options.get(kind, {}).items()
    ]
    payload = options.get("payload_matches", {})
    if payload.get("match_rx"):
        conditions.append(("payload_matches", "payload", payload, f"{place}.options.payload_matches"))
    matches: list[Match] = []
    for kind, name, condition, where in conditions:
        pattern = _pattern(condition.get("match_rx", ""), f"{where}.match_rx", notes)
        if pattern is None:
            return None
        matches.append(Match(kind, name, pattern, condition.get("reverse", False)))
    if options.get("request_context_matches"):
        where = f"{place}.options.request_context_matches"
        notes.reject(where, f"conditions on context variables: {REFUSED}", unsupported("context variables"))
        return None
    leads = _destination(value.get("rewrite_to", ""), f"{place}.rewrite_to", notes)
    return None if leads is None else Trigger(on != "any", tuple(matches), leads)


def _destination(text: str, place: str, notes: Notes) -> Destination | None:
    for name in re.findall(r"\$tyk_context\.([A-Za-z0-9_\-.]*)", text):
        if not name.startswith("trigger-"):
            message = f"the context variable {name!r:.60}: {REFUSED}"
            notes.reject(place, message, unsupported("context variables"))
            return None
    if _SECRET.search(text):
        notes.reject(place, f"secrets in rewrites: {REFUSED}", unsupported("secrets in rewrites"))
        return None
    address = _ADDRESS.match(text)
    if address is None:
        return Destination(_pieces(text))
    scheme, host = address[1].lower(), address[2]
    rest = _pieces(text[address.end() :])
    if "$" in host:
        return _open(scheme, _pieces(host), rest, place, notes)
    if scheme == "tyk":
        if not host:
            notes.error(place, "expected tyk://self/path or tyk://<api_id or name>/path")
            return None
        return Destination(rest, loop=unquote(host))
    try:
        parsed = targets.parse(f"{scheme}://{host}")
    except targets.UnsupportedTarget as error:
        notes.reject(place, f"{error}: {REFUSED}", unsupported(str(error)))
        return None
    except targets.TargetError as error:
        notes.error(place, str(error))
        return None
    for remark in parsed.remarks:
        notes.warn(place, remark)
    assert isinstance(parsed.target, TargetSpec)
    return Destination(rest, target=parsed.target)


def _open(scheme: str, host: tuple[Piece, ...], rest: tuple[Piece, ...], place: str, notes: Notes) -> Destination | None:
    if scheme not in ("http", "https"):
        notes.reject(place, f"a {scheme}:// address that a request names: {REFUSED}", unsupported("named addresses"))
        return None
    if any(isinstance(piece, int) or piece[0] == "context" for piece in host if not isinstance(piece, str)):
        notes.warn(
            place,
            "requests say which upstream they go to: a client may reach hosts that it should not",
            "Take the host from $tyk_meta, or name it.",
        )
    return Destination(rest, scheme=scheme, host=host)


def _pieces(text: str) -> tuple[Piece, ...]:
    found: list[Piece] = []
    at = 0
    for match in _PIECE.finditer(text):
        if match.start() > at:
            found.append(text[at : match.start()])
        found.append(int(match[1]) if match[1] else (match[2], match[3]))
        at = match.end()
    if at < len(text):
        found.append(text[at:])
    return tuple(found)
