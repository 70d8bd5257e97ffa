"""The page that a worker and one host process share; see host/wire.py."""

from __future__ import annotations

import contextlib
import os
import struct
import tempfile
from pathlib import Path

from coprocess.python.host import wire

MEMORY = Path("/dev/shm")
IDS = struct.Struct(f"@{wire.MOST_THREADS}Q")


class Page:
    """Read with pread(), not mapped: a plugin that made the file shorter could end a process that has it mapped."""

    def __init__(self) -> None:
        """Raises OSError."""
        directory = MEMORY if os.access(MEMORY, os.W_OK | os.X_OK) else None
        self._fd, self.path = tempfile.mkstemp(prefix="preforge-page-", dir=directory)
        os.ftruncate(self._fd, wire.PAGE_BYTES)

    def begun(self) -> int:
        """The highest id of a call that has begun; 0 before the first."""
        raw = os.pread(self._fd, wire.PAGE_BYTES, 0)
        ids: tuple[int, ...] = IDS.unpack(raw.ljust(wire.PAGE_BYTES, b"\0"))
        return max(ids)

    def close(self) -> None:
        """Give it up. The host removes the name as soon as it has opened it; here only if it never came so far."""
        with contextlib.suppress(FileNotFoundError):
            Path(self.path).unlink()
        os.close(self._fd)
