"""A plugin's reply, applied to the request in the order of tyk-plugins 3.4."""

from __future__ import annotations

from urllib.parse import unquote_to_bytes

from accel.http1 import Exchange
from coprocess.codec import RequestReply
from core.access.rewrite import NOT_FOUND, go_round
from core.edits.addresses import Address, parse
from core.edits.headers import edit_request
from core.edits.query import encode
from core.edits.query import parse as parse_query
from core.plugins.context import Api
from jsvm_pool.decoding import ResultError

URL = "request.url"


def seen_url(x: Exchange) -> bytes:
    """The URL that a hook is told: path with the listen path, and query; where a rewrite leads, if one has said that."""
    pending = x.pending_url
    if pending is not None:
        return pending
    return x.path + b"?" + x.query if x.query else x.path


def edit(x: Exchange, api: Api, said: RequestReply, url: bytes, method: bytes) -> bool:
    """Body, headers, URL, method and parameters. url, method: those that the hook was told. Returns False if the request has
    been answered. Raises ResultError for what cannot stand in a request."""
    if not said.url:
        raise ResultError("expected a URL, found none", URL)
    if said.raw_body != (x.body or b""):
        x.set_body(said.raw_body)
    if (said.set_headers or said.delete_headers) and not api.editor.headers(x, said.set_headers, said.delete_headers):
        edit_request(x, said.delete_headers, dict(said.set_headers), api.spell, "request.set_headers")
    wanted = api.editor.query(x.query, said.delete_params, dict(said.add_params))
    new = said.url.encode()
    address = None if new == url else parse(said.url, URL)
    pending = x.pending_url
    path, query, end = x.path, wanted, x.route_end
    if address is not None:
        if address.loop:
            if not _loop(x, api, address):
                return False
        elif pending is not None:
            _rewrite(x, api, address, said.url, pending)
        else:
            path, end = address.path, api.listen_end(unquote_to_bytes(address.path))
            # A query in the URL counts only if it says the same as the parameters (tyk-plugins 3.4, step 7).
            values = parse_query(wanted)
            query = address.query if parse_query(address.query) == values else encode(values)
    if said.method and said.method.encode() != method:
        x.transform_method(said.method.encode())
    if path is not x.path or query != x.query:
        try:
            x.set_url(path, query, end)
        except ValueError as error:
            raise ResultError(str(error), URL) from None
    return True


def _loop(x: Exchange, api: Api, address: Address) -> bool:
    """Go on in another API when all steps have run. Returns whether there is one; the request is answered if not."""
    name = address.loop
    if go_round(x, api.worker.loops, api.start, name, address.path, address.query, later=True, instead=True):
        return True
    api.refused("a plugin", f"it leads to tyk://{name}, and there is no such API")
    x.fail(500, NOT_FOUND)
    return False


def _rewrite(x: Exchange, api: Api, address: Address, text: str, pending: bytes) -> None:
    """Another target in the place of the one that a rewrite has said. Its host counts if that one had one."""
    target = x.pending_target
    scheme, mark, rest = text.partition("://")
    if mark and target is not None and scheme.lower() in ("http", "https"):
        host = rest.partition("/")[0].partition("?")[0].partition("#")[0]
        try:
            target = api.named(f"{scheme.lower()}://{host}")
        except ValueError as error:
            raise ResultError(f"no upstream: {error}", URL) from None
    elif not mark and pending[:6] == b"tyk://":
        target = None
    x.rewrite(api.strip(address.path), address.query, target, text.encode())
