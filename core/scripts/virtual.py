"""Virtual endpoints: a function of the API's scripts answers instead of an upstream (tyk-jsvm 12.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from accel.http1 import Exchange
from core.scripts.answers import check_status, forced
from core.scripts.context import BUSY, BUSY_KINDS, Api, Returned, Script, log
from core.scripts.headers import response_fields
from core.scripts.payload import Extra, form_params
from jsvm_pool.envelope import virtual_payload
from jsvm_pool.results import ResultError, VirtualResult, decode_virtual

if TYPE_CHECKING:
    from core.apidef.scripts import VirtualSpec

FAILED = "Error during virtual endpoint execution. Contact Administrator for more details."


class Virtual:
    """One entry of `virtual`, the data of its endpoint. With proxy_on_error requests go upstream where the script fails."""

    reads_body = True       # see PathStep

    def __init__(self, api: Api, spec: VirtualSpec, path: str, script: Script) -> None:
        """path: of the entry, as configured."""
        self._api = api
        self._spec = spec
        self._script = script
        self._path = path
        self._what = f"virtual endpoint {spec.function} of {path}"
        self._extra = Extra(api.api_id, api.name, "virtual")

    def run(self, x: Exchange) -> bool:
        """Start the script; what a PathStep calls."""
        api = self._api
        if self._spec.problem:
            self._failed(x, self._spec.problem)
            return False
        more = self._extra.text(x, api.places.of(x, self._path))
        session = api.worker.session(x, self._spec.use_session)
        text = virtual_payload(x, form_params(x), session, api.config, more, x.body or b"")
        serial = x.serial_number

        def done(returned: Returned) -> None:
            if x.waits(serial):
                self._returned(x, serial, returned)

        self._script.call(text, done)
        return True

    def _returned(self, x: Exchange, serial: int, returned: Returned) -> None:
        if returned.kind != "ok" or returned.text is None:
            if returned.kind in BUSY_KINDS and not self._spec.proxy_on_error:
                self._api.refused(self._what, returned.error)
                x.fail(503, BUSY)
            else:
                self._failed(x, returned.error)
            x.resume(serial)
            return
        try:
            found = decode_virtual(returned.text)
            if found.code:
                check_status(found.code, "Response.Code")
            fields = response_fields(found.headers, self._api.spell, "Response.Headers")
        except ResultError as error:
            self._failed(x, f"it returned what cannot be used: {error}")
            x.resume(serial)
            return
        work = None
        if self._spec.use_session and x.key is not None:
            work = self._api.worker.meta.replace(x.key, found.session_meta, any_values=True)
        if work is None:
            self._answer(x, serial, found, fields)
        else:
            self._api.worker.spawn(work, lambda: self._answer(x, serial, found, fields))

    def _answer(self, x: Exchange, serial: int, found: VirtualResult, fields: list[tuple[bytes, bytes]]) -> None:
        if not x.waits(serial):
            return
        session = self._spec.use_session and x.key is not None
        try:
            forced(x, self._api, found.code or 200, fields, found.body, chain=True, session=session)
        except ResultError as error:
            self._failed(x, f"it returned what cannot be used: {error}")
        except Exception:
            log.exception("API %s: %s", self._api.api_id, self._what)
            x.fail(500, FAILED)
        x.resume(serial)

    def _failed(self, x: Exchange, why: str) -> None:
        """The request goes upstream, or is refused."""
        self._api.refused(self._what, why)
        if not self._spec.proxy_on_error:
            x.fail(500, FAILED)


def run_virtual(x: Exchange, endpoint: Virtual) -> bool:
    """What the PathStep of virtual endpoints calls."""
    return endpoint.run(x)
