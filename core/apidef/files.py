"""Reading files that a user may replace by anything at any time."""

from __future__ import annotations

import os
import stat
import time

# A file changed within this time of being read may change again without a new time stamp.
_RACY_NS = 2_000_000_000


def read_regular(path: str, limit: int, *, follow: bool = True) -> tuple[bytes, os.stat_result]:
    """Return the content of a regular file and its state. Raises OSError, ValueError if larger than ``limit`` bytes.

    Without ``follow`` a symbolic link in the last place is an OSError.
    """
    # Without O_NONBLOCK a named pipe in the directory would hold the reload for ever.
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
    with open(os.open(path, flags), "rb") as stream:
        state = os.fstat(stream.fileno())
        if not stat.S_ISREG(state.st_mode):
            raise ValueError("expected a regular file")
        raw = stream.read(limit + 1)
    if len(raw) > limit:
        raise ValueError(f"the file is too large: at most {limit} bytes are read")
    return raw, state


def is_racy(state: os.stat_result) -> bool:
    """Say whether the file may change again without a new time stamp."""
    return state.st_mtime_ns > time.time_ns() - _RACY_NS
