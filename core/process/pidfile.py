"""The pid file: says which process is the master, and by its lock that it still runs."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


class PidFileError(Exception):
    """The pid file cannot be written, or another gateway holds it."""


class PidFile:
    """A locked file with the master's pid. The lock ends with the process; the descriptor survives exec."""

    def __init__(self, path: str, fd: int = -1) -> None:
        self.path = path
        self.fd = fd

    def acquire(self) -> None:
        """Write the file. Raises PidFileError if a running gateway holds it or it cannot be written."""
        try:
            Path(self.path).parent.mkdir(parents=True, exist_ok=True)
            fd = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise PidFileError(f"pid_file_location: cannot write {self.path}: {error.strerror}") from error
        try:
            fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.read(fd, 32).decode(errors="replace").strip()
            os.close(fd)
            raise PidFileError(
                f"{self.path}: a gateway with pid {holder or '?'} is running already"
            ) from error
        self.fd = fd
        self.write()

    def write(self) -> None:
        """Write this process's pid. A lock of lockf belongs to a process, so a daemon takes it after its last fork."""
        os.ftruncate(self.fd, 0)
        os.pwrite(self.fd, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        if self.fd >= 0:
            Path(self.path).unlink(missing_ok=True)
            os.close(self.fd)
            self.fd = -1


def running_pid(path: str) -> int | None:
    """Pid of the gateway that holds a pid file, None if none runs."""
    try:
        fd = os.open(path, os.O_RDWR)
    except OSError:
        return None
    try:
        fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        text = os.read(fd, 32).decode(errors="replace").strip()
        return int(text) if text.isdigit() else None
    finally:
        os.close(fd)
    return None
