"""Answers that plugins give instead of the upstream: return_overrides (tyk-plugins 3.5)."""

from __future__ import annotations

from collections.abc import Callable

from accel.http1 import Exchange
from accel.sniff import detect
from coprocess.codec import Overrides
from core.edits.headers import OWN as OWN_FIELDS
from core.edits.headers import response_fields
from core.edits.status import check_status
from core.plugins.context import NOT_AUTHORISED, Api

WHERE = "request.return_overrides"
# Fields that belong to the connection or are written with every answer. Limits of the plugin's own may be told.
OWN = OWN_FIELDS | {b"date"}
_NO_BODY = frozenset((204, 304))


def override(x: Exchange, api: Api, said: Overrides, token: Callable[[], str]) -> bool:
    """Answer as return_overrides says; returns whether it says anything. token: says it for the event of a refusal, whatever
    hook it is. Raises ResultError for what is no answer, and what token raises."""
    code = said.response_code
    if code <= 0:
        return False
    check_status(code, f"{WHERE}.response_code")
    fields = response_fields(said.headers, api.spell, f"{WHERE}.headers", OWN)
    text = said.response_error or said.response_body
    if code >= 400 and not said.override_error:
        key = token()
        for name, value in fields:
            if name.lower() != b"content-type":     # the error page has its own
                x.add_header(name, value)
        refuse_key(x, api, key)
        x.fail(code, text or NOT_AUTHORISED)
        return True
    body = text.encode()
    if body and code not in _NO_BODY and not {name.lower() for name, _ in fields} & {b"content-type", b"content-encoding"}:
        fields.append((b"Content-Type", detect(body[:512])))
    x.answer(code, fields, body)
    return True


def refuse_key(x: Exchange, api: Api, token: str) -> None:
    """What belongs to a refused key besides the answer: the event and the count of key failures."""
    api.worker.fire("AuthFailure", x, "Auth Failure", {"Key": token})
    x.mark(b"AKI")
