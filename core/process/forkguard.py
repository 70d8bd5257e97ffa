"""Proof, before each fork, that forking is safe: one thread, and no library that breaks across a fork.

V8 and gRPC start threads that a child would not have (anchors 2.5); they belong into workers, after the fork.
"""

from __future__ import annotations

import sys
from pathlib import Path

FORBIDDEN = ("grpc", "py_mini_racer")


class ForkRefused(Exception):
    """Forking now could leave a child with locks that nobody releases."""


def check() -> None:
    """Raise ForkRefused unless this process may fork."""
    threads = sum(1 for _ in Path("/proc/self/task").iterdir())
    if threads != 1:
        raise ForkRefused(f"the master has {threads} threads; it must have one when it forks")
    loaded = [name for name in FORBIDDEN if name in sys.modules]
    if loaded:
        raise ForkRefused(f"the master has loaded {', '.join(loaded)}, which must be loaded in workers only")
