"""What every way to reach a plugin looks like to those who call it: bytes go out, one reply comes back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

Outcome = Literal["ok", "error", "timeout", "busy", "away", "too_large", "disabled"]
"""ok: the reply is in `message`. error: the plugin answered with an error, or with what cannot be read. timeout: nothing came
before the deadline. busy: calls in flight and those that wait are at their bounds. away: there is no connection or child.
too_large: a request or a reply over its limit. disabled: the driver cannot run at all."""

Format = Literal["protobuf", "json"]
Status = Literal["up", "connecting", "down", "disabled"]


@dataclass(frozen=True, slots=True)
class Reply:
    """The end of one call. message: a coprocess.Object in the driver's format; detail: for the log, never for a client."""

    outcome: Outcome
    message: bytes = b""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class DriverState:
    """For /hello. detail: why it is not up, for administrators only: it may quote the plugin."""

    status: Status
    detail: str = ""


class Ticket(Protocol):
    """A call under way."""

    def cancel(self) -> None:
        """The caller went away: its `done` is not called any more."""


class Driver(Protocol):
    """One plugin server, command or bundle, as one worker sees it. Made after the fork, used on the worker's loop only."""

    format: Format

    async def start(self) -> None:
        """Begin to connect; a plugin that is away does not keep the gateway from starting."""

    async def close(self, grace: float) -> None:
        """Let calls under way end within `grace` seconds, and give everything up."""

    def dispatch(self, message: bytes, deadline: float, done: Callable[[Reply], None]) -> Ticket:
        """Send one coprocess.Object. deadline: seconds from now. `done` is called once, never from inside this call."""

    def event(self, payload: bytes) -> bool:
        """Send one event, JSON text (tyk-plugins 9), without an answer; False if it was dropped, which is counted."""

    def state(self) -> DriverState:
        """Whether calls would reach the plugin now."""

    def counts(self) -> dict[str, int]:
        """Running totals and gauges by name, for /metrics."""
