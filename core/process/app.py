"""What the process model needs from the application it runs, and what it gives to it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from socket import socket
from typing import Protocol

from accel.shm import Region, SharedCounters
from core.findings import Finding


@dataclass(frozen=True, slots=True)
class ListenerSpec:
    """An address to listen on. name: how the application knows it; address "" means all."""

    name: str
    address: str
    port: int


@dataclass(frozen=True, slots=True)
class Limits:
    """Numbers that the master itself obeys; times in seconds."""

    workers: int
    shared_listener: bool
    backlog: int
    worker_timeout: float
    start_timeout: float
    backoff_max: float
    drain_delay: float
    drain_timeout: float


@dataclass(frozen=True, slots=True)
class EmbeddedSpec:
    """A store server that the master runs. command: program and arguments, but for the policy of syncs; directory: of
    its data, which no other gateway may use; socket: path where it listens; start_timeout: seconds to load its data."""

    command: tuple[str, ...]
    directory: str
    socket: str
    start_timeout: float


@dataclass(slots=True)
class LoadReport:
    """What a loader child found. payload: opaque to the master; ok: False keeps everything as it was."""

    payload: bytes
    findings: list[Finding] = field(default_factory=list)
    ok: bool = True
    summary: str = ""


@dataclass(slots=True)
class WorkerContext:
    """What a worker gets. sockets: listener name -> bound, listening socket of this worker's slot; storage_socket: path
    of the embedded server's socket, "" if there is none.

    request_reload asks the master to reload all workers and waits until that is done; it returns an error text or "".
    request_replacement asks it to start another worker in this slot, which then ends this one, and says why.
    """

    slot: int
    generation: int
    sockets: dict[str, socket]
    counters: SharedCounters
    region: Region
    request_reload: Callable[[], Awaitable[str]]
    storage_socket: str = ""
    request_replacement: Callable[[str], None] = lambda why: None


class BootError(Exception):
    """The gateway cannot start; the text says why."""


class App(Protocol):
    """The application. load and adopt run without event loop and threads; the rest in a worker, on its loop."""

    def listeners(self) -> list[ListenerSpec]: ...

    def limits(self) -> Limits: ...

    def rows(self) -> int:
        """How many API rows the shared counters need."""
        ...

    def storage(self) -> EmbeddedSpec | None:
        """The store server to run, None if there is one elsewhere. Raises BootError."""
        ...

    def store(self) -> tuple[str, str]:
        """For `preforge status`: the kind of store, and where it is."""
        ...

    def load(self) -> LoadReport:
        """Read everything anew; runs in a short-lived child."""
        ...

    def adopt(self, report: LoadReport) -> bytes:
        """Keep a report as the current state; returns the message for workers that run already."""
        ...

    def snapshot(self) -> bytes:
        """What `restore` of the next image needs to keep the last good state."""
        ...

    def restore(self, state: bytes) -> None: ...

    async def start_worker(self, ctx: WorkerContext) -> None: ...

    async def swap(self, message: bytes) -> list[Finding]: ...

    async def drain(self, grace: float) -> None: ...

    def abort(self) -> None: ...
