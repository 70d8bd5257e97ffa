"""Whether the code in a directory has changed since the configuration was read last."""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path

MOST_FILES = 10_000
_CODE = (".py", ".so", "manifest.json")


def code_stamp(directory: str) -> str:
    """A text that is another one when a file of Python code below the directory has come, gone or changed.

    By name, size and time of change; files beyond the first MOST_FILES do not count. "" for what is no directory.
    """
    found: list[str] = []
    for path, folders, files in os.walk(directory):
        folders[:] = sorted(folder for folder in folders if folder != "__pycache__")
        for name in sorted(files):
            if name.endswith(_CODE):
                with contextlib.suppress(OSError):  # gone meanwhile
                    at = os.lstat(Path(path, name))
                    found.append(f"{path}/{name} {at.st_size} {at.st_mtime_ns}")
                if len(found) >= MOST_FILES:
                    return _digest(found)
    return _digest(found)


def _digest(found: list[str]) -> str:
    return hashlib.sha256("\n".join(found).encode(errors="surrogateescape")).hexdigest() if found else ""
