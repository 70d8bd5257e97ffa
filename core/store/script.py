"""Scripts that run inside the server."""

from __future__ import annotations

import hashlib


class Script:
    """A Lua script. A server gets its source once and is then told its SHA-1 (EVALSHA)."""

    __slots__ = ("sha", "source")

    def __init__(self, source: str) -> None:
        self.source = source.strip().encode()
        self.sha = hashlib.sha1(self.source, usedforsecurity=False).hexdigest().encode()
