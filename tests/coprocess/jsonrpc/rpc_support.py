"""A driver with real children, calls as awaitables, and a check of what is left."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from coprocess.driver import Reply
from coprocess.jsonrpc import JsonRpcDriver, JsonRpcSettings
from tests.coprocess.children.child_support import children_of, descriptors, run

PLUGIN = Path(__file__).with_name("plugin.py")
LONG = 30.0
"""A deadline that is not meant to pass."""


class Bench:
    """One driver and its log."""

    def __init__(self, settings: JsonRpcSettings) -> None:
        self.log: list[tuple[str, str]] = []
        self.driver = JsonRpcDriver(settings, lambda level, text: self.log.append((level, text)))
        self.ended = 0

    def send(self, hook: str, deadline: float = LONG, **more: Any) -> asyncio.Future[Reply]:
        """Dispatch; a second end of the same call is an error of its future."""
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        inside = True

        def done(reply: Reply) -> None:
            assert not inside, "done was called from inside dispatch"
            self.ended += 1
            future.set_result(reply)

        message = json.dumps({"hook_name": hook, **more}, separators=(",", ":")).encode()
        self.driver.dispatch(message, deadline, done)
        inside = False
        return future

    async def call(self, hook: str, deadline: float = LONG, **more: Any) -> Reply:
        """Dispatch and wait."""
        return await self.send(hook, deadline, **more)

    async def result(self, hook: str, deadline: float = LONG, **more: Any) -> Any:
        """The object that comes back."""
        reply = await self.call(hook, deadline, **more)
        assert reply.outcome == "ok", reply
        return json.loads(reply.message)

    def said(self, part: str) -> bool:
        """Whether the log has it."""
        return any(part in text for _, text in self.log)


def bench(
    use: Callable[[Bench], Awaitable[None]],
    *,
    command: Any = None,
    arguments: tuple[str, ...] = (),
    grace: float = 0.0,
    **more: Any,
) -> Bench:
    """Start a driver with the test plugin, use it, close it. No child, no descriptor and no call may be left, and nobody
    may have been told twice (the driver logs what `done` raises)."""
    framing = more.get("framing", "newline")
    given = {"backoff_min": 0.02, "grace": 0.2} | more
    settings = JsonRpcSettings(
        "plugin", command or [sys.executable, "-I", "-S", str(PLUGIN), framing, *arguments], **given
    )
    made = Bench(settings)
    children = children_of(os.getpid())

    async def main() -> None:
        before = descriptors()
        await made.driver.start()
        try:
            await use(made)
        finally:
            await made.driver.close(grace)
        assert descriptors() - before == set()

    run(main())
    assert children_of(os.getpid()) == children
    counts = made.driver.counts()
    ends = sum(counts[name] for name in ("ok", "error", "timeout", "busy", "away", "too_large", "cancelled"))
    assert ends == counts["calls"]
    assert made.ended + counts["cancelled"] == counts["calls"]
    assert not made.said("what was to be done with an answer failed")
    return made
