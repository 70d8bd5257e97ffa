"""Whether the files that a plugin server is run from have changed since it was started."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from core.config.plugins import PluginServer

MOST_FILES = 10_000
"""Files that are looked at; a larger directory counts as changed at every reload."""

Marks = frozenset[tuple[str, int, int, int]]
"""(path, time of the change in ns, size, inode) of each file."""


def marks(server: PluginServer) -> Marks | None:
    """What tells that files have changed: those of a Python server's own directory, and those that the command of a program
    names. None: there are too many."""
    found: set[tuple[str, int, int, int]] = set()
    for path in _files(server):
        try:
            about = path.stat()
        except OSError:     # an argument that is no path may be too long for one
            continue
        if not stat.S_ISREG(about.st_mode):
            continue
        found.add((str(path), about.st_mtime_ns, about.st_size, about.st_ino))
        if len(found) > MOST_FILES:
            return None
    return frozenset(found)


def _files(server: PluginServer) -> Iterator[Path]:
    settings = server.settings
    if server.driver == "jsonrpc":
        child = settings.child(0)
        yield from (Path(child.cwd, part) for part in child.argv)
    elif server.driver == "python" and not server.bundled:
        for folder, _, names in os.walk(settings.bundle):
            yield from (Path(folder, name) for name in names if not name.endswith(".pyc"))
