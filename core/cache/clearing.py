"""Forgetting what is cached for an API."""

from __future__ import annotations

from core.cache.keys import PREFIX
from core.store.client import Store
from core.store.pattern import literal

COMMAND = "DeleteAPICache"      # of other gateways and of the dashboard; its payload is the api_id (tyk-core 5.8)
BATCH = 500


async def clear(store: Store, api_id: str) -> None:
    """Remove every answer of an API, loaded or not. Raises StoreError."""
    found = await store.scan(PREFIX.decode() + literal(api_id) + "*")
    for start in range(0, len(found), BATCH):
        await store.pipeline([("DEL", key) for key in found[start : start + BATCH]])
