"""One child of the pool: the calls it has, by id, and what becomes of them."""

from __future__ import annotations

from typing import Protocol

import orjson

from coprocess.children import Log, SupervisedChild
from coprocess.driver import Outcome, Reply
from coprocess.jsonrpc.call import Call
from coprocess.jsonrpc.envelope import parse
from coprocess.jsonrpc.framing import FramingError, framing
from coprocess.jsonrpc.settings import JsonRpcSettings

LONGEST_DETAIL = 500
"""Characters of an error's message that go on into the log."""
LONGEST_ENVELOPE = 256
"""More bytes than stand around the params of a call, framing included."""


class Board(Protocol):
    """Who gives the calls, and hears how they end."""

    def ended(self, call: Call, reply: Reply) -> None:
        """For its caller; called once for a call, and not for one that was cancelled."""

    def has_room(self, peer: Peer) -> None:
        """One call less, or a child that runs again."""

    def is_gone(self, peer: Peer) -> None:
        """It has no child now; its calls have ended."""


class Peer:
    """Listener of its child. Ids count up and are never used again; each call of a child's life has one.

    answers: given by the child that runs. overdue: calls it has that are past their deadline.
    violations, stuck: children that were killed because they broke the protocol, or did not answer.
    """

    def __init__(self, settings: JsonRpcSettings, number: int, board: Board, log: Log) -> None:
        self.child = SupervisedChild(settings.child(number), self, log)
        self.calls: dict[int, Call] = {}
        self.up = False
        self.answers = 0
        self.overdue = 0
        self.violations = 0
        self.stuck = 0
        self._settings = settings
        self._board = board
        self._framing = framing(settings.framing, settings.max_message)
        self._next = 1
        self._end: Outcome = "away"

    def room_for(self, size: int) -> bool:
        """Whether it may be given a call of `size` bytes now."""
        if not self.up or len(self.calls) >= self._settings.max_in_flight:
            return False
        unsent = self.child.unsent
        return not unsent or unsent + size + LONGEST_ENVELOPE <= self._settings.max_waiting_bytes

    def send(self, call: Call, now: float) -> None:
        """Give it a call; there has to be room for it."""
        number = self._next
        self._next = number + 1
        head = b'{"jsonrpc":"2.0","id":%d,"method":"Dispatch","params":' % number
        self.child.write(*self._framing.wrap(head, call.message, b"}"))
        self.calls[number] = call
        call.message = b""
        call.sent = True
        call.answers = self.answers
        call.stuck_at = now + self._settings.stuck if self._settings.stuck else call.expires

    def notify(self, body: bytes) -> bool:
        """Send a message that has no answer."""
        return self.up and self.child.write(*self._framing.wrap(b"", body, b""))

    def check(self, now: float) -> float:
        """End what is past its deadline, and the child if it is stuck. Returns the time of the next check; inf for none."""
        following = float("inf")
        expired = []
        stuck = False
        for call in self.calls.values():
            if not call.overdue:
                if call.expires <= now:
                    call.overdue = True
                    self.overdue += 1
                    if call.done is not None:
                        expired.append(call)
                else:
                    following = min(following, call.expires)
            if call.answers == self.answers:
                at = call.stuck_at if self.answers else max(call.stuck_at, self.child.started_at + self._settings.start_timeout)
                stuck = stuck or at <= now
                following = min(following, at)
        full = self.overdue >= self._settings.max_in_flight and self.answers > 0
        for call in expired:
            self._board.ended(call, Reply("timeout", detail=f"{self.child.settings.name}: no answer within the deadline"))
        if not stuck and not full:
            return following
        self.stuck += 1
        self.child.kill("answered nothing for too long" if stuck else "is past the deadline with all of its calls")
        return float("inf")

    def give_up(self, why: str) -> None:
        """End the calls it has for their callers."""
        reply = Reply("away", detail=f"{self.child.settings.name}: {why}")
        for call in list(self.calls.values()):
            if call.done is not None:
                self._board.ended(call, reply)

    def started(self) -> None:
        """See children.Listener."""
        self._framing = framing(self._settings.framing, self._settings.max_message)
        self._end = "away"
        self.answers = 0
        self.overdue = 0
        self.up = True
        self._board.has_room(self)

    def received(self, data: bytes) -> None:
        """See children.Listener."""
        mine = self._framing
        try:
            for frame in mine.feed(data):
                self._answer(frame)
                if not self.up or self._framing is not mine:
                    return          # what follows was written by a child that is gone
        except FramingError as error:
            self._violation(str(error))

    def lost(self, why: str) -> None:
        """See children.Listener."""
        self.up = False
        calls = list(self.calls.values())
        self.calls.clear()
        self.overdue = 0
        reply = Reply(self._end, detail=f"{self.child.settings.name}: {why}")
        for call in calls:
            if call.done is not None:
                self._board.ended(call, reply)
        self._board.is_gone(self)

    def _violation(self, what: str) -> None:
        self.violations += 1
        self._end = "error"
        self.child.kill(f"broke the protocol: {what}")

    def _answer(self, frame: bytes) -> None:
        try:
            number, result, error = parse(frame)
        except ValueError as wrong:
            self._violation(f"an answer cannot be read: {wrong}")
            return
        call = self.calls.pop(number, None)
        if call is None:
            self._violation(f"an answer has the id {number}, which no call has")
            return
        self.answers += 1
        if self.answers == 1:
            self.child.proven()
        if call.overdue:
            self.overdue -= 1
        if call.done is not None:
            if result is not None:
                self._board.ended(call, Reply("ok", result))
            else:
                self._board.ended(call, Reply("error", detail=f"{self.child.settings.name}: {described(error or b'')}"))
        self._board.has_room(self)


def described(error: bytes) -> str:
    """An error object (JSON-RPC 2.0 section 5.1) in words."""
    try:
        found = orjson.loads(error)
    except orjson.JSONDecodeError:
        found = None
    if not isinstance(found, dict):
        return "an error that cannot be read"
    message = str(found.get("message", ""))[:LONGEST_DETAIL]
    return f"error {str(found.get('code', ''))[:20]}: {message}"
