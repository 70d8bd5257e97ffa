"""Answers that scripts give instead of the upstream (tyk-jsvm 10, 10.1)."""

from __future__ import annotations

from accel.http1 import Exchange
from accel.sniff import detect
from core.access.rewrite import NOT_FOUND, go_round
from core.edits.addresses import Address, parse
from core.edits.headers import Fields, response_fields
from core.edits.status import check_status
from core.scripts.context import Api
from jsvm_pool.results import Overrides

SERVER = (b"Server", b"tyk")    # clients of Tyk know its forced responses by it
_NO_BODY = frozenset((204, 304))
_REDIRECTS = frozenset((301, 302))


def override(x: Exchange, api: Api, said: Overrides, *, chain: bool, session: bool) -> None:
    """Answer as ReturnOverrides says. chain, session: see `forced`. Raises ResultError."""
    where = "Request.ReturnOverrides"
    check_status(said.code, f"{where}.ResponseCode")
    fields = response_fields(said.headers, api.spell, f"{where}.ResponseHeaders")
    if said.code < 400 or said.raw:
        forced(x, api, said.code, fields, said.body, chain=chain, session=session)
        return
    for name, value in fields:
        if name.lower() != b"content-type":     # the error page has its own
            x.add_header(name, value)
    x.fail(said.code, said.body.decode("utf-8", "replace"))


def forced(x: Exchange, api: Api, status: int, fields: Fields, body: bytes, *, chain: bool, session: bool) -> None:
    """Answer with a script's response, or follow its redirect to tyk://. chain: through the API's response chain; session:
    X-Ratelimit-* speak of the client's key, else they are zero."""
    if status in _REDIRECTS:
        for name, value in fields:
            if name.lower() == b"location" and value[:6].lower() == b"tyk://":
                loop(x, api, parse(value.decode("utf-8", "surrogateescape"), "Location"), later=False)
                return
    names = {name.lower() for name, _ in fields}
    fields = [SERVER, *fields]
    if body and status not in _NO_BODY and not names & {b"content-type", b"content-encoding"}:
        fields.append((b"Content-Type", detect(body[:512])))
    if not api.worker.rates_in_headers:
        x.limits_known = True
        if not session:
            x.limit_max = x.limit_left = x.limit_reset = 0
    if chain:
        x.respond(status, fields, body)
    else:
        x.answer(status, fields, body)


def loop(x: Exchange, api: Api, address: Address, *, later: bool) -> None:
    """Go on in the API that a tyk:// address names (tyk-core 3.8), now or later when all steps have run."""
    if not go_round(x, api.worker.loops, api.start, address.loop, address.path, address.query, later=later):
        api.refused("a script", f"it leads to tyk://{address.loop}, and there is no such API")
        x.fail(500, NOT_FOUND)
