"""Header edits, of versions, paths and response processors, and the time limit of a version (tyk-core 2.3, 2.6)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Protocol

from core.apidef.durations import parse_duration
from core.apidef.specs import RefuseSpec
from core.apidef.versions import unsupported
from core.config.gojson import join_path

INJECTOR = "header_injector"
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
_BAD_VALUE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_VARIABLE = re.compile(r"\$tyk_context\.|\$secret_[a-z]+\.")
# RFC 9110 section 7.6.1 and RFC 9112 section 6: these belong to the connection, not to the message.
_CONNECTION = frozenset(
    ["connection", "content-length", "host", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"]
)


class Notes(Protocol):
    """Takes what is found while compiling."""

    def error(self, path: str, message: str, suggestion: str = "") -> None:
        """Note something that keeps the definition from being served."""

    def flaw(self, path: str, message: str, suggestion: str = "") -> None:
        """Note something that keeps a part of the API from working."""

    def warn(self, path: str, message: str, suggestion: str = "") -> None:
        """Note something harmless."""

    def reject(self, path: str, message: str, refuse: RefuseSpec) -> None:
        """Note something because of which requests are refused."""


@dataclass(frozen=True, slots=True)
class HeaderChange:
    """Names to remove, then (name, value) pairs to set."""

    remove: tuple[str, ...]
    add: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class HeaderEdits:
    """Names to remove, then (name, value) pairs to set."""

    request_remove: tuple[str, ...]
    request_add: tuple[tuple[str, str], ...]
    response_remove: tuple[str, ...]
    response_add: tuple[tuple[str, str], ...]


def header_edits(info: dict[str, Any], base: str, notes: Notes) -> HeaderEdits:
    """Return the global header edits of a version; disabled ones are left out."""
    request, response = (_global(info, key, base, notes) for key in ("global_headers", "global_response_headers"))
    return HeaderEdits(request.remove, request.add, response.remove, response.add)


def path_edits(entry: dict[str, Any], place: str, notes: Notes) -> tuple[HeaderChange, bool]:
    """What an entry of transform_headers or transform_response_headers does, and whether it does anything."""
    found = _change(entry, "delete_headers", "add_headers", place, notes)
    return found, bool(found.remove or found.add)


def processor_edits(definition: dict[str, Any], notes: Notes) -> HeaderChange | None:
    """What the header_injector among the response processors edits, None for nothing. Another one is a reason to refuse."""
    changes: list[HeaderChange] = []
    for index, processor in enumerate(definition.get("response_processors", [])):
        place, name = f"$.response_processors[{index}]", processor.get("name", "")
        if name != INJECTOR:
            message = f"the response processor {name!r:.60} is not supported by this build, so every request is refused"
            notes.reject(f"{place}.name", message, unsupported(f"the response processor {name!r:.60}"))
        elif (options := processor.get("options")) is not None:
            if _options(options):
                changes.append(_change(options, "remove_headers", "add_headers", f"{place}.options", notes))
            else:
                notes.error(f"{place}.options", "expected add_headers with texts and remove_headers with names")
    remove = tuple(name for one in changes for name in one.remove)
    add = tuple(pair for one in changes for pair in one.add)
    return HeaderChange(remove, add) if remove or add else None


def _options(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    add, remove = value.get("add_headers") or {}, value.get("remove_headers") or []
    if not isinstance(add, dict) or not isinstance(remove, list):
        return False
    return all(isinstance(text, str) for text in (*add.values(), *remove))


def _global(info: dict[str, Any], key: str, base: str, notes: Notes) -> HeaderChange:
    if info.get(f"{key}_disabled"):
        return HeaderChange((), ())
    return _change(info, f"{key}_remove", key, base, notes)


def _change(value: dict[str, Any], removals: str, additions: str, base: str, notes: Notes) -> HeaderChange:
    remove: list[str] = []
    for index, name in enumerate(value.get(removals) or []):
        if _usable(name, f"{base}.{removals}[{index}]", notes):
            remove.append(name)
    add: list[tuple[str, str]] = []
    for name, text in (value.get(additions) or {}).items():
        place = join_path(f"{base}.{additions}", name)
        if not _usable(name, place, notes):
            continue
        if _BAD_VALUE.search(text):
            notes.error(place, "the header value has control characters")
        elif _VARIABLE.search(text):
            message = (
                "variables in header values are not supported by this build, so every request is refused"
            )
            notes.reject(place, message, unsupported("variables in header values"))
        else:
            add.append((name, text.strip(" \t")))
    return HeaderChange(tuple(remove), tuple(add))


def _usable(name: str, place: str, notes: Notes) -> bool:
    if not _TOKEN.match(name):
        notes.error(place, f"{name!r:.60} is not a header name (RFC 9110 section 5.6.2)")
        return False
    if name.lower() in _CONNECTION:
        notes.warn(place, f"the gateway itself decides about {name}; the entry has no effect", "Remove it.")
        return False
    return True


def whole_timeout(info: dict[str, Any], base: str, notes: Notes) -> float | None:
    """Return the seconds that a version gives every exchange, None for no bound of its own."""
    overall = _seconds(info.get("global_enforce_timeout", ""), f"{base}.global_enforce_timeout", notes)
    if overall < 0:
        notes.error(f"{base}.global_enforce_timeout", "timeouts must not be negative")
    return overall if overall > 0 and not info.get("global_enforce_timeout_disabled", False) else None


def _seconds(text: str, place: str, notes: Notes) -> float:
    try:
        return parse_duration(text)
    except ValueError as error:
        notes.error(place, str(error))
        return 0.0
