"""What can go wrong with the store."""

from __future__ import annotations


class StoreError(Exception):
    """The store did not do what was asked; the text says why."""


class StoreAway(StoreError):
    """The store cannot be asked: not connected, too slow, not in charge, or too many commands wait for it."""


class StoreOptionError(StoreError):
    """An option of tyk.conf cannot be used. field: its path; hint: what to do."""

    def __init__(self, field: str, text: str, hint: str = "") -> None:
        super().__init__(f"{field}: {text}")
        self.field = field
        self.text = text
        self.hint = hint


class StoreReply(StoreError):
    """The server answered with an error."""


# Error replies of a server that is there but cannot serve now: still loading, not the master, its disk is full.
AWAY = (
    "LOADING", "MASTERDOWN", "CLUSTERDOWN", "READONLY", "BUSY ", "TRYAGAIN", "NOREPLICAS", "MISCONF", "NOAUTH",
)  # fmt: skip

# Of these, what says that another server has to be asked.
NOT_IN_CHARGE = ("the store answered: READONLY", "the store answered: MASTERDOWN")
# Error replies that the client itself acts on: nothing went wrong for whoever sent the command.
FOLLOWED = ("MOVED ", "ASK ", "NOSCRIPT ")


def from_reply(text: str) -> StoreError:
    """The error for an error reply."""
    return StoreAway(f"the store answered: {text}") if text.startswith(AWAY) else StoreReply(text)
