"""Hooks that see a request: pre, auth_check, post_key_auth and post (tyk-plugins 3.3 to 3.8)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from accel.http1 import Exchange
from coprocess.codec import CodecError, PluginReply, session_from_wire
from coprocess.driver import Format
from core.plugins.answers import override
from core.plugins.context import NOT_AUTHORISED, Api, Call
from core.plugins.edits import URL, edit, seen_url
from core.plugins.hook import PluginHook, Work
from jsvm_pool.decoding import ResultError

if TYPE_CHECKING:
    from core.apidef.plugins import PluginHookSpec

Seen = tuple[bytes, bytes]
"""URL and method that a hook was told."""


class AuthTaker(Protocol):
    """What is behind an auth_check: where the keys go that the plugin finds (tyk-plugins 4.1)."""

    def begin(self, x: Exchange, ask: Callable[[], None]) -> bool:
        """A request is at the hook. Returns False if it may go on, or has been answered; else it waits, and the taker either
        calls `ask`, which asks the plugin, or lets the request go on with x.resume(), or answers it."""

    def take(self, x: Exchange, reply: PluginReply, format: Format) -> Work | None:
        """The plugin has answered without an override, and the request has been edited. The taker gives the request its key
        or answers it; returns what has to be done before it goes on. Raises CodecError and SessionError."""


class RequestHook(PluginHook[Seen]):
    """A hook that sees a request."""

    def __init__(self, api: Api, spec: PluginHookSpec, call: Call | None, auth: AuthTaker | None = None) -> None:
        """See PluginHook; auth: for auth_check."""
        super().__init__(api, spec, call)
        self._auth = auth
        self._sees_session = spec.kind in ("post_key_auth", "post")

    def __call__(self, x: Exchange) -> bool:
        if self._auth is None:
            return self.ask(x)
        if x.ignored:
            return False
        return self._auth.begin(x, lambda: self._ask_again(x))

    def _ask_again(self, x: Exchange) -> None:
        """Ask for a request that waits already."""
        serial = x.serial_number
        if not self.ask(x):
            x.resume(serial)

    def tell(self, x: Exchange) -> tuple[bytes, Seen]:
        url, method = seen_url(x), x.pending_method
        session = self.api.worker.wires.of(x, self.format) if self._sees_session else None
        return self.frame.request(x, url, method, x.body or b"", session), (url, method)

    def apply(self, x: Exchange, said: PluginReply, told: Seen) -> Work | None:
        if said.request is None:
            raise CodecError("request", "it is missing")
        if said.request.overrides is None:
            raise CodecError("request.return_overrides", "it is missing")
        if not edit(x, self.api, said.request, *told):
            return None
        if override(x, self.api, said.request.overrides, lambda: token_of(said, self.format)) or self._auth is None:
            return None
        return self._auth.take(x, said, self.format)

    def refuse(self, x: Exchange, why: str, error: Exception | None = None) -> None:
        """A URL that is none says nothing about the client's key, even where the hook asks for one."""
        if self._auth is None or (isinstance(error, ResultError) and error.where == URL):
            super().refuse(x, why)
        else:
            self.log(why)
            x.fail(403, NOT_AUTHORISED)


def token_of(said: PluginReply, format: Format) -> str:
    """The token that a reply names, in one of its two places, "" if it names none (tyk-plugins 4.1). Raises CodecError."""
    if "token" in said.metadata or said.session is None:
        return said.metadata.get("token", "")
    found = session_from_wire(format, said.session).get("meta_data") or {}
    return str(found.get("token", ""))
