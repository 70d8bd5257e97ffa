"""The gateway's own paths: liveness, readiness, metrics and the administration API (tyk-core 4.1, 4.2, 8.1)."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from accel.http1 import Exchange, Gateway, Plan, PyStep
from accel.shm import SharedCounters
from core.obs import metrics
from core.plans import same_secret

log = logging.getLogger("preforge.admin")

JSON = (b"Content-Type", b"application/json")
TEXT = (b"Content-Type", b"text/plain; charset=utf-8")
FORBIDDEN = "Attempted administrative access with invalid or missing key!"


def reply(x: Exchange, status: int, body: Any) -> None:
    """Answer with JSON as Go prints it: compact, `<>&` escaped, a line feed at the end."""
    text = json.dumps(body, separators=(",", ":"), ensure_ascii=False)
    for char in "<>&":
        text = text.replace(char, f"\\u{ord(char):04x}")
    x.answer(status, [JSON], text.encode() + b"\n")


class Controls:
    """Installs the control plans on a data path. One per worker."""

    def __init__(
        self,
        counters: SharedCounters,
        names: Callable[[], Mapping[str, str]],
        request_reload: Callable[[], Awaitable[str]],
        version: str,
    ) -> None:
        """names: api_id -> name of the APIs that are loaded; request_reload: asks the master, returns an error or ""."""
        self._counters = counters
        self._names = names
        self._request_reload = request_reload
        self._version = version
        self._config: Any = None
        self._networks: list[ipaddress.IPv4Network | ipaddress.IPv6Network] = []
        self._background: set[asyncio.Task[None]] = set()

    def install(self, gateway: Gateway, config: Any) -> None:
        """(Re)place the control plans according to a configuration."""
        self._config = config
        self._networks = [ipaddress.ip_network(item, strict=False) for item in config.preforge.metrics.allow]
        gateway.clear_controls()
        self._add(gateway, f"/{config.health_check_endpoint_name}", self._hello)
        self._add(gateway, f"/{config.readiness_check_endpoint_name}", self._ready)
        if config.preforge.metrics.path:
            self._add(gateway, config.preforge.metrics.path, self._metrics)
        self._add(gateway, "/tyk/", self._admin, prefix=True)

    def _add(
        self,
        gateway: Gateway,
        path: str,
        function: Callable[[Exchange], Awaitable[None] | None],
        prefix: bool = False,
    ) -> None:
        plan = Plan(b"", name=b"control", row=-1, steps=[PyStep(function)], needs_body=True)
        gateway.control_plan(path.encode(), plan, prefix)

    def _hello(self, x: Exchange) -> None:
        if x.method != b"GET":
            reply(x, 405, {"status": "error", "message": "Method Not Allowed"})
            return
        reply(x, 200, {"status": "pass", "version": self._version, "description": "Preforge",
                       "details": {"worker": {"status": "pass", "componentType": "system",
                                              "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}}})  # fmt: skip

    def _ready(self, x: Exchange) -> None:
        if x.method != b"GET":
            reply(x, 405, {"status": "error", "message": "Method Not Allowed"})
        elif x.gw.draining:
            reply(x, 503, {"status": "error", "message": "Gateway is shutting down"})
        else:
            reply(x, 200, {"status": "pass", "version": self._version, "description": "Preforge Ready"})

    async def _metrics(self, x: Exchange) -> None:
        address = ipaddress.ip_address(x.remote_addr.decode().partition("%")[0] or "0.0.0.0")
        if not any(address in network for network in self._networks):
            x.answer(403, [TEXT], b"not in preforge.metrics.allow\n")
            return
        parts = []
        for part in metrics.render_chunks(self._counters, self._names(), self._version):
            parts.append(part)
            await asyncio.sleep(0)
        x.answer(200, [(b"Content-Type", b"text/plain; version=0.0.4; charset=utf-8")], b"".join(parts))

    async def _admin(self, x: Exchange) -> None:
        if not same_secret(x.header(b"X-Tyk-Authorization"), self._config.secret):
            reply(x, 403, {"status": "error", "message": FORBIDDEN})
            return
        path = x.decoded_path.rstrip(b"/")
        if path not in (b"/tyk/reload", b"/tyk/reload/group"):
            x.answer(404, [TEXT, (b"X-Content-Type-Options", b"nosniff")], b"404 page not found\n")
        elif x.method != b"GET":
            reply(x, 405, {"status": "error", "message": "Method not supported"})
        elif b"block=true" in x.query.split(b"&"):
            error = await self._request_reload()
            if error:
                reply(x, 500, {"status": "error", "message": error})
            else:
                reply(x, 200, {"status": "ok", "message": ""})
        else:
            task = asyncio.create_task(self._reload_later())
            self._background.add(task)
            task.add_done_callback(self._background.discard)
            reply(x, 200, {"status": "ok", "message": ""})

    async def _reload_later(self) -> None:
        error = await self._request_reload()
        if error:
            log.error("reload: %s", error)
