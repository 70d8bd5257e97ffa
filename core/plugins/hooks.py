"""Hooks that see a request: pre, auth_check, post_key_auth and post (tyk-plugins 3.3 to 3.8)."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Protocol

from accel.http1 import Exchange
from coprocess.codec import CodecError, HookFrame, PluginReply, decode, session_from_wire
from coprocess.driver import Format, Reply
from core.config.plugins import SHOWN
from core.plugins.answers import override
from core.plugins.context import BUSY, FAILED, NOT_AUTHORISED, NOT_LOADED, REASONS, Api, Call, log
from core.plugins.edits import edit, seen_url
from core.sessions.model import SessionError

if TYPE_CHECKING:
    from core.apidef.plugins import PluginHookSpec

HOOK_TYPES = {"pre": 1, "post": 2, "post_key_auth": 3, "auth_check": 4, "response": 5}


class AuthTaker(Protocol):
    """What is behind an auth_check: where the keys go that the plugin finds (tyk-plugins 4.1)."""

    def begin(self, x: Exchange, ask: Callable[[], None]) -> bool:
        """A request is at the hook. Returns False if it may go on, or has been answered; else it waits, and the taker either
        calls `ask`, which asks the plugin, or lets the request go on with x.resume(), or answers it."""

    def take(self, x: Exchange, reply: PluginReply, format: Format) -> Coroutine[Any, Any, None] | None:
        """The plugin has answered without an override, and the request has been edited. The taker gives the request its key
        or answers it; returns what has to be done before it goes on. Raises CodecError and SessionError."""


class RequestHook:
    """One hook of one API, for a WaitStep that wants the whole body. The request goes on when the plugin has answered, or is
    refused: what a plugin cannot say means that the request must not pass."""

    def __init__(self, api: Api, spec: PluginHookSpec, call: Call | None, auth: AuthTaker | None = None) -> None:
        """call: None where it cannot be called; auth: for auth_check."""
        self._api = api
        self._problem = spec.problem
        self._what = described(spec)
        self._call = call
        self._auth = auth
        self._sees_session = spec.kind in ("post_key_auth", "post")
        if call is not None:
            self._frame = HookFrame(HOOK_TYPES[spec.kind], spec.name, api.about, spec.raw_body_only, call.format)

    def __call__(self, x: Exchange) -> bool:
        if self._auth is None:
            return self._ask(x)
        if x.ignored:
            return False
        return self._auth.begin(x, lambda: self._ask_again(x))

    def _ask_again(self, x: Exchange) -> None:
        """Ask for a request that waits already."""
        serial = x.serial_number
        if not self._ask(x):
            x.resume(serial)

    def _ask(self, x: Exchange) -> bool:
        """Ask the plugin; returns whether the request waits for it."""
        call = self._call
        if call is None:
            self._api.refused(self._what, self._problem)
            x.fail(500, NOT_LOADED)
            return False
        url, method = seen_url(x), x.pending_method
        try:
            session = self._api.worker.wires.of(x, call.format) if self._sees_session else None
            message = self._frame.request(x, url, method, x.body or b"", session)
        except CodecError as error:
            self._refuse(x, f"the request cannot be told to it: {error}")
            return False
        serial = x.serial_number

        def done(reply: Reply) -> None:
            if x.waits(serial):
                x.waits_for = None
                self._returned(x, serial, reply, url, method)

        x.waits_for = call(message, done)
        return True

    def _returned(self, x: Exchange, serial: int, reply: Reply, url: bytes, method: bytes) -> None:
        if reply.outcome != "ok":
            self._failed(x, reply)
            return
        call = self._call
        assert call is not None
        try:
            work = self._apply(x, decode(call.format, reply.message), call.format, url, method)
        except (CodecError, SessionError) as error:
            bad_url = isinstance(error, CodecError) and error.field == "request.url"
            self._refuse(x, f"its reply cannot be used: {error}", fault=bad_url)
            return
        except Exception:
            log.exception("API %s: %s", self._api.api_id, self._what)
            x.fail(500, FAILED)
            return
        if work is None:
            x.resume(serial)
        else:
            self._api.worker.spawn(work, lambda: x.resume(serial))

    def _apply(
        self, x: Exchange, said: PluginReply, format: Format, url: bytes, method: bytes
    ) -> Coroutine[Any, Any, None] | None:
        if said.request is None:
            raise CodecError("request", "it is missing")
        if said.request.overrides is None:
            raise CodecError("request.return_overrides", "it is missing")
        if not edit(x, self._api, said.request, url, method):
            return None
        if override(x, self._api, said.request.overrides, token_of(said, format)) or self._auth is None:
            return None
        return self._auth.take(x, said, format)

    def _failed(self, x: Exchange, reply: Reply) -> None:
        """No answer of the plugin (tyk-plugins 3.8)."""
        why = f"{REASONS[reply.outcome]}: {reply.detail}" if reply.detail else REASONS[reply.outcome]
        if reply.outcome == "busy":
            self._api.refused(self._what, why)
            x.fail(503, BUSY)
        elif reply.outcome == "disabled":
            self._api.refused(self._what, why)
            x.fail(500, NOT_LOADED)
        else:
            self._refuse(x, why)

    def _refuse(self, x: Exchange, why: str, *, fault: bool = False) -> None:
        """fault: it says nothing about the client's key, even where the hook asks for one."""
        self._api.refused(self._what, why)
        if self._auth is None or fault:
            x.fail(500, FAILED)
        else:
            x.fail(403, NOT_AUTHORISED)


def described(spec: PluginHookSpec) -> str:
    """A hook, for the log."""
    where = f", server {SHOWN.get(spec.server, spec.server)}" if spec.server else ""
    return f"{spec.kind} hook {spec.name} (driver {spec.driver}{where})"


def token_of(said: PluginReply, format: Format) -> str:
    """The token that a reply names, in one of its two places, "" if it names none (tyk-plugins 4.1). Raises CodecError."""
    if "token" in said.metadata or said.session is None:
        return said.metadata.get("token", "")
    found = session_from_wire(format, said.session).get("meta_data") or {}
    return str(found.get("token", ""))
