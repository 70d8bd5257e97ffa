"""What hooks of both directions have in common: the plugin is asked, the exchange waits, and the reply is applied."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from accel.http1 import Exchange
from coprocess.codec import CodecError, HookFrame, PluginReply, decode
from coprocess.driver import Reply
from core.config.plugins import SHOWN
from core.plugins.context import BUSY, FAILED, NOT_LOADED, REASONS, Api, Call, log
from core.sessions.model import SessionError
from jsvm_pool.decoding import ResultError

if TYPE_CHECKING:
    from core.apidef.plugins import PluginHookSpec

HOOK_TYPES = {"pre": 1, "post": 2, "post_key_auth": 3, "auth_check": 4, "response": 5}

_Told = TypeVar("_Told")
Work = Coroutine[Any, Any, None]


class PluginHook(Generic[_Told]):
    """One hook of one API, for a WaitStep that wants the whole body. The exchange goes on when the plugin has answered, or is
    refused: what a plugin cannot say means that it must not pass. _Told: what the plugin was told, for `apply`."""

    def __init__(self, api: Api, spec: PluginHookSpec, call: Call | None) -> None:
        """call: None where it cannot be called."""
        self.api = api
        self._problem = spec.problem
        where = f", server {SHOWN.get(spec.server, spec.server)}" if spec.server else ""
        self._what = f"{spec.kind} hook {spec.name} (driver {spec.driver}{where})"
        self._call = call
        if call is not None:
            self.format = call.format
            self.frame = HookFrame(HOOK_TYPES[spec.kind], spec.name, api.about, spec.raw_body_only, call.format)

    def __call__(self, x: Exchange) -> bool:
        return self.ask(x)

    # -- of each kind ------------------------------------------------------------------

    def tell(self, x: Exchange) -> tuple[bytes, _Told]:
        """The message, and what is in it. Raises CodecError for what cannot stand in one."""
        raise NotImplementedError

    def apply(self, x: Exchange, said: PluginReply, told: _Told) -> Work | None:
        """What the plugin wants happens; returns what has to be done before the exchange goes on. Raises CodecError,
        ResultError and SessionError for a reply that cannot be used."""
        raise NotImplementedError

    def refuse(self, x: Exchange, why: str, error: Exception | None = None) -> None:
        """The plugin has not answered, or with what cannot be used: then there is an error."""
        self.log(why)
        x.fail(500, FAILED)

    # -- the call ----------------------------------------------------------------------

    def ask(self, x: Exchange) -> bool:
        """Ask the plugin; returns whether the exchange waits for it."""
        call = self._call
        if call is None:
            self.log(self._problem)
            x.fail(500, NOT_LOADED)
            return False
        try:
            message, told = self.tell(x)
        except CodecError as error:
            self.refuse(x, f"it cannot be told what there is: {error}")
            return False
        serial = x.serial_number

        def done(reply: Reply) -> None:
            if x.waits(serial):
                x.waits_for = None
                self._returned(x, serial, reply, told)

        x.waits_for = call(message, done)
        return True

    def _returned(self, x: Exchange, serial: int, reply: Reply, told: _Told) -> None:
        work = None
        if reply.outcome == "ok":
            work = self._applied(x, reply.message, told)
        else:
            self._failed(x, reply)
        if work is None:
            x.resume(serial)
        else:
            self.api.worker.spawn(work, lambda: x.resume(serial))

    def _applied(self, x: Exchange, message: bytes, told: _Told) -> Work | None:
        try:
            return self.apply(x, decode(self.format, message), told)
        except (CodecError, ResultError, SessionError) as error:
            self.refuse(x, f"its reply cannot be used: {error}", error)
        except Exception:
            log.exception("API %s: %s", self.api.api_id, self._what)
            x.fail(500, FAILED)
        return None

    def _failed(self, x: Exchange, reply: Reply) -> None:
        """No answer of the plugin (tyk-plugins 3.8)."""
        why = f"{REASONS[reply.outcome]}: {reply.detail}" if reply.detail else REASONS[reply.outcome]
        if reply.outcome == "busy":
            self.log(why)
            x.fail(503, BUSY)
        elif reply.outcome == "disabled":
            self.log(why)
            x.fail(500, NOT_LOADED)
        else:
            self.refuse(x, why)

    def log(self, why: str) -> None:
        """Say why the plugin could not do its work."""
        self.api.refused(self._what, why)
