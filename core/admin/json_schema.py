"""JSON Schema (2020-12, as OpenAPI 3.1 uses it) of what the decoder of configuration and definitions accepts."""

from __future__ import annotations

from typing import Any

from core.config.gojson import Bool, Int, ListOf, MapOf, Num, Obj, Schema, Str

JsonSchema = dict[str, Any]
LARGEST = 2**63 - 1


def accepted(schema: Schema) -> JsonSchema:
    """What a body may hold: null means the zero value everywhere, unknown fields are ignored."""
    return _convert(schema, True)


def returned(schema: Schema) -> JsonSchema:
    """What an answer holds: every field; absent lists, maps and objects may be null."""
    return _convert(schema, False)


def document(schema: Obj) -> JsonSchema:
    """A body that is this object; null is none."""
    return {**accepted(schema), "type": "object"}


def _convert(schema: Schema, nullable: bool) -> JsonSchema:
    match schema:
        case Str():
            return _type("string", nullable)
        case Int():
            return {**_type("integer", nullable), "minimum": -LARGEST - 1, "maximum": LARGEST}
        case Num():
            return _type("number", nullable)
        case Bool():
            return _type("boolean", nullable)
        case ListOf():
            return {**_type("array", True), "items": _convert(schema.item, nullable)}
        case MapOf():
            return {**_type("object", True), "additionalProperties": _convert(schema.value, nullable)}
        case Obj():
            fields = {name: _convert(sub, nullable) for name, sub in schema.fields.items()}
            return {**_type("object", True), "properties": fields}
        case _:
            return {}


def _type(name: str, nullable: bool) -> JsonSchema:
    return {"type": [name, "null"] if nullable else name}
