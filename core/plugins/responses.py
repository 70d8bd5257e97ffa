"""Hooks that see a response (tyk-plugins 3.6)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from accel.http1 import Exchange
from coprocess.codec import CodecError, HookFrame, ResponseReply, decode
from coprocess.driver import Reply
from core.edits.headers import Fields, response_fields
from core.edits.status import check_status
from core.plugins.context import BUSY, FAILED, NOT_LOADED, REASONS, Api, Call, log
from core.plugins.hooks import HOOK_TYPES, described
from jsvm_pool.decoding import ResultError

if TYPE_CHECKING:
    from core.apidef.plugins import PluginHookSpec

# Fields that belong to the connection or are written anew with every answer: plugins see them, and cannot change them.
OWN = frozenset((b"connection", b"content-length", b"keep-alive", b"te", b"trailer", b"transfer-encoding", b"upgrade"))


class ResponseHook:
    """One response hook of one API, for a WaitStep among the response steps that wants the whole body."""

    def __init__(self, api: Api, spec: PluginHookSpec, call: Call | None) -> None:
        """call: None where it cannot be called."""
        self._api = api
        self._problem = spec.problem
        self._what = described(spec)
        self._call = call
        if call is not None:
            self._frame = HookFrame(HOOK_TYPES["response"], spec.name, api.about, spec.raw_body_only, call.format)

    def __call__(self, x: Exchange) -> bool:
        call, api = self._call, self._api
        if call is None:
            api.refused(self._what, self._problem)
            x.fail(500, NOT_LOADED)
            return False
        body = x.response_body or b""
        sent = [(api.spell(name), value) for name, value in x.res.items()]
        url = x.upstream_url or (x.full_path + b"?" + x.full_query if x.full_query else x.full_path)
        try:
            session = api.worker.wires.always(x, call.format)
            message = self._frame.response(x, url, x.method, x.body or b"", session, x.status_code, sent, body)
        except CodecError as error:
            self._refuse(x, f"the response cannot be told to it: {error}")
            return False
        serial = x.serial_number

        def done(reply: Reply) -> None:
            if x.waits(serial):
                x.waits_for = None
                self._returned(x, reply, sent, body)
                x.resume(serial)

        x.waits_for = call(message, done)
        return True

    def _returned(self, x: Exchange, reply: Reply, sent: Fields, body: bytes) -> None:
        why = f"{REASONS.get(reply.outcome, '')}: {reply.detail}"
        if reply.outcome == "busy":
            self._api.refused(self._what, why)
            x.fail(503, BUSY)
        elif reply.outcome == "disabled":
            self._api.refused(self._what, why)
            x.fail(500, NOT_LOADED)
        elif reply.outcome != "ok":
            self._refuse(x, why)
        else:
            self._apply(x, reply, sent, body)

    def _apply(self, x: Exchange, reply: Reply, sent: Fields, body: bytes) -> None:
        call = self._call
        assert call is not None
        try:
            said = decode(call.format, reply.message).response
            if said is None:
                raise CodecError("response", "it is missing")
            self._put(x, said, sent, body)
        except (CodecError, ResultError) as error:
            self._refuse(x, f"its reply cannot be used: {error}")
        except Exception:
            log.exception("API %s: %s", self._api.api_id, self._what)
            x.fail(500, FAILED)

    def _put(self, x: Exchange, said: ResponseReply, sent: Fields, body: bytes) -> None:
        check_status(said.status_code, "response.status_code")
        pairs = [(name, value) for name, values in synced(said, sent) for value in values]
        fields = response_fields(pairs, self._api.spell, "response.multivalue_headers", OWN)
        for name in {name for name, _ in x.res.items()}:
            if name.lower() not in OWN:
                x.res.remove(name)
        for name, value in fields:
            x.res.add(name, value)
        if said.status_code != x.status_code or said.raw_body != body:
            x.set_response(said.status_code, said.raw_body)

    def _refuse(self, x: Exchange, why: str) -> None:
        self._api.refused(self._what, why)
        x.fail(500, FAILED)


def synced(said: ResponseReply, sent: Fields) -> list[tuple[str, list[str]]]:
    """All values by name. They are in multivalue_headers; what the plugin has changed in headers, which has the first values
    only, counts as well: there a value replaces the first one of its name, and a name that is gone takes all its values along.
    """
    firsts: dict[str, str] = {}
    for field, value in sent:
        firsts.setdefault(field.decode("latin-1"), value.decode("utf-8", "replace"))
    headers = dict(said.headers)
    found = [(name, list(values)) for name, values in said.multivalue_headers]
    if headers == firsts:
        return found
    found = [(name, values) for name, values in found if name in headers]
    known: set[str] = set()
    for name, values in found:
        if name not in known:
            known.add(name)
            values[:1] = [headers[name]]
    return found + [(name, [value]) for name, value in headers.items() if name not in known]
