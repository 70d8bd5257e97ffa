"""The data directory of the embedded store: private, and locked so that no two servers ever write to it."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import time
from pathlib import Path
from typing import Any

from core.process.app import BootError

OPTION = "preforge.storage.data_dir"
WAIT_SECONDS = 15.0
KILL_AFTER = 5.0


def take(directory: str) -> int:
    """Make the directory and lock it; returns the lock's descriptor.

    The lock (flock) belongs to the open file, which the server inherits: it is held as long as the master or the server
    lives. A server that has outlived its master is waited for, then killed. Raises BootError if a gateway that runs
    holds the lock, or if the directory cannot be used.
    """
    path = Path(directory)
    try:
        path.mkdir(mode=0o700, exist_ok=True)
        if path.stat().st_uid == os.geteuid():
            path.chmod(0o700)
        fd = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        text = f"{directory} cannot be used: {error.strerror}; name a directory that the gateway may write to"
        raise BootError(f"{OPTION}: {text}") from error
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        os.close(fd)
        raise BootError(f"{OPTION}: {directory} is not writable; name a directory that the gateway may write to")
    try:
        _lock(fd, directory)
    except BootError:
        os.close(fd)
        raise
    note(fd, 0)
    return fd


def _lock(fd: int, directory: str) -> None:
    start = time.monotonic()
    killed = False
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pass
        except OSError as error:
            raise BootError(f"{OPTION}: {directory} cannot be locked: {error.strerror}") from error
        else:
            return
        holder = _holder(fd)
        master = _alive(holder.get("master"))
        waited = time.monotonic() - start
        if master:
            text = f"{directory} is in use by the gateway with pid {master}; each gateway needs a directory of its own"
            raise BootError(f"{OPTION}: {text}")
        server = _alive(holder.get("server"))
        if server and waited > KILL_AFTER and not killed:
            killed = True
            os.kill(server, signal.SIGKILL)
        if waited > WAIT_SECONDS:
            raise BootError(f"{OPTION}: {directory} is locked by a process that cannot be seen from here")
        time.sleep(0.01)


def note(fd: int, server: int) -> None:
    """Write down who holds the lock: this process, and the server with this pid (0: none)."""
    record = {"master": [os.getpid(), started(os.getpid())], "server": [server, started(server)]}
    data = json.dumps(record).encode() + b"\n"
    os.pwrite(fd, data, 0)
    os.ftruncate(fd, len(data))


def _holder(fd: int) -> dict[str, Any]:
    try:
        found = json.loads(os.pread(fd, 4096, 0))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _alive(who: Any) -> int:
    """The pid of a noted process if it still runs, else 0."""
    if not isinstance(who, list) or len(who) != 2 or not isinstance(who[0], int) or who[0] <= 0:
        return 0
    return who[0] if started(who[0]) == who[1] and who[1] else 0


def started(pid: int) -> int:
    """When a process was started, in clock ticks since boot (field 22 of proc(5) stat); 0 if it is gone or dead."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return 0 if fields[0] in "ZX" else int(fields[19])
