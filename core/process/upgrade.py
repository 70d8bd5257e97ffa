"""Handing a running gateway to new code: the master executes itself anew and adopts its workers.

The process id stays, so workers remain its children and a service manager notices nothing. Descriptors are kept
open across exec; a memfd tells the new image what they are.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass
from typing import Any

STATE_VARIABLE = "PREFORGE_STATE_FD"
FORMAT = 2
PREFLIGHT_SECONDS = 120


@dataclass(slots=True)
class AdoptedWorker:
    """A worker that runs already: its process, and the descriptor of the master's end of its channel."""

    pid: int
    slot: int
    generation: int
    channel: int
    age: float


@dataclass(slots=True)
class HandOver:
    """Everything the new image needs. listeners: name -> descriptor per slot; storage: the embedded store's state."""

    counters: int
    control: int
    pid_file: int
    listeners: dict[str, list[int]]
    workers: list[AdoptedWorker]
    snapshot: int
    storage: dict[str, Any] | None = None
    format: int = FORMAT

    def descriptors(self) -> list[int]:
        found = [
            self.counters,
            self.control,
            self.pid_file,
            self.snapshot,
            *(w.channel for w in self.workers),
        ]
        for fds in self.listeners.values():
            found.extend(fds)
        if self.storage is not None:
            found += [self.storage["lock"], self.storage["log"]]
        return [fd for fd in found if fd >= 0]


def preflight(arguments: list[str]) -> str:
    """Prove in a fresh interpreter that the code on disk loads the configuration. Returns an error text or ""."""
    command = [sys.executable, "-P", "-m", "core", "preflight", *arguments]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=PREFLIGHT_SECONDS,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"the new code could not be tried: {error}"
    if done.returncode == 0 and done.stdout.strip() == f"format {FORMAT}":
        return ""
    text = (done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}").splitlines()
    return "the new code does not start: " + " | ".join(text[-3:])


def keep(data: bytes) -> int:
    """A memfd that holds bytes for the new image; `kept` reads and closes it."""
    fd = os.memfd_create("preforge-snapshot", 0)
    with os.fdopen(os.dup(fd), "wb") as file:
        file.write(data)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def kept(fd: int) -> bytes:
    """The bytes of `keep`."""
    with os.fdopen(fd, "rb") as file:
        return file.read()


def execute(hand_over: HandOver, arguments: list[str]) -> None:
    """Replace this process image. Returns only by raising OSError, with everything as before."""
    fd = os.memfd_create("preforge-state", 0)
    os.write(fd, json.dumps(asdict(hand_over)).encode())
    os.lseek(fd, 0, os.SEEK_SET)
    for kept in hand_over.descriptors():
        os.set_inheritable(kept, True)
    os.set_inheritable(fd, True)
    environ = dict(os.environ)
    environ[STATE_VARIABLE] = str(fd)
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        os.execve(sys.executable, [sys.executable, "-P", "-m", "core", "start", *arguments], environ)
    finally:
        os.close(fd)


def received() -> HandOver | None:
    """What an earlier image handed over, None for a fresh start. The variable and the memfd are used up."""
    text = os.environ.pop(STATE_VARIABLE, "")
    if not text:
        return None
    with os.fdopen(int(text), "rb") as file:
        raw: dict[str, Any] = json.loads(file.read())
    if raw.get("format") != FORMAT:
        raise RuntimeError(f"hand-over format {raw.get('format')} is not {FORMAT}")
    workers = [AdoptedWorker(**w) for w in raw.pop("workers")]
    state = HandOver(workers=workers, **raw)
    for fd in state.descriptors():
        os.set_inheritable(fd, False)
    return state
