"""Hooks that see a request: pre, auth_check, post_key_auth and post (tyk-jsvm 7 to 11)."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from accel.http1 import Exchange
from core.plugins.auth import CustomAuth
from core.scripts.answers import override
from core.scripts.context import BUSY, BUSY_KINDS, NOT_RUNNING, Api, Returned, Script, log
from core.scripts.edits import edit
from core.scripts.payload import Extra, query_params, url_text
from core.sessions.model import SessionError
from jsvm_pool.envelope import hook_payload
from jsvm_pool.results import HookResult, ResultError, decode_hook

if TYPE_CHECKING:
    from core.apidef.scripts import HookSpec

FAILED = "Internal Server Error"
DISABLED = "middleware error"


class RequestHook:
    """One hook of one API, for a WaitStep. The request goes on when its script has returned, or is refused: what a script
    cannot say means that the request must not pass."""

    def __init__(self, api: Api, spec: HookSpec, script: Script | None, auth: CustomAuth | None = None) -> None:
        """script: None where it cannot run; auth: for auth_check, where the keys go that the script finds."""
        self._api = api
        self._spec = spec
        self._script = script
        self._what = f"{spec.kind} hook {spec.name}"
        self._extra = Extra(api.api_id, api.name, spec.kind)
        self._auth = auth
        self._session = spec.require_session and spec.kind in ("post", "post_key_auth")
        self._chain = spec.kind not in ("pre", "auth_check")    # whose answers go through the response chain

    def __call__(self, x: Exchange) -> bool:
        api = self._api
        if self._script is None:
            self._refuse(x, api.problem or NOT_RUNNING, DISABLED)
            return False
        if self._spec.problem:
            self._refuse(x, self._spec.problem)
            return False
        if self._auth is None:
            return self._call(x, self._script)
        script = self._script

        def ask() -> None:
            self._call(x, script)

        return self._auth.begin(x, ask)

    def _call(self, x: Exchange, script: Script) -> bool:
        api = self._api
        url = url_text(x)
        more = self._extra.text(x, api.places.find(x))
        session = api.worker.session(x, self._session)
        text = hook_payload(x, query_params(x), session, api.config, more, None, x.body or b"")
        serial = x.serial_number

        def done(returned: Returned) -> None:
            if x.waits(serial):
                self._returned(x, serial, url, returned)

        script.call(text, done)
        return True

    def _returned(self, x: Exchange, serial: int, url: str, returned: Returned) -> None:
        if returned.kind != "ok" or returned.text is None:
            self._failed(x, returned)
            return
        try:
            found = decode_hook(returned.text)
            edit(x, self._api, found, url)
            work = self._keep(x, found)
            if work is None:
                self._end(x, serial, found)
                return
        except (ResultError, SessionError) as error:
            self._refuse(x, f"it returned what cannot be used: {error}")
            return
        except Exception:
            self._broken(x)
            return
        self._api.worker.spawn(work, lambda: self._kept(x, serial, found))

    def _keep(self, x: Exchange, found: HookResult) -> Coroutine[Any, Any, None] | None:
        """What has to reach the store before the request goes on."""
        if self._session and x.key is not None:
            return self._api.worker.meta.replace(x.key, found.session_meta)
        if self._auth is not None and found.overrides is None:
            return self._auth.take(x, found.session or {}, found.auth_value)
        return None

    def _kept(self, x: Exchange, serial: int, found: HookResult) -> None:
        if not x.waits(serial):
            return
        try:
            self._end(x, serial, found)
        except ResultError as error:
            self._refuse(x, f"it returned what cannot be used: {error}")
        except Exception:
            self._broken(x)

    def _end(self, x: Exchange, serial: int, found: HookResult) -> None:
        if found.overrides is not None:
            session = self._session and x.key is not None
            override(x, self._api, found.overrides, chain=self._chain, session=session)
        x.resume(serial)

    def _failed(self, x: Exchange, returned: Returned) -> None:
        if returned.kind in BUSY_KINDS:
            self._api.refused(self._what, returned.error)
            x.fail(503, BUSY)
        else:
            self._refuse(x, returned.error, DISABLED if returned.kind == "disabled" else FAILED)

    def _refuse(self, x: Exchange, why: str, message: str = FAILED) -> None:
        self._api.refused(self._what, why)
        x.fail(500, message)

    def _broken(self, x: Exchange) -> None:
        log.exception("API %s: %s", self._api.api_id, self._what)
        x.fail(500, FAILED)

