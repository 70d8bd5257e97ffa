"""What a client is told when it may not pass, and who else hears of it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from accel.http1 import Exchange
from core.errors.messages import CATALOGUE, Message

log = logging.getLogger("preforge.access")

STORE_AWAY = "The key store cannot be reached, please try again"
RATE = "Rate Limit Exceeded"
API_RATE = "API Rate Limit Exceeded"
QUOTA = "Quota exceeded"
FORBIDDEN = "Forbidden"
NO_CREDENTIAL = "Authorization field missing"
ORG_DISABLED = "this organisation access has been disabled, please contact your API administrator"
ORG_RATE = "This organisation rate limit has been exceeded, please contact your API administrator"
ORG_QUOTA = "This organisation quota has been exceeded, please contact your API administrator"
PROBLEM = "There was a problem proxying the request"

# what a key check found -> (event, message of the event, response flag); tyk-core C.1 and 1.3
KEY_EVENTS: Mapping[str, tuple[str, str, bytes]] = {
    "inactive": ("KeyExpired", "Attempted access from inactive key.", b"TKE"),
    "expired": ("KeyExpired", "Attempted access from expired key.", b"TKE"),
    "rights": ("", "", b"AKI"),
    "version": ("VersionFailure", "Attempted access to disallowed version / path.", b"AKI"),
    "url": ("", "", b"AKI"),
}

# name of the event, exchange, event message, more fields; Key is that of the request unless it is among them
Fire = Callable[[str, Exchange, str, Mapping[str, Any]], None]


class Answers:
    """Fails requests with the texts that the user configured, and fires the events that belong to it."""

    def __init__(self, fire: Fire) -> None:
        self._fire = fire
        self._messages: Mapping[str, Message] = CATALOGUE
        self._warned_at = 0.0

    def configure(self, messages: Mapping[str, Message]) -> None:
        """Use other texts from now on (override_messages)."""
        self._messages = messages

    def _say(self, x: Exchange, name: str) -> None:
        message = self._messages[name]
        x.mark(message.flag.encode())
        x.fail(message.status, message.text)

    def missing_token(self, x: Exchange) -> None:
        """No token was sent. No event belongs to it: anyone could fire it at will."""
        self._say(x, "auth.auth_field_missing")

    def unknown_token(self, x: Exchange, token: bytes) -> None:
        """The token stands for no session, or its policies cannot be applied."""
        self._fire("AuthFailure", x, "Auth Failure", {"Key": token.decode("utf-8", "replace")})
        self._say(x, "auth.key_not_found")

    def custom_auth_failed(self, x: Exchange, key: bytes) -> None:
        """Fire the event of a plugin that refuses a client. key: the one that the client showed."""
        self._fire("AuthFailure", x, "Auth Failure", {"Key": key.decode("utf-8", "replace")})

    def forbidden(self, x: Exchange, key: bytes) -> None:
        """A plugin found no key for the client, or one whose policies cannot be applied (tyk-plugins 3.8)."""
        self.custom_auth_failed(x, key)
        x.fail(403, FORBIDDEN)

    def nothing_extracted(self, x: Exchange) -> None:
        """An ID extractor found nothing in the request. No event belongs to it, as to a token that is missing."""
        x.mark(b"AMF")
        x.fail(400, NO_CREDENTIAL)

    def address_refused(self, x: Exchange, address: bytes) -> None:
        """The API is closed to the client's address, or that cannot be told."""
        text = address.decode("latin-1")
        self._fire("AuthFailure", x, "Auth Failure", {"Origin": text, "Key": text})
        x.fail(403, "access from this IP has been disallowed")

    def key_denied(self, x: Exchange, what: str, status: int, message: str) -> None:
        """A key check said no; what: see KEY_EVENTS."""
        event, text, flag = KEY_EVENTS[what]
        if event:
            self._fire(event, x, text, {"Reason": message} if event == "VersionFailure" else {})
        x.mark(flag)
        x.fail(status, message)

    def version_failed(self, x: Exchange, status: int, message: str) -> None:
        """The request names no version that can serve it, or a path that is closed."""
        text = "Attempted access to disallowed version / path."
        self._fire("VersionFailure", x, text, {"Reason": message})
        x.fail(status, message)

    def rate_limited(self, x: Exchange) -> None:
        self._fire("RatelimitExceeded", x, "Key Rate Limit Exceeded", {})
        x.mark(b"RLT")
        x.fail(429, RATE)

    def api_rate_limited(self, x: Exchange) -> None:
        limiter = b"apilimiter-" + x.plan.org_id + x.plan.api_id
        self._fire("RatelimitExceeded", x, "API Rate Limit Exceeded", {"Key": limiter.decode()})
        x.mark(b"RLT")
        x.fail(429, API_RATE)

    def quota_exceeded(self, x: Exchange) -> None:
        self._fire("QuotaExceeded", x, "Key Quota Limit Exceeded", {})
        x.mark(b"QEX")
        x.fail(403, QUOTA)

    def org_disabled(self, x: Exchange) -> None:
        """The session of the API's organisation is inactive."""
        x.fail(403, ORG_DISABLED)

    def org_rate_limited(self, x: Exchange) -> None:
        org = x.plan.org_id.decode()
        self._fire("OrgRateLimitExceeded", x, "Organisation rate limit has been exceeded", {"Key": org})
        x.mark(b"RLT")
        x.fail(403, ORG_RATE)

    def org_quota_exceeded(self, x: Exchange) -> None:
        org = x.plan.org_id.decode()
        self._fire("OrgQuotaExceeded", x, "Organisation quota has been exceeded", {"Key": org})
        x.mark(b"QEX")
        x.fail(403, ORG_QUOTA)

    def store_away(self, x: Exchange) -> None:
        """Nothing can be said about this key: refused, never a free pass."""
        now = time.monotonic()
        if now - self._warned_at > 10:
            self._warned_at = now
            log.error("requests are refused with 503: the key store cannot be reached")
        x.answer(
            503,
            [(b"Content-Type", b"application/json"), (b"Retry-After", b"1")],
            b'{\n    "error": "%s"\n}' % STORE_AWAY.encode(),
        )
