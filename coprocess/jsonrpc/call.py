"""One call under way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from coprocess.driver import Reply

Done = Callable[[Reply], None]


class Cancels(Protocol):
    """What a call tells when nobody wants it any more."""

    def cancelled(self, call: Call) -> None:
        """`done` is None already."""


class Call:
    """The Ticket that dispatch() returns.

    done: None once the call has ended for its caller. It may stay with its child for longer: an answer to it is still
    expected there, and dropped. message: b"" once it was sent. expires, stuck_at: loop time; stuck_at is when its child has
    to have answered anything since it was sent. answers: how many answers the child had given by then. overdue: its
    deadline passed at the child.
    """

    __slots__ = ("answers", "board", "done", "expires", "message", "overdue", "sent", "stuck_at")

    def __init__(self, board: Cancels, message: bytes, expires: float, done: Done) -> None:
        self.board = board
        self.message = message
        self.expires = expires
        self.done: Done | None = done
        self.sent = False
        self.answers = 0
        self.stuck_at = 0.0
        self.overdue = False

    def cancel(self) -> None:
        """See driver.Ticket."""
        if self.done is not None:
            self.done = None
            self.board.cancelled(self)
