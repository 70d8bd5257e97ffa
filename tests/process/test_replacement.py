"""A worker that cannot go on for long asks for another one in its place."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.support.gateway import Gateway, api, wait_for
from tests.support.upstream import Upstream

ASKS = """
import asyncio, sys
from core.gateway import GatewayApp
from core.cli import main
start_worker = GatewayApp.start_worker

async def asking(self, ctx):
    await start_worker(self, ctx)
    if ctx.generation == 1:
        asyncio.get_running_loop().call_later(0.2, ctx.request_replacement, "a test asks for it")

GatewayApp.start_worker = asking
sys.exit(main())
"""


class Asking(Gateway):
    """Its first worker asks to be replaced soon after it is ready."""

    def command(self) -> list[str]:
        return [sys.executable, "-c", ASKS, *super().command()[3:]]


def test_a_worker_that_asks_for_it_is_replaced_and_no_request_is_lost(tmp_path: Path, upstream: Upstream) -> None:
    gateway = Asking(tmp_path / "gateway", [api("a", "/a/", upstream.url)])
    gateway.start()
    try:
        statuses = []

        def replaced() -> bool:
            statuses.append(gateway.fetch("/a/x").status)
            return "has ended" in gateway.log()

        wait_for(replaced, "the first worker has ended")
        statuses.append(gateway.fetch("/a/x").status)
        assert set(statuses) == {200}
        assert "is replaced: a test asks for it" in gateway.log()
        assert "(generation 2) started" in gateway.log()
        assert "(generation 3)" not in gateway.log()
    finally:
        gateway.stop()
