"""From the body of a request to a session that can be stored (tyk-core 4.5, 5.2)."""

from __future__ import annotations

import asyncio
import time
import uuid
from base64 import b64encode
from datetime import datetime, timezone

import bcrypt

from core.admin import bodies
from core.admin.context import AdminContext, ApiFacts
from core.admin.replies import Refused, Request
from core.sessions import lifetime, policies
from core.sessions.model import SESSION, SessionData, SessionError, from_value
from core.sessions.murmur import digest

BCRYPT_ROUNDS = 10
BCRYPT_BYTES = 72
MOST_SECONDS = 100 * 366 * 86400    # that the store keeps anything; it refuses very large numbers
LAST = 2**63 - 1                    # what Go takes as an integer
BREATH = 64     # definitions that are decoded between two looks at other work


def decoded(request: Request, status: int, message: str) -> SessionData:
    """The session in a body, every field in place."""
    value = bodies.document(request.body, status, message)
    try:
        return from_value(bodies.typed(value, SESSION, status, message))
    except SessionError as error:
        raise Refused(status, message, [str(error).removeprefix("session: ")]) from None


def now() -> int:
    """Unix time in seconds."""
    return int(time.time())


def timestamp() -> str:
    """The present as Go writes a time: RFC 3339, in UTC."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")  # noqa: UP017


def with_policies(context: AdminContext, session: SessionData) -> SessionData:
    """The session as its policies make it. Raises PolicyError."""
    return policies.apply(session, context.policies, org=session["org_id"] or None)


def trial_end(context: AdminContext, session: SessionData) -> int:
    """When a new key expires: what its policies say, else its own `expires`. Raises PolicyError."""
    return policies.expiry(session, context.policies, session["org_id"] or None, now())


async def opened(context: AdminContext, session: SessionData) -> list[ApiFacts]:
    """The APIs that a session opens; all of them for one without access rights."""
    found: list[ApiFacts] = []
    for index, api in enumerate(session["access_rights"] or context.apis):
        facts = context.apis.facts(api)
        if facts is not None:
            found.append(facts)
        if index % BREATH == BREATH - 1:
            await asyncio.sleep(0)
    return found


def seconds_to_live(context: AdminContext, session: SessionData, apis: list[ApiFacts]) -> int:
    """How long the store keeps the session, 0 and below for ever."""
    lives = [(api.lifetime, api.respects_expiration) for api in apis]
    return min(lifetime.seconds(session, lives, context.config, now()), MOST_SECONDS)


def begin_quota(session: SessionData) -> None:
    """Let the periods of all quotas begin now. Limits that come from policies have no period in the session."""
    started = now()
    session["quota_renews"] = min(started + session["quota_renewal_rate"], LAST)
    for right in () if policies.ids_of(session) else session["access_rights"].values():
        if right["limit"]["quota_max"] > 0:
            right["limit"]["quota_renews"] = min(started + right["limit"]["quota_renewal_rate"], LAST)


def keep_quota(session: SessionData, before: SessionData) -> None:
    """Take over the periods of quotas, and with `last_updated` the windows of rate limits (suppress_reset)."""
    session["quota_renews"] = before["quota_renews"]
    session["last_updated"] = before["last_updated"]
    for api, right in before["access_rights"].items():
        mine = session["access_rights"].get(api)
        if mine is not None and any(mine["limit"].values()):
            mine["limit"]["quota_renews"] = right["limit"]["quota_renews"]


async def hash_password(context: AdminContext, session: SessionData) -> None:
    """Replace the password of basic authentication by its hash."""
    data = session["basic_auth_data"]
    password = data["password"].encode()
    algorithm = context.config.basic_auth_hash_key_function or "bcrypt"
    if algorithm != "bcrypt":
        data["password"], data["hash_type"] = digest(algorithm, password), algorithm
        return
    if len(password) > BCRYPT_BYTES:
        text = f"$.basic_auth_data.password: expected at most {BCRYPT_BYTES} bytes, which is all that bcrypt looks at"
        raise Refused(400, "Request malformed", [text])
    hashed = await asyncio.to_thread(lambda: bcrypt.hashpw(password, bcrypt.gensalt(BCRYPT_ROUNDS)))
    data["password"], data["hash_type"] = hashed.decode(), "bcrypt"


def hmac_secret() -> str:
    """A new secret for signatures."""
    return b64encode(uuid.uuid4().hex.encode()).decode()
