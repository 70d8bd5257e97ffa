"""Keys that are made and changed (tyk-core 4.5)."""

from __future__ import annotations

import re

from core.admin import keys
from core.admin.context import AdminContext
from core.admin.events import token_event
from core.admin.replies import Refused, Reply, Request, modified
from core.admin.sessions import (
    begin_quota,
    decoded,
    hash_password,
    hmac_secret,
    keep_quota,
    now,
    opened,
    seconds_to_live,
    timestamp,
    trial_end,
    with_policies,
)
from core.sessions.keyspace import Found
from core.sessions.model import SessionData
from core.sessions.policies import PolicyError, ids_of

INSECURE = "Failed to create key, ensure security settings are correct."
NO_RIGHTS = "Failed to create key, keys must have at least one Access Rights record set."
SHORTEST = 3
_SECONDS = re.compile(r"[0-9]{1,18}\Z")


async def create(context: AdminContext, request: Request) -> Reply:
    """POST /tyk/keys/create: a key with a name of its own."""
    session = decoded(request, 500, "Unmarshalling failed")
    if not session["access_rights"] and not ids_of(session) and not context.config.allow_master_keys:
        raise Refused(400, NO_RIGHTS)
    token = keys.full(context, session["org_id"], session["certificate"])
    if session["certificate"] and await context.keyspace.load(token, session["org_id"]) is not None:
        raise Refused(500, f"Failed to create key - Key with given certificate already found:{token}")
    if session["hmac_enabled"]:
        session["hmac_string"] = hmac_secret()
    session["date_created"] = timestamp()
    try:
        await _store(context, token, None, session, reset=True)
    except PolicyError as error:
        raise Refused(500, f"Failed to create key - {error}") from None
    token_event(context, "TokenCreated", "Key generated.", session["org_id"], token)
    return modified(token, "added", **_hash(context, token))


async def add(context: AdminContext, request: Request) -> Reply:
    """POST /tyk/keys and /tyk/keys/{key}: a key with a given name. One that is there already is replaced."""
    key_id = request.params.get("key", "")
    session = decoded(request, 400, "Request malformed")
    token = keys.full(context, session["org_id"], key_id)
    basic = bool(session["basic_auth_data"]["password"])
    await _insert(context, token, session, suppress=request.query.get("suppress_reset") == "1")
    token_event(context, "TokenCreated", "Key modified.", session["org_id"], token)
    more = _hash(context, token)
    # The token of a user is made of the name; with hashed keys nothing else may show it.
    return modified("" if basic and more else token, "added", **more)


async def _insert(context: AdminContext, token: str, session: SessionData, *, suppress: bool) -> None:
    """Write a session that replaces none. suppress: leave the quotas of the key as they are. Raises Refused."""
    shortest = (context.config.min_token_length or SHORTEST) + 1
    if len(token) < shortest:
        # Nobody could use it.
        raise Refused(400, f"custom key ID length must be at least {shortest} with its organisation (min_token_length)")
    _only_loaded(context, session)
    session["date_created"] = timestamp()
    if session["basic_auth_data"]["password"]:
        await hash_password(context, session)
    try:
        await _store(context, token, None, session, reset=not suppress)
    except PolicyError:
        raise Refused(500, INSECURE) from None


async def change(context: AdminContext, request: Request) -> Reply:
    """PUT /tyk/keys/{key}: the whole session anew."""
    session = decoded(request, 400, "Request malformed")
    found = await keys.find(context, request, session["org_id"], "Key is not found")
    await _replace(context, found, session, suppress=request.query.get("suppress_reset") == "1")
    key = found.token or found.name
    token_event(context, "TokenUpdated", "Key modified.", session["org_id"], key)
    return modified(key, "modified")


async def put(context: AdminContext, token: str, session: SessionData, *, suppress: bool) -> None:
    """Write a session for a token, whether it has one or not, without an event: what scripts do (tyk-jsvm 6.3).

    suppress: leave quotas as they are. Raises Refused, and what the key space raises.
    """
    found = await context.keyspace.load(token, session["org_id"])
    if found is None:
        await _insert(context, token, session, suppress=suppress)
    else:
        await _replace(context, found, session, suppress=suppress)


async def _replace(context: AdminContext, found: Found, session: SessionData, *, suppress: bool) -> None:
    """Write a session in place of another. suppress: its quotas go on. Raises Refused."""
    before = found.session
    await _check_certificate(context, session, before)
    _only_loaded(context, session)
    session["date_created"] = before["date_created"]
    if 0 < session["expires"] < now():
        session["expires"] = before["expires"]
    old, data = before["basic_auth_data"], session["basic_auth_data"]
    if data["password"] in ("", old["password"]):
        # What GET shows has no password, so that none means: as it is.
        session["basic_auth_data"] = dict(old)
    else:
        await hash_password(context, session)
    if suppress:
        keep_quota(session, before)
    try:
        await _store(context, found.token, found, session, reset=not suppress)
    except PolicyError:
        raise Refused(500, INSECURE) from None


def _hash(context: AdminContext, token: str) -> dict[str, str]:
    return {"key_hash": context.keyspace.name_of(token)} if context.config.hash_keys else {}


def _only_loaded(context: AdminContext, session: SessionData) -> None:
    """Rights that a key names itself are for APIs that are there; master keys need a setting."""
    rights = session["access_rights"]
    unknown = [api for api in rights if context.apis.get(api) is None]
    if unknown or (not rights and not ids_of(session) and not context.config.allow_master_keys):
        raise Refused(500, INSECURE)


async def _check_certificate(context: AdminContext, session: SessionData, before: SessionData) -> None:
    given = session["certificate"]
    if given == before["certificate"]:
        return
    if not given:
        raise Refused(400, "Key cannot be used without a certificate")
    if not await context.store.call("EXISTS", f"cert-raw-{given}"):
        raise Refused(400, "Key must be used with an existent certificate")


async def _store(
    context: AdminContext, token: str, found: Found | None, session: SessionData, *, reset: bool
) -> None:
    """Write a session; found: the one that it replaces. Raises PolicyError, and then has changed nothing."""
    if found is None:
        session["expires"] = trial_end(context, session)
    if reset or not _SECONDS.match(session["last_updated"]):
        session["last_updated"] = str(now())
    session = with_policies(context, session)
    if not session["access_rights"] and not context.config.allow_master_keys:
        raise PolicyError("its policies give no access rights")
    apis = await opened(context, session)
    if reset:
        begin_quota(session)
    life = seconds_to_live(context, session, apis)
    name = context.keyspace.name_of(token) if found is None else found.name
    if reset and not (apis and all(api.keeps_quota for api in apis)):
        await context.keyspace.reset_quota(session, name)
    if not await context.keyspace.save(name, session, life, existing=found is not None):
        raise Refused(404, "Key is not found")
    context.on_key_changed(name)
