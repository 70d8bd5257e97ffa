"""The scripts of one worker: its pool of contexts, made when the first API needs it, and what it counts."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import logging
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from accel import shm
from accel.shm import Region
from core.admin.context import AdminContext
from core.apidef.event_scripts import FIELD
from core.apidef.specs import PlanSpec, TransportSpec
from core.config.global_hooks import PLACE
from core.findings import Finding
from core.obs.hooks import OUTCOMES, row_name
from core.scripts.context import Script
from core.scripts.host import HostFunctions
from core.scripts.host_types import Caller, HostError
from core.scripts.session_text import EMPTY
from jsvm_pool import v8
from jsvm_pool.payloads import constants_text
from jsvm_pool.pool import CallResult, Counter, Hook, Pool
from jsvm_pool.program import Program
from jsvm_pool.settings import PoolSettings, Report
from jsvm_pool.traces import program_sources
from jsvm_pool.v8 import EngineError

log = logging.getLogger("preforge.jsvm")

DEFAULT_TIMEOUT = 5     # seconds, tyk-jsvm 1
_HTTP = re.compile(r"TykMakeHttpRequest|TykBatchRequest|TykFetch")
UNDEFINED, TEXT, THROW = range(3)   # how a host call ends, see Isolate.answer
_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


class Rows(Protocol):
    """Where the numbers of a hook are counted."""

    def row_for(self, api_id: str) -> int: ...


@dataclass(frozen=True, slots=True)
class Owner:
    """On whose behalf a script runs: an API."""

    api_id: str
    org_id: str
    name: str
    tls: TransportSpec | None


def owner_of(spec: PlanSpec) -> Owner:
    return Owner(spec.api_id, spec.org_id, spec.name, spec.tls)


def timeout_of(config: Any) -> float:
    """jsvm_timeout in seconds; 0 and less are the default."""
    return float(config.jsvm_timeout) if config.jsvm_timeout > 0 else float(DEFAULT_TIMEOUT)


def pool_settings(config: Any) -> PoolSettings:
    """The bounds of preforge.jsvm."""
    ours = config.preforge.jsvm
    return PoolSettings(
        contexts=max(1, ours.contexts),
        max_contexts=max(1, ours.contexts, ours.max_contexts),
        memory=int(max(8.0, ours.memory_limit_mb) * (1 << 20)),
        max_queued=max(0, ours.max_queued),
        result_bytes=ours.max_result_bytes,
        log_bytes=ours.max_log_bytes,
        empty_session=EMPTY.decode(),
    )


class Unavailable:
    """Stands for a script where V8 cannot be used."""

    def __init__(self, loop: asyncio.AbstractEventLoop, why: str) -> None:
        self._loop = loop
        self._why = why

    def call(self, payload: bytes, done: Callable[[CallResult], None], /) -> None:
        """The request is refused."""
        self._loop.call_soon(done, CallResult("disabled", None, self._why))


class ScriptService:
    """One per worker, on its loop."""

    def __init__(
        self, admin: AdminContext, rows: Rows, region: Region, replace: Callable[[str], None] | None = None
    ) -> None:
        """admin: what the REST API works on, which host functions reach keys through; replace: asks for another worker in
        this one's place, when a script cannot be ended."""
        self._replace = replace
        self._loop = asyncio.get_running_loop()
        self._admin = admin
        self._rows = rows
        self._region = region
        self._pool: Pool | None = None
        self._failed = ""
        self._host = HostFunctions(admin)
        self._timeout = timeout_of(admin.config)

    def configure(self, config: Any) -> None:
        """Take another configuration, for scripts that are made from now on."""
        self._host.configure(config)
        self._timeout = timeout_of(config)

    async def prepare(self, specs: Iterable[PlanSpec]) -> list[Finding]:
        """Load the scripts of all APIs; those that fail are reported, and fail again when they are called."""
        found = {program: (spec, part) for spec in specs for program, part in _programs(spec)}
        if self._pool is not None:
            self._pool.configure(pool_settings(self._admin.config), found)
        if not found:
            return []
        if self._pool is None and not self._failed:
            with contextlib.suppress(EngineError):      # it is reported where the pool is made
                await asyncio.to_thread(v8.preload)
        if any(_asks_for_http(program) for program in found):
            await asyncio.to_thread(importlib.import_module, "core.outbound.client")    # it would hold up the first request
        pool = self._open()
        if pool is None:
            return [Finding("error", part.file or spec.file, part.place, self._failed) for spec, part in found.values()]
        hooks = [Hook(pool, program, 0, part.mode, owner_of(spec), self._timeout) for program, (spec, part) in found.items()]
        reports = await pool.prepare(hooks)
        return [finding for program, report in reports.items() for finding in _findings(*found[program], program, report)]

    def _open(self) -> Pool | None:
        """The pool, made now if need be; None if V8 cannot be used."""
        if self._pool is None and not self._failed:
            try:
                self._pool = Pool(self._loop, pool_settings(self._admin.config), self._ask, self._said, self._replace)
            except EngineError as error:
                self._failed = f"scripts cannot run: {error}"
                log.error("%s", self._failed)
        return self._pool

    def make(self, spec: PlanSpec, program: Program, entry: int, mode: str, name: str, config: bytes) -> Script:
        """What calls an entry of a program. name: of the hook, "pre:mw" or the like; config: see ScriptSpec."""
        pool = self._open()
        if pool is None:
            return Unavailable(self._loop, self._failed)
        kind, _, function = name.partition(":")
        row = self._rows.row_for(row_name(spec.api_id, kind, function))
        constants = constants_text(config.decode(), spec.api_id, spec.name, kind)
        counter = Counter(self._region, row, OUTCOMES)
        return Hook(pool, program, entry, mode, owner_of(spec), self._timeout, name, counter, constants)

    @property
    def timeout(self) -> float:
        """Seconds that a script may run."""
        return self._timeout

    async def _ask(self, name: str, arguments: list[str | None], owner: Owner, deadline: float) -> tuple[int, str]:
        """A call of a host function; jsvm_timeout holds for it as for the script."""
        caller = Caller(owner.api_id, owner.org_id, owner.name, owner.tls, deadline)
        try:
            text = await self._host.call(name, arguments, caller)
        except HostError as error:
            return THROW, str(error)
        return (UNDEFINED, "") if text is None else (TEXT, text)

    def _said(self, level: str, text: str, hook: Hook | None) -> None:
        """What a script or the pool logs (tyk-jsvm 6: log, rawlog)."""
        text = text.encode("utf-8", "replace").decode()
        if level == "raw":
            log.info("%s", text, extra={"raw": True})
            return
        owner = hook.caller if hook is not None else None
        fields = {"type": "log-msg"}
        if owner is not None:
            fields |= {"api_id": owner.api_id, "org_id": owner.org_id, "name": owner.name}
        log.log(_LEVELS.get(level, logging.INFO), "%s", text, extra={"fields": fields})

    def counters(self) -> dict[int, int]:
        """Word of the shared counters -> what has been counted."""
        host = self._host.stats()
        found = {
            shm.G_SCRIPT_REQUESTS: host["http_requests"],
            shm.B_SCRIPT_REQUESTS: host["http_refused"],
            shm.B_SCRIPT_ANSWERS: host["http_too_large"],
            shm.B_SCRIPT_NETWORKS: host["http_blocked"],
        }
        if self._pool is not None:
            pool = self._pool.stats()
            found |= {
                shm.G_SCRIPT_CALLS: pool["calls"],
                shm.G_SCRIPTS_FAILED: pool["errors"] + pool["long"],
                shm.G_SCRIPTS_ENDED: pool["timeouts"] + pool["memory"],
                shm.G_CONTEXTS_REPLACED: pool["replaced"],
                shm.G_HOST_CALLS: pool["host_calls"],
                shm.B_SCRIPTS: pool["busy"],
                shm.B_SCRIPT_LOGS: pool["cut"],
                shm.B_SCRIPT_RESULTS: pool["long"],
            }
        return found

    def gauges(self) -> dict[int, int]:
        """Word of the shared counters -> how it is now."""
        pool = self._pool.stats() if self._pool is not None else {"contexts": 0, "waiting": 0}
        return {shm.G_SCRIPT_CONTEXTS: pool["contexts"], shm.G_SCRIPTS_WAITING: pool["waiting"]}

    async def close(self, seconds: float) -> None:
        """End all contexts."""
        if self._pool is not None:
            await self._pool.close(seconds)
        await self._host.close()


