"""A hook's result, applied to the request in Tyk's order (tyk-jsvm 9.3, steps 2 to 6)."""

from __future__ import annotations

from urllib.parse import unquote_to_bytes

from accel.http1 import Exchange
from core.edits.addresses import parse
from core.edits.headers import edit_request
from core.edits.query import changed
from core.scripts.answers import loop
from core.scripts.context import Api
from jsvm_pool.results import HookResult, ResultError


def edit(x: Exchange, api: Api, found: HookResult, url: str) -> None:
    """Body, URL, headers and parameters. url: the one that the script was given. Raises ResultError for what cannot stand
    in a request; the request is refused then."""
    if found.body is not None and found.body != (x.body or b""):
        x.set_body(found.body)
    path, query, end = x.path, x.query, x.route_end
    if found.url != url:
        address = parse(found.url, "Request.URL")
        if address.loop:
            loop(x, api, address, later=True)
        else:
            path, query, end = address.path, address.query, api.listen_end(unquote_to_bytes(address.path))
    if found.set_headers or found.delete_headers:
        edit_request(x, found.delete_headers, found.set_headers, api.spell, "Request.SetHeaders")
    query = changed(query, found.delete_params, found.add_params, found.extended_params)
    if path is x.path and query == x.query:
        return
    try:
        x.set_url(path, query, end)
    except ValueError as error:
        raise ResultError(str(error), "Request.URL") from None
