"""TykGetKeyData and TykSetKeyData: sessions of keys, by the same code as the REST API's (tyk-jsvm 6.3)."""

from __future__ import annotations

from collections import Counter
from typing import Any

from core.admin.context import AdminContext
from core.admin.key_writes import put
from core.admin.keys import detail
from core.admin.replies import Refused, Request, go_json
from core.admin.sessions import decoded
from core.scripts.host_text import escaped, readable
from core.scripts.host_types import HostFailure
from core.sessions.model import SessionError
from core.store.errors import StoreError


class ScriptKeys:
    """One per worker."""

    def __init__(self, admin: AdminContext) -> None:
        self.counts: Counter[str] = Counter()
        self._admin = admin

    async def get(self, key: str, api_id: str) -> str:
        """The session of a key as GET /tyk/keys/{key} shows it, at the organisation of an API; else why there is none, as
        that answers."""
        self.counts["read"] += 1
        facts = self._admin.apis.facts(api_id)
        try:
            found = await self._admin.keyspace.load(key, facts.org_id if facts is not None else "")
            shown = {"status": "error", "message": "Key not found"} if found is None else \
                await detail(self._admin, found)  # fmt: skip
        except (SessionError, StoreError) as error:
            self.counts["failed"] += 1
            shown = {"status": "error", "message": f"The key cannot be read: {error}"}
        return _json(shown)

    async def set(self, key: str, session: str, suppress: str) -> None:
        """Write a session. suppress: "1" lets its quotas go on, else they begin anew. Raises HostFailure, also for a key that
        is missing."""
        self.counts["written"] += 1
        if key in ("undefined", "null"):
            # What a missing argument reads as: as the name of a key it could be guessed.
            self.counts["failed"] += 1
            raise HostFailure("TykSetKeyData: there is no key")
        try:
            data = decoded(Request("", escaped(session)), 400, "Failed to decode the session data")
            await put(self._admin, readable(key), data, suppress=suppress == "1")
        except Refused as refused:
            self.counts["failed"] += 1
            raise HostFailure(": ".join(("TykSetKeyData", refused.message, *refused.details))) from None
        except (SessionError, StoreError) as error:
            self.counts["failed"] += 1
            raise HostFailure(f"TykSetKeyData: {error}") from None


def _json(value: Any) -> str:
    return go_json(value).decode().rstrip("\n")
