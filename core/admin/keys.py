"""Keys that are read and removed (tyk-core 4.5); key_writes.py has the rest."""

from __future__ import annotations

import asyncio
import logging

from core.admin.bodies import document, typed
from core.admin.context import AdminContext
from core.admin.events import token_event
from core.admin.replies import Refused, Reply, Request, modified
from core.admin.sessions import decoded, now, opened, seconds_to_live, timestamp, with_policies
from core.config.gojson import ListOf, Obj, Str
from core.sessions import tokens
from core.sessions.encoding import Struct
from core.sessions.keyspace import Found
from core.sessions.model import SessionData, SessionError, output
from core.sessions.policies import PolicyError
from core.store.errors import StoreReply

log = logging.getLogger("preforge.admin")

NOT_HASHED = "Key requested by hash but key hashing is not enabled"
LISTING_OFF = "Hashed key listing is disabled in config (enable_hashed_keys_listing)"
FILTER_MISSING = "The 'filter' parameter (Org ID) is required when filtering by 'api_id' in legacy mode"
BATCH = 100
POLICY_CHANGE = Obj({"policy": Str(), "apply_policies": ListOf(Str())})


def spellings(context: AdminContext, request: Request) -> list[str]:
    """What the key in the path may mean: with `username` the token of a user, else the key itself."""
    given = request.params["key"]
    if request.query.get("username") != "true" or context.config.disable_key_actions_by_username:
        return [given]
    made = full(context, request.query.get("org_id", ""), given)
    return [made, given] if context.config.hash_key_function else [made]


def full(context: AdminContext, org: str, key_id: str) -> str:
    """The token of a key id; an organisation in front of the id is not put there twice."""
    return context.keyspace.full(org, key_id.removeprefix(org) if org else key_id)


def by_hash(context: AdminContext, request: Request) -> bool:
    """Whether the key in the path is the hash of a key."""
    hashed = bool(request.query.get("hashed"))
    if hashed and not context.config.hash_keys:
        raise Refused(400, NOT_HASHED)
    return hashed


async def find(context: AdminContext, request: Request, org: str, missing: str) -> Found:
    """The session that the path names. A session that cannot be read is there: 500, with the reason."""
    hashed = by_hash(context, request)
    for key in spellings(context, request):
        try:
            found = await (context.keyspace.load_name(key) if hashed else context.keyspace.load(key, org))
        except SessionError as error:
            raise Refused(500, f"The session of this key cannot be read: {error}") from None
        if found is not None:
            return found
    raise Refused(404, missing)


def org_of(context: AdminContext, request: Request) -> str:
    """The organisation that a request speaks of: that of the API in `api_id`, else `org_id`."""
    facts = context.apis.facts(request.query.get("api_id", ""))
    return facts.org_id if facts is not None else request.query.get("org_id", "")


async def get(context: AdminContext, request: Request) -> Reply:
    return Reply(200, await detail(context, await find(context, request, org_of(context, request), "Key not found")))


async def detail(context: AdminContext, found: Found) -> Struct:
    """A session as it is shown: with what its policies give, what is left of its quotas, and no password."""
    try:
        session = with_policies(context, found.session)
    except PolicyError:
        # The key opens nothing; what is stored is still worth a look.
        session = found.session
    await _fill_in_quotas(context, session, found.name)
    session["basic_auth_data"]["password"] = ""
    return output(session, found.token or found.name)


async def _fill_in_quotas(context: AdminContext, session: SessionData, name: str) -> None:
    if session["quota_max"] > 0:
        used = await _used(context, f"quota-{name}")
        if used is not None:
            session["quota_remaining"] = max(0, session["quota_max"] - used)
    for right in session["access_rights"].values():
        limit, scope = right["limit"], right["allowance_scope"]
        if limit["quota_max"] > 0:
            used = await _used(context, f"quota-{scope}-{name}" if scope else f"quota-{name}")
            limit["quota_remaining"] = max(0, limit["quota_max"] - (used or 0))


