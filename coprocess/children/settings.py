"""How a child process is run."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

SECRET_PREFIX = "TYK_GW_"
"""Variables that configure the gateway, its secrets among them; a child does not inherit them."""


@dataclass(frozen=True, slots=True)
class ChildSettings:
    """One kind of child.

    name: stands in front of its log lines. argv: program and arguments, no shell. cwd: "" for the worker's. env: added to
    what the worker has, without TYK_GW_*. backoff_min, backoff_max: seconds between starts that fail, doubling.
    settle: seconds; a child that has lived as long is replaced at once when it ends. grace: seconds from the end of its
    input until SIGKILL; SIGTERM comes half way. max_unsent: bytes that wait for a child that does not read.
    log_line: bytes of a line of its standard error; log_rate: lines per second, the others are counted; log_bytes: bytes
    per second that are read at all.
    """

    name: str
    argv: tuple[str, ...]
    cwd: str = ""
    env: Mapping[str, str] = field(default_factory=dict)
    backoff_min: float = 0.1
    backoff_max: float = 10.0
    settle: float = 1.0
    grace: float = 1.0
    max_unsent: int = 64 << 20
    log_line: int = 4096
    log_rate: int = 50
    log_bytes: int = 1 << 20

    def __post_init__(self) -> None:
        """Raise ValueError that names the field."""
        if not self.argv or not self.argv[0]:
            raise ValueError("argv: a program is needed")
        if not 0 < self.backoff_min <= self.backoff_max:
            raise ValueError(f"backoff_min: more than 0 and at most backoff_max, got {self.backoff_min} and {self.backoff_max}")
        for name in ("settle", "grace"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}: seconds, 0 or more, got {getattr(self, name)}")
        for name, value in self.env.items():
            if not name or "=" in name or "\0" in name + value:
                raise ValueError(f"env: expected names without = and texts without NUL bytes, got {name!r:.60}")
        for name in ("max_unsent", "log_line", "log_rate", "log_bytes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: 1 or more, got {getattr(self, name)}")

    def environment(self) -> dict[str, str]:
        """The whole environment of a child."""
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(SECRET_PREFIX)}
        return inherited | dict(self.env)

    def program(self) -> str:
        """The path to run: searched for in the child's PATH if it has no slash. Raises FileNotFoundError."""
        wanted = self.argv[0]
        if "/" in wanted:
            return wanted
        found = shutil.which(wanted, path=self.environment().get("PATH", os.defpath))
        if found is None:
            raise FileNotFoundError(2, "there is no such program in PATH", wanted)
        return str(os.path.abspath(found))  # noqa: PTH100 - resolve() would follow links, and programs look at their own name


def split_command(command: str | Sequence[str]) -> tuple[str, ...]:
    """Program and arguments: a list as it is, a text split as a POSIX shell would split it, without running one.

    Raises ValueError for nothing at all, for an open quote and for NUL bytes.
    """
    try:
        parts = tuple(shlex.split(command)) if isinstance(command, str) else tuple(command)
    except ValueError as error:
        raise ValueError(f"command: it cannot be split as a shell would: {error}") from None
    if not parts or not parts[0]:
        raise ValueError("command: a program is needed")
    if any("\0" in part for part in parts):
        raise ValueError("command: expected a text without NUL bytes")
    return parts
