"""Header edits and the time limit of a version (tyk-core 2.3)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Protocol

from core.apidef.durations import parse_duration
from core.apidef.specs import RefuseSpec
from core.apidef.versions import unsupported
from core.config.gojson import join_path

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
class HeaderEdits:
    """Names to remove, then (name, value) pairs to set."""

    request_remove: tuple[str, ...]
    request_add: tuple[tuple[str, str], ...]
    response_remove: tuple[str, ...]
    response_add: tuple[tuple[str, str], ...]


def header_edits(info: dict[str, Any], base: str, notes: Notes) -> HeaderEdits:
    """Return the global header edits of a version; disabled ones are left out."""
    return HeaderEdits(
        *_edits(info, "global_headers", base, notes), *_edits(info, "global_response_headers", base, notes)
    )


def _edits(
    info: dict[str, Any], key: str, base: str, notes: Notes
) -> tuple[tuple[str, ...], tuple[tuple[str, str], ...]]:
    if info.get(f"{key}_disabled"):
        return (), ()
    remove: list[str] = []
    for index, name in enumerate(info.get(f"{key}_remove", [])):
        if _usable(name, f"{base}.{key}_remove[{index}]", notes):
            remove.append(name)
    add: list[tuple[str, str]] = []
    for name, value in info.get(key, {}).items():
        place = join_path(f"{base}.{key}", name)
        if not _usable(name, place, notes):
            continue
        if _BAD_VALUE.search(value):
            notes.error(place, "the header value has control characters")
        elif _VARIABLE.search(value):
            message = (
                "variables in header values are not supported by this build, so every request is refused"
            )
            notes.reject(place, message, unsupported("variables in header values"))
        else:
            add.append((name, value.strip(" \t")))
    return tuple(remove), tuple(add)


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
