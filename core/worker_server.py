"""What one worker serves: data paths on its sockets, the current plans, the access log."""

from __future__ import annotations

import asyncio
import json
import logging
from socket import socket
from typing import Any

from accel.accesslog import AccessLog
from accel.http1 import Gateway
from accel.limits import LimitTable
from accel.router import Router
from core.admin.context import AdminContext, LoadedApis
from core.admin.probe import StoreProbe
from core.admin.routes import Admin
from core.apidef.snapshot import Snapshot
from core.apidef.specs import PlanSpec
from core.controls import Controls
from core.errors.pages import ErrorPages
from core.events.hub import ApiEvents
from core.findings import Finding
from core.gateway import product_version
from core.obs.access import select_fields
from core.obs.mirror import Mirror
from core.plans import PlanBuilder
from core.plugins.events import plugin_handlers
from core.plugins.python_store import PythonStore
from core.plugins.service import PluginService
from core.process.app import WorkerContext
from core.scripts.events import script_handlers
from core.scripts.service import ScriptService
from core.services import Services
from core.sessions.policies import Policies
from core.tls import TlsError, server_context
from core.trace import Tracer

log = logging.getLogger("preforge")

CLOSE_SECONDS = 3.0     # to tell the store what was counted and recorded without it
UNDERSCORES = {"ambiguous": 0, "refuse": 1, "drop": 2, "allow": 3}


def settings(config: Any) -> dict[str, Any]:
    """Settings of the data path (accel.http1.DEFAULTS) from the configuration."""
    server = config.http_server_options
    ours = config.preforge
    limits, times, up = ours.limits, ours.timeouts, ours.upstream

    def ms(seconds: float) -> int:
        return int(seconds * 1000)

    return {
        "max_head": limits.max_head_bytes,
        "max_target": limits.max_target_bytes,
        "max_fields": limits.max_headers,
        "underscores": UNDERSCORES[limits.underscore_headers],
        "max_clients": limits.max_connections,
        "max_requests": limits.max_requests_per_connection,
        "max_trailer": limits.max_trailer_bytes,
        "max_extension": limits.max_chunk_extension_bytes,
        "max_body": server.max_request_body_size,
        "max_buffered": limits.max_buffered_body_bytes,
        "max_held": limits.max_buffered_response_bytes,
        "max_origin": up.max_connections_per_host,
        "max_waiters": up.max_waiters,
        "max_up_head": up.max_head_bytes,
        "max_up_requests": up.max_requests_per_connection,
        "max_idle": config.max_idle_connections_per_host or up.max_connections_per_host,
        "head_ms": ms(times.head),
        "idle_ms": ms(times.idle),
        "body_ms": ms(times.body),
        "send_ms": ms(times.send),
        "total_ms": ms(server.read_timeout or times.request),
        "linger_ms": ms(times.linger),
        "drain_idle_ms": ms(times.drain_idle),
        "min_rate": times.min_rate,
        "up_idle_ms": ms(up.idle_timeout),
        "connect_ms": ms(up.connect_timeout or config.proxy_default_timeout),
        "wait_ms": ms(up.wait_timeout),
        "up_age_ms": ms(config.max_conn_time),
        "clean_urls": not server.skip_url_cleaning,
        "escape_paths": not server.skip_target_path_escaping,
        "websockets": server.enable_websockets,
        "close_connections": config.close_connections,
        "up_close": config.proxy_close_connections,
        "id_header": ours.request_id.header.encode() or b"X-Request-Id",
        "id_response": ours.request_id.response,
        "id_upstream": ours.request_id.upstream,
        "id_trust": ours.request_id.trust_client,
        "rate_headers": config.rate_limit_response_headers == "rate_limits",
        "forward_trailers": ours.forward_request_trailers,
        "generator": None if config.hide_generator_header else b"Preforge",
        "user_agent": f"Preforge/{product_version()}".encode(),
    }


