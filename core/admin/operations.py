"""What the operations of the REST API take and answer, for its description; routes.py has the handlers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from core.admin.debug import REQUEST
from core.admin.health import FIELDS
from core.admin.json_schema import JsonSchema, accepted, document, returned
from core.admin.keys import POLICY_CHANGE
from core.apidef.schema import DEFINITION
from core.sessions.model import SESSION
from core.sessions.policies import POLICY


def ref(name: str) -> JsonSchema:
    return {"$ref": f"#/components/schemas/{name}"}


def record(**fields: JsonSchema) -> JsonSchema:
    """An object that has these fields."""
    return {"type": "object", "properties": fields, "required": list(fields)}


TEXT: JsonSchema = {"type": "string"}
TEXTS: JsonSchema = {"type": ["array", "null"], "items": TEXT}
NUMBER: JsonSchema = {"type": "number"}
FLAG: JsonSchema = {"type": "boolean"}

_VERSION = record(
    id=TEXT, name=TEXT, versionName=TEXT, internal=FLAG, expirationDate=TEXT, isDefaultVersion=FLAG
)
# Components: what is sent ("...Input") and what is answered.
SCHEMAS: dict[str, JsonSchema] = {
    "Error": {
        **record(status={"const": "error"}, message=TEXT),
        "properties": {"status": {"const": "error"}, "message": TEXT, "details": {"type": "array", "items": TEXT}},
    },
    "Done": record(status={"const": "ok"}, message=TEXT),
    "Changed": {
        "type": "object",
        "properties": {
            "key": TEXT,
            "status": {"const": "ok"},
            "action": {"enum": ["added", "modified", "updated", "deleted"]},
            "key_hash": TEXT,
        },
        "required": ["key", "status", "action"],
    },
    "KeyNames": record(keys=TEXTS),
    "Health": record(**dict.fromkeys(FIELDS, NUMBER)),
    "Versions": record(status={"const": "success"}, apis={"type": "array", "items": _VERSION}),
    "Played": record(message={"const": "ok"}, response=TEXT, logs=TEXT),
    "ApiInput": document(DEFINITION),
    "Api": {**returned(DEFINITION), "type": "object"},
    "SessionInput": document(SESSION),
    "Session": {**returned(SESSION), "type": "object"},
    "PolicyInput": document(POLICY),
    "Policy": {**returned(POLICY), "type": "object"},
    "PolicyChange": document(POLICY_CHANGE),
    "PlayInput": {
        "type": "object",
        "properties": {"spec": {**accepted(DEFINITION), "type": "object"}, "request": document(REQUEST)},
        "required": ["spec", "request"],
    },
}


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path. query: name -> what it does; body: component; replies: status -> schema."""

    summary: str
    replies: Mapping[int, JsonSchema]
    query: Mapping[str, str] = field(default_factory=dict)
    body: str = ""
    errors: tuple[int, ...] = ()


CHANGED = {200: ref("Changed")}
_HASHED = {
    "hashed": "Any value: the key in the path is the hash of a key.",
    "username": "`true`: the key in the path is the name of a user.",
    "org_id": "Organisation of the key.",
    "api_id": "An API whose organisation the key belongs to.",
}
_RESET = {"suppress_reset": "`1`: counters of rate and quota go on."}
_LINK = {
    "base_api_id": "API that the new one becomes a version of.",
    "base_api_version_name": "What the base API itself is called as a version.",
    "new_version_name": "Name of the version.",
    "set_default": "`true`: the new version is the default.",
}


def _list(name: str) -> dict[int, JsonSchema]:
    return {200: {"type": "array", "items": ref(name)}}


