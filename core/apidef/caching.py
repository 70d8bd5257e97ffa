"""What a definition says about keeping answers: cache_options and the entries of versions (tyk-core 2.5, 2.7)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from accel.capture import CaptureSearch
from core.apidef.patterns import translated

if TYPE_CHECKING:
    from core.apidef.edits import Notes

SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
BODY_METHODS = frozenset(("POST", "PUT", "PATCH"))      # whose bodies are part of the key
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")


@dataclass(frozen=True, slots=True)
class CacheSpec:
    """The cache_options of an API whose cache is on. timeout: seconds; codes: statuses that are kept, () for all;
    safe_requests: all requests with a safe method; upstream_control: the upstream says what is kept, and how long in
    the header ``ttl_header``; headers: names of request headers that are part of the key."""

    timeout: int
    codes: tuple[int, ...]
    safe_requests: bool
    upstream_control: bool
    ttl_header: str
    headers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """One path entry. timeout: seconds, 0 for that of the API; codes: () for those of the API; pattern: expression over
    bytes that finds the part of the body which counts, "" for all of it; has_body: the method's bodies count."""

    timeout: int = 0
    codes: tuple[int, ...] = ()
    pattern: str = ""
    has_body: bool = False


def cache_options(definition: dict[str, Any], notes: Notes) -> CacheSpec | None:
    """The cache of an API, None where it is off. Names of headers that cannot be any are errors."""
    options = definition.get("cache_options", {})
    if not options.get("enable_cache"):
        return None
    headers = []
    for index, name in enumerate(options.get("cache_by_headers", [])):
        if not _NAME.match(name):
            notes.error(f"$.cache_options.cache_by_headers[{index}]", f"{name!r:.60} is not the name of a header")
        headers.append(name)
    spec = CacheSpec(
        timeout=max(0, options.get("cache_timeout", 0)),
        codes=tuple(options.get("cache_response_codes", [])),
        safe_requests=options.get("cache_all_safe_requests", False),
        upstream_control=options.get("enable_upstream_cache_control", False),
        ttl_header=options.get("cache_control_ttl_header", "") or "x-tyk-cache-action-set-ttl",
        headers=tuple(headers),
    )
    if spec.safe_requests and not spec.timeout and not spec.upstream_control:
        text = "answers are kept for 0 seconds, so only path entries with a timeout of their own keep any"
        notes.warn("$.cache_options.cache_timeout", text, "Set the seconds.")
    return spec


def cache_entries(
    extended: dict[str, Any], base: str, enabled: bool, notes: Notes
) -> Iterator[tuple[str, str, str, CacheEntry]]:
    """Yield (place, path, method, entry) of what is in force: first those of the simple list.

    enabled: the cache of the API is on; without it the entries have no effect.
    """
    simple, advanced = extended.get("cache", []), extended.get("advance_cache_config", [])
    if not enabled:
        for kind, entries in (("cache", simple), ("advance_cache_config", advanced)):
            if any(not isinstance(entry, dict) or not entry.get("disabled") for entry in entries):
                notes.warn(f"{base}.{kind}", "the entries have no effect, since $.cache_options.enable_cache is off")
        return
    for index, path in enumerate(simple):
        for method in SAFE_METHODS:
            yield f"{base}.cache[{index}]", path, method, CacheEntry()
    for index, entry in enumerate(advanced):
        place = f"{base}.advance_cache_config[{index}]"
        method = entry.get("method", "")
        if entry.get("disabled"):
            continue
        if not method:
            notes.warn(f"{place}.method", "no method is named, so the entry applies to no request")
            continue
        pattern = _body_pattern(entry.get("cache_key_regex", ""), f"{place}.cache_key_regex", notes)
        if pattern is not None:
            codes = tuple(entry.get("cache_response_codes", []))
            made = CacheEntry(max(0, entry.get("timeout", 0)), codes, pattern, method in BODY_METHODS)
            yield place, entry.get("path", ""), method, made


def _body_pattern(text: str, place: str, notes: Notes) -> str | None:
    """None for an expression that cannot be used: nothing is kept for its entry, as Tyk does it."""
    if not text:
        return ""
    try:
        pattern = translated(text, dot_all=False)
        CaptureSearch(pattern.encode())
    except re.error as error:
        notes.flaw(place, f"it does not compile: {error}, so the answers to these requests are not cached")
        return None
    return pattern
