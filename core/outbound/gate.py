"""How many requests run at a time, and how many may wait for their turn."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from core.outbound.messages import OutboundError


class Gate:
    """`most` run; as many wait, first come, first served; one more is refused. Its owner's patient ones wait anyway."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.running = 0
        self._queue: deque[asyncio.Future[bool]] = deque()
        self._counted = 0

    @property
    def waiting(self) -> int:
        return len(self._queue)

    def configure(self, most: int) -> None:
        """Another bound, from now on."""
        self.most = most
        self._admit()

    @asynccontextmanager
    async def place(self, *, patient: bool = False) -> AsyncIterator[None]:
        """Hold a place. patient: wait however many do, for a caller that bounds its own. Raises OutboundError."""
        await self._enter(patient)
        try:
            yield
        finally:
            self.running -= 1
            self._admit()

    async def _enter(self, patient: bool) -> None:
        if self.running < self.most and not self._queue:
            self.running += 1
            return
        if not patient and self._counted >= self.most:
            raise OutboundError(f"{self.running} requests run and {self._counted} wait already", "busy")
        turn: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._queue.append(turn)
        self._counted += not patient
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._queue.remove(turn)
            else:
                # Its turn came in the same moment.
                self.running -= 1
                self._admit()
            raise
        finally:
            self._counted -= not patient

    def _admit(self) -> None:
        free = self.most - self.running
        for turn in list(self._queue)[: max(0, free)]:
            if not turn.done():
                self._queue.remove(turn)
                self.running += 1
                turn.set_result(True)
