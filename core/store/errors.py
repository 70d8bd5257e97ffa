"""What can go wrong with the store."""

from __future__ import annotations


class StoreError(Exception):
    """The store did not do what was asked; the text says why."""


class StoreAway(StoreError):
    """The store cannot be asked: not connected, too slow, or too many requests wait for it."""


class StoreReply(StoreError):
    """The server answered with an error."""
