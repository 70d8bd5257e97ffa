"""Entries of a version that speak of paths, for the endpoint matcher (tyk-core 2.5, 2.6)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from core.apidef.breakers import BreakerSpec, breaker
from core.apidef.caching import CacheEntry, cache_entries
from core.apidef.durations import parse_duration
from core.apidef.edits import HeaderChange, Notes, path_edits
from core.apidef.options import CompileOptions
from core.apidef.patterns import path_pattern
from core.apidef.rewrites import RewriteSpec, rewrite
from core.apidef.scripts import VirtualSpec

VirtualBuilder = Callable[[dict[str, Any], str, Notes], tuple[VirtualSpec | None, bool]]
METHODS = ("GET", "POST", "PUT", "DELETE", "OPTIONS", "PATCH")      # that a request can be given
LISTS = ("ignored", "white_list", "black_list")
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
_BAD_VALUE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class ReplySpec:
    """An answer that stands in the definition."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: str


@dataclass(frozen=True, slots=True)
class Rate:
    """So many requests of all clients together in so many seconds."""

    rate: float
    per: float


@dataclass(frozen=True, slots=True)
class EndpointSpec:
    """One entry. kind: its key in extended_paths; path: as configured; method: "" for all; data: what its kind needs,
    seconds for hard_timeouts, the new method for method_transforms; actions: of the deprecated method_actions, (method,
    a reply, None for what the list itself says, or False to forbid), None when there are none."""

    kind: str
    path: str
    pattern: str
    method: str
    data: ReplySpec | Rate | RewriteSpec | BreakerSpec | HeaderChange | VirtualSpec | CacheEntry | float | str | None = None
    actions: tuple[tuple[str, ReplySpec | bool | None], ...] | None = None


def endpoints(
    info: dict[str, Any], base: str, options: CompileOptions, notes: Notes, virtual: VirtualBuilder, *, cached: bool = False
) -> tuple[EndpointSpec, ...]:
    """Return the entries of a version that are in force. What cannot be understood is an error, never left out.

    cached: the API has a cache, which entries of it need.
    """
    ignore_case = options.ignore_endpoint_case or info.get("ignore_endpoint_case", False)
    found: list[EndpointSpec] = []
    if not info.get("use_extended_paths"):
        for kind in LISTS:
            for index, path in enumerate(info.get("paths", {}).get(kind, [])):
                pattern = _pattern(path, f"{base}.paths.{kind}[{index}]", options, ignore_case, notes)
                found.append(EndpointSpec(kind, path, pattern, ""))
        return tuple(found)
    extended = info.get("extended_paths", {})
    for kind, build in (*_KINDS.items(), ("virtual", virtual)):
        for place, entry in _enabled(extended, kind, f"{base}.extended_paths"):
            method = entry.get("method", "")
            if not method and kind not in LISTS:
                notes.warn(f"{place}.method", "no method is named, so the entry applies to no request")
                continue
            case = ignore_case or (entry.get("ignore_case", False) and kind in (*LISTS, "mock_response"))
            pattern = _pattern(entry.get("path", ""), f"{place}.path", options, case, notes)
            data, applies = build(entry, place, notes)
            if applies:
                actions = _actions(entry, place, notes)
                found.append(EndpointSpec(kind, entry.get("path", ""), pattern, method, data, actions))
    for place, path, method, kept in cache_entries(extended, f"{base}.extended_paths", cached, notes):
        pattern = _pattern(path, place, options, ignore_case, notes)
        found.append(EndpointSpec("cache", path, pattern, method, kept))
    return tuple(found)


def _enabled(extended: dict[str, Any], kind: str, base: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for index, entry in enumerate(extended.get(kind, [])):
        if not entry.get("disabled"):
            yield f"{base}.{kind}[{index}]", entry


def _pattern(path: str, place: str, options: CompileOptions, ignore_case: bool, notes: Notes) -> str:
    try:
        pattern = path_pattern(path, options, ignore_case)
    except re.error as error:
        notes.error(place, f"the path does not compile as a pattern: {error}")
        return ""
    if not path.isascii() and "i" in pattern.partition(":")[0]:
        notes.warn(place, "letters outside ASCII are compared exactly, although case is to be ignored")
    return pattern


def _plain(entry: dict[str, Any], place: str, notes: Notes) -> tuple[None, bool]:
    return None, True


def _mock(entry: dict[str, Any], place: str, notes: Notes) -> tuple[ReplySpec, bool]:
    return _reply(entry, "body", place, notes), True


def _timeout(entry: dict[str, Any], place: str, notes: Notes) -> tuple[float, bool]:
    try:
        seconds = parse_duration(entry.get("duration", "")) or float(entry.get("timeout", 0))
    except ValueError as error:
        notes.error(f"{place}.duration", str(error))
        return 0.0, False
    if seconds < 0:
        notes.error(place, "timeouts must not be negative")
    return seconds, seconds > 0


def _rate(entry: dict[str, Any], place: str, notes: Notes) -> tuple[Rate, bool]:
    rate = Rate(float(entry.get("rate", 0)), float(entry.get("per", 0)))
    return rate, rate.rate > 0


def _rewrite(entry: dict[str, Any], place: str, notes: Notes) -> tuple[RewriteSpec | None, bool]:
    found = rewrite(entry, place, notes)
    return found, found is not None


def _method(entry: dict[str, Any], place: str, notes: Notes) -> tuple[str | None, bool]:
    method = entry.get("to_method", "").upper()
    if method in METHODS:
        return method, True
    expected = ", ".join(METHODS)
    notes.warn(f"{place}.to_method", f"{method!r:.40} is none of {expected}, so requests are answered with 405")
    return None, True


_KINDS = {
    "mock_response": _mock,
    "ignored": _plain,
    "black_list": _plain,
    "white_list": _plain,
    "hard_timeouts": _timeout,
    "circuit_breakers": breaker,
    "url_rewrites": _rewrite,
    "transform_headers": path_edits,
    "transform_response_headers": path_edits,
    "method_transforms": _method,
    "track_endpoints": _plain,
    "do_not_track_endpoints": _plain,
    "internal": _plain,
    "rate_limit": _rate,
}


def _actions(
    entry: dict[str, Any], place: str, notes: Notes
) -> tuple[tuple[str, ReplySpec | bool | None], ...] | None:
    actions = entry.get("method_actions")
    if not actions:
        return None
    found: list[tuple[str, ReplySpec | bool | None]] = []
    for method, action in actions.items():
        where = f"{place}.method_actions.{method}"
        said = action.get("action", "")
        if said == "reply":
            found.append((method, _reply(action, "data", where, notes)))
        elif said == "no_action":
            found.append((method, None))
        else:
            notes.warn(f"{where}.action", f'{said!r:.40} is neither "no_action" nor "reply", so requests are refused')
            found.append((method, False))
    return tuple(found)


def _reply(value: dict[str, Any], body: str, place: str, notes: Notes) -> ReplySpec:
    status = value.get("code", 0) or 200
    if not 200 <= status <= 599:
        notes.error(f"{place}.code", f"{status} is not the status of an answer, expected 200 to 599")
    headers = []
    for name, text in value.get("headers", {}).items():
        if not _HEADER.match(name) or _BAD_VALUE.search(text):
            notes.error(f"{place}.headers", f"{name!r:.60} is not a header, or its value has control characters")
        else:
            headers.append((name, text))
    return ReplySpec(status, tuple(headers), value.get(body, ""))
