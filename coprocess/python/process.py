"""One host process: its life, the frames to and from it, and the calls that are with it."""

from __future__ import annotations

import asyncio
import importlib.metadata
import json
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Literal, Protocol

from coprocess.children import ChildSettings, SupervisedChild
from coprocess.python.calls import Call
from coprocess.python.host import wire
from coprocess.python.page import Page
from coprocess.python.questions import Garbage, Questions
from coprocess.python.settings import MIB, PythonServices, PythonSettings

PROGRAM = Path(__file__).parent / "host" / "__main__.py"
NEVER = 365 * 86400.0
PROVEN_AFTER = 1.0
"""Seconds that a process must have been ready to count as one that works."""
SHORT_CALL = 0.002
"""Seconds: while calls take less on the average, a process gets some in advance."""
LONG_CALL = 0.01
"""Seconds: while one takes longer, no more calls are put behind it, for it may be stuck."""
CRASH_DELAY_MOST = 1.0
"""Seconds before a process that was ready is replaced, at the most: requests that crash it must not keep it away for long."""
AGAIN_WITHIN = 3.0
"""Seconds after which calls do not wait for its replacement any more."""
LINGER = 1.0
"""Seconds that a process may need to end by itself."""
WEIGHT = 0.1
"""Of the newest call in that average."""

Phase = Literal["new", "starting", "ready", "again", "failed", "ended"]
"""new: no process was started yet. again: one that worked has ended, another will take its place."""
Log = Callable[[str, str], None]

_LINE = re.compile(r'^  File "(?P<file>[^"\n]+)", line (?P<line>\d+)', re.MULTILINE)


def gist(why: str) -> str:
    """What a traceback says, in one line with the place that it leads to; another text as it is. The log has the whole."""
    if not why.startswith("Traceback "):
        return why
    places = list(_LINE.finditer(why))
    where = f" ({places[-1]['file']}, line {places[-1]['line']})" if places else ""
    return why.rstrip().rpartition("\n")[2] + where


class Pool(Protocol):
    """The driver, as a process sees it. All are called on the loop."""

    def ready(self, process: HostProcess) -> None:
        """The process takes calls."""

    def free(self, process: HostProcess) -> None:
        """The process has answered: it may take another call."""

    def lost(self, process: HostProcess, unbegun: list[Call]) -> None:
        """The process is gone; `unbegun` had not begun, all others have been told of their end."""

    def failed(self, process: HostProcess) -> None:
        """The bundle cannot run; `process.detail` says why."""


@cache
def lent_protobuf() -> tuple[str, list[int]]:
    """(directory that holds google/protobuf, least Python version) of the gateway's own protobuf, for interpreters without."""
    found = importlib.metadata.distribution("protobuf")
    needs = found.metadata["Requires-Python"] or ""
    version = needs.partition(">=")[2].partition(",")[0].strip() or f"{sys.version_info[0]}.{sys.version_info[1]}"
    return str(found.locate_file("")), [int(part) for part in version.split(".")[:2]]


