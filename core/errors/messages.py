"""The catalogue of the gateway's own answers, by name, and ``override_messages``.

Source of statuses and texts: tyk-core 3.4 and 3.5; of the flags: tyk-core 1.3.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from core.findings import Finding


@dataclass(frozen=True, slots=True)
class Message:
    """One answer: HTTP status, text, and the response flag for the access log ("" = none)."""

    status: int
    text: str
    flag: str = ""


class Override(Protocol):
    """An entry of ``override_messages``; an empty text or a code of 0 keeps the default."""

    @property
    def message(self) -> str: ...
    @property
    def code(self) -> int: ...


_DISALLOWED = "Access to this API has been disallowed"
_PROXY = "There was a problem proxying the request"

CATALOGUE: Mapping[str, Message] = {
    "auth.auth_field_missing": Message(401, "Authorization field missing", "AMF"),
    "auth.key_not_found": Message(403, _DISALLOWED, "AKI"),
    "auth.key_is_invalid": Message(403, _DISALLOWED, "AKI"),
    "auth.cert_required": Message(401, "Client certificate required", "CRQ"),
    "auth.cert_not_found": Message(401, _DISALLOWED, "CMM"),
    "auth.cert_mismatch": Message(401, _DISALLOWED, "CMM"),
    "auth.cert_expired": Message(403, "Certificate has expired", "CMM"),
    "oauth.auth_field_missing": Message(400, "Authorization field missing", "AMF"),
    "oauth.auth_field_malformed": Message(400, "Bearer token malformed", "AMF"),
    "oauth.key_not_found": Message(403, "Key not authorised", "TKI"),
    "oauth.client_deleted": Message(403, "Key not authorised. OAuth client access was revoked", "TKI"),
    "upstream.timeout": Message(504, "Upstream service reached hard timeout.", "URT"),
    "upstream.client_closed": Message(499, "Client closed request", "CDC"),
    "upstream.dns": Message(500, "Upstream host lookup failed", "DNS"),
    "upstream.connect": Message(500, _PROXY, "UCF"),
    "upstream.connect_timeout": Message(500, _PROXY, "UCT"),
    "upstream.reset": Message(500, _PROXY, "URR"),
    "upstream.invalid": Message(500, _PROXY, "UPE"),
    "upstream.busy": Message(503, "Service temporarily unavailable.", "NHU"),
    "upstream.body": Message(500, "There was a problem with reading Body of the Request.", "CDC"),
    # {limit} is for str.format
    "loop.too_deep": Message(
        500, "Loop level too deep. Found more than {limit} loops in single request", "UPE"
    ),
    "loop.no_target": Message(500, "Can't detect loop target", "UPE"),
    "request.too_large": Message(413, "Request Entity Too Large", "BTL"),
    "route.not_found": Message(404, "Not Found", "NRH"),
}
OVERRIDABLE = frozenset(name for name in CATALOGUE if name.startswith(("auth.", "oauth.")))


@dataclass(frozen=True, slots=True)
class Text:
    """An override as tyk.conf has it."""

    message: str
    code: int


def overrides_of(raw: Mapping[str, Any], file: str, findings: list[Finding]) -> dict[str, Override]:
    """Read override_messages; an entry of the wrong shape is reported and left out."""
    found: dict[str, Override] = {}
    for name, value in raw.items():
        entry = value if isinstance(value, dict) else {"": value}
        message, code = entry.get("message", ""), entry.get("code", 0)
        if "" in entry or not isinstance(message, str) or type(code) is not int:
            text = 'expected an object such as {"message": "No key", "code": 401}'
            findings.append(Finding("error", file, f"$.override_messages[{name!r}]", text))
        else:
            found[name] = Text(message, code)
    return found


def with_overrides(
    overrides: Mapping[str, Override], file: str
) -> tuple[Mapping[str, Message], list[Finding]]:
    """Return the catalogue with the user's texts and codes, and a warning per entry that has no effect."""
    messages = dict(CATALOGUE)
    findings: list[Finding] = []
    for name, override in overrides.items():
        path = f"$.override_messages[{name!r}]"
        if name not in OVERRIDABLE:
            expected = ", ".join(sorted(OVERRIDABLE))
            findings.append(Finding("warning", file, path, f"unknown message, expected one of {expected}"))
            continue
        message = messages[name]
        if override.message:
            message = replace(message, text=override.message)
        if override.code:
            if 200 <= override.code <= 599:
                message = replace(message, status=override.code)
            else:
                text = f"{override.code} is not the status of an answer, expected 200..599"
                advice = f"The default {message.status} is used."
                findings.append(Finding("warning", file, f"{path}.code", text, advice))
        messages[name] = message
    return messages, findings
