"""How long the store keeps a session (tyk-core 5.2)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from core.sessions.model import SessionData

FOREVER = -1


def seconds(session: SessionData, apis: Iterable[tuple[int, bool]], config: Any, now: int) -> int:
    """Seconds to live, 0 and below for ever; apis: (session_lifetime, respects_key_expiration) of those it opens."""
    if config.force_global_session_lifetime:
        return int(config.global_session_lifetime)
    expires = int(session["expires"])
    action, grace = session["post_expiry_action"], int(session["post_expiry_grace_period"])
    if action == "delete" or (action == "retain" and grace):
        if action == "retain" and grace < 0:
            return FOREVER
        if expires <= 0:
            return 0
        return max(1, expires - now + (grace if action == "retain" else 0))
    found = [
        _for_api(session, lifetime, respects or config.session_lifetime_respects_key_expiration, now)
        for lifetime, respects in list(apis) or [(0, False)]
    ]
    return FOREVER if any(value < 0 for value in found) else max(found)


def _for_api(session: SessionData, lifetime: int, respects: bool, now: int) -> int:
    chosen = session["session_lifetime"] or lifetime
    if chosen <= 0:
        return 0
    if respects:
        expires = int(session["expires"])
        if expires <= 0:
            return expires
        return max(int(chosen), expires - now)
    return int(chosen)
