"""A receiver of web hooks, and gateways that send them."""

from __future__ import annotations

from tests.support.gateway import Json, wait_for
from tests.support.site import Site
from tests.support.upstream import Seen


def received(site: Site, path: str, count: int) -> list[Seen]:
    """The hooks for a path of the upstream, when `count` of them have arrived; more of them fail."""
    wait_for(lambda: sum(seen.complete for seen in site.upstream.seen(path)) >= count, f"{count} hooks at {path}")
    found = site.upstream.seen(path)
    assert len(found) == count, found
    return found


def hook(site: Site, path: str, **more: object) -> Json:
    """A web hook handler for a path of the upstream."""
    meta = {"method": "POST", "target_path": site.upstream.url + path, **more}
    return {"handler_name": "eh_web_hook_handler", "handler_meta": meta}
