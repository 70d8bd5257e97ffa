"""Reloads on request, of this node or of all (tyk-core 4.2)."""

from __future__ import annotations

import asyncio
import logging

from core.admin.context import AdminContext
from core.admin.replies import Refused, Reply, Request, done
from core.sessions.notifications import Notification

log = logging.getLogger("preforge.admin")

_running: set[asyncio.Task[None]] = set()


async def node(context: AdminContext, request: Request) -> Reply:
    """Reload this node; with `block=true` answer when it is done."""
    if request.query.get("block") == "true":
        error = await context.request_reload()
        if error:
            raise Refused(500, error)
        return done()
    task = asyncio.get_running_loop().create_task(_later(context))
    _running.add(task)
    task.add_done_callback(_running.discard)
    return done()


async def _later(context: AdminContext) -> None:
    error = await context.request_reload()
    if error:
        log.error("reload: %s", error)


async def group(context: AdminContext, request: Request) -> Reply:
    """Ask all nodes, this one included, over the store."""
    await context.publish(Notification("GroupReload"))
    return done()
