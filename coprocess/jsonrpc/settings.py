"""How one JSON-RPC plugin is run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from coprocess.children import ChildSettings, split_command
from coprocess.jsonrpc.framing import Kind

MOST_CHILDREN = 64


@dataclass(frozen=True, slots=True)
class JsonRpcSettings:
    """One command line.

    name: for the log and /hello. command: a list, or a text that is split without a shell. cwd, env: see ChildSettings.
    children: how many run per worker, up to MOST_CHILDREN. max_in_flight: calls that one child has at a time. max_waiting:
    calls that wait for one of them; max_waiting_bytes: bytes of these, and of what one child has not read, where a single
    call may be longer.
    framing: "newline" or "length". max_message: bytes of one message in either direction, envelope included.
    start_timeout: seconds in which a new child need not answer. stuck: seconds without any answer after which a child is
    replaced; 0: the deadline of the call. backoff_min, backoff_max, grace, log_rate: see ChildSettings. max_events: events that
    wait; max_batch: events sent as one message.
    """

    name: str
    command: str | Sequence[str]
    cwd: str = ""
    env: Mapping[str, str] = field(default_factory=dict)
    children: int = 1
    max_in_flight: int = 64
    max_waiting: int = 256
    max_waiting_bytes: int = 64 << 20
    framing: Kind = "newline"
    max_message: int = 64 << 20
    start_timeout: float = 10.0
    stuck: float = 0.0
    backoff_min: float = 0.1
    backoff_max: float = 10.0
    grace: float = 1.0
    log_rate: int = 50
    max_events: int = 1000
    max_batch: int = 100

    def __post_init__(self) -> None:
        """Raise ValueError that names the field."""
        split_command(self.command)
        if self.framing not in ("newline", "length"):
            raise ValueError(f'framing: "newline" or "length", got {self.framing!r}')
        for name in ("children", "max_in_flight", "max_waiting_bytes", "max_message", "max_events", "max_batch"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: 1 or more, got {getattr(self, name)}")
        if self.children > MOST_CHILDREN:
            raise ValueError(f"children: at most {MOST_CHILDREN} per worker, got {self.children}")
        for name in ("max_waiting", "start_timeout", "stuck"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}: 0 or more, got {getattr(self, name)}")
        self.child(0)

    def child(self, number: int) -> ChildSettings:
        """Of the pool's child with this number."""
        return ChildSettings(
            name=self.name if self.children == 1 else f"{self.name} [{number}]",
            argv=split_command(self.command),
            cwd=self.cwd,
            env=self.env,
            backoff_min=self.backoff_min,
            backoff_max=self.backoff_max,
            grace=self.grace,
            max_unsent=self.max_waiting_bytes,
            log_rate=self.log_rate,
        )
