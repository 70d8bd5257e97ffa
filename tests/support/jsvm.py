"""A pool of V8 contexts on an event loop of its own, with a host that the test provides."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvloop

from jsvm_pool.pool import CallResult, Hook, Pool
from jsvm_pool.program import Program, Source
from jsvm_pool.settings import PoolSettings, Report

Host = Callable[[str, list[str], Any, float], Awaitable[tuple[int, str]]]
TEXT, THROW = 1, 2
WAIT = 20.0  # seconds until a test gives up; nothing is asserted about it


@dataclass(frozen=True)
class Caller:
    """What the pool needs to know of an API."""

    api_id: str = "api"


async def _nothing(name: str, arguments: list[str], caller: Any, deadline: float) -> tuple[int, str]:
    return 0, ""


@dataclass
class Vm:
    """A pool, its loop, what answers its calls of the host, and what it logged: (level, text, API or "")."""

    loop: asyncio.AbstractEventLoop
    pool: Pool
    host: Host
    logged: list[tuple[str, str, str]] = field(default_factory=list)

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine on the loop of the pool."""
        return self.loop.run_until_complete(asyncio.wait_for(work, WAIT))

    def hook(
        self,
        program: Program | str,
        *,
        entry: int = 0,
        mode: str = "virtual",
        api: str = "api",
        timeout: float = 10.0,
    ) -> Hook:
        """A hook; a text is the source of a program whose only entry is `h`."""
        if isinstance(program, str):
            program = script(program)
        return Hook(self.pool, program, entry, mode, Caller(api), timeout, api)

    def start(self, hook: Hook, payload: Any = None) -> asyncio.Future[CallResult]:
        """Begin a call; payload becomes the request unless it has one."""
        future: asyncio.Future[CallResult] = self.loop.create_future()
        if not isinstance(payload, dict) or "request" not in payload:
            payload = {"request": payload}
        payload = {"session": None, "config": None, "extra": None, **payload}
        hook.call(json.dumps(payload).encode(), future.set_result)
        return future

    def result(self, hook: Hook | str, payload: Any = None) -> CallResult:
        """Call and wait."""
        found: CallResult = self.results(hook, [payload])[0]
        return found

    def results(self, hook: Hook | str, payloads: Sequence[Any]) -> list[CallResult]:
        """Several calls that are begun at the same time."""
        if isinstance(hook, str):
            hook = self.hook(hook)
        return self.all([(hook, payload) for payload in payloads])

    def all(self, calls: Sequence[tuple[Hook, Any]]) -> list[CallResult]:
        """Calls of several hooks that are begun at the same time."""

        async def gather() -> list[CallResult]:
            return list(await asyncio.gather(*(self.start(hook, payload) for hook, payload in calls)))

        found: list[CallResult] = self.run(gather())
        return found

    def text(self, hook: Hook | str, payload: Any = None) -> str:
        """The text that a call returned; it must have succeeded."""
        return text_of(self.result(hook, payload))

    def report(self, program: Program) -> Report:
        """Load a program."""
        found: dict[Program, Report] = self.run(self.pool.prepare([self.hook(program)]))
        return found[program]

    def settle(self) -> dict[str, int]:
        """Wait until every context that was retired has ended. Returns the pool's counts."""

        async def wait() -> dict[str, int]:
            while self.pool.closing or self.pool.starting:
                await asyncio.sleep(0.005)
            return dict(self.pool.stats())

        found: dict[str, int] = self.run(wait())
        return found


def text_of(result: CallResult) -> str:
    """The text of a result that must have succeeded."""
    assert result.kind == "ok", result
    return (result.text or b"").decode()


def script(*texts: str, entries: Sequence[str] = ("h",), **more: Any) -> Program:
    """A program of sources named a.js, b.js ..."""
    sources = tuple(Source(f"{'abcdefgh'[i]}.js", text) for i, text in enumerate(texts))
    return Program(sources=sources, entries=tuple(entries), **more)


_running: list[Vm] = []


@contextmanager
def running(settings: PoolSettings | None = None, host: Host = _nothing) -> Iterator[Vm]:
    """A pool on a new loop; all is ended at the end, and nothing may be left."""
    loop = uvloop.new_event_loop()
    logged: list[tuple[str, str, str]] = []

    def log(level: str, text: str, hook: Hook | None) -> None:
        logged.append((level, text, hook.caller.api_id if hook is not None else ""))

    async def ask(name: str, arguments: list[Any], caller: Any, deadline: float) -> tuple[int, str]:
        return await vm.host(name, arguments, caller, deadline)

    if _running:
        raise RuntimeError("a process has one pool")
    pool = Pool(loop, settings or PoolSettings(), ask, log)
    vm = Vm(loop, pool, host, logged)
    _running.append(vm)
    try:
        yield vm
    finally:
        _running.clear()
        vm.run(pool.close(10.0))
        stats = pool.stats()
        loop.close()
        assert stats["contexts"] == stats["closing"] == 0, stats
