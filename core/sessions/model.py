"""The session of a key: its JSON, read and written as Tyk does (tyk-core 5.1)."""

from __future__ import annotations

import math
import re
from typing import Any

import orjson

from core.config.gojson import (
    MAX_BYTES,
    MAX_DEPTH,
    Anything,
    Bool,
    Int,
    ListOf,
    MapOf,
    Num,
    Obj,
    Schema,
    Str,
    decode_document,
    walk,
)
from core.findings import Finding
from core.sessions.encoding import Struct, dumps
from core.sessions.reading import Unusual, reader

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
_TYPES = ListOf(Obj({"name": Str(), "fields": ListOf(Str())}))
_RATE = Obj({"rate": Num(), "per": Num(), "smoothing": Anything()})
ACCESS = Obj(
    {
        "api_name": Str(),
        "api_id": Str(),
        "versions": ListOf(Str()),
        "allowed_urls": ListOf(Obj({"url": Str(), "methods": ListOf(Str()), "conditions": Anything()})),
        "restricted_types": _TYPES,
        "limit": Obj(LIMIT_FIELDS),
        "allowance_scope": Str(),
        "allowed_types": _TYPES,
        "field_access_rights": ListOf(
            Obj({"type_name": Str(), "field_name": Str(), "limits": Obj({"max_query_depth": Int()})})
        ),
        "disable_introspection": Bool(),
        "endpoints": ListOf(Obj({"path": Str(), "methods": ListOf(Obj({"name": Str(), "limit": _RATE}))})),
        "json_rpc_methods": Anything(),
        "json_rpc_methods_access_rights": Anything(),
        "mcp_primitives": Anything(),
        "mcp_access_rights": Anything(),
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
_NEWER = frozenset(
    ("mtls_static_certificate_bindings", "post_expiry_action", "post_expiry_grace_period", "smoothing", "key_id")
)
_NEWER_ACCESS = frozenset(
    (
        "allowed_types", "field_access_rights", "disable_introspection", "endpoints", "json_rpc_methods",
        "json_rpc_methods_access_rights", "mcp_primitives", "mcp_access_rights",
    )
)  # fmt: skip
_FREE = ("json_rpc_methods", "json_rpc_methods_access_rights", "mcp_primitives", "mcp_access_rights")
_NEVER = "0001-01-01T00:00:00Z"
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)\Z", re.ASCII)


class SessionError(ValueError):
    """A session cannot be read; the text names the field and what was expected."""


def decode(raw: bytes, name: str = "session") -> SessionData:
    """Read a session; every field is there afterwards. name: what to call it in errors. Raises SessionError."""
    try:
        if len(raw) <= MAX_BYTES:
            value = orjson.loads(raw)
            if raw.count(b"{") + raw.count(b"[") > MAX_DEPTH and not _shallow(value):
                raise SessionError(f"{name}: $: it is nested deeper than {MAX_DEPTH} levels")
            return _read(value, name)
    except (orjson.JSONDecodeError, Unusual):
        pass
    # Slower, but takes all that Go takes, and says what is wrong and where.
    value, findings = decode_document(raw, name)
    _raise_first(findings)
    return from_value(value, name)


def from_value(value: Any, name: str = "session") -> SessionData:
    """The same for JSON that is decoded already; whole floats count as integers. Raises SessionError."""
    if not isinstance(value, dict):
        raise SessionError(f"{name}: $: expected an object")
    if not _shallow(value):
        raise SessionError(f"{name}: $: it is nested deeper than {MAX_DEPTH} levels")
    findings: list[Finding] = []
    session: SessionData = walk(value, SESSION, name, "$", findings)
    if _has_error(findings):
        findings = []
        session = walk(whole_numbers(value), SESSION, name, "$", findings)
    _raise_first(findings)
    return _checked(session, name)


_read_session = reader(SESSION)


def _read(value: Any, name: str) -> SessionData:
    if type(value) is not dict:
        raise Unusual
    return _checked(_read_session(value), name)


def _checked(session: SessionData, name: str) -> SessionData:
    """What a schema cannot say."""
    findings: list[Finding] = []
    check_plain(session["meta_data"], name, "$.meta_data", findings)
    check_smoothing(session, name, "$", findings)
    for api, access in session["access_rights"].items():
        check_access(access, name, f'$.access_rights["{api}"]', findings)
    if session["date_created"] and not _TIME.match(session["date_created"]):
        findings.append(Finding("error", name, "$.date_created", "expected a time such as 2024-01-31T12:00:00Z"))
    if findings:
        _raise_first(findings)
    return session


def _shallow(value: Any) -> bool:
    """Whether JSON is nested no deeper than what is read elsewhere, so that nothing recursive fails later."""
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return True
    return False


def check_access(access: dict[str, Any], name: str, path: str, findings: list[Finding]) -> None:
    """Check the parts of an access right that may be an object or absent, or have no form of their own."""
    check_smoothing(access["limit"], name, f"{path}.limit", findings)
    for key in _FREE:
        if access[key] is not None:
            check_plain(access[key], name, f"{path}.{key}", findings)
    for entry in access["allowed_urls"]:
        check_plain(entry["conditions"], name, f"{path}.allowed_urls", findings)
    for at, endpoint in enumerate(access["endpoints"]):
        for number, method in enumerate(endpoint["methods"]):
            check_smoothing(method["limit"], name, f"{path}.endpoints[{at}].methods[{number}].limit", findings)


def check_smoothing(holder: dict[str, Any], name: str, path: str, findings: list[Finding]) -> None:
    """Bring the `smoothing` of a limit into its form; None stays: it means that there is none."""
    if holder["smoothing"] is not None:
        holder["smoothing"] = walk(holder["smoothing"], SMOOTHING, name, f"{path}.smoothing", findings)


def whole_numbers(value: Any) -> Any:
    """Return the JSON value with whole floats as integers: 5.0 means 5, also where only integers are allowed."""
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) < 2**53 else value
    if isinstance(value, dict):
        return {key: whole_numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [whole_numbers(item) for item in value]
    return value


def new() -> SessionData:
    """A session with nothing in it."""
    return from_value({})


def output(session: SessionData, key_id: str = "") -> Struct:
    """The session as GET /tyk/keys prints it: JSON values in Tyk's order. key_id: the key that was asked for."""
    found = Struct()
    for key in SESSION.fields:
        value = session[key]
        if key not in _NEWER or value:
            found[key] = value
    if key_id:
        found["key_id"] = key_id
    found["date_created"] = session["date_created"] or _NEVER
    found["access_rights"] = {api: _access(session["access_rights"][api]) for api in sorted(session["access_rights"])}
    for key in ("oauth_keys", "apply_policies"):
        found[key] = session[key] or None
    found["basic_auth_data"] = Struct(session["basic_auth_data"])
    found["monitor"] = Struct(trigger_limits=_whole_list(session["monitor"]["trigger_limits"]) or None)
    if session["smoothing"]:
        found["smoothing"] = Struct(session["smoothing"])
    for key in ("allowance", "rate", "per", "throttle_interval"):
        found[key] = _whole(session[key])
    return found


def _access(access: dict[str, Any]) -> Struct:
    found = Struct()
    for key in ACCESS.fields:
        value = access[key]
        if key not in _NEWER_ACCESS or value:
            found[key] = value
    for key in ("versions", "restricted_types"):
        found[key] = access[key] or None
    found["allowed_urls"] = [_url(entry) for entry in access["allowed_urls"]] or None
    found["limit"] = _limit(access["limit"])
    return found


def _url(entry: dict[str, Any]) -> Struct:
    found = Struct(url=entry["url"], methods=entry["methods"])
    if entry["conditions"]:
        found["conditions"] = entry["conditions"]
    return found


def _limit(limit: dict[str, Any]) -> Struct:
    found = Struct((key, _whole(value)) for key, value in limit.items() if key != "smoothing")
    if limit["smoothing"]:
        found["smoothing"] = Struct(limit["smoothing"])
    return found


def _whole(value: Any) -> Any:
    """A float without a fraction as an integer, so that any encoder prints it as Go does."""
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 1e21 else value


def _whole_list(values: list[float]) -> list[Any]:
    return [_whole(value) for value in values]


def encode(session: SessionData) -> bytes:
    """The session as it lies in the store. The key itself stays out: who can read the store need not know it."""
    found = output(session)
    found.pop("key_id", None)
    return dumps(found).encode()


def check_plain(value: Any, name: str, path: str, findings: list[Finding]) -> None:
    """Report numbers that JSON cannot hold; they come from exponents that are too large."""
    if isinstance(value, float):
        if not math.isfinite(value):
            findings.append(Finding("error", name, path, "the number is too large"))
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            check_plain(item, name, path, findings)


def _has_error(findings: list[Finding]) -> bool:
    return any(finding.severity == "error" for finding in findings)


def _raise_first(findings: list[Finding]) -> None:
    for finding in findings:
        if finding.severity == "error":
            raise SessionError(f"{finding.file}: {finding.path}: {finding.message}" if finding.path else finding.render())
