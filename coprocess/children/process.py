"""One life of a child process: three pipes, a process group, and an end that is noticed once."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from typing import Protocol

from coprocess.children.lines import LineLog
from coprocess.children.pipes import PIPE_SIZE, Incoming, Outgoing, make_pipe
from coprocess.children.settings import ChildSettings
from coprocess.children.spawn import spawn

DRAIN = 4 * PIPE_SIZE
"""Bytes taken from a pipe whose writer is gone: more than a pipe holds."""

EXIT_TIME = 0.1
"""Seconds from the end of a pipe to the end of a process that is exiting."""


class Owner(Protocol):
    """Who is told about a life."""

    def received(self, data: bytes) -> None:
        """Bytes of its standard output."""

    def lost(self, why: str) -> None:
        """Nothing more is received; called once."""

    def reaped(self, why: str) -> None:
        """The process is gone; called once, after lost()."""


def end_of(status: int) -> str:
    """A wait status in words."""
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return f"exited with status {code}"
    with contextlib.suppress(ValueError):
        return f"ended by {signal.Signals(-code).name}"
    return f"ended by signal {-code}"


class ChildProcess:
    """A running child. Made on the loop; raises OSError or ValueError if it cannot be run, and then holds nothing."""

    __slots__ = (
        "_doomed",
        "_errors",
        "_errors_left",
        "_input",
        "_loop",
        "_output",
        "_owner",
        "_pidfd",
        "_settings",
        "_standard_error",
        "_why",
        "_window",
        "pid",
        "started_at",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, settings: ChildSettings, owner: Owner, errors: LineLog) -> None:
        self._loop = loop
        self._settings = settings
        self._owner = owner
        self._errors = errors
        self._why: str | None = None
        self._window = float("-inf")
        self._errors_left = 0
        self._doomed: asyncio.TimerHandle | None = None
        self.started_at = loop.time()
        ends: list[int] = []
        try:
            theirs_in, ours_in = make_pipe()
            ends += (theirs_in, ours_in)
            ours_out, theirs_out = make_pipe()
            ends += (ours_out, theirs_out)
            ours_error, theirs_error = make_pipe()
            ends += (ours_error, theirs_error)
            self.pid = spawn(
                settings.program(), settings.argv, settings.environment(), settings.cwd, (theirs_in, theirs_out, theirs_error)
            )
            self._pidfd = self._watch()
        except BaseException:
            for fd in ends:
                os.close(fd)
            raise
        for fd in (theirs_in, theirs_out, theirs_error):
            os.close(fd)
        loop.add_reader(self._pidfd, self._exited)
        self._input = Outgoing(loop, ours_in, self._input_broken)
        self._output = Incoming(loop, ours_out, self._received, self._output_ended)
        self._standard_error = Incoming(loop, ours_error, self._error_text, self._error_ended)

    def _watch(self) -> int:
        """A descriptor that becomes readable when the process ends. Without one it could not be reaped."""
        try:
            return os.pidfd_open(self.pid)
        except BaseException:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            raise

    @property
    def unsent(self) -> int:
        """Bytes written that the child has not taken."""
        return self._input.unsent

    def write(self, *pieces: bytes) -> None:
        """Send bytes to its standard input, in order, after what still waits."""
        self._input.write(*pieces)

    def end_input(self) -> None:
        """Close its standard input."""
        self._input.close()

    def terminate(self) -> None:
        """SIGTERM to its group."""
        self._signal(signal.SIGTERM)

    def kill(self, why: str) -> None:
        """SIGKILL to its group. Nothing more is received; the owner has heard lost() when this returns."""
        self._signal(signal.SIGKILL)
        self._lose(why)

    def _signal(self, number: signal.Signals) -> None:
        if self._pidfd >= 0:        # not reaped: the number still is its own
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, number)

    def _lose(self, why: str) -> None:
        if self._why is None:
            self._why = why
            self._input.close()
            self._output.close()
            self._owner.lost(why)

    def _received(self, data: bytes) -> None:
        self._owner.received(data)

    def _output_ended(self) -> None:
        self._gone_or_kill("closed its standard output")

    def _input_broken(self) -> None:
        self._gone_or_kill("closed its standard input")

    def _gone_or_kill(self, why: str) -> None:
        """A pipe broke. One that is exiting is reaped in a moment, and its status says more than this."""
        if self._doomed is None:
            self._doomed = self._loop.call_later(EXIT_TIME, self.kill, why)

    def _error_text(self, data: bytes) -> None:
        now = self._loop.time()
        if now - self._window >= 1.0:
            self._window = now
            self._errors_left = self._settings.log_bytes
        self._errors_left -= len(data)
        self._errors.feed(data, now)
        if self._errors_left <= 0:
            self._standard_error.pause(self._window + 1.0 - now)

    def _error_ended(self) -> None:
        """It may close its standard error."""

    def _exited(self) -> None:
        if self._pidfd < 0:
            return
        if self._doomed:
            self._doomed.cancel()
        self._signal(signal.SIGKILL)        # what it has left behind in its group
        if self._why is None:
            self._output.drain(DRAIN)
        self._standard_error.drain(DRAIN)
        self._standard_error.close()
        self._errors.close()
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._pidfd = -1
        _, status = os.waitpid(self.pid, 0)
        end = end_of(status)
        why = end if self._why is None else f"{self._why}, {end}"
        self._lose(end)
        self._owner.reaped(why)
