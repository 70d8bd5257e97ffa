"""JSON files of one directory, changed so that a crash, a full disk or a second writer leaves the old or the new text.

The functions block (fsync) and are meant for a thread. Writers of all workers and nodes on one machine exclude each
other by a lock on the directory itself.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

LOCK_SECONDS = 10.0
MODE = 0o644
MAX_NAME = 200


class Directory:
    """A directory while it is locked. All methods raise OSError, and then have changed nothing."""

    def __init__(self, path: Path, handle: int) -> None:
        self.path = path
        self._handle = handle

    def read(self, name: str) -> bytes | None:
        """The text of a file, None if it is not there."""
        try:
            # Without O_NONBLOCK a named pipe would hold the lock for ever.
            handle = os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=self._handle)
        except FileNotFoundError:
            return None
        with open(handle, "rb") as stream:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise OSError(errno.EINVAL, f"{name} is not a regular file")
            return stream.read()

    def names(self) -> list[str]:
        """The names of its JSON files, in order."""
        with os.scandir(self._handle) as entries:
            return sorted(entry.name for entry in entries if entry.name.endswith(".json"))

    def write(self, name: str, text: bytes) -> None:
        """Put a file in place; when this returns it survives a power cut."""
        # One scratch name per file: what a killed writer left behind is overwritten by the next one.
        scratch = f".{name}.tmp"
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            handle = os.open(scratch, flags, MODE, dir_fd=self._handle)
            try:
                with contextlib.suppress(FileNotFoundError):
                    os.fchmod(handle, os.stat(name, dir_fd=self._handle).st_mode & 0o777)
                with open(handle, "wb", closefd=False) as stream:
                    stream.write(text)
                os.fsync(handle)
            finally:
                os.close(handle)
            os.replace(scratch, name, src_dir_fd=self._handle, dst_dir_fd=self._handle)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(scratch, dir_fd=self._handle)
            raise
        os.fsync(self._handle)

    def remove(self, name: str) -> bool:
        """Remove a file for good; False if it was not there."""
        try:
            os.unlink(name, dir_fd=self._handle)
        except FileNotFoundError:
            return False
        os.fsync(self._handle)
        return True


@contextlib.contextmanager
def locked(path: str | Path) -> Iterator[Directory]:
    """Hold the lock of a directory. Raises OSError, TimeoutError among them."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _lock(handle, path)
        yield Directory(Path(path), handle)
    finally:
        os.close(handle)


def _lock(handle: int, path: str | Path) -> None:
    end = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= end:
                raise TimeoutError(110, f"another process holds the lock of {path}") from None
            time.sleep(0.01)
        else:
            return


def indented(document: Any) -> bytes:
    """The text of a file. Raises ValueError for numbers that are not JSON."""
    try:
        return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False).encode() + b"\n"
    except UnicodeEncodeError:
        # A lone surrogate has no UTF-8; as an escape it stays what it was.
        return json.dumps(document, indent=2, allow_nan=False).encode() + b"\n"
