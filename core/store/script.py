"""Scripts that run inside the server."""

from __future__ import annotations

import hashlib


class Script:
    """A Lua script; it is sent once to each server and then named by its SHA-1, as EVALSHA wants it."""

    __slots__ = ("sha", "source")

    def __init__(self, source: str) -> None:
        self.source = source.strip().encode()
        self.sha = hashlib.sha1(self.source, usedforsecurity=False).hexdigest().encode()
