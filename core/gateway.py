"""The gateway as the process model sees it: what is loaded, what a worker serves, how it changes."""

from __future__ import annotations

import asyncio
import logging
import os
import pickle
import sys
import uuid
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from accel.limits import LimitTable
from core.apidef.compile import plan_specs
from core.apidef.options import compile_options, from_config
from core.apidef.read import read_directory
from core.apidef.snapshot import Snapshot
from core.config import Config, ConfigError, load
from core.config.load import changed, held
from core.errors.pages import ErrorPages
from core.events.check import check_events
from core.findings import Finding
from core.process.app import BootError, EmbeddedSpec, Limits, ListenerSpec, LoadReport, WorkerContext
from core.sessions.policies import Policies
from core.sessions.policy_files import read_policies
from core.store.check import check as check_stores
from core.store.check import describe
from core.store.embedded import embedded_spec
from core.store.errors import StoreError

if TYPE_CHECKING:
    from core.worker_server import WorkerServer

log = logging.getLogger("preforge")


def product_version() -> str:
    """Version of the installed distribution."""
    try:
        return version("preforge")
    except PackageNotFoundError:
        return "0"


class GatewayApp:
    """Implements core.process.app.App. The master holds the last good configuration and definitions in it."""

    def __init__(self, path: str | None, environ: Mapping[str, str], port: int | None = None) -> None:
        """Read the configuration. Raises ConfigError."""
        self._environ = dict(environ)
        self._port = port
        loaded = load(path, environ, port=port)
        self.config: Config = loaded.config
        self.path = loaded.path
        self.findings = loaded.findings
        self._snapshot: Snapshot | None = None
        self._policies = Policies()
        self._table: LimitTable | None = None
        self._node_id = uuid.uuid4().hex
        self._server: WorkerServer | None = None

    # -- in the master ---------------------------------------------------------

    def listeners(self) -> list[ListenerSpec]:
        config = self.config
        found = [ListenerSpec("main", config.listen_address, config.listen_port)]
        if config.control_api_port:
            found.append(ListenerSpec("control", config.listen_address, config.control_api_port))
        return found

    def limits(self) -> Limits:
        config = self.config
        ours = config.preforge
        return Limits(
            workers=ours.workers or len(os.sched_getaffinity(0)),
            shared_listener=ours.listener == "shared",
            backlog=max(1, ours.backlog),
            worker_timeout=ours.worker_timeout,
            start_timeout=ours.worker_start_timeout,
            backoff_max=ours.crash_backoff_max,
            drain_delay=config.graceful_shutdown_delay_seconds,
            drain_timeout=config.graceful_shutdown_timeout_duration,
        )

    def rows(self) -> int:
        return max(2, int(self.config.preforge.metrics.max_apis))

    def storage(self) -> EmbeddedSpec | None:
        """The embedded store of the configuration. Raises BootError if it cannot be run, or another one not be used."""
        errors = [finding.render() for finding in check_stores(self.config, self.path) if finding.severity == "error"]
        if errors:
            raise BootError("\n".join(errors))
        try:
            return embedded_spec(self.config, self.path)
        except StoreError as error:
            raise BootError(f"{self.path}: {error}") from error

    def store(self) -> tuple[str, str]:
        return describe(self.config)

    def load(self) -> LoadReport:
        findings: list[Finding] = []
        config = self.config
        try:
            loaded = load(self.path, self._environ, port=self._port)
        except ConfigError as error:
            return LoadReport(b"", error.findings, ok=False, summary=f"{self.path} cannot be used: {error}")
        findings += loaded.findings
        config = loaded.config
        for option in changed(self.config, config):
            if option.effect == "restart":
                findings.append(
                    Finding(
                        "warning", self.path, f"$.{option.path}", "the change needs a restart of the gateway"
                    )
                )
        stores = check_stores(config, self.path)
        findings += stores
        if any(finding.severity == "error" for finding in stores):
            return LoadReport(b"", findings, ok=False, summary=f"{self.path} cannot be used: see the findings about its stores")
        # Workers that are replaced later are to use the store, and all else that is fixed, like those that run.
        config = held(self.config, config)
        result = read_directory(config.app_path, from_config(config, self._environ, self.path), self._snapshot)
        findings += result.findings
        if not result.ok:
            return LoadReport(b"", findings, ok=False, summary=f"{config.app_path} cannot be read")
        policies = read_policies(config, self._policies)
        findings += policies.findings
        if config.template_path:
            findings += ErrorPages(config.template_path).findings
        findings += check_events(config, self.path, result.snapshot)
        return LoadReport(pickle.dumps((config, result.snapshot, policies.policies)), findings)

    def adopt(self, report: LoadReport) -> bytes:
        before = self._snapshot or Snapshot()
        self.config, self._snapshot, self._policies = pickle.loads(report.payload)
        self.limit_table()
        return pickle.dumps((self.config, self._snapshot.diff(before), self._policies))

    def limit_table(self) -> LimitTable:
        """The counters of limits: made in the master before its first fork, then the same for the node's whole life."""
        if self._table is None:
            self._table = LimitTable.create(self.config.preforge.limits.max_counters)
        return self._table

    def snapshot(self) -> bytes:
        """What `restore` of a later image takes: the last good definitions and policies, the counters of limits."""
        return pickle.dumps((self._snapshot, self._policies, self.limit_table().fd))

    def restore(self, state: bytes) -> None:
        """Take over the last good definitions of an earlier image; unreadable ones are left behind."""
        try:
            self._snapshot, self._policies, limits = pickle.loads(state)
            self._table = LimitTable.attach(limits)
        except (pickle.UnpicklingError, AttributeError, ImportError, IndexError, EOFError, TypeError, ValueError, OSError):
            log.warning("upgrade: the definitions of the old code cannot be taken over; reading them anew")

    # -- in a worker -------------------------------------------------------------

    async def start_worker(self, ctx: WorkerContext) -> None:
        from core.worker_server import WorkerServer  # noqa: PLC0415  # event loop code: not for the master

        self._server = WorkerServer(
            ctx, self.config, self.limit_table(), self._node_id, ctx.storage_socket
        )
        await self._server.start()
        findings = await self._server.configure(self.config, self._specs(), self._policies, self._snapshot)
        for finding in findings:
            log.error("%s", finding.render())
        await self._server.listen(ctx.sockets)

    def _specs(self) -> list[Any]:
        if self._snapshot is None:
            return []
        return plan_specs(self._snapshot, compile_options(self.config))

    async def swap(self, message: bytes) -> list[Finding]:
        if self._server is None:
            raise RuntimeError("the worker has not started yet")
        self.config, delta, self._policies = pickle.loads(message)
        self._snapshot = (self._snapshot or Snapshot()).apply(delta)
        await asyncio.sleep(0)
        return await self._server.configure(self.config, self._specs(), self._policies, self._snapshot)

    async def drain(self, grace: float) -> None:
        if self._server is not None:
            await self._server.drain(grace)

    def abort(self) -> None:
        if self._server is not None:
            self._server.abort()


def set_up_logging(config: Config) -> None:
    """Log to standard error as tyk.conf says."""
    from core.obs.logs import set_up  # noqa: PLC0415

    set_up(config.log_level, config.log_format or "text", sys.stderr)
