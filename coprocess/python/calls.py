"""One call on its way through the driver."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from coprocess.driver import Outcome, Reply
from coprocess.python.host import wire

if TYPE_CHECKING:
    from coprocess.python.process import HostProcess


class Owner(Protocol):
    """The driver, as a call sees it."""

    def ended(self, call: Call, outcome: Outcome | None) -> None:
        """The call has its end; None: nobody waits for it any more."""

    def expired(self, call: Call) -> None:
        """Its deadline has passed; called again each time it passes while the call is with a process."""


class Call:
    """A hook call or an event. Its timer runs until a process has answered, also when nobody waits any more, because a
    process that never answers must be replaced."""

    __slots__ = ("_done", "_owner", "_timer", "deadline", "given_at", "host", "ident", "kind", "message", "over", "queued")

    def __init__(
        self, owner: Owner, kind: int, message: bytes, deadline: float, done: Callable[[Reply], None] | None
    ) -> None:
        """kind: wire.CALL or wire.EVENT. deadline: seconds from now. done: None for an event."""
        self._owner = owner
        self._done = done
        self.kind = kind
        self.message = message
        self.deadline = deadline
        self.host: HostProcess | None = None
        self.ident = 0
        self.given_at = 0.0
        self.over = False
        self.queued = False
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_event(self) -> bool:
        return self.kind == wire.EVENT

    def watch(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        """Tell the owner when `seconds` have passed; once more if they had."""
        self._timer = loop.call_later(seconds, self._owner.expired, self)

    def unwatch(self) -> None:
        """A process has answered, or the call never reached one."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def finish(self, outcome: Outcome, message: bytes = b"", detail: str = "") -> None:
        """Tell the caller, once."""
        if not self.over:
            self.over = True
            self._owner.ended(self, outcome)
            if self._done is not None:
                done, self._done = self._done, None
                try:
                    done(Reply(outcome, message, detail))
                except Exception as error:  # a fault of one caller must not reach the frames behind it
                    told = {"message": "a caller of a Python plugin could not take its reply", "exception": error}
                    asyncio.get_running_loop().call_exception_handler(told)

    def cancel(self) -> None:
        """See driver.Ticket."""
        self._done = None
        if not self.over:
            self.over = True
            self._owner.ended(self, None)
            if self.host is None:
                self.unwatch()
