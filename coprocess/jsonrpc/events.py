"""Events on their way to a plugin: nobody waits for them, and they never hold up a call."""

from __future__ import annotations

from collections import deque

HEAD = b'{"jsonrpc":"2.0","method":"DispatchEvent","params":'


class EventQueue:
    """Bounded by number and bytes. sent, dropped: running totals."""

    __slots__ = ("_bytes", "_longest", "_most", "_most_bytes", "_waiting", "dropped", "sent")

    def __init__(self, most: int, most_bytes: int, longest: int) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._longest = longest
        self._waiting: deque[bytes] = deque()
        self._bytes = 0
        self.sent = 0
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, payload: bytes) -> bool:
        """False: dropped, because it is too long or the queue is full."""
        notification = HEAD + payload + b"}"
        size = len(notification)
        full = len(self._waiting) >= self._most or (self._bytes and self._bytes + size > self._most_bytes)
        if full or size > self._longest:
            self.dropped += 1
            return False
        self._waiting.append(notification)
        self._bytes += size
        return True

    def take(self, most: int, most_bytes: int) -> tuple[int, bytes]:
        """(number of events, one message): a notification, or a batch of several (JSON-RPC 2.0 section 6)."""
        longest = min(most_bytes, self._longest)
        taken: list[bytes] = []
        size = 1
        while self._waiting and len(taken) < most and (not taken or size + len(self._waiting[0]) + 1 <= longest):
            taken.append(self._waiting.popleft())
            size += len(taken[-1]) + 1
            self._bytes -= len(taken[-1])
        return len(taken), taken[0] if len(taken) == 1 else b"[" + b",".join(taken) + b"]"

    def drop_all(self) -> None:
        """Count what waits as dropped."""
        self.dropped += len(self._waiting)
        self._waiting.clear()
        self._bytes = 0
