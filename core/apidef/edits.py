"""Header edits and time limits of the version in effect (tyk-core 2.3, 2.5, 2.6)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Protocol

from core.apidef.durations import parse_duration
from core.apidef.options import CompileOptions
from core.apidef.specs import HardTimeout, RefuseSpec
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


def timeouts(
    info: dict[str, Any], base: str, options: CompileOptions, notes: Notes
) -> tuple[tuple[HardTimeout, ...], float | None]:
    """Return the path timeouts and the version's own, in seconds."""
    found: list[HardTimeout] = []
    entries = (
        info.get("extended_paths", {}).get("hard_timeouts", []) if info.get("use_extended_paths") else []
    )
    ignore_case = options.ignore_endpoint_case or info.get("ignore_endpoint_case", False)
    for index, entry in enumerate(entries):
        place = f"{base}.extended_paths.hard_timeouts[{index}]"
        if entry.get("disabled"):
            continue
        seconds = _seconds(entry.get("duration", ""), f"{place}.duration", notes) or float(
            entry.get("timeout", 0)
        )
        if seconds < 0:
            notes.error(place, "timeouts must not be negative")
        elif seconds and entry.get("method"):
            try:
                pattern = path_pattern(entry.get("path", ""), options, ignore_case)
            except re.error as error:
                notes.error(f"{place}.path", f"the path does not compile as a pattern: {error}")
                continue
            found.append(HardTimeout(entry["method"], pattern, seconds))
    overall = _seconds(info.get("global_enforce_timeout", ""), f"{base}.global_enforce_timeout", notes)
    if overall < 0:
        notes.error(f"{base}.global_enforce_timeout", "timeouts must not be negative")
    disabled = info.get("global_enforce_timeout_disabled", False)
    return tuple(found), overall if overall > 0 and not disabled else None


def path_pattern(path: str, options: CompileOptions, ignore_case: bool) -> str:
    """Return the regex source that an entry's path stands for (tyk-core 2.5). Raises re.error."""
    pattern = path
    if path.count("{") == path.count("}"):
        pattern = re.sub(r"\{[^{}/]*[A-Za-z_][^{}/]*\}", "([^/]+)", path)
    pattern = pattern.replace("/*/", "/[^/]+/").replace("/*", "/.*")
    if options.enable_path_prefix_matching and pattern.startswith("/"):
        pattern = "^" + pattern
    if options.enable_path_suffix_matching and not pattern.endswith("$"):
        pattern += "$"
    if ignore_case:
        pattern = f"(?i:{pattern})"
    try:
        re.compile(pattern.encode())
    except (OverflowError, RecursionError) as error:
        raise re.error(str(error)) from None
    return pattern


def _seconds(text: str, place: str, notes: Notes) -> float:
    try:
        return parse_duration(text)
    except ValueError as error:
        notes.error(place, str(error))
        return 0.0
