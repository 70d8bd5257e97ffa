"""Hooks that see a request: pre, auth_check, post_key_auth and post (tyk-jsvm 7 to 11)."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from accel.http1 import Exchange
from core.plugins.auth import CustomAuth
from core.scripts.answers import override
from core.scripts.context import BUSY, BUSY_KINDS, NOT_RUNNING, Api, Returned, Script, log
from core.scripts.edits import edit
from core.scripts.payload import place_text, query_params, url_text
from core.sessions.model import SessionError
from jsvm_pool.results import HookResult, ResultError, decode_edits, decode_hook
from jsvm_pool.steps import HookStep

if TYPE_CHECKING:
    from core.apidef.scripts import HookSpec

FAILED = "Internal Server Error"
DISABLED = "middleware error"


class RequestHook(HookStep):
    """One hook of one API, for a WaitStep. The request goes on when its script has returned, or is refused: what a script
    cannot say means that the request must not pass."""

    def __init__(self, api: Api, spec: HookSpec, script: Script | None, auth: CustomAuth | None = None) -> None:
        """script: None where it cannot run; auth: for auth_check, where the keys go that the script finds."""
        self._session = spec.require_session and spec.kind in ("post", "post_key_auth")
        super().__init__(
            script,
            api.editor,
            always=script is not None and not spec.problem,
            real_session=self._session,
            anywhere=api.places.same,
            plain=not self._session and auth is None,
        )
        self._api = api
        self._spec = spec
        self._runs = script is not None
        self._what = f"{spec.kind} hook {spec.name}"
        self._auth = auth
        self._chain = spec.kind not in ("pre", "auth_check")    # whose answers go through the response chain

    def allowed(self, x: Exchange) -> bool:
        """Refuses requests of a hook that cannot run."""
        if not self._runs:
            self._refuse(x, self._api.problem or NOT_RUNNING, DISABLED)
            return False
        if self._spec.problem:
            self._refuse(x, self._spec.problem)
            return False
        return True

    def place(self, x: Exchange) -> bytes:
        return place_text(x, self._api.places.find(x))

    def session(self, x: Exchange) -> bytes:
        return self._api.worker.session(x, self._session)

    def params(self, x: Exchange) -> bytes:
        return query_params(x)

    def ended(self, x: Exchange, serial: int, result: Returned) -> None:
        """Apply a result of any kind."""
        if result.kind != "ok" or result.text is None:
            self._failed(x, result)
            return
        url = url_text(x)
        try:
            found = decode_edits(result.text, url) if result.edits else decode_hook(result.text)
            edit(x, self._api, found, url)
            work = self._keep(x, found)
            if work is None:
                self._end(x, serial, found)
                return
        except (ResultError, SessionError) as error:
            self._refuse(x, f"it returned what cannot be used: {error}")
            return
        except Exception:
            self.broken(x, serial)
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
            self.broken(x, serial)

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

    def broken(self, x: Exchange, serial: int) -> None:
        """Refuse a request, inside an except clause."""
        log.exception("API %s: %s", self._api.api_id, self._what)
        x.fail(500, FAILED)


class AuthHook(RequestHook):
    """An auth_check, which is called for requests whose key is not known yet."""

    def __init__(self, api: Api, spec: HookSpec, script: Script | None, auth: CustomAuth) -> None:
        """See RequestHook."""
        super().__init__(api, spec, script, auth)
        self._custom = auth
        self._usable = script is not None and not spec.problem

    def __call__(self, x: Exchange) -> bool:
        if not self._usable:
            return self.allowed(x)
        ask = super().__call__
        return self._custom.begin(x, lambda: ask(x))
