"""Events about keys, for the handlers of the gateway itself (tyk-core C.1)."""

from __future__ import annotations

from core.admin.context import AdminContext


def token_event(context: AdminContext, name: str, message: str, org: str, key: str) -> None:
    """Fire TokenCreated, TokenUpdated or TokenDeleted."""
    context.fire(name, {"Message": message, "OriginatingRequest": "", "Org": org, "Key": key})
