"""What the steps of one request leave at its exchange for the steps behind them."""

from __future__ import annotations

from accel.http1 import Exchange, KeyEntry


class State:
    """identity: the key that custom authentication has found; owner: whoever found it; extracted: the session id that an ID
    extractor made of the request, "" for none."""

    __slots__ = ("extracted", "identity", "owner")

    def __init__(self) -> None:
        self.identity: KeyEntry | None = None
        self.owner: object = None
        self.extracted = ""


def state_of(x: Exchange) -> State:
    """The state of an exchange, made when it is first asked for."""
    if not isinstance(x.state, State):
        x.state = State()
    state: State = x.state
    return state


def keep_identity(x: Exchange) -> None:
    """For a step behind token auth: the key that custom authentication has found is the request's after all."""
    identity = state_of(x).identity
    if identity is not None:
        x.key = identity
        x.grant = None
