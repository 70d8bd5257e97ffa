"""The session of a key: its JSON, read and written as Tyk does (tyk-core 5.1)."""

from __future__ import annotations

import json
from typing import Any

from core.config.gojson import Anything, Bool, Int, ListOf, MapOf, Num, Obj, Schema, Str, decode_document, walk
from core.findings import Finding

SessionData = dict[str, Any]

SMOOTHING = Obj({"enabled": Bool(), "threshold": Int(), "trigger": Num(), "step": Int(), "delay": Int()})
LIMIT_FIELDS: dict[str, Schema] = {
    "rate": Num(),
    "per": Num(),
    "throttle_interval": Num(),
    "throttle_retry_limit": Int(),
    "max_query_depth": Int(),
    "quota_max": Int(),
    "quota_renews": Int(),
    "quota_remaining": Int(),
    "quota_renewal_rate": Int(),
    "smoothing": Anything(),
}
LIMIT = Obj(LIMIT_FIELDS)
ACCESS = Obj(
    {
        "api_name": Str(),
        "api_id": Str(),
        "versions": ListOf(Str()),
        "allowed_urls": ListOf(Obj({"url": Str(), "methods": ListOf(Str())})),
        "restricted_types": Anything(),
        "limit": LIMIT,
        "allowance_scope": Str(),
        "allowed_types": Anything(),
        "field_access_rights": Anything(),
        "disable_introspection": Bool(),
        "endpoints": ListOf(
            Obj(
                {
                    "path": Str(),
                    "methods": ListOf(
                        Obj({"name": Str(), "limit": Obj({"rate": Num(), "per": Num(), "smoothing": Anything()})})
                    ),
                }
            )
        ),
    }
)
SESSION = Obj(
    {
        "last_check": Int(),
        "allowance": Num(),
        "rate": Num(),
        "per": Num(),
        "throttle_interval": Num(),
        "throttle_retry_limit": Int(),
        "max_query_depth": Int(),
        "date_created": Str(),
        "expires": Int(),
        "quota_max": Int(),
        "quota_renews": Int(),
        "quota_remaining": Int(),
        "quota_renewal_rate": Int(),
        "access_rights": MapOf(ACCESS),
        "org_id": Str(),
        "oauth_client_id": Str(),
        "oauth_keys": MapOf(Str()),
        "certificate": Str(),
        "mtls_static_certificate_bindings": ListOf(Str()),
        "basic_auth_data": Obj({"password": Str(), "hash_type": Str()}),
        "jwt_data": Obj({"secret": Str()}),
        "hmac_enabled": Bool(),
        "enable_http_signature_validation": Bool(),
        "hmac_string": Str(),
        "rsa_certificate_id": Str(),
        "is_inactive": Bool(),
        "apply_policy_id": Str(),
        "apply_policies": ListOf(Str()),
        "data_expires": Int(),
        "monitor": Obj({"trigger_limits": ListOf(Num())}),
        "enable_detail_recording": Bool(),
        "enable_detailed_recording": Bool(),
        "meta_data": MapOf(Anything()),
        "tags": ListOf(Str()),
        "alias": Str(),
        "last_updated": Str(),
        "id_extractor_deadline": Int(),
        "session_lifetime": Int(),
        "post_expiry_action": Str(),
        "post_expiry_grace_period": Int(),
        "smoothing": Anything(),
        "key_id": Str(),
    }
)
# Newer than the oldest Tyk that may read our sessions: written only when they say something.
_NEWER = ("mtls_static_certificate_bindings", "post_expiry_action", "post_expiry_grace_period", "smoothing", "key_id")
_NEWER_ACCESS = ("allowed_types", "field_access_rights", "disable_introspection", "endpoints")
_NEVER = "0001-01-01T00:00:00Z"


class SessionError(ValueError):
    """A session cannot be read; the text names the field and what was expected."""


def decode(raw: bytes, name: str = "session") -> SessionData:
    """Read a session; every field is there afterwards. Raises SessionError."""
    value, findings = decode_document(raw, name)
    errors = [finding for finding in findings if finding.severity == "error"]
    if errors:
        raise SessionError(errors[0].render())
    return from_value(value, name)


def from_value(value: Any, name: str = "session") -> SessionData:
    """The same for JSON that is decoded already. Raises SessionError."""
    if not isinstance(value, dict):
        raise SessionError(f"{name}: expected an object")
    findings: list[Finding] = []
    session: SessionData = walk(value, SESSION, name, "$", findings)
    errors = [finding for finding in findings if finding.severity == "error"]
    if errors:
        raise SessionError(errors[0].render())
    for key in ("access_rights", "apply_policies", "tags", "oauth_keys"):
        session[key] = session[key] or ([] if key in ("apply_policies", "tags") else {})
    session["meta_data"] = session["meta_data"] or {}
    return session


def new() -> SessionData:
    """A session with nothing in it."""
    return from_value({})


def output(session: SessionData) -> dict[str, Any]:
    """The session as JSON values in Tyk's order, numbers as Go prints them."""
    found: dict[str, Any] = {}
    for key in SESSION.fields:
        value = session[key]
        if key in _NEWER and not value:
            continue
        found[key] = value
    found["date_created"] = session["date_created"] or _NEVER
    found["apply_policies"] = session["apply_policies"] or None
    found["oauth_keys"] = session["oauth_keys"] or None
    found["monitor"] = {"trigger_limits": session["monitor"]["trigger_limits"] or None}
    found["access_rights"] = {
        api: _access(access) for api, access in sorted(session["access_rights"].items())
    }
    plain: dict[str, Any] = _plain(found)
    return plain


def _access(access: dict[str, Any]) -> dict[str, Any]:
    found = {key: value for key, value in access.items() if key not in _NEWER_ACCESS or value}
    found["allowed_urls"] = access["allowed_urls"] or None
    found["versions"] = access["versions"] or None
    found["limit"] = {k: v for k, v in access["limit"].items() if k != "smoothing" or v}
    return found


def _plain(value: Any) -> Any:
    """Floats without a fraction as integers, as Go writes them."""
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) < 1e21 else value
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value


def encode(session: SessionData) -> bytes:
    """The session as it lies in the store."""
    text = json.dumps(output(session), separators=(",", ":"), ensure_ascii=False)
    for char in "<>&":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return text.encode("utf-8", "surrogatepass")
