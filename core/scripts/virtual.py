"""Virtual endpoints: a function of the API's scripts answers instead of an upstream (tyk-jsvm 12.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from accel.edits import FieldNames
from accel.http1 import Exchange
from core.edits.headers import response_fields, response_names
from core.edits.status import check_status
from core.scripts.answers import forced
from core.scripts.context import BUSY, BUSY_KINDS, Api, Returned, Script, log
from core.scripts.payload import form_params, place_text
from jsvm_pool.results import ResultError, VirtualResult, decode_virtual
from jsvm_pool.steps import VirtualStep

if TYPE_CHECKING:
    from core.apidef.scripts import VirtualSpec

FAILED = "Error during virtual endpoint execution. Contact Administrator for more details."


class Virtual(VirtualStep):
    """One entry of `virtual`, the data of its endpoint. With proxy_on_error requests go upstream where the script fails."""

    def __init__(self, api: Api, spec: VirtualSpec, path: str, script: Script) -> None:
        """path: of the entry, as configured."""
        super().__init__(
            script,
            FieldNames(response_names(api.spell)),
            api.worker,
            always=not spec.problem,
            real_session=spec.use_session,
            anywhere=not api.places.varies(path),
        )
        self._api = api
        self._spec = spec
        self._path = path
        self._what = f"virtual endpoint {spec.function} of {path}"

    def allowed(self, x: Exchange) -> bool:
        """False: the script cannot run."""
        self._failed(x, self._spec.problem)
        return False

    def place(self, x: Exchange) -> bytes:
        return place_text(x, self._api.places.of(x, self._path))

    def session(self, x: Exchange) -> bytes:
        return self._api.worker.session(x, self._spec.use_session)

    def params(self, x: Exchange) -> bytes:
        return form_params(x)

    def broken(self, x: Exchange, serial: int) -> None:
        """Refuse a request, inside an except clause."""
        log.exception("API %s: %s", self._api.api_id, self._what)
        x.fail(500, FAILED)
        x.resume(serial)

    def ended(self, x: Exchange, serial: int, returned: Returned) -> None:
        """Apply a result of any kind."""
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
            self.broken(x, serial)
        x.resume(serial)

    def _failed(self, x: Exchange, why: str) -> None:
        """The request goes upstream, or is refused."""
        self._api.refused(self._what, why)
        if not self._spec.proxy_on_error:
            x.fail(500, FAILED)
