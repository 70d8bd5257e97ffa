"""The description of the REST API that is served at /tyk/openapi.json: OpenAPI 3.1, made of routes and operations."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from typing import Any

from core.admin.operations import OPERATIONS, SCHEMAS, Operation, ref
from core.admin.replies import go_json

SECRET = "secret"
_PARAMETER = re.compile(r"\{([a-z]+)\}")
_PLAIN: dict[str, Any] = {"text/plain": {"schema": {"type": "string"}}}


def document(routes: Iterable[tuple[str, str]], version: str) -> dict[str, Any]:
    """The document. routes: (method, path below /tyk/) of all operations. Raises KeyError for one that is not described."""
    paths: dict[str, dict[str, Any]] = {}
    for method, path in routes:
        place = paths.setdefault(f"/tyk/{path}", {})
        parameters = [_parameter(name, "path") for name in _PARAMETER.findall(path)]
        if parameters:
            place["parameters"] = parameters
        place[method.lower()] = _operation(OPERATIONS[method, path], f"{method} {path}")
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Preforge Gateway API",
            "version": version,
            "description": "Administration of one gateway. Definitions and policies that are written count from the next "
            "reload on; keys count at once.",
        },
        "security": [{SECRET: []}],
        "paths": paths,
        "components": {
            "schemas": SCHEMAS,
            "securitySchemes": {
                SECRET: {
                    "type": "apiKey",
                    "in": "header",
                    "name": "X-Tyk-Authorization",
                    "description": "`secret` of tyk.conf.",
                }
            },
        },
    }


def _operation(operation: Operation, name: str) -> dict[str, Any]:
    replies = {status: _reply(_json(schema)) for status, schema in operation.replies.items()}
    replies |= {status: _reply(_json(ref("Error"))) for status in (*operation.errors, 403)}
    if "{" in name:
        # A segment with a slash in it is the path of nothing.
        known = _json(ref("Error")) if 404 in operation.errors else {}
        replies[404] = _reply({**known, **_PLAIN})
    found: dict[str, Any] = {
        "summary": operation.summary,
        "operationId": re.sub(r"[^A-Za-z]+", "_", name).strip("_").lower(),
        "responses": {str(status): replies[status] for status in sorted(replies)},
    }
    if operation.query:
        found["parameters"] = [
            {**_parameter(name, "query"), "description": text} for name, text in operation.query.items()
        ]
    if operation.body:
        found["requestBody"] = {"required": True, "content": _json(ref(operation.body))}
    return found


def _parameter(name: str, place: str) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    if place == "path":
        schema["pattern"] = "^[^/]+$"
    return {"name": name, "in": place, "required": place == "path", "schema": schema}


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _reply(content: dict[str, Any]) -> dict[str, Any]:
    return {"description": "See the schema.", "content": content}


@cache
def text(routes: tuple[tuple[str, str], ...], version: str) -> bytes:
    return go_json(document(routes, version))
