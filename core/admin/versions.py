"""APIs that are versions of others (tyk-core 2.3, 4.3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from core.admin.bodies import spelled
from core.admin.context import AdminContext
from core.admin.replies import Refused, Reply, Request

DEFAULT_KEY = "x-api-version"
SELF = "self"


@dataclass(frozen=True, slots=True)
class Link:
    """What makes a new API a version of `base`, whose definition lies in `file`."""

    base: str
    file: str
    base_name: str
    name: str
    default: bool

    @classmethod
    def of(cls, context: AdminContext, request: Request) -> Link | None:
        """Read the query parameters of POST /tyk/apis; None when they name no base."""
        query = request.query.get
        base = query("base_api_id", "")
        if not base:
            return None
        if not query("new_version_name", ""):
            raise Refused(422, "The new version name is required")
        entry, definition = context.apis.get(base), context.apis.definition(base)
        if entry is None or definition is None:
            raise Refused(400, f"{base} is not a valid Base API version")
        base_name = query("base_api_version_name", "")
        if not base_name and not definition.get("definition", {}).get("name"):
            raise Refused(400, f"you need to provide a version name for the new Base API: {base}")
        return cls(base, entry.file, base_name, query("new_version_name", ""), query("set_default") == "true")

    def add_to(self, document: dict[str, Any], api_id: str) -> None:
        """Enter the version in the document of the base."""
        key = spelled(document, "definition")
        value = document.get(key)
        versioning: dict[str, Any] = value if isinstance(value, dict) else {}

        def put(name: str, item: Any, *, only_missing: bool = False) -> None:
            place = spelled(versioning, name)
            if not only_missing or not versioning.get(place):
                versioning[place] = item

        versions = versioning.get(spelled(versioning, "versions"))
        put("versions", {**(versions if isinstance(versions, dict) else {}), self.name: api_id})
        put("enabled", True)
        put("location", "header", only_missing=True)
        put("key", DEFAULT_KEY, only_missing=True)
        if self.base_name:
            put("name", self.base_name)
        put("default", self.name if self.default else SELF, only_missing=not self.default)
        document[key] = versioning


async def list_all(context: AdminContext, request: Request) -> Reply:
    """GET /tyk/apis/{id}/versions: the API itself, then the versions that are loaded, by name."""
    base = context.apis.definition(request.params["api"])
    if base is None:
        raise Refused(404, "API not found")
    versioning = base.get("definition", {})
    default = versioning.get("default", "")
    found = [_about(base, versioning.get("name", ""), default in ("", SELF, versioning.get("name", "")))]
    for name, api_id in sorted(versioning.get("versions", {}).items()):
        child = context.apis.definition(api_id)
        if child is not None and api_id != base.get("api_id"):
            found.append(_about(child, name, name == default))
    text, access = request.query.get("searchText", "").lower(), request.query.get("accessType", "")
    if text:
        found = [one for one in found if any(text in str(one[key]).lower() for key in ("id", "name", "versionName"))]
    if access in ("internal", "external"):
        found = [one for one in found if one["internal"] == (access == "internal")]
    return Reply(200, {"status": "success", "apis": found})


def _about(definition: dict[str, Any], version: str, default: bool) -> dict[str, Any]:
    return {
        "id": definition.get("api_id", ""),
        "name": definition.get("name", ""),
        "versionName": version,
        "internal": definition.get("internal", False),
        "expirationDate": definition.get("expiration", ""),
        "isDefaultVersion": default,
    }
