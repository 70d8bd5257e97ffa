"""Custom authentication by an auth_check hook of any driver (tyk-plugins 4, tyk-jsvm 11).

The hook is a WaitStep function that hands the request to `begin`, which asks the plugin only if it has to be asked, and its
answer, unless that overrides the request, to `take`.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

from accel.http1 import Exchange, KeyEntry
from coprocess.codec import PluginReply, session_from_wire
from coprocess.driver import Format
from core.access.answers import PROBLEM
from core.access.custom_keys import CustomKeys, KeyServices
from core.access.state import state_of
from core.access.tasks import Tasks
from core.edits.query import parse
from core.plugins.extractor import Extractor
from core.store.errors import StoreError

if TYPE_CHECKING:
    from core.apidef.specs import AuthSpec, PlanSpec

log = logging.getLogger("preforge.plugins")

MARK = "preforge_extracted_by"
"""Name in the meta data of sessions that an ID extractor found: who made them, and for whom. A session of another hook, or of a
value from another place of the request, is nobody's identity here; nor is that of another client, whose key may have the same
name in the store, since hashes of keys are short (tyk-core 5.3)."""

class CustomAuth:
    """The auth_check of one API."""

    def __init__(
        self,
        services: KeyServices,
        keys: CustomKeys,
        tasks: Tasks,
        extractor: Extractor | None,
        credential: AuthSpec,
        *,
        maker: bytes,
        skips_ignored: bool,
    ) -> None:
        """credential: where the client's key is, for events; maker: which hook and extractor this is, in up to 64 bytes;
        skips_ignored: paths of the list `ignored` need no key and do not call the hook."""
        self._services = services
        self._keys = keys
        self._tasks = tasks
        self._extractor = extractor
        self._credential = credential
        self._maker = maker
        self._skips_ignored = skips_ignored

    def begin(self, x: Exchange, ask: Callable[[], object]) -> bool:
        """Find out who the client is. Returns whether the request waits; ask: asks the plugin, and lets the request go on if it
        does not have to wait for it."""
        if (x.ignored and self._skips_ignored) or self._keys.known(x):
            return False
        state = state_of(x)
        state.extracted = ""
        if self._extractor is not None and not x.ignored:
            value = self._extractor(x)
            if not value:
                self._services.answers.nothing_extracted(x)
                return False
            state.extracted = self._session_id(value)
            if self._keys.base:     # nothing is kept for clients that another method identifies
                return self._find(x, state.extracted.encode(), ask)
        ask()
        return True

    def _find(self, x: Exchange, session_id: bytes, ask: Callable[[], object]) -> bool:
        entry = self._services.sessions.known(self._keys.org, session_id)
        if entry is None:
            self._tasks.spawn(self._look(x, x.serial_number, session_id, ask))
            return True
        if self._used(x, entry):
            return False
        ask()
        return True

    def take(self, x: Exchange, session: dict[str, Any], token: str) -> Coroutine[Any, Any, None] | None:
        """Give the request the key of a session, or refuse it; returns what has to be done for that before it goes on.

        session: as the plugin returned it, in the form of a session's JSON; token: the key that it stands for, "" for a session
        that is not kept. With an extractor the session id of that is the key. Raises SessionError for what cannot be kept.
        """
        extracted = state_of(x).extracted
        meta = session.get("meta_data")
        if extracted and isinstance(meta, dict | None):
            session = {**session, "meta_data": {**(meta or {}), MARK: self._mark(extracted.encode())}}
        return self._keys.take(x, session, extracted or token, self.credential)

    def forbid(self, x: Exchange) -> None:
        """Refuse a client that the plugin found no key for."""
        self._services.answers.forbidden(x, self.credential(x))

    def credential(self, x: Exchange) -> bytes:
        """The key that the client showed, for events; b"" without one (tyk-core 2.2)."""
        source = self._credential
        found = (x.header(source.header.encode()) or b"") if source.header else b""
        if source.param:
            found = next(iter(parse(x.query).get(source.param.encode(), ())), b"") or found
        if source.cookie:
            found = _cookie(x.header(b"Cookie") or b"", source.cookie.encode()) or found
        return found[7:] if found[:7].lower() == b"bearer " else found

    def _session_id(self, value: bytes) -> str:
        digest = hashlib.md5(value, usedforsecurity=False).hexdigest()
        return self._services.keyspace.full(self._keys.org, digest)

    def _mark(self, session_id: bytes) -> str:
        return hashlib.blake2b(session_id, key=self._maker, digest_size=16).hexdigest()

    async def _look(self, x: Exchange, serial: int, session_id: bytes, ask: Callable[[], object]) -> None:
        try:
            entry = await self._services.sessions.find(self._keys.org, session_id)
        except StoreError:
            if x.waits(serial):
                self._services.answers.store_away(x)
            return
        if not x.waits(serial):
            return
        if entry is not None and self._used(x, entry):
            x.resume(serial)
            return
        try:
            ask()
        except Exception:
            log.exception("API %s: auth_check", x.plan.api_id.decode())
            x.fail(500, PROBLEM)

    def _used(self, x: Exchange, entry: KeyEntry) -> bool:
        """Let a stored session be the request's, if its plugin said that it may until now (id_extractor_deadline)."""
        session = entry.session
        if session["id_extractor_deadline"] <= time.time() or session["meta_data"].get(MARK) != self._mark(entry.token):
            return False
        self._services.extraction.found += 1
        self._keys.in_use(entry, entry.raw.session)
        self._keys.give(x, entry)
        return True


class PluginAuth:
    """The auth_check of one API by a rich plugin (tyk-plugins 4.1)."""

    def __init__(self, auth: CustomAuth) -> None:
        self._auth = auth
        self.begin = auth.begin

    def take(self, x: Exchange, reply: PluginReply, format: Format) -> Coroutine[Any, Any, None] | None:
        """Give the request the key of the session in a reply, or refuse it; returns what has to be done for that before it goes
        on. The token is in the meta data of the reply, else of the session. Raises CodecError and SessionError."""
        if reply.session is None:
            self._auth.forbid(x)
            return None
        session = session_from_wire(format, reply.session)
        meta = {**(session.get("meta_data") or {}), **reply.metadata}
        token = meta.get("token")
        if not isinstance(token, str) or not token:
            self._auth.forbid(x)
            return None
        return self._auth.take(x, {**session, "meta_data": meta}, token)


def _cookie(line: bytes, name: bytes) -> bytes:
    for pair in line.split(b";"):
        key, _, value = pair.strip().partition(b"=")
        if key == name:
            return unquote_to_bytes(value.strip(b'"'))
    return b""


def make_auth(
    services: KeyServices, tasks: Tasks, config: Callable[[], Any], spec: PlanSpec, hook: str, *, rich: bool
) -> CustomAuth:
    """What the auth_check of an API does with its clients. config: of now; hook: what names the hook, the same for hooks that
    would give the same answers; rich: not a script. Raises ValueError for an API without custom authentication."""
    auth = spec.custom_auth
    if auth is None:
        raise ValueError(f"API {spec.api_id} has no custom authentication")
    keys = CustomKeys(services, tasks, config, (spec.org_id, spec.api_id), auth, carries=rich)
    extractor = None
    if auth.extractor is not None:
        extractor = Extractor(
            auth.extractor, lambda: int(config().preforge.limits.max_extract_bytes), services.extraction
        )
    maker = hashlib.sha256(f"{hook}\0{auth.extractor}".encode("utf-8", "surrogatepass")).digest()
    return CustomAuth(services, keys, tasks, extractor, auth.credential, maker=maker, skips_ignored=rich)
