"""Hooks that see a response (tyk-jsvm 12.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from accel.http1 import Exchange
from core.edits.headers import edit_response
from core.edits.status import check_status
from core.scripts.context import BUSY, BUSY_KINDS, NOT_RUNNING, Api, Returned, Script, log
from core.scripts.payload import place_text, query_params, response_text
from jsvm_pool.envelope import script_payload
from jsvm_pool.results import ResultError, decode_response

if TYPE_CHECKING:
    from core.apidef.scripts import HookSpec

FAILED = "Middleware error"


class ResponseHook:
    """One response hook of one API, for a WaitStep among the response steps that wants the whole body."""

    def __init__(self, api: Api, spec: HookSpec, script: Script | None) -> None:
        """script: None where it cannot run."""
        self._api = api
        self._spec = spec
        self._script = script
        self._what = f"response hook {spec.name}"

    def __call__(self, x: Exchange) -> bool:
        api = self._api
        if self._script is None or self._spec.problem:
            self._refuse(x, self._spec.problem or api.problem or NOT_RUNNING)
            return False
        body = x.response_body or b""
        response = response_text(x.status_code, x.res.items(), body)
        place = place_text(x, api.places.find(x, answered=True))
        session = api.worker.session(x, x.key is not None)
        text = script_payload(x, query_params(x), session, place, None, response, False)
        serial = x.serial_number

        def done(returned: Returned) -> None:
            if x.waits(serial):
                self._returned(x, serial, body, returned)

        self._script.call(text, done)
        return True

    def _returned(self, x: Exchange, serial: int, body: bytes, returned: Returned) -> None:
        if returned.kind in BUSY_KINDS:
            self._api.refused(self._what, returned.error)
            x.fail(503, BUSY)
        elif returned.kind != "ok" or returned.text is None:
            self._refuse(x, returned.error)
        else:
            try:
                self._apply(x, body, returned.text)
            except ResultError as error:
                self._refuse(x, f"it returned what cannot be used: {error}")
            except Exception:
                log.exception("API %s: %s", self._api.api_id, self._what)
                x.fail(500, FAILED)
        x.resume(serial)

    def _apply(self, x: Exchange, body: bytes, text: bytes) -> None:
        found = decode_response(text)
        was = x.status_code
        status = found.status or was
        if status != was:
            check_status(status, "Response.StatusCode")
        edit_response(x, found.delete_headers, found.set_headers, self._api.spell)
        new = body if found.body is None else found.body
        if status != was or new != body:
            x.set_response(status, new)

    def _refuse(self, x: Exchange, why: str) -> None:
        self._api.refused(self._what, why)
        x.fail(500, FAILED)
