"""Bodies of requests: JSON as Go reads it, refused with what is wrong (tyk-core 4.5)."""

from __future__ import annotations

from typing import Any

from core.admin.replies import Refused
from core.config.gojson import Obj, clean_text, decode_document, fold, walk
from core.findings import Finding

MAX_DETAILS = 20


def details(findings: list[Finding]) -> list[str]:
    """The errors among findings, one line each: place, what was found, what was expected."""
    errors = [finding for finding in findings if finding.severity == "error"]
    return [f"{error.path or '$'}: {error.message}" for error in errors[:MAX_DETAILS]]


def document(body: bytes, status: int, message: str) -> dict[str, Any]:
    """The object in a body; refused with `status` and `message` if there is none."""
    value, findings = decode_document(body, "body")
    if details(findings) or not isinstance(value, dict):
        raise Refused(status, message)
    found: dict[str, Any] = _clean(value)
    return found


def _clean(value: Any) -> Any:
    """A value whose text is UTF-8, for fields that no schema looks into."""
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, dict):
        return {key: _clean(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_clean(item) for item in value]
    return value


def typed(value: dict[str, Any], schema: Obj, status: int, message: str) -> dict[str, Any]:
    """The object as a schema wants it; refused, naming the fields, if it does not fit."""
    findings: list[Finding] = []
    found: dict[str, Any] = walk(value, schema, "body", "$", findings)
    wrong = details(findings)
    if wrong:
        raise Refused(status, message, wrong)
    return found


def spelled(value: dict[str, Any], name: str) -> str:
    """The key under which an object has a field, as Go matches keys: the last one that differs in case only."""
    return next((key for key in reversed(value) if fold(key) == fold(name)), name)
