"""Cached answers of APIs (tyk-core 4.11)."""

from __future__ import annotations

from core.admin.context import AdminContext
from core.admin.replies import Reply, Request, done
from core.store.pattern import literal

PREFIX = "cache-"
BATCH = 500


async def clear(context: AdminContext, request: Request) -> Reply:
    """DELETE /tyk/cache/{api}: forget what is cached for an API, loaded or not."""
    pattern = PREFIX + literal(request.params["api"]) + "*"
    store = context.responses or context.store
    found = await store.scan(pattern)
    for start in range(0, len(found), BATCH):
        await store.pipeline([("DEL", key) for key in found[start : start + BATCH]])
    return done("cache invalidated")