class HostProcess:
    """Listener of a SupervisedChild; see there for restarts."""

    def __init__(
        self, pool: Pool, settings: PythonSettings, services: PythonServices, log: Log, counts: dict[str, int], name: str
    ) -> None:
        """name: stands in front of its log lines."""
        self._pool = pool
        self._settings = settings
        self._services = services
        self._log = log
        self._counts = counts
        self._name = name
        self._loop = asyncio.get_running_loop()
        self.child = SupervisedChild(self._child_settings(), self, log)
        self.phase: Phase = "new"
        self.detail = ""
        self._unexplained = False
        self.calls: dict[int, Call] = {}
        self._ident = 0
        self._parts: list[bytes] = []
        self._missing = 0
        self._page: Page | None = None
        self._questions: Questions | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._mean = 1.0
        self._idle_since = 0.0
        self._again_until = 0.0

    def _child_settings(self) -> ChildSettings:
        ours = self._settings
        return ChildSettings(
            name=self._name,
            argv=(ours.interpreter, "-u", str(PROGRAM)),
            backoff_min=min(ours.restart_delay, ours.restart_delay_most),
            backoff_max=ours.restart_delay_most,
            settle=NEVER,
            max_unsent=ours.max_message + MIB,
            env={"PYTHONPATH": "", "PYTHONHOME": ""},  # meant for the gateway's interpreter, not for the plugin's
            log_rate=ours.notices_per_second,
        )

    @property
    def room(self) -> int:
        """How many calls may be given to it now."""
        if self.phase != "ready":
            return 0
        threads = self._settings.threads
        short = self._mean < SHORT_CALL and (not self.calls or self._loop.time() - self._idle_since < LONG_CALL)
        return threads + (self._settings.pipeline - 1 if short else 0) - len(self.calls)

    @property
    def hopeful(self) -> bool:
        """Whether it takes calls now or, as far as is known, soon."""
        if self.phase == "again":
            return self._loop.time() < self._again_until
        return self.phase == "ready" or (self.phase == "starting" and not self.detail)

    @property
    def why(self) -> str:
        """Why it takes no calls; "" if it does, or will."""
        if not self.detail:
            return self.child.detail if self.phase in {"new", "again"} else ""
        return f"{self.detail}: {self.child.detail}" if self._unexplained else self.detail

    def start(self) -> None:
        """Start the first process; how it goes is told to the pool."""
        self.child.start()

    def give(self, call: Call) -> bool:
        """Send a call; False if the process takes nothing more now."""
        self._ident += 1
        ident, message = self._ident, call.message
        if not self.child.write(wire.HEADER.pack(call.kind, ident, len(message)), message):
            return False
        now = self._loop.time()
        if not self.calls:
            self._idle_since = now
        call.host, call.ident, call.given_at = self, ident, now
        self.calls[ident] = call
        return True

    def has_begun(self, call: Call) -> bool:
        """Whether the plugin was called."""
        return self._page is not None and call.ident <= self._page.begun()

    def running_for(self, call: Call) -> float:
        """Seconds since a call that has begun did so, at the most."""
        since = max(call.given_at, self._idle_since) if self._settings.threads == 1 else call.given_at
        return self._loop.time() - since

    def kill(self, why: str) -> None:
        """Replace the process. Calls that had begun are lost, the others go to the pool."""
        self.child.kill(why)

    async def stop(self, grace: float) -> None:
        """End it for good within about `grace` seconds."""
        self.phase = "ended"
        self._cancel_timer()
        self.child.settings = replace(self.child.settings, grace=max(0.0, grace))
        await self.child.stop()
        self._clear()

    def started(self) -> None:
        """See children.Listener."""
        self.phase = "starting"
        self._unexplained = False
        self._parts = []
        self._missing = 0
        self._ident = 0
        self._mean = 1.0
        self._questions = Questions(self._settings, self._services, self._log_named, self._counts, self._answer)
        self._timer = self._loop.call_later(self._settings.start_timeout, self._too_slow)
        try:
            self._page = Page()
        except OSError as error:
            self._bundle_failed(f"a shared page: {error}")
            return
        lent, needs = lent_protobuf()
        setup = json.dumps({
            "bundle": self._settings.bundle,
            "verified": self._settings.verified,
            "listed": self._settings.listed,
            "python_path": self._settings.python_path,
            "threads": self._settings.threads,
            "max_message": self._settings.max_message,
            "max_memory": self._settings.max_memory,
            "page": self._page.path,
            "protobuf_path": lent,
            "protobuf_needs": needs,
        }).encode()
        self.child.write(wire.HEADER.pack(wire.SETUP, 0, len(setup)), setup)

    def received(self, data: bytes) -> None:
        """See children.Listener."""
        if self._parts:
            self._parts.append(data)
            self._missing -= len(data)
            if self._missing > 0:
                return
            data = b"".join(self._parts)
            self._parts = []
        head, start, size = wire.HEADER, 0, len(data)
        try:
            while (need := start + head.size) <= size:
                kind, ident, length = head.unpack_from(data, start)
                if length > self._settings.max_message + wire.STORE_HEAD.size:
                    raise Garbage(f"a frame of {length} bytes")
                begin, need = need, need + length
                if size < need:
                    break
                start = need
                self._frame(kind, ident, data[begin:need])
        except Garbage as error:
            self.kill(f"answered garbage: {error}")
            return
        if start < size:
            self._parts = [data[start:]]
            self._missing = need - size

    def _frame(self, kind: int, ident: int, payload: bytes) -> None:
        if wire.RESULT <= kind <= wire.TOO_LARGE:
            self._answered(kind, ident, payload)
        elif kind == wire.READY and self.phase == "starting":
            self._is_ready(payload)
        elif kind == wire.FAILED and self.phase == "starting":
            self._bundle_failed(payload.decode("utf-8", "replace"))
        elif self._questions is not None:
            self._questions.frame(kind, ident, payload)

    def _answered(self, kind: int, ident: int, payload: bytes) -> None:
        call = self.calls.pop(ident, None)
        if call is None:
            raise Garbage(f"an answer to call {ident}, which was not asked")
        now = self._loop.time()
        self._mean += WEIGHT * (now - self._idle_since - self._mean) if self._mean < 1.0 else now - self._idle_since - 1.0
        self._idle_since = now
        call.unwatch()
        self._pool.free(self)  # the process works on while the caller is told
        if kind == wire.RESULT:
            call.finish("ok", payload)
            return
        text = payload.decode("utf-8", "replace")
        if self._questions is not None:
            self._questions.notice("error", text)
        last = text.rstrip().rpartition("\n")[2]
        call.finish("too_large" if kind == wire.TOO_LARGE else "error", detail=last)

    def _is_ready(self, payload: bytes) -> None:
        try:
            told = json.loads(payload)
            hooks, events = ", ".join(told["hooks"]), ", ".join(told["events"])
            versions = f"Python {told['python']}, protobuf {told['protobuf']}"
        except (ValueError, KeyError, TypeError) as error:
            raise Garbage(f"what it says about itself: {error!r}") from None
        self._cancel_timer()
        self.phase = "ready"
        self.detail = ""
        self._log_named("info", f"{versions}; hooks: {hooks or 'none'}; event handlers: {events or 'none'}")
        self._timer = self._loop.call_later(PROVEN_AFTER, self._proven)
        self._pool.ready(self)

    def _proven(self) -> None:
        self._timer = None
        self.child.proven()

    def _bundle_failed(self, why: str) -> None:
        """The process ends by itself, and is tried again later: what it lacks may come."""
        self.phase = "failed"
        self.detail = gist(why)
        self._cancel_timer()
        self._log_named("error", why)
        self._timer = self._loop.call_later(LINGER, self.kill, "did not end")
        self._pool.failed(self)

    def _too_slow(self) -> None:
        self._timer = None
        self._bundle_failed(f"the bundle was not imported within {self._settings.start_timeout:g} s")
        self.kill("took too long to start")

    def lost(self, why: str) -> None:
        """See children.Listener."""
        self._cancel_timer()
        begun = self._page.begun() if self._page is not None else 0
        self._clear()
        if self.phase == "starting":
            self._unexplained = True
            self._bundle_failed("the process ended before it was ready")
        elif self.phase == "ready":
            self.phase = "again"
            self._again_until = self._loop.time() + AGAIN_WITHIN
        most = self._settings.restart_delay_most
        most = min(most, CRASH_DELAY_MOST) if self.phase == "again" else most
        self.child.settings = replace(self.child.settings, backoff_max=max(most, self.child.settings.backoff_min))
        calls, self.calls = self.calls, {}
        unbegun = []
        for call in calls.values():
            if call.ident > begun and not call.over:
                call.host = None
                unbegun.append(call)
            else:
                call.unwatch()
                call.finish("error", detail=f"{self._name}: the process {why} during the call")
        self._pool.lost(self, unbegun)

    def _clear(self) -> None:
        if self._questions is not None:
            self._questions.close()
            self._questions = None
        if self._page is not None:
            self._page.close()
            self._page = None

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _answer(self, kind: int, ident: int, payload: bytes) -> None:
        self.child.write(wire.HEADER.pack(kind, ident, len(payload)), payload)

    def _log_named(self, level: str, text: str) -> None:
        self._log(level, f"{self._name}: {text}")
