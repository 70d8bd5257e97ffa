"""Real children for the tests: small Python programs, a listener that keeps what it hears, and what is left behind."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import uvloop

from coprocess.children import ChildSettings, SupervisedChild

T = TypeVar("T")
PATIENCE = 20.0
"""Seconds after which something that has to happen has not."""


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run on the loop that workers use; nothing may be left in it."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for it."""
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.005)


def python(source: str, *arguments: str) -> tuple[str, ...]:
    """The command line of a Python program given as text."""
    return (sys.executable, "-I", "-S", "-u", "-c", source, *arguments)


def descriptors() -> set[str]:
    """What this process has open, without what the listing itself needs."""
    found = set()
    for entry in Path("/proc/self/fd").iterdir():
        try:
            found.add(f"{entry.name} {entry.readlink()}")
        except OSError:
            continue
    return {name for name in found if "/proc/" not in name}


def children_of(pid: int) -> list[int]:
    """Its children, zombies too."""
    return [int(name) for name in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def alive(pid: int) -> bool:
    """Whether it runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


def gone(pid: int) -> bool:
    """Whether it ends: a signal that was sent takes a moment."""
    for _ in range(int(PATIENCE / 0.02)):
        if not alive(pid):
            return True
        time.sleep(0.02)
    return False


class Recorder:
    """A listener."""

    def __init__(self) -> None:
        self.text = b""
        self.starts = 0
        self.losses: list[str] = []

    def started(self) -> None:
        self.starts += 1

    def received(self, data: bytes) -> None:
        self.text += data

    def lost(self, why: str) -> None:
        self.losses.append(why)


class Kept:
    """A child, its listener and its log."""

    def __init__(self, argv: tuple[str, ...], **more: Any) -> None:
        self.log: list[tuple[str, str]] = []
        self.heard = Recorder()
        more.setdefault("backoff_min", 0.01)
        more.setdefault("settle", 0.0)
        self.child = SupervisedChild(
            ChildSettings("plugin", argv, **more), self.heard, lambda level, text: self.log.append((level, text))
        )

    def lines(self) -> list[str]:
        """What the child wrote to its standard error and was logged."""
        return [text.removeprefix("plugin: ") for level, text in self.log if level == "info" and " runs" not in text]


def with_child(use: Callable[[Kept], Awaitable[None]], argv: tuple[str, ...], **more: Any) -> Kept:
    """Start a child, use it, stop it; no descriptor and no process may be left."""
    kept = Kept(argv, **more)
    before_children = children_of(os.getpid())

    async def main() -> None:
        before = descriptors()
        kept.child.start()
        try:
            await use(kept)
        finally:
            await kept.child.stop()
        assert descriptors() - before == set()

    run(main())
    assert children_of(os.getpid()) == before_children
    return kept