OPERATIONS: dict[tuple[str, str], Operation] = {
    ("GET", "reload"): Operation(
        "Reload this node", {200: ref("Done")}, {"block": "`true`: answer when all workers use what was loaded."}, errors=(500,)
    ),
    ("GET", "reload/group"): Operation("Reload all nodes that share the store", {200: ref("Done")}, errors=(503,)),
    ("GET", "apis"): Operation("The definitions that are loaded", _list("Api")),
    ("POST", "apis"): Operation("Add a definition", CHANGED, _LINK, "ApiInput", (400, 422, 500)),
    ("GET", "apis/{api}"): Operation("One definition", {200: ref("Api")}, errors=(404,)),
    ("POST", "apis/{api}"): Operation("Add a definition", CHANGED, _LINK, "ApiInput", (400, 422, 500)),
    ("PUT", "apis/{api}"): Operation("Replace a definition", CHANGED, {}, "ApiInput", (400, 404, 500)),
    ("DELETE", "apis/{api}"): Operation("Remove a definition", CHANGED, errors=(404, 500)),
    ("GET", "apis/{api}/versions"): Operation(
        "The versions of an API",
        {200: ref("Versions")},
        {"searchText": "Part of id or name.", "accessType": "`internal` or `external`."},
        errors=(404,),
    ),
    ("POST", "keys/create"): Operation(
        "Create a key with a name of its own", CHANGED, {}, "SessionInput", (400, 500, 503)
    ),
    ("POST", "keys/preview"): Operation(
        "Show a session with its policies applied", {200: ref("Session")}, {}, "SessionInput", (500,)
    ),
    ("GET", "keys"): Operation(
        "The names of the keys",
        {200: ref("KeyNames")},
        {"filter": "Organisation of the keys.", "api_id": "Only keys that open this API."},
        errors=(400, 404, 503),
    ),
    ("POST", "keys"): Operation("Create a key", CHANGED, _RESET, "SessionInput", (400, 500, 503)),
    ("GET", "keys/{key}"): Operation("One key", {200: ref("Session")}, _HASHED, errors=(400, 404, 500, 503)),
    ("POST", "keys/{key}"): Operation(
        "Create a key with this name, or replace it", CHANGED, _RESET, "SessionInput", (400, 500, 503)
    ),
    ("PUT", "keys/{key}"): Operation(
        "Replace the session of a key", CHANGED, {**_HASHED, **_RESET}, "SessionInput", (400, 404, 500, 503)
    ),
    ("DELETE", "keys/{key}"): Operation(
        "Remove a key", {200: {"anyOf": [ref("Changed"), {"type": "null"}]}}, _HASHED, errors=(400, 404, 500, 503)
    ),
    ("POST", "keys/policy/{key}"): Operation(
        "Give the key with this hash other policies", CHANGED, {}, "PolicyChange", (400, 404, 500, 503)
    ),
    ("GET", "policies"): Operation("The policies that are loaded", _list("Policy")),
    ("POST", "policies"): Operation("Add a policy", CHANGED, {}, "PolicyInput", (400, 500)),
    ("PUT", "policies"): Operation("Answers that an id is missing", {}, errors=(400,)),
    ("DELETE", "policies"): Operation("Answers that an id is missing", {}, errors=(400,)),
    ("GET", "policies/{policy}"): Operation("One policy", {200: ref("Policy")}, errors=(404,)),
    ("POST", "policies/{policy}"): Operation("Add a policy", CHANGED, {}, "PolicyInput", (400, 500)),
    ("PUT", "policies/{policy}"): Operation("Replace a policy", CHANGED, {}, "PolicyInput", (400, 500)),
    ("DELETE", "policies/{policy}"): Operation("Remove a policy", CHANGED, errors=(400, 500)),
    ("GET", "org/keys"): Operation(
        "The organisations that have a session", {200: ref("KeyNames")}, {"filter": "Begin of their names."}, errors=(503,)
    ),
    ("GET", "org/keys/{org}"): Operation(
        "The session of an organisation", {200: ref("Session")}, errors=(404, 500, 503)
    ),
    ("POST", "org/keys/{org}"): Operation(
        "Set the session of an organisation",
        CHANGED,
        {"reset_quota": "`1`: the quota begins anew."},
        "SessionInput",
        (400, 404, 503),
    ),
    ("PUT", "org/keys/{org}"): Operation(
        "Replace the session of an organisation",
        CHANGED,
        {"reset_quota": "`1`: the quota begins anew."},
        "SessionInput",
        (400, 404, 503),
    ),
    ("DELETE", "org/keys/{org}"): Operation("Remove the session of an organisation", CHANGED, errors=(400, 404, 503)),
    ("DELETE", "cache/{api}"): Operation("Forget cached answers of an API", {200: ref("Done")}, errors=(503,)),
    ("GET", "health"): Operation(
        "Numbers about an API", {200: ref("Health")}, {"api_id": "The API."}, errors=(400, 404, 503)
    ),
    ("POST", "debug"): Operation(
        "Play a request through a definition", {200: ref("Played")}, {}, "PlayInput", (400, 500)
    ),
}