class WorkerServer:
    """Serves until drained. configure() may be called again at any time; running requests keep their plan."""

    def __init__(self, ctx: WorkerContext, config: Any, limits: LimitTable, node_id: str, socket_path: str) -> None:
        """limits: the node's counters; node_id: how this node calls itself to others; socket_path: of the embedded store."""
        loop = asyncio.get_running_loop()
        self.services = Services(
            config, limits, ctx.counters, leader=ctx.slot == 0, node_id=node_id, socket_path=socket_path,
            request_reload=ctx.request_reload,
        )  # fmt: skip
        self._loop = loop
        self._access = self._access_log(config)
        pages = ErrorPages(config.template_path)
        self.main = Gateway(loop, ctx.region, pages.render, log, self._access, settings(config))
        # With a port of its own for control, that port serves no API and the main port no control path.
        self.control = Gateway(loop, ctx.region, pages.render, log, None, settings(config)) \
            if "control" in ctx.sockets else self.main  # fmt: skip
        self.main.recorder = self.services.analytics.recorder
        self._names: dict[str, str] = {}
        services = self.services
        self.admin = AdminContext(
            config=config,
            store=services.store,
            keyspace=services.keyspace,
            policies=Policies(),
            apis=LoadedApis(),
            request_reload=ctx.request_reload,
            publish=services.publish,
            on_key_changed=services.sessions.change,
            fire=services.events.fire_system,
            unreported=services.quota.unreported,
            health=services.analytics.health_of,
            responses=services.responses.store,
            trace=self._trace,
        )
        services.scripts = ScriptService(self.admin, ctx.counters, ctx.region, ctx.request_replacement)
        python = PythonStore(services.store, services.events.fire_system)
        services.plugins = PluginService(config, ctx.counters, ctx.region, python)
        self._builder = PlanBuilder(self.main, ctx.counters, self.services)
        self._tracer = Tracer(pages.render, services, lambda: settings(self.admin.config))
        self._probe = StoreProbe(services.store, config.liveness_check.check_duration)
        self._controls = Controls(
            ctx.counters,
            lambda: self._names,
            Admin(self.admin, product_version()),
            self._probe,
            services.plugins.details,
            product_version(),
        )
        self._mirror = Mirror(ctx.region, self.services.counters, self.services.gauges)
        self._servers: list[asyncio.Server] = []
        self._handshake = max(0.1, float(config.preforge.timeouts.head))
        self._backlog = max(1, config.preforge.backlog)  # uvloop calls listen() again
        self._tls = server_context(config.http_server_options) if config.http_server_options.use_ssl else None
        self._flusher: asyncio.TimerHandle | None = None
        self._flush_seconds = max(0.05, float(config.preforge.access_log.flush_interval))
        if self._access is not None:
            self._flush()

    async def _trace(self, spec: PlanSpec, message: bytes) -> tuple[bytes, str]:
        return await self._tracer.play(spec, message, self.admin.config)

    def _access_log(self, config: Any) -> AccessLog | None:
        if not config.access_logs.enabled:
            return None
        ours = config.preforge.access_log
        fields, findings = select_fields(config.access_logs.template, "tyk.conf")
        for finding in findings:
            log.warning("%s", finding.render())
        return AccessLog(ours.path or 2, ours.format, ours.buffer_bytes, fields)

    def _flush(self) -> None:
        if self._access is not None:
            self._access.flush()
        self._flusher = self._loop.call_later(self._flush_seconds, self._flush)

    async def start(self) -> None:
        """Begin to talk to the store."""
        await self.services.start()
        self._mirror.start()
        self._probe.start()

    async def configure(
        self, config: Any, specs: list[PlanSpec], policies: Policies, snapshot: Snapshot | None
    ) -> list[Finding]:
        """Use a configuration and definitions from the next request on. Returns what could not be used."""
        self.admin.config, self.admin.policies, self.admin.apis = config, policies, LoadedApis(snapshot)
        scripts = self.services.scripts
        scripts.configure(config)
        findings = await scripts.prepare(specs)
        plugins = self.services.plugins
        plugins.configure(config)
        findings += await plugins.prepare(specs)
        handlers = {
            spec.api_id: ApiEvents(
                spec.file,
                json.loads(spec.events)["events"],
                {**script_handlers(spec, scripts.make), **plugin_handlers(spec, plugins)},
            )
            for spec in specs
            if spec.events
        }
        findings += self.services.configure(config, policies, handlers)
        built = self._builder.build(specs, config)
        built.findings[:0] = findings
        await asyncio.sleep(0)
        pages = ErrorPages(config.template_path)
        for gateway in {self.main, self.control}:
            gateway.configure(settings(config))
            gateway.address_of = self.services.analytics.address
            gateway.set_pages(pages.render)
        self._controls.install(self.control, config)
        if self.control is not self.main:
            # The number of APIs is that of the last one.
            self.control.swap(Router(), ())
        self.main.swap(built.router, built.origins)
        self._names = built.names
        if self._tls is not None:
            try:
                self._renew_tls(config)
            except TlsError as error:
                built.findings.append(Finding("error", "tyk.conf", "$.http_server_options", str(error)))
        return built.findings

    def _renew_tls(self, config: Any) -> None:
        """New handshakes use certificates as they are on disk now."""
        if self._tls is None:
            return
        fresh = server_context(config.http_server_options)
        choose = fresh.sni_callback

        def renewed(connection: Any, name: Any, context: Any) -> Any:
            connection.context = fresh
            return choose(connection, name, context) if choose is not None else None

        self._tls.sni_callback = renewed

    async def listen(self, sockets: dict[str, socket]) -> None:
        """Accept on the slot's sockets; the master keeps its own descriptors of them."""
        for name, sock in sockets.items():
            gateway = self.control if name == "control" else self.main
            handshake = self._handshake if self._tls is not None else None
            server = await self._loop.create_server(
                gateway.client, sock=sock, ssl=self._tls, backlog=self._backlog, ssl_handshake_timeout=handshake
            )
            self._servers.append(server)

    async def drain(self, grace: float) -> None:
        """Stop accepting and finish what runs, for at most `grace` seconds."""
        for server in self._servers:
            server.close()
        self._servers = []
        await asyncio.gather(*(gateway.drain(grace) for gateway in {self.main, self.control}))
        await self.services.close(min(grace, CLOSE_SECONDS))
        self._mirror.close()
        self._end()

    def abort(self) -> None:
        for gateway in {self.main, self.control}:
            gateway.abort()
        self._end()

    def _end(self) -> None:
        self._probe.close()
        if self._flusher is not None:
            self._flusher.cancel()
        if self._access is not None:
            self._access.flush()
