"""Types of jsvm_pool.pool for Python code; see pool.pxd for the design."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from accel.shm import Region
from jsvm_pool.program import Program
from jsvm_pool.settings import PoolSettings, Report

class CallResult:
    kind: str
    text: bytes | None
    error: str
    edits: bool
    def __init__(self, kind: str, text: bytes | None = None, error: str = "", edits: bool = False) -> None: ...

class Counter:
    def __init__(self, region: Region, row: int, statuses: dict[str, int]) -> None: ...

class Hook:
    program: Program
    entry: int
    mode: str
    caller: Any
    timeout: float
    name: str
    slow: bool
    constants: str
    key: int
    def __init__(
        self,
        pool: Pool,
        program: Program,
        entry: int,
        mode: str,
        caller: Any,
        timeout: float,
        name: str = "",
        counter: Counter | None = None,
        constants: str = "null",
    ) -> None: ...
    def call(self, payload: bytes, done: Callable[[CallResult], None]) -> Call: ...

class Call: ...

class Pool:
    lanes: dict[int, Any]
    keys: Any
    waiting: int
    starting: int
    closing: int
    counts: dict[str, int]
    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        settings: PoolSettings,
        host: Callable[[str, list[str | None], Any, float], Awaitable[tuple[int, str]]],
        log: Callable[[str, str, Hook | None], None],
        stuck: Callable[[str], None] | None = None,
    ) -> None: ...
    async def prepare(self, hooks: Iterable[Hook]) -> dict[Program, Report]: ...
    def configure(self, settings: PoolSettings, programs: Iterable[Program]) -> None: ...
    def stats(self) -> dict[str, int]: ...
    async def close(self, seconds: float = 2.0) -> None: ...
