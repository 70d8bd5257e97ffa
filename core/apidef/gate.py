"""Path lists of a version: who passes, who is stopped, who is answered at once (tyk-core 2.5, 2.6)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

from core.apidef.edits import Notes, path_pattern
from core.apidef.options import CompileOptions

Kind = Literal["mock", "ignored", "black", "white", "internal"]
_LISTS: tuple[tuple[Kind, str], ...] = (
    ("mock", "mock_response"),
    ("ignored", "ignored"),
    ("black", "black_list"),
    ("white", "white_list"),
    ("internal", "internal"),
)


@dataclass(frozen=True, slots=True)
class ReplySpec:
    """An answer that stands in the definition."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: str


@dataclass(frozen=True, slots=True)
class GateEntry:
    """One entry. method: "" for any; actions: (method, reply or None for the list's own meaning), old style."""

    kind: Kind
    pattern: str
    method: str
    actions: tuple[tuple[str, ReplySpec | None], ...]
    reply: ReplySpec | None


@dataclass(frozen=True, slots=True)
class PathRate:
    """A limit of all clients together on a path."""

    pattern: str
    method: str
    rate: float
    per: float


def gate_entries(info: dict[str, Any], base: str, options: CompileOptions, notes: Notes) -> tuple[GateEntry, ...]:
    """Return the entries of a version in their order; a pattern that does not compile is an error."""
    found: list[GateEntry] = []
    ignore_case = options.ignore_endpoint_case or info.get("ignore_endpoint_case", False)
    if not info.get("use_extended_paths"):
        for kind, name in _LISTS:
            for index, path in enumerate(info.get("paths", {}).get(name, [])):
                pattern = _pattern(path, f"{base}.paths.{name}[{index}]", options, ignore_case, notes)
                if pattern is not None:
                    found.append(GateEntry(kind, pattern, "", (), None))
        return tuple(found)
    extended = info.get("extended_paths", {})
    for kind, name in _LISTS:
        for index, entry in enumerate(extended.get(name, [])):
            if entry.get("disabled"):
                continue
            place = f"{base}.extended_paths.{name}[{index}]"
            case = ignore_case or entry.get("ignore_case", False)
            pattern = _pattern(entry.get("path", ""), f"{place}.path", options, case, notes)
            if pattern is None:
                continue
            method = entry.get("method", "")
            reply = None
            if kind == "mock":
                reply = _reply(entry, "body", f"{place}.code", notes)
            actions = tuple(
                (verb, _reply(action, "data", f"{place}.method_actions.{verb}.code", notes)
                 if action.get("action") == "reply" else None)
                for verb, action in entry.get("method_actions", {}).items()
            )  # fmt: skip
            found.append(GateEntry(kind, pattern, method, actions, reply))
    return tuple(found)


def path_rates(info: dict[str, Any], base: str, options: CompileOptions, notes: Notes) -> tuple[PathRate, ...]:
    """Return the limits of single paths."""
    found: list[PathRate] = []
    entries = info.get("extended_paths", {}).get("rate_limit", []) if info.get("use_extended_paths") else []
    ignore_case = options.ignore_endpoint_case or info.get("ignore_endpoint_case", False)
    for index, entry in enumerate(entries):
        place = f"{base}.extended_paths.rate_limit[{index}]"
        if entry.get("disabled") or entry.get("rate", 0) <= 0:
            continue
        pattern = _pattern(entry.get("path", ""), f"{place}.path", options, ignore_case, notes)
        if pattern is not None:
            found.append(
                PathRate(pattern, entry.get("method", ""), float(entry["rate"]), float(entry.get("per", 0)))
            )
    return tuple(found)


def _pattern(path: str, place: str, options: CompileOptions, ignore_case: bool, notes: Notes) -> str | None:
    try:
        return path_pattern(path, options, ignore_case)
    except re.error as error:
        notes.error(place, f"the path does not compile as a pattern: {error}")
        return None


def _reply(value: dict[str, Any], body: str, place: str, notes: Notes) -> ReplySpec:
    status = value.get("code", 0) or 200
    if not 200 <= status <= 599:
        notes.error(place, f"{status} is not the status of an answer, expected 200 to 599")
    headers = []
    for name, text in value.get("headers", {}).items():
        if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name) or re.search(r"[\x00-\x08\x0a-\x1f\x7f]", text):
            notes.error(place, f"{name!r:.60} is not a header, or its value has control characters")
        else:
            headers.append((name, text))
    return ReplySpec(status, tuple(headers), value.get(body, ""))