@dataclass(frozen=True, slots=True)
class _Part:
    """What the scripts of one program are: in log lines, in the definition or another file, and the mode in which they are
    loaded."""

    name: str
    place: str
    mode: str
    file: str = ""


_CHAIN = _Part("JS middleware", "$.custom_middleware", "request")
_GLOBAL = _Part("global JS hooks", PLACE, "request", "tyk.conf")
_EVENTS = _Part("JS event handlers", FIELD, "event")


def _programs(spec: PlanSpec) -> Iterator[tuple[Program, _Part]]:
    if spec.scripts is not None and spec.scripts.program is not None:
        yield spec.scripts.program, _CHAIN
    if spec.global_scripts is not None and spec.global_scripts.program is not None:
        yield spec.global_scripts.program, _GLOBAL
    if spec.event_scripts is not None:
        yield spec.event_scripts.program, _EVENTS


def _asks_for_http(program: Program) -> bool:
    """Whether its scripts may make HTTP requests."""
    texts = [source.text for source in program_sources(program)] + [module.text for module in program.modules]
    return any(_HTTP.search(text) for text in texts)


def _findings(spec: PlanSpec, part: _Part, program: Program, report: Report) -> list[Finding]:
    file = part.file or spec.file
    if report.failed:
        return [Finding("error", file, part.place, report.failed)]
    sources = program_sources(program)
    return [
        Finding("error", file, part.place, f"Failed to load {part.name}: {sources[source].name}: {message}")
        for source, message in report.errors
    ]
