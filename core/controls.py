"""The gateway's own paths: liveness, readiness, metrics and the administration API (tyk-core 4.1, 4.2, 8.1)."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from accel.http1 import Exchange, Gateway, Plan, PyStep
from accel.shm import SharedCounters
from core.admin.probe import StoreProbe
from core.admin.replies import TEXT, reply
from core.admin.routes import Admin
from core.obs import metrics

STORE_AWAY = "Redis connection not available"


class Controls:
    """Installs the control plans on a data path. One per worker."""

    def __init__(
        self,
        counters: SharedCounters,
        names: Callable[[], Mapping[str, str]],
        admin: Admin,
        probe: StoreProbe,
        plugins: Callable[[], dict[str, Any]],
        version: str,
    ) -> None:
        """names: api_id -> name of the APIs that are loaded; admin: answers under /tyk/; plugins: the
        details of plugin servers, of which `output` is for administrators."""
        self._counters = counters
        self._names = names
        self._admin = admin
        self._probe = probe
        self._plugins = plugins
        self._version = version
        self._networks: list[ipaddress.IPv4Network | ipaddress.IPv6Network] = []

    def install(self, gateway: Gateway, config: Any) -> None:
        """(Re)place the control plans according to a configuration."""
        self._networks = [ipaddress.ip_network(item, strict=False) for item in config.preforge.metrics.allow]
        self._probe.configure(config.liveness_check.check_duration)
        gateway.clear_controls()
        self._add(gateway, f"/{config.health_check_endpoint_name}", self._hello)
        self._add(gateway, f"/{config.readiness_check_endpoint_name}", self._ready)
        if config.preforge.metrics.path:
            self._add(gateway, config.preforge.metrics.path, self._metrics)
        guard = _plan(self._admin.guard)
        guard.link(_plan(self._admin.serve, needs_body=True))
        gateway.control_plan(b"/tyk/", guard, True)

    def _add(self, gateway: Gateway, path: str, function: Callable[[Exchange], Awaitable[None] | None]) -> None:
        gateway.control_plan(path.encode(), _plan(function))

    def _hello(self, x: Exchange) -> None:
        if x.method != b"GET":
            reply(x, 405, {"status": "error", "message": "Method Not Allowed"})
        else:
            reply(x, 200, self._state(x, "Preforge"))

    def _ready(self, x: Exchange) -> None:
        if x.method != b"GET":
            reply(x, 405, {"status": "error", "message": "Method Not Allowed"})
        elif x.gw.draining:
            reply(x, 503, {"status": "error", "message": "Gateway is shutting down"})
        elif not self._probe.ok:
            reply(x, 503, {"status": "error", "message": STORE_AWAY})
        else:
            reply(x, 200, self._state(x, "Preforge Ready"))

    def _state(self, x: Exchange, description: str) -> dict[str, Any]:
        details = self._probe.details()
        # Without the store nothing works; without a plugin only the APIs do not that call it.
        plugins = self._plugins()
        status = "warn" if any(item["status"] != "pass" for item in plugins.values()) else "pass"
        if any(item["status"] == "fail" for item in details.values()):
            status = "fail"
        if not self._admin.knows(x):
            # It has what programs said and where they are; the log has it, too.
            plugins = {name: {key: item[key] for key in item if key != "output"} for name, item in plugins.items()}
        details = {**details, **plugins}
        state: dict[str, Any] = {
            "status": status,
            "version": self._version,
            "description": description,
        }
        return {**state, "details": details} if details else state

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


def _plan(function: Callable[[Exchange], Awaitable[None] | None], *, needs_body: bool = False) -> Plan:
    return Plan(b"", name=b"control", row=-1, steps=[PyStep(function)], needs_body=needs_body)
