"""Which handler answers which path (tyk-core 4.1)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import parse_qsl

from accel.http1 import Exchange
from core.admin import apis, cache, debug, health, key_writes, keys, openapi, orgs, policies, reload, versions
from core.admin.context import AdminContext
from core.admin.replies import TEXT, Refused, Reply, Request, reply
from core.plans import same_secret
from core.store.errors import StoreAway, StoreError

log = logging.getLogger("preforge.admin")

FORBIDDEN = "Attempted administrative access with invalid or missing key!"
PREFIX = "/tyk"
OPENAPI = f"{PREFIX}/openapi.json"
NO_SNIFF = (b"X-Content-Type-Options", b"nosniff")
Handler = Callable[[AdminContext, Request], Awaitable[Reply]]


@dataclass(frozen=True, slots=True)
class Route:
    """A method and a path below /tyk/; a segment in braces is variable and not empty."""

    method: str
    path: str
    handler: Handler

    def match(self, segments: list[str]) -> dict[str, str] | None:
        """The variable parts of a path, None if it is another one."""
        mine = self.path.split("/")
        if len(mine) != len(segments):
            return None
        found: dict[str, str] = {}
        for pattern, segment in zip(mine, segments, strict=True):
            if pattern.startswith("{") and segment:
                found[pattern[1:-1]] = segment
            elif pattern != segment:
                return None
        return found


# The first that fits answers, so that fixed segments stand before variable ones.
ROUTES = (
    Route("GET", "reload", reload.node),
    Route("GET", "reload/group", reload.group),
    Route("GET", "apis", apis.list_all),
    Route("POST", "apis", apis.add),
    Route("GET", "apis/{api}", apis.get),
    Route("POST", "apis/{api}", apis.add),
    Route("PUT", "apis/{api}", apis.change),
    Route("DELETE", "apis/{api}", apis.delete),
    Route("GET", "apis/{api}/versions", versions.list_all),
    Route("POST", "keys/create", key_writes.create),
    Route("POST", "keys/preview", keys.preview),
    Route("GET", "keys", keys.list_all),
    Route("POST", "keys", key_writes.add),
    Route("GET", "keys/{key}", keys.get),
    Route("POST", "keys/{key}", key_writes.add),
    Route("PUT", "keys/{key}", key_writes.change),
    Route("DELETE", "keys/{key}", keys.delete),
    Route("POST", "keys/policy/{key}", keys.set_policy),
    Route("GET", "policies", policies.list_all),
    Route("POST", "policies", policies.add),
    Route("PUT", "policies", policies.change_none),
    Route("DELETE", "policies", policies.delete_none),
    Route("GET", "policies/{policy}", policies.get),
    Route("POST", "policies/{policy}", policies.add),
    Route("PUT", "policies/{policy}", policies.change),
    Route("DELETE", "policies/{policy}", policies.delete),
    Route("GET", "org/keys", orgs.list_all),
    Route("GET", "org/keys/{org}", orgs.get),
    Route("POST", "org/keys/{org}", orgs.add),
    Route("PUT", "org/keys/{org}", orgs.change),
    Route("DELETE", "org/keys/{org}", orgs.delete),
    Route("DELETE", "cache/{api}", cache.clear),
    Route("GET", "health", health.get),
    Route("POST", "debug", debug.play),
)


def find(method: str, path: str) -> tuple[Handler, dict[str, str]] | list[str]:
    """The handler for a method and a path below /tyk/, else the methods that the path has."""
    segments = path.split("/")
    allowed: list[str] = []
    for route in ROUTES:
        params = route.match(segments)
        if params is None:
            continue
        if route.method == method:
            return route.handler, params
        allowed.append(route.method)
    return list(dict.fromkeys(allowed))


def _knows(x: Exchange, secret: str) -> bool:
    """Whether a request carries the secret: in one field, since a proxy in front may look at another one of several."""
    given = [value for name, value in x.req.items() if name.lower() == b"x-tyk-authorization"]
    return len(given) == 1 and same_secret(given[0], secret)


class Admin:
    """Answers exchanges under /tyk/; what was begun is finished even if the client goes away."""

    def __init__(self, context: AdminContext, version: str) -> None:
        """context: kept up to date by its owner; version: of the product, for its description."""
        self._context = context
        self._version = version
        self._running: set[asyncio.Task[Reply]] = set()

    def guard(self, x: Exchange) -> None:
        """Refuse who does not know the secret, before a byte of the body is kept."""
        if x.decoded_path == OPENAPI.encode() and x.method == b"GET":
            reply(x, 200, openapi.text(tuple((route.method, route.path) for route in ROUTES), self._version))
            return
        if not self.knows(x):
            reply(x, 403, {"status": "error", "message": FORBIDDEN})

    def knows(self, x: Exchange) -> bool:
        """Whether a request comes from an administrator: it carries the secret."""
        return _knows(x, self._context.config.secret)

    async def serve(self, x: Exchange) -> None:
        """Answer a request that has passed the guard."""
        path = x.decoded_path
        if path == b"/tyk/":
            x.answer(301, [(b"Location", b"/")])
            return
        try:
            text = path.decode().rstrip("/")
            query = dict(reversed(parse_qsl(x.query.decode("utf-8", "replace"), keep_blank_values=True)))
        except ValueError:
            reply(x, 400, {"status": "error", "message": "Request malformed"})
            return
        found = find(x.method.decode("latin-1"), text.removeprefix(f"{PREFIX}/"))
        if isinstance(found, list):
            self._no_handler(x, text, found)
            return
        handler, params = found
        request = Request(x.method.decode("latin-1"), x.body or b"", params, query)
        task = asyncio.get_running_loop().create_task(self._answer(handler, request))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        answer = await asyncio.shield(task)
        reply(x, answer.status, answer.raw())

    def _no_handler(self, x: Exchange, path: str, allowed: list[str]) -> None:
        if path == OPENAPI:
            allowed = ["GET"]
        if allowed:
            body = {"status": "error", "message": "Method not supported"}
            # RFC 9110 section 15.5.6.
            reply(x, 405, body, (b"Allow", ", ".join(allowed).encode()))
        else:
            x.answer(404, [TEXT, NO_SNIFF], b"404 page not found\n")

    async def _answer(self, handler: Handler, request: Request) -> Reply:
        try:
            return await handler(self._context, request)
        except Refused as refused:
            return refused.reply()
        except StoreAway as error:
            return Refused(503, f"The store of keys cannot be reached: {error}").reply()
        except StoreError as error:
            log.error("administration: the store refused: %s", error)
            return Refused(503, f"The store of keys refused: {error}").reply()
