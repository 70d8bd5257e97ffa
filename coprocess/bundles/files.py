"""Opening files that may be anything else: a pipe would block, a link lead elsewhere."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from coprocess.bundles.settings import BundleError

_MAX_KEY_BYTES = 65536


def open_regular(path: str, directory: int | None = None, flags: int = 0) -> int:
    """Open a regular file for reading; returns its descriptor. Raises OSError, ValueError for another kind of file."""
    file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | flags, dir_fd=directory)
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise ValueError("expected a regular file")
    return file


def open_directory(path: str) -> int:
    """Open a directory that is no link. Raises OSError."""
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)


def open_inside(directory: int, name: str) -> int:
    """Open a regular file below an open directory, following no link on the way. Raises OSError, ValueError."""
    *folders, last = name.split("/")
    here = os.dup(directory)
    try:
        for folder in folders:
            inner = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=here)
            os.close(here)
            here = inner
        return open_regular(last, here, os.O_NOFOLLOW)
    finally:
        os.close(here)


def read_key(path: str, field: str) -> bytes:
    """Return the text of a key file; ``field`` names the setting in messages. Raises BundleError."""
    try:
        with Path(path).open("rb") as stream:
            raw = stream.read(_MAX_KEY_BYTES + 1)
    except OSError as error:
        raise BundleError(f"{field}: {path}: cannot be read: {error.strerror}") from None
    if len(raw) > _MAX_KEY_BYTES:
        raise BundleError(f"{field}: {path}: larger than {_MAX_KEY_BYTES} bytes")
    return raw
