"""Definitions with path entries and versions, and short words for what came of a request."""

from __future__ import annotations

import json
from typing import Any

from core.apidef.edits import Notes
from tests.support.gateway import Gateway, Json, api, merge
from tests.support.upstream import Upstream
from tests.support.wire import Response

CLOSED = "Requested endpoint is forbidden"


def listed(api_id: str, upstream: Upstream, paths: Json, **more: Any) -> Json:
    """An API under /<api_id>/ whose only version has these extended_paths."""
    version = merge({"use_extended_paths": True, "extended_paths": paths}, more.pop("version", {}))
    return api(api_id, f"/{api_id}/", upstream.url, version=version, **more)


def versioned(api_id: str, upstream: Upstream, versions: Json, definition: Json, **more: Any) -> Json:
    """An API under /<api_id>/ whose requests choose among versions."""
    found = api(api_id, f"/{api_id}/", upstream.url, **more)
    default = more.get("version_data", {}).get("default_version", "")
    named = {name: {"name": name, "use_extended_paths": True, **info} for name, info in versions.items()}
    return {
        **found,
        "definition": definition,
        "version_data": {"not_versioned": False, "default_version": default, "versions": named},
    }


def no_virtual(entry: Json, place: str, notes: Notes) -> tuple[None, bool]:
    """There are no virtual endpoints in these definitions."""
    raise AssertionError(place)


def error(answer: Response) -> str:
    """The message of an answer of the gateway itself."""
    return str(json.loads(answer.body)["error"])


def arrived(answer: Response) -> str:
    """The target that the upstream saw."""
    assert answer.status == 200, (answer.status, answer.body)
    return str(json.loads(answer.body)["target"])


def sent(answer: Response, name: str) -> list[str]:
    """A header that the upstream saw."""
    assert answer.status == 200, (answer.status, answer.body)
    return [value for key, value in json.loads(answer.body)["headers"] if key.lower() == name.lower()]


def post(gateway: Gateway, target: str, *lines: str) -> Response:
    """A POST with a small body."""
    return gateway.fetch(target, *lines, method="POST", body=b"x")
