"""Work that a request began and that goes on beside it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")
log = logging.getLogger("preforge.access")


class Tasks:
    """Keeps what runs, so that it is not collected before its end."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[Any]] = set()

    def start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Begin; whoever asked looks at how it ended."""
        task = asyncio.get_running_loop().create_task(work)
        self._running.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()    # taken note of, even if nobody waits any more

    def spawn(self, work: Coroutine[Any, Any, None], done: Callable[[], None] | None = None) -> None:
        """Do something that takes a while; done is called afterwards, however it ends. What fails is logged."""

        def ended(task: asyncio.Task[None]) -> None:
            if not task.cancelled() and task.exception() is not None:
                log.error("the session of a key could not be handled", exc_info=task.exception())
            if done is not None:
                done()

        self.start(work).add_done_callback(ended)
