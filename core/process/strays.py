"""What a worker leaves behind when it dies: the processes that its plugins have started by themselves.

Each worker leads a session (setsid(2)), and all below it belong to that unless they left it on purpose. A plugin itself gets
SIGKILL from the kernel when its worker dies; what it had started would go on without an owner.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

PROC = Path("/proc")
SESSION = 3  # among the fields of /proc/PID/stat behind the name (proc_pid_stat(5))
MOST_ROUNDS = 20  # a process that is killed may just have started another one


def kill_session(leader: int) -> int:
    """SIGKILL to all processes of a session but its leader, which is dead and not reaped yet, so that the number still is its
    own. Returns how many there were. Raises OSError where /proc cannot be read."""
    killed: set[int] = set()
    for _ in range(MOST_ROUNDS):
        found = {pid for pid in _members(leader) if pid not in killed}
        if not found:
            break
        for pid in found:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        killed |= found
    return len(killed)


def _members(leader: int) -> Iterator[int]:
    for place in PROC.iterdir():
        if not place.name.isdecimal() or int(place.name) == leader:
            continue
        try:
            fields = (place / "stat").read_bytes().rpartition(b")")[2].split()
        except OSError:
            continue  # it has ended
        if int(fields[SESSION]) == leader and fields[0] != b"Z":
            yield int(place.name)
