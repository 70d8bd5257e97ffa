"""A script that has been ended and goes on: the worker is told, and other scripts run meanwhile."""

from __future__ import annotations

import asyncio
import json

import uvloop

from jsvm_pool.pool import CallResult, Hook, Pool
from jsvm_pool.program import Program, Source
from jsvm_pool.settings import PoolSettings
from tests.support.jsvm import Caller

SCRIPT = "function long() { while (true) {} } function quick() { return 'quick'; }"


def test_a_script_that_goes_on_for_too_long_is_told_once_and_others_run() -> None:
    told: list[str] = []

    async def host(name: str, arguments: list[str | None], caller: object, deadline: float) -> tuple[int, str]:
        return 0, ""

    async def body() -> tuple[CallResult, CallResult, dict[str, int]]:
        loop = asyncio.get_running_loop()
        # No context ends in no time, so this one counts as one that does not end.
        settings = PoolSettings(contexts=1, max_contexts=4, stuck_seconds=0.0)
        pool = Pool(loop, settings, host, lambda level, text, hook: None, told.append)
        program = Program((Source("scripts.js", SCRIPT),), ("long", "quick"))
        await pool.prepare([Hook(pool, program, 0, "virtual", Caller(), 5.0)])
        payload = json.dumps({"request": {}, "session": None, "config": None, "extra": None}).encode()

        async def call(entry: int, timeout: float) -> CallResult:
            future: asyncio.Future[CallResult] = loop.create_future()
            Hook(pool, program, entry, "virtual", Caller(), timeout).call(payload, future.set_result)
            return await future

        long = await call(0, 0.05)
        quick = await call(1, 5.0)
        stats = pool.stats()
        await pool.close(20.0)
        return long, quick, stats

    long, quick, stats = uvloop.run(body())
    assert (long.kind, quick.kind, quick.text) == ("timeout", "ok", b"quick")
    assert told == ["a script could not be ended within 0 s"]
    assert stats["stuck"] == 1
