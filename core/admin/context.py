"""What the REST API works on: one object per worker, kept up to date by its owner."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from core.apidef.decode import Definition, decode
from core.apidef.snapshot import Entry, Snapshot
from core.apidef.specs import PlanSpec
from core.sessions.keyspace import KeySpace
from core.sessions.notifications import Notification
from core.sessions.policies import Policies
from core.store.client import Store


@dataclass(frozen=True, slots=True)
class ApiFacts:
    """What the handling of keys needs to know of an API. lifetime: `session_lifetime` in seconds."""

    org_id: str
    lifetime: int
    respects_expiration: bool
    keeps_quota: bool


class LoadedApis:
    """The definitions that are loaded, by api_id. Of several files with one id the one that is named after it counts."""

    def __init__(self, snapshot: Snapshot | None = None) -> None:
        self.snapshot = snapshot or Snapshot()
        self._entries: dict[str, Entry] = {}
        self._facts: dict[str, ApiFacts] = {}
        for entry in self.snapshot.entries.values():
            if entry.raw and (entry.api_id not in self._entries or entry.file == f"{entry.api_id}.json"):
                self._entries[entry.api_id] = entry

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def get(self, api_id: str) -> Entry | None:
        return self._entries.get(api_id)

    def definition(self, api_id: str) -> Definition | None:
        """The definition as it was loaded, without the fields that its file does not have."""
        entry = self._entries.get(api_id)
        return None if entry is None else decode(entry.raw, entry.file)[0]

    def facts(self, api_id: str) -> ApiFacts | None:
        """Read once for each definition."""
        known = self._facts.get(api_id)
        if known is None:
            definition = self.definition(api_id)
            if definition is None:
                return None
            text = definition.get
            known = self._facts[api_id] = ApiFacts(
                text("org_id", ""),
                text("session_lifetime", 0),
                text("session_lifetime_respects_key_expiration", False),
                text("dont_set_quota_on_create", False),
            )
        return known


def nothing(quota_key: str) -> int:
    """For a worker that counts nothing by itself."""
    return 0


async def no_trace(spec: PlanSpec, message: bytes) -> tuple[bytes, str]:
    """For an owner that can play no requests. Raises OSError."""
    raise OSError("this process serves no requests")


def no_health(_: str) -> Awaitable[Mapping[str, float]] | None:
    """For a node that keeps no health numbers."""
    return None


@dataclass(slots=True)
class AdminContext:
    """Everything that the handlers use; `config`, `policies` and `apis` are replaced at each reload.

    request_reload: reloads all workers of the node, returns an error text or "".
    publish: tells all nodes. on_key_changed: this worker forgets what it knows of a key, by its name in the store.
    fire: (name, meta) of an event of the gateway itself. unreported: requests that this node
    has counted for a quota (by its name in the store) and the store does not know yet.
    trace: plays a raw request through a definition, returns the raw response and what was logged. Raises OSError.
    health: numbers of an API for /tyk/health, None when none are kept. responses: where answers are cached, None for `store`.
    environ: for `env://` in definitions.
    """

    config: Any
    store: Store
    keyspace: KeySpace
    policies: Policies
    apis: LoadedApis
    request_reload: Callable[[], Awaitable[str]]
    publish: Callable[[Notification], Awaitable[None]]
    on_key_changed: Callable[[str], None]
    fire: Callable[[str, dict[str, Any]], None]
    unreported: Callable[[str], int] = nothing
    health: Callable[[str], Awaitable[Mapping[str, float]] | None] = no_health
    trace: Callable[[PlanSpec, bytes], Awaitable[tuple[bytes, str]]] = no_trace
    responses: Store | None = None
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
