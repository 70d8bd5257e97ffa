"""Runs compiled programs in real contexts."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from jsvm_pool.pool import CallResult, Hook, Pool
from jsvm_pool.program import Program
from jsvm_pool.settings import PoolSettings


class Caller:
    api_id = "a"


async def refuse(*_: object) -> tuple[int, str]:
    raise AssertionError("these scripts do not call the host")


def run_entries(program: Program, calls: list[tuple[int, str, dict[str, Any]]]) -> list[CallResult]:
    """Run entries of a program: (entry, mode, payload) each."""

    async def run() -> list[CallResult]:
        loop = asyncio.get_running_loop()
        pool = Pool(loop, PoolSettings(contexts=1, max_contexts=2), refuse, lambda *_: None)
        try:
            found: list[CallResult] = []
            for entry, mode, payload in calls:
                ended: asyncio.Future[CallResult] = loop.create_future()
                Hook(pool, program, entry, mode, Caller(), 5.0).call(json.dumps(payload).encode(), ended.set_result)
                found.append(await ended)
            return found
        finally:
            await pool.close()

    return asyncio.run(run())