async def _used(context: AdminContext, counter: str) -> int | None:
    """What a quota has counted; a counter that is no number, which lets nobody pass, says nothing here."""
    try:
        used = await context.keyspace.used(counter)
    except (ValueError, StoreReply) as error:
        log.warning("%s is no counter: %s", counter, error)
        return None
    return None if used is None else used + context.unreported(counter)


async def list_all(context: AdminContext, request: Request) -> Reply:
    config, api = context.config, request.query.get("api_id", "")
    org = request.query.get("filter", "")
    if config.hash_keys and not config.enable_hashed_keys_listing:
        raise Refused(404, LISTING_OFF)
    if api and not config.hash_keys and not org:
        raise Refused(400, FILTER_MISSING)
    names = await context.keyspace.names("" if config.hash_keys else org)
    if api:
        names = await _opening(context, names, api)
    return Reply(200, {"keys": names})


async def _opening(context: AdminContext, names: list[str], api: str) -> list[str]:
    """Those of the keys that open an API."""
    found: list[str] = []
    for start in range(0, len(names), BATCH):
        batch = names[start : start + BATCH]
        loads = [context.keyspace.load_name(name) for name in batch]
        for name, session in zip(batch, await asyncio.gather(*loads, return_exceptions=True), strict=True):
            if isinstance(session, SessionError | StoreReply) or session is None:
                continue
            if isinstance(session, BaseException):
                raise session
            if api in session.session["access_rights"]:
                found.append(name)
    return found


async def delete(context: AdminContext, request: Request) -> Reply:
    everywhere = request.query.get("api_id") == "-1"
    org = org_of(context, request)
    try:
        found = await find(context, request, org, "There is no such key found")
    except Refused as refused:
        if everywhere and refused.status == 404:
            raise Refused(400, "Failed to remove the key") from None
        raise
    await context.keyspace.reset_quota(found.session, found.name)
    try:
        if not await context.keyspace.delete(found.name):
            raise Refused(400, "Failed to remove the key")
    finally:
        # It may be gone even if the store failed before it could tell everyone.
        context.on_key_changed(found.name)
    key = found.token or found.name
    token_event(context, "TokenDeleted", "Key deleted.", found.session["org_id"], key)
    return Reply(200, None) if everywhere else modified(key, "deleted")


async def preview(context: AdminContext, request: Request) -> Reply:
    session = decoded(request, 500, "Unmarshalling failed")
    session["last_updated"], session["date_created"] = str(now()), timestamp()
    try:
        return Reply(200, output(with_policies(context, session)))
    except PolicyError as error:
        raise Refused(500, f"Failed to create key - {error}") from None


async def set_policy(context: AdminContext, request: Request) -> Reply:
    """Give the key with this hash other policies."""
    value = document(request.body, 400, "Couldn't decode instruction")
    change = typed(value, POLICY_CHANGE, 400, "Couldn't decode instruction")
    try:
        found = await context.keyspace.load_name(request.params["key"])
    except SessionError as error:
        raise Refused(500, f"The session of this key cannot be read: {error}") from None
    if found is None:
        raise Refused(404, "Key not found")
    session = found.session
    session["apply_policy_id"], session["apply_policies"] = change["policy"], change["apply_policies"]
    session["last_updated"] = str(now())
    try:
        session = with_policies(context, session)
    except PolicyError as error:
        raise Refused(400, f"Couldn't decode instruction: {error}") from None
    life = seconds_to_live(context, session, await opened(context, session))
    if not await context.keyspace.save(found.name, session, life, existing=True):
        raise Refused(404, "Key not found")
    context.on_key_changed(found.name)
    return modified(found.name, "updated")


__all__ = ["delete", "detail", "find", "full", "get", "list_all", "org_of", "preview", "set_policy", "tokens"]
