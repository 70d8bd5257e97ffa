"""API definitions as Go prints the struct: every field, with its zero value where the file has none (tyk-core 4.3)."""

from __future__ import annotations

from typing import Any

from core.admin.replies import plain
from core.apidef.decode import Definition
from core.apidef.schema import DEFINITION
from core.config.gojson import ListOf, MapOf, Obj, Schema, zero


def complete(definition: Definition) -> dict[str, Any]:
    """All fields of a definition, in the order of the schema."""
    found: dict[str, Any] = plain(fill(definition, DEFINITION))
    # An API that does not say is served; a client that sends back what it got must not switch it off.
    found["active"] = definition.get("active", True)
    found["id"] = definition.get("id") or ""
    return found


def fill(value: Any, schema: Schema) -> Any:
    """A value with the fields that it lacks; absent lists and maps are null, as in Go."""
    match schema:
        case Obj():
            given = value or {}
            return {name: fill(given.get(name), sub) for name, sub in schema.fields.items()}
        case ListOf():
            return None if value is None else [fill(item, schema.item) for item in value]
        case MapOf():
            return None if value is None else {key: fill(item, schema.value) for key, item in value.items()}
        case _:
            return zero(schema) if value is None else value
