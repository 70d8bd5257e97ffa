"""What the master knows of each worker and each slot."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from enum import Enum

from core.process.channel import Channel


class State(Enum):
    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"


@dataclass(slots=True)
class WorkerProcess:
    """One worker process. since: monotonic seconds when it was forked."""

    pid: int
    slot: int
    generation: int
    channel: Channel
    state: State = State.STARTING
    since: float = field(default_factory=time.monotonic)
    kill_at: float = 0.0
    killed: bool = False
    aborted: bool = False
    swaps: set[int] = field(default_factory=set)

    @property
    def region(self) -> int:
        """Index of its region of the shared counters: the outgoing and the incoming worker of a slot never share one."""
        return self.slot * 2 + (self.generation & 1)


@dataclass(slots=True)
class Slot:
    """One place for a worker. failures: deaths in a row soon after the start; not_before: back-off."""

    number: int
    generation: int = 0
    failures: int = 0
    not_before: float = 0.0
    current: WorkerProcess | None = None
    replacing: WorkerProcess | None = None
