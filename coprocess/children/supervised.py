"""A child that is started again when it ends, less and less often when that does not help."""

from __future__ import annotations

import asyncio
import random
from typing import Literal, Protocol

from coprocess.children.lines import LineLog, Log
from coprocess.children.process import ChildProcess
from coprocess.children.settings import ChildSettings

Running = Literal["new", "up", "unsure", "down", "stopped"]
"""new: start() was not called. up: it runs. unsure: it runs, but the one before ended at its start. down: it does not run and
is tried again. stopped: for good."""

REAP = 2.0
"""Seconds that a process may take to vanish after SIGKILL."""


class Listener(Protocol):
    """Who talks to the child. Called on the loop. started() and lost() alternate, received() comes only between them."""

    def started(self) -> None:
        """A new process runs, and knows nothing of what was said to the one before."""

    def received(self, data: bytes) -> None:
        """Bytes of its standard output, cut anywhere."""

    def lost(self, why: str) -> None:
        """It is over: nothing that was asked of it is answered any more. Comes before kill() returns."""


class SupervisedChild:
    """Keeps one child of a kind running. Used on one loop; start() first, stop() last.

    restarts: processes started after the first attempt. detail: why it does not run, or why the one before ended, with its
    last line of standard error.
    """

    def __init__(self, settings: ChildSettings, listener: Listener, log: Log) -> None:
        self.settings = settings
        self.restarts = 0
        self.detail = ""
        self.status: Running = "new"
        self._listener = listener
        self._log = log
        self._process: ChildProcess | None = None
        self._attempts = 0
        self._failures = 0
        self._proven = False
        self._dropped = 0
        self._errors = self._new_errors()
        self._retry: asyncio.TimerHandle | None = None
        self._settled: asyncio.TimerHandle | None = None
        self._gone: asyncio.Future[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def pid(self) -> int:
        """Of the process that runs; 0 if none does."""
        return self._process.pid if self._process else 0

    @property
    def started_at(self) -> float:
        """Loop time at which the running process was started; 0 if none runs."""
        return self._process.started_at if self._process else 0.0

    @property
    def unsent(self) -> int:
        """Bytes that wait because the child does not read."""
        return self._process.unsent if self._process else 0

    @property
    def lines_dropped(self) -> int:
        """Lines of standard error that were over the rate, of all processes so far."""
        return self._dropped + self._errors.dropped

    def start(self) -> None:
        """Start the first process, now. What fails is tried again: see `status` and `detail`."""
        self._loop = asyncio.get_running_loop()
        self._spawn()

    def write(self, *pieces: bytes) -> bool:
        """Send bytes to its standard input. False, and nothing sent, if no process runs or `max_unsent` would be passed."""
        process = self._process
        if process is None or self.status not in ("up", "unsure"):
            return False
        if process.unsent and process.unsent + sum(map(len, pieces)) > self.settings.max_unsent:
            return False
        process.write(*pieces)
        return True

    def proven(self) -> None:
        """Tell that the running process works: one that ends later did not fail at its start."""
        if not self._proven and self._process:
            self._proven = True
            self._failures = 0
            self.status = "up"
            self.detail = ""

    def kill(self, why: str) -> None:
        """SIGKILL to the process and its group; another takes its place. Without effect if none runs."""
        if self._process and self.status in ("up", "unsure"):
            self._process.kill(why)

    async def stop(self) -> None:
        """End it for good: end of input, SIGTERM after half of `grace`, SIGKILL after all of it. Returns when it is gone."""
        self._cancel_timers()
        process = self._process
        self.status = "stopped"
        if process is None or self._loop is None:
            return
        if self._gone:
            await asyncio.wait({self._gone}, timeout=self.settings.grace + REAP)
            return
        gone = self._gone = self._loop.create_future()
        process.end_input()
        half = self.settings.grace / 2
        if not await self._waited(gone, half):
            process.terminate()
            if not await self._waited(gone, half):
                process.kill("did not end by itself")
                if not await self._waited(gone, REAP):
                    self._log("error", f"{self.settings.name}: process {process.pid} does not end, even by SIGKILL")

    @staticmethod
    async def _waited(gone: asyncio.Future[None], seconds: float) -> bool:
        await asyncio.wait({gone}, timeout=seconds)
        return gone.done()

    def _new_errors(self) -> LineLog:
        settings = self.settings
        return LineLog(settings.name, self._log, settings.log_line, settings.log_rate)

    def _cancel_timers(self) -> None:
        for timer in (self._retry, self._settled):
            if timer:
                timer.cancel()
        self._retry = self._settled = None

    def _spawn(self) -> None:
        assert self._loop is not None
        self._retry = None
        self._dropped += self._errors.dropped
        self._errors = self._new_errors()
        self._proven = False
        self.restarts += self._attempts > 0
        self._attempts += 1
        try:
            self._process = ChildProcess(self._loop, self.settings, self, self._errors)
        except (OSError, ValueError) as error:
            self._failed(f"cannot be started: {error}")
            return
        self.status = "unsure" if self._failures else "up"
        self._settled = self._loop.call_later(self.settings.settle, self.proven)
        self._log("info", f"{self.settings.name}: process {self._process.pid} runs")
        self._listener.started()

    def received(self, data: bytes) -> None:
        """See process.Owner."""
        self._listener.received(data)

    def lost(self, why: str) -> None:
        """See process.Owner."""
        self._cancel_timers()
        if self.status != "stopped":
            self.status = "down"
            self.detail = why
        self._listener.lost(why)

    def reaped(self, why: str) -> None:
        """See process.Owner."""
        process, self._process = self._process, None
        if self.status == "stopped":
            if self._gone and not self._gone.done():
                self._gone.set_result(None)
            return
        assert process is not None
        assert self._loop is not None
        last = f"; it said last: {self._errors.last}" if self._errors.last else ""
        if self._loop.time() - process.started_at >= self.settings.settle:
            self._failures = 0
            self.detail = why + last
            self._log("warning", f"{self.settings.name}: process {process.pid} {self.detail}; another is started")
            self._spawn()
        else:
            self._failed(why + last)

    def _failed(self, why: str) -> None:
        """It did not live long: try again later, and later still next time."""
        assert self._loop is not None
        settings = self.settings
        self.status = "down"
        self.detail = why
        self._failures += 1
        longest = min(settings.backoff_max, settings.backoff_min * 2 ** min(self._failures - 1, 30))
        delay = longest * random.uniform(0.8, 1.0)
        self._log("warning", f"{settings.name}: {why}; the next try is in {delay:.2f} s")
        self._retry = self._loop.call_later(delay, self._spawn)
