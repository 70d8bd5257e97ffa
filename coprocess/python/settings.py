"""How one bundle is run, and what it may ask of the gateway."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Protocol

from coprocess.python.host import wire

MIB = 1 << 20
GIVEN = {"given": True}
"""Metadata of a field that the gateway fills, and that is no setting of a user's."""


class PythonServices(Protocol):
    """What TykGateway needs of a worker. Keys arrive as the plugin wrote them; the services put `coprocess-data:` before them
    (tyk-plugins 5.4)."""

    async def store_data(self, key: str, value: bytes, ttl: int) -> None:
        """Keep a value for `ttl` seconds, 0 or less: without end. What it raises is told to the plugin as a refusal."""

    async def get_data(self, key: str) -> bytes:
        """The value, empty if there is none. What it raises is told to the plugin as a refusal."""

    def trigger_event(self, name: str, payload: str) -> None:
        """Fire a system event."""


def _bounded(default: float, low: float, high: float) -> float:
    """A field whose value must lie between two bounds."""
    value: float = field(default=default, metadata={"bounds": (low, high)})
    return value


def _whole(default: int, low: int, high: int) -> int:
    value: int = field(default=default, metadata={"bounds": (low, high)})
    return value


@dataclass(frozen=True, slots=True)
class PythonSettings:
    """Numbers are per worker unless they say otherwise. Raises ValueError that names the field.

    A driver may live on over a reload if its settings are equal to the new ones: `verified` says whether the code changed.
    """

    bundle: str
    """The bundle's directory; its last component is the name of the module (tyk-plugins 5.2)."""
    verified: Mapping[str, str] | None = field(default=None, metadata=GIVEN)
    """Hex SHA-256 of each file that may be imported, by its path in the bundle; what has changed since is refused. None: any
    file, as it is."""
    listed: tuple[str, ...] | None = field(default=None, metadata=GIVEN)
    """`file_list` of the manifest; None: as it stands in the directory when a process starts."""
    interpreter: str = field(default_factory=lambda: sys.executable)
    """A Python 3.8 or later, such as that of the plugin's virtual environment."""
    python_path: tuple[str, ...] = ()
    """Directories that come first on the import path."""
    processes: int = _whole(1, 1, 64)
    """Host processes; this many calls run at once (times `threads`)."""
    threads: int = _whole(1, 1, wire.MOST_THREADS)
    """Calls at once in one process. 1 is what plugins written for Tyk expect."""
    pipeline: int = _whole(8, 1, 64)
    """Calls given to a process at once while its calls are short, so that it does not wait for the worker between two."""
    queue: int = _whole(1024, 0, 1_000_000)
    """Calls that wait for a process; more are answered "busy"."""
    max_message: int = _whole(128 * MIB, 1024, 1024 * MIB)
    """Bytes of one call or reply; larger ones are answered "too_large"."""
    max_memory: int = _whole(2048 * MIB, 0, 1 << 50)
    """Bytes that a process may allocate (RLIMIT_DATA); a call that needs more fails, and the process is
    replaced. 0: no bound."""
    event_queue: int = _whole(1024, 0, 1_000_000)
    """Events that wait; more are dropped and counted."""
    event_deadline: float = _bounded(5.0, 0.01, 3600)
    """Seconds an event handler may run."""
    start_timeout: float = _bounded(30.0, 0.1, 3600)
    """Seconds until a process must have imported the bundle."""
    restart_delay: float = _bounded(0.1, 0.001, 60)
    """Seconds before a restart, doubled for each further one in a row."""
    restart_delay_most: float = _bounded(10.0, 0.001, 3600)
    """Seconds at which the doubling ends. A process that was ready for a second starts the count anew."""
    max_key: int = _whole(1024, 1, 65536)
    """Bytes of a store_data() or get_data() key, and of an event's name."""
    max_value: int = _whole(MIB, 1, 64 * MIB)
    """Bytes of a stored value, and of an event's payload."""
    questions_per_second: int = _whole(5000, 1, 1_000_000)
    """store_data() and get_data(), per process; more are refused."""
    questions_open: int = _whole(64, 1, 4096)
    """store_data() and get_data() that have no answer yet, per process; more are refused."""
    notices_per_second: int = _whole(200, 1, 100_000)
    """Lines printed, log() and trigger_event() together, per process; more are dropped and counted."""

    def __post_init__(self) -> None:
        for one in fields(self):
            low, high = one.metadata.get("bounds", (0, 0))
            value = getattr(self, one.name)
            if high and not (isinstance(value, int | float) and low <= value <= high):
                raise ValueError(f"{one.name}: {value!r} is not between {low} and {high}")
        if not self.bundle:
            raise ValueError("bundle: expected the directory of a bundle")
        if not self.interpreter:
            raise ValueError("interpreter: expected the path of a Python interpreter")
