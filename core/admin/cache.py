"""Cached answers of APIs (tyk-core 4.11)."""

from __future__ import annotations

from core.admin.context import AdminContext
from core.admin.replies import Reply, Request, done
from core.cache import clearing


async def clear(context: AdminContext, request: Request) -> Reply:
    """DELETE /tyk/cache/{api}: forget what is cached for an API, loaded or not."""
    await clearing.clear(context.responses or context.store, request.params["api"])
    return done("cache invalidated")
