"""Which versions an API has, and how a request names one (tyk-core 2.3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from core.apidef.specs import RefuseSpec

AMBIGUOUS = "Ambiguous default API version for this non-versioned API"
NO_DEFAULT = "No default API version for this non-versioned API found"
PROBLEM = "There was a problem proxying the request"
LOCATIONS = {"header": 0, "url-param": 1, "url": 2}


@dataclass(frozen=True, slots=True)
class Version:
    """One version: its key in the definition, its VersionInfo, or why there is none."""

    key: str
    info: dict[str, Any]
    refuse: RefuseSpec | None = None

    @property
    def name(self) -> str:
        """The name that access rights speak of."""
        return str(self.info.get("name") or self.key)


@dataclass(frozen=True, slots=True)
class Selector:
    """How a request names its version. location: see LOCATIONS; key: header or parameter; slug: a segment that may stand
    in front of the version in the path; children: (name, api_id) of versions that are APIs of their own; own_name: the
    base API's own name among them."""

    location: int
    key: str
    default: str
    fallback: bool
    strip: bool
    pattern: str
    children: tuple[tuple[str, str], ...] = ()
    own_name: str = ""
    slug: str = ""


def unsupported(reason: str, message: str = "") -> RefuseSpec:
    """Return the refusal for something that this build cannot run. message: what clients are told, if not the usual one."""
    return RefuseSpec("unsupported", 500, message or PROBLEM, reason)


def selector(definition: dict[str, Any]) -> Selector | None:
    """Return how requests choose a version, None when they need not. Raises ValueError for an unknown location."""
    rule = definition.get("definition", {})
    data = definition.get("version_data", {})
    if not rule.get("enabled") and data.get("not_versioned"):
        return None
    location = rule.get("location") or "header"
    if location not in LOCATIONS:
        raise ValueError(f'{location!r:.40} is not a place of a version, expected "header", "url-param" or "url"')
    url = location == "url"
    strip = rule.get("strip_versioning_data", False) or (url and rule.get("strip_path", False))
    if rule.get("enabled"):
        own = rule.get("name", "")
        default = rule.get("default", "")
        return Selector(
            LOCATIONS[location],
            rule.get("key", ""),
            own if default == "self" else default,
            rule.get("fallback_to_default", False),
            strip,
            rule.get("url_versioning_pattern", ""),
            tuple(sorted(rule.get("versions", {}).items())),
            own,
            definition.get("slug", ""),
        )
    return Selector(
        LOCATIONS[location],
        rule.get("key", ""),
        data.get("default_version", ""),
        rule.get("fallback_to_default", False),
        strip,
        rule.get("url_versioning_pattern", ""),
        slug=definition.get("slug", ""),
    )


def versions(definition: dict[str, Any]) -> list[Version]:
    """Return all versions that requests may be served by; for an API that is not versioned, the one in effect."""
    data = definition.get("version_data", {})
    found: dict[str, dict[str, Any]] = data.get("versions", {})
    if not data.get("not_versioned") and not definition.get("definition", {}).get("enabled"):
        return [Version(key, info) for key, info in found.items()]
    if len(found) == 1:
        key, info = next(iter(found.items()))
        return [Version(key, info)]
    candidates = [key for key in ("Default", "default", "") if key in found]
    if len(candidates) == 1:
        return [Version(candidates[0], found[candidates[0]])]
    text = AMBIGUOUS if candidates else NO_DEFAULT
    return [Version("", {}, RefuseSpec("status", 403, text, "no version is in effect"))]
