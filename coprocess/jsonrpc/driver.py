"""The JSON-RPC driver: a pool of children, the calls that wait for them, deadlines, events."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from typing import Literal

from coprocess.children import Log
from coprocess.driver import DriverState, Outcome, Reply
from coprocess.jsonrpc.call import Call, Done
from coprocess.jsonrpc.events import EventQueue
from coprocess.jsonrpc.peer import LONGEST_ENVELOPE, Peer
from coprocess.jsonrpc.settings import JsonRpcSettings

NEVER = float("inf")
CHECK_EVERY = 0.01
"""Seconds between two looks at the deadlines, at the least."""
CONGESTED = 64 << 10
"""Unsent bytes above which a child is given no events."""
LATER = 0.05
"""Seconds until what found every child congested is tried again."""
BATCH_BYTES = 256 << 10
"""A batch of events is about this long at the most, if it is not a single one."""


class JsonRpcDriver:
    """A Driver (coprocess/driver.py) for one command line. The protocol is described in PROTOCOL.md."""

    format: Literal["protobuf", "json"] = "json"

    def __init__(self, settings: JsonRpcSettings, log: Log) -> None:
        self._settings = settings
        self._log = log
        self._peers = [Peer(settings, number, self, log) for number in range(settings.children)]
        self._longest = settings.max_message - LONGEST_ENVELOPE
        self._waiting: deque[Call] = deque()
        self._waiting_bytes = 0
        self._live = 0
        self._turn = 0
        self._totals: Counter[str] = Counter()
        self._events = EventQueue(settings.max_events, settings.max_waiting_bytes, settings.max_message)
        self._events_due = False
        self._wake: asyncio.TimerHandle | None = None
        self._wake_at = NEVER
        self._closing = False
        self._idle: asyncio.Future[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def start(self) -> None:
        """See Driver. A program that cannot be run is tried again and again; state() says why."""
        self._loop = asyncio.get_running_loop()
        for peer in self._peers:
            peer.child.start()

    def dispatch(self, message: bytes, deadline: float, done: Done) -> Call:
        """See Driver."""
        loop = self._loop
        assert loop is not None, "start() comes first"
        now = loop.time()
        call = Call(self, message, now + deadline, done)
        self._live += 1
        self._totals["calls"] += 1
        size = len(message)
        if size > self._longest:
            return self._refuse(call, "too_large", f"a call of {size} bytes, over max_message")
        if self._closing:
            return self._refuse(call, "away", "it is being closed")
        peer = None if self._waiting else self._pick(size)
        if peer is not None:
            peer.send(call, now)
            self._wake_by(min(call.expires, call.stuck_at))
        elif not any(p.up for p in self._peers):
            return self._refuse(call, "away", self._peers[0].child.detail or "no child runs")
        elif len(self._waiting) >= self._settings.max_waiting:
            return self._refuse(call, "busy", f"{len(self._waiting)} calls wait already")
        elif self._waiting_bytes and self._waiting_bytes + size > self._settings.max_waiting_bytes:
            return self._refuse(call, "busy", f"{self._waiting_bytes} bytes of calls wait already")
        else:
            self._waiting.append(call)
            self._waiting_bytes += size
            self._wake_by(min(call.expires, now + LATER))
        return call

    def event(self, payload: bytes) -> bool:
        """See Driver."""
        if self._closing or self._loop is None:
            self._events.dropped += 1
            return False
        if not self._events.put(payload):
            return False
        self._flush_soon()
        return True

    def state(self) -> DriverState:
        """See Driver. "connecting": started again, and not yet found to work."""
        if self._loop is None:
            return DriverState("connecting", "not started yet")
        if self._closing:
            return DriverState("disabled", "closed")
        children = [peer.child for peer in self._peers]
        for status in ("up", "unsure"):
            if any(child.status == status for child in children):
                down = next((child.detail for child in children if child.status != "up"), "")
                return DriverState("up" if status == "up" else "connecting", down)
        return DriverState("down", children[0].detail)

    def counts(self) -> dict[str, int]:
        """See Driver. Gauges: in_flight, waiting, unsent_bytes, abandoned (ended for the caller only), children_up,
        events_waiting. The others are totals."""
        names = ("calls", "ok", "error", "timeout", "busy", "away", "too_large", "cancelled")
        held = sum(len(peer.calls) for peer in self._peers)
        wanted = sum(call.done is not None for peer in self._peers for call in peer.calls.values())
        return {name: self._totals[name] for name in names} | {
            "in_flight": wanted,
            "abandoned": held - wanted,
            "waiting": len(self._waiting),
            "unsent_bytes": sum(peer.child.unsent for peer in self._peers),
            "children_up": sum(peer.up for peer in self._peers),
            "restarts": sum(peer.child.restarts for peer in self._peers),
            "violations": sum(peer.violations for peer in self._peers),
            "stuck": sum(peer.stuck for peer in self._peers),
            "stderr_lines_dropped": sum(peer.child.lines_dropped for peer in self._peers),
            "events": self._events.sent,
            "events_dropped": self._events.dropped,
            "events_waiting": len(self._events),
        }

    async def close(self, grace: float) -> None:
        """See Driver. The children have their own grace (settings) after that."""
        self._closing = True
        if self._loop is None:
            return
        self._flush()
        if self._live and grace > 0:
            self._idle = self._idle or self._loop.create_future()
            await asyncio.wait({self._idle}, timeout=grace)
        self._end_waiting("it is being closed")
        for peer in self._peers:
            peer.give_up("it is being closed")
        self._events.drop_all()
        await asyncio.gather(*(peer.child.stop() for peer in self._peers))
        if self._wake:
            self._wake.cancel()

    def cancelled(self, call: Call) -> None:
        """See call.Cancels."""
        self._totals["cancelled"] += 1
        self._one_less()
        if not call.sent and call in self._waiting:
            self._waiting.remove(call)
            self._waiting_bytes -= len(call.message)

    def ended(self, call: Call, reply: Reply) -> None:
        """See peer.Board."""
        done, call.done = call.done, None
        if done is None:
            return
        self._totals[reply.outcome] += 1
        self._one_less()
        try:
            done(reply)
        except Exception as error:      # whoever asked is at fault, and others wait behind it
            self._log("error", f"{self._settings.name}: what was to be done with an answer failed: {error!r}")

    def has_room(self, peer: Peer) -> None:
        """See peer.Board."""
        while self._waiting and peer.room_for(len(self._waiting[0].message)):
            call = self._waiting.popleft()
            self._waiting_bytes -= len(call.message)
            assert self._loop is not None
            peer.send(call, self._loop.time())
            self._wake_by(call.stuck_at)
        if len(self._events):
            self._flush_soon()

    def is_gone(self, peer: Peer) -> None:
        """See peer.Board."""
        if not any(p.up for p in self._peers):
            self._end_waiting(peer.child.detail)

    def _pick(self, size: int) -> Peer | None:
        """The child with the fewest calls; of those that have as few, each in turn."""
        peers = self._peers
        count = len(peers)
        if count == 1:
            return peers[0] if peers[0].room_for(size) else None
        best = None
        self._turn = (self._turn + 1) % count
        for offset in range(count):
            peer = peers[(self._turn + offset) % count]
            if peer.room_for(size) and (best is None or len(peer.calls) < len(best.calls)):
                best = peer
        return best

    def _refuse(self, call: Call, outcome: Outcome, why: str) -> Call:
        assert self._loop is not None
        self._loop.call_soon(self.ended, call, Reply(outcome, detail=f"{self._settings.name}: {why}"))
        return call

    def _one_less(self) -> None:
        self._live -= 1
        if self._idle and not self._live and not self._idle.done():
            self._idle.set_result(None)

    def _end_waiting(self, why: str) -> None:
        calls, self._waiting = self._waiting, deque()
        self._waiting_bytes = 0
        for call in calls:
            self.ended(call, Reply("away", detail=f"{self._settings.name}: {why}"))

    def _wake_by(self, at: float) -> None:
        """Look at the deadlines at `at` at the latest."""
        if at < self._wake_at:
            assert self._loop is not None
            if self._wake:
                self._wake.cancel()
            self._wake_at = at
            self._wake = self._loop.call_at(max(at, self._loop.time()), self._check)

    def _check(self) -> None:
        """End what is past its deadline. One timer for all: it is set anew once it has run out, not once per call."""
        assert self._loop is not None
        self._wake = None
        self._wake_at = NEVER
        now = self._loop.time()
        for call in [call for call in self._waiting if call.expires <= now]:
            self._waiting.remove(call)
            self._waiting_bytes -= len(call.message)
            self.ended(call, Reply("timeout", detail=f"{self._settings.name}: waited for its turn until the deadline"))
        following = min((peer.check(now) for peer in self._peers), default=NEVER)
        for peer in self._peers:
            self.has_room(peer)         # one may have read since what was too much before
        if self._waiting:
            following = min(following, now + LATER)
        if following < NEVER:
            self._wake_by(max(following, now + CHECK_EVERY))

    def _flush_soon(self) -> None:
        if not self._events_due:
            assert self._loop is not None
            self._events_due = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        """Send the events that wait, as few messages, to the child that has least to read."""
        self._events_due = False
        up = [peer for peer in self._peers if peer.up]
        while up and len(self._events):
            peer = min(up, key=lambda p: p.child.unsent)
            if peer.child.unsent > CONGESTED:
                assert self._loop is not None
                self._events_due = True
                self._loop.call_later(LATER, self._flush)
                return
            count, message = self._events.take(self._settings.max_batch, BATCH_BYTES)
            if peer.notify(message):
                self._events.sent += count
            else:
                self._events.dropped += count
