"""Hooks that see a response (tyk-plugins 3.6)."""

from __future__ import annotations

from accel.http1 import Exchange
from coprocess.codec import CodecError, PluginReply, ResponseReply
from core.edits.headers import Fields, response_fields
from core.edits.status import check_status
from core.plugins.hook import PluginHook

# Fields that belong to the connection or are written anew with every answer: plugins see them, and cannot change them.
OWN = frozenset((b"connection", b"content-length", b"keep-alive", b"te", b"trailer", b"transfer-encoding", b"upgrade"))

Sent = tuple[Fields, bytes]
"""Header fields and body that a hook was told."""


class ResponseHook(PluginHook[Sent]):
    """A hook that sees a response, for a WaitStep among the response steps."""

    def tell(self, x: Exchange) -> tuple[bytes, Sent]:
        body = x.response_body or b""
        fields = [(self.api.spell(name), value) for name, value in x.res.items()]
        url = x.upstream_url or (x.full_path + b"?" + x.full_query if x.full_query else x.full_path)
        session = self.api.worker.wires.always(x, self.format)
        message = self.frame.response(x, url, x.method, x.body or b"", session, x.status_code, fields, body)
        return message, (fields, body)

    def apply(self, x: Exchange, said: PluginReply, told: Sent) -> None:
        found = said.response
        if found is None:
            raise CodecError("response", "it is missing")
        sent, body = told
        check_status(found.status_code, "response.status_code")
        pairs = [(name, value) for name, values in synced(found, sent) for value in values]
        fields = response_fields(pairs, self.api.spell, "response.multivalue_headers", OWN)
        for name in {name for name, _ in x.res.items()}:
            if name.lower() not in OWN:
                x.res.remove(name)
        for name, value in fields:
            x.res.add(name, value)
        if found.status_code != x.status_code or found.raw_body != body:
            x.set_response(found.status_code, found.raw_body)


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
