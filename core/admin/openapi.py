"""The description of the REST API that is served at /tyk/openapi.json."""

from __future__ import annotations

from functools import cache
from typing import Any

from core.admin.replies import go_json


def document() -> dict[str, Any]:
    """The OpenAPI 3.1 document."""
    return {"openapi": "3.1.0", "info": {"title": "Gateway REST API", "version": "1"}, "paths": {}}


@cache
def text() -> bytes:
    return go_json(document())
