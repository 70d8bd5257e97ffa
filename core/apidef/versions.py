"""Which version of an API is in effect (tyk-core 2.3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from core.apidef.specs import RefuseSpec

AMBIGUOUS = "Ambiguous default API version for this non-versioned API"
NO_DEFAULT = "No default API version for this non-versioned API found"
PROBLEM = "There was a problem proxying the request"


@dataclass(frozen=True, slots=True)
class Version:
    """The version in effect: its key, its VersionInfo, or why there is none."""

    key: str
    info: dict[str, Any]
    refuse: RefuseSpec | None = None


def unsupported(reason: str) -> RefuseSpec:
    """Return the refusal for something that this build cannot run."""
    return RefuseSpec("unsupported", 500, PROBLEM, reason)


def effective_version(definition: dict[str, Any]) -> Version:
    """Choose the version of an API that is not versioned; versioned APIs are refused by this build."""
    data = definition.get("version_data", {})
    if definition.get("definition", {}).get("enabled") or not data.get("not_versioned"):
        return Version("", {}, unsupported("API versioning"))
    versions: dict[str, dict[str, Any]] = data.get("versions", {})
    if len(versions) == 1:
        key, info = next(iter(versions.items()))
        return Version(key, info)
    candidates = [key for key in ("Default", "default", "") if key in versions]
    if len(candidates) == 1:
        return Version(candidates[0], versions[candidates[0]])
    text = AMBIGUOUS if candidates else NO_DEFAULT
    return Version("", {}, RefuseSpec("status", 403, text, "no version is in effect"))
