"""Sessions of organisations (tyk-core 4.7)."""

from __future__ import annotations

from core.admin.context import AdminContext
from core.admin.replies import Refused, Reply, Request, modified
from core.admin.sessions import LAST, decoded, now
from core.sessions.model import SessionError, output

NO_STORE = "No such organisation found in Active API list"
NOT_FOUND = "Org not found"


async def list_all(context: AdminContext, request: Request) -> Reply:
    return Reply(200, {"keys": await context.keyspace.orgs(request.query.get("filter", ""))})


async def get(context: AdminContext, request: Request) -> Reply:
    _need_apis(context, NOT_FOUND)
    try:
        session = await context.keyspace.load_org(request.params["org"])
    except SessionError as error:
        raise Refused(500, f"The session of this organisation cannot be read: {error}") from None
    if session is None:
        raise Refused(404, NOT_FOUND)
    return Reply(200, output(session))


async def add(context: AdminContext, request: Request) -> Reply:
    return await _write(context, request, "added")


async def change(context: AdminContext, request: Request) -> Reply:
    return await _write(context, request, "modified")


async def _write(context: AdminContext, request: Request, action: str) -> Reply:
    org = request.params["org"]
    session = decoded(request, 400, "Request malformed")
    if context.config.suppress_default_org_store:
        _need_apis(context, NO_STORE)
    if request.query.get("reset_quota") == "1":
        session["quota_renews"] = min(now() + session["quota_renewal_rate"], LAST)
        await context.keyspace.reset_quota(session, context.keyspace.name_of(org))
    await context.keyspace.save_org(org, session, 0)
    return modified(org, action)


async def delete(context: AdminContext, request: Request) -> Reply:
    _need_apis(context, NOT_FOUND)
    org = request.params["org"]
    if not await context.keyspace.delete_org(org):
        raise Refused(400, "Failed to remove the key")
    return modified(org, "deleted")


def _need_apis(context: AdminContext, message: str) -> None:
    if not len(context.apis):
        raise Refused(404, message)
