"""The embedded store server under the master: started before the workers, restarted when it dies, stopped after them."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import re
import select
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from core.process import datadir, forkguard
from core.process.app import BootError, EmbeddedSpec
from core.process.backoff import SOON, delay
from core.process.status import memory

log = logging.getLogger("preforge.storage")

PR_SET_PDEATHSIG = 1  # prctl(2)
STOP_SECONDS = 10.0
PROGRESS_SECONDS = 5.0
MOST_LINE = 65536
MOST_WARNINGS = 100
# "pid:role day month year time level text"; levels are . - * # from debug to warning
LINE = re.compile(rb"^\d+:\S+ .{11} \S+ ([.\-*#]) (.*)$")
LEVELS = {b".": logging.DEBUG, b"-": logging.DEBUG, b"*": logging.INFO, b"#": logging.WARNING}
FROM_MASTER = (
    signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGCHLD,
    signal.SIGPIPE,
)  # fmt: skip

UNKNOWN = (b"*1\r\n*-1", b"*1\r\n$-1")  # an array of nothing, in RESP2

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class ServerState:
    """What an upgrade hands over: the running server and the master's descriptors for it. age: seconds."""

    spec: EmbeddedSpec
    pid: int
    lock: int
    log: int
    always: bool
    restarts: int
    age: float


class EmbeddedServer:
    """Supervises one server process. `fd` becomes readable when it has something for the log."""

    def __init__(self, spec: EmbeddedSpec, state: ServerState | None = None) -> None:
        """state: of a server that runs already; else `start` has to be called."""
        self.spec = spec
        self.pid = state.pid if state else 0
        self.fd = state.log if state else -1
        self._lock = state.lock if state else -1
        # Until the server is known to have WAITAOF, each write is synced: nothing else could prove that it is kept.
        self._always = state.always if state else True
        self._restarts = state.restarts if state else 0
        self._since = time.monotonic() - (state.age if state else 0.0)
        self._failures = 0
        self._ended = 0.0
        self._line = b""
        self._last: deque[str] = deque(maxlen=20)
        self._starting = state is None
        self._stopping = False
        self._warned: set[str] = set()

    def start(self) -> None:
        """Lock the data directory and start the server. Raises BootError or ForkRefused."""
        self._lock = datadir.take(self.spec.directory)
        self._spawn()

    def _spawn(self) -> None:
        forkguard.check()
        self._close_log()
        self.fd, write_end = os.pipe()
        os.set_blocking(self.fd, False)
        os.set_blocking(write_end, False)  # a log that nobody reads must not stop the server
        policy = "always" if self._always else "everysec"
        command = [*self.spec.command, "--appendfsync", policy]
        master = os.getpid()
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            try:
                _become(command, write_end, self._lock, master)
            except BaseException as error:
                os.write(write_end, f"{command[0]} cannot be run: {error}\n".encode())
            finally:
                os._exit(127)
        os.close(write_end)
        self.pid = pid
        self._starting = True
        self._since = time.monotonic()
        datadir.note(self._lock, pid)
        log.info("the embedded store started as %d", pid)

    def wait_ready(self, progress: Callable[[str], None]) -> None:
        """Return when the server serves. progress: told now and then how far it is. Raises BootError."""
        deadline = time.monotonic() + self.spec.start_timeout
        tell_at = time.monotonic() + PROGRESS_SECONDS
        pause = 0.002
        while True:
            found, status = os.waitpid(self.pid, os.WNOHANG)
            if found:
                self.pid = 0
                self._read_all()
                last = " | ".join(self._last) or "it said nothing"
                raise BootError(f"the embedded store ended at its start ({_how(status)}): {last}")
            answer = _ask(self.spec.socket, "PING")
            if answer == b"+PONG\r\n":
                self._ready()
                return
            now = time.monotonic()
            if now > deadline:
                text = f"the embedded store was not ready within {self.spec.start_timeout:g} s"
                raise BootError(f"{text} (preforge.storage.start_timeout)")
            if now > tell_at:
                tell_at = now + PROGRESS_SECONDS
                text = _loading(self.spec.socket)
                log.info("the embedded store is not ready yet%s", text)
                progress(f"waiting for the embedded store{text}")
            select.select([self.fd] if self.fd >= 0 else [], [], [], pause)
            self.read()
            pause = min(pause * 1.5, 0.05)

    def _ready(self) -> None:
        known = _ask(self.spec.socket, "COMMAND", "INFO", "WAITAOF") or UNKNOWN[0]
        if self._always and not known.startswith(UNKNOWN):
            answer = _ask(self.spec.socket, "CONFIG", "SET", "appendfsync", "everysec")
            self._always = answer != b"+OK\r\n"

    # -- its log -----------------------------------------------------------------

    def read(self) -> None:
        """Put what the server wrote into the gateway's log."""
        try:
            data = os.read(self.fd, 65536) if self.fd >= 0 else b""
        except BlockingIOError:
            return
        if not data:
            self._close_log()
            return
        *lines, self._line = (self._line + data).split(b"\n")
        if len(self._line) > MOST_LINE:
            lines.append(self._line)
            self._line = b""
        for line in lines:
            match = LINE.match(line)
            text = (match[2] if match else line).decode(errors="replace").rstrip()
            if text:
                self._last.append(text)
                log.log(self._level(text, match[1] if match else b"*"), "%s", text)

    def _level(self, text: str, mark: bytes) -> int:
        """What a line counts as: what each start says is for debugging, and a warning is given once."""
        level = LEVELS[mark]
        if text.startswith("Ready to accept connections"):
            self._starting = False
        elif level == logging.WARNING and text not in self._warned and not self._stopping:
            if len(self._warned) < MOST_WARNINGS:
                self._warned.add(text)
            return level
        elif not self._starting and not self._stopping:
            return level
        return logging.DEBUG

    def _read_all(self) -> None:
        while self.fd >= 0 and select.select([self.fd], [], [], 0)[0]:
            self.read()

    def _close_log(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
        self._line = b""

    # -- its life ----------------------------------------------------------------

    def buried(self, pid: int, status: int) -> bool:
        """Take note of a child that has ended; whether it was this one."""
        if pid != self.pid or not pid:
            return False
        self._read_all()
        self.pid = 0
        if self._stopping:
            return True
        early = time.monotonic() - self._since < SOON
        self._failures = self._failures + 1 if early else 0
        self._ended = time.monotonic()
        last = f": {self._last[-1]}" if self._starting and self._last else ""
        log.error("the embedded store died: %s%s", _how(status), last)
        return True

    def due(self, backoff_max: float) -> None:
        """Restart the server if it has died and its pause is over."""
        if self.pid or self._stopping or time.monotonic() < self._ended + delay(self._failures, backoff_max):
            return
        self._restarts += 1
        try:
            self._spawn()
        except (OSError, forkguard.ForkRefused) as error:
            self._failures += 1
            self._ended = time.monotonic()
            log.error("the embedded store cannot be started: %s", error)

    def stop(self) -> None:
        """End the server, which writes everything to its disk; kill it if that takes too long."""
        self._stopping = True
        if self.pid:
            deadline = time.monotonic() + STOP_SECONDS
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGTERM)
                os.kill(self.pid, signal.SIGCONT)
            while self.pid:
                with contextlib.suppress(ChildProcessError):
                    if os.waitpid(self.pid, os.WNOHANG)[0] == 0:
                        if time.monotonic() > deadline:
                            log.error("the embedded store did not end within %g s: killed", STOP_SECONDS)
                            os.kill(self.pid, signal.SIGKILL)
                            deadline += STOP_SECONDS
                        select.select([self.fd] if self.fd >= 0 else [], [], [], 0.005)
                        self.read()
                        continue
                self.pid = 0
            self._read_all()
            log.info("the embedded store has ended")
        self.forget()

    def forget(self) -> None:
        """Close the master's descriptors: in a worker, and at the end."""
        self._close_log()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def state(self) -> ServerState:
        """For the next image of the master."""
        age = time.monotonic() - self._since
        return ServerState(self.spec, self.pid, self._lock, self.fd, self._always, self._restarts, age)

    def status(self) -> dict[str, Any]:
        """For `preforge status`."""
        return {
            "pid": self.pid,
            "state": "running" if self.pid else "restarting",
            "uptime": round(time.monotonic() - self._since, 1) if self.pid else 0.0,
            "restarts": self._restarts,
            "directory": self.spec.directory,
            "memory": memory(self.pid) if self.pid else {},
        }


def as_json(state: ServerState) -> dict[str, Any]:
    """The state as JSON can hold it."""
    return asdict(state)


def from_json(raw: dict[str, Any]) -> ServerState:
    """The state that `as_json` gave."""
    spec = dict(raw["spec"])
    spec["command"] = tuple(spec["command"])
    return ServerState(**{**raw, "spec": EmbeddedSpec(**spec)})


def _become(command: list[str], output: int, lock: int, master: int) -> None:
    """In the child: become the server, which ends when the master does and keeps the lock."""
    if _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")
    if os.getppid() != master:
        os._exit(1)
    signal.set_wakeup_fd(-1)
    for number in FROM_MASTER:
        signal.signal(number, signal.SIG_DFL)
    os.setpgid(0, 0)  # an interrupt from the terminal is for the master, which stops its workers first
    os.umask(0o077)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.set_inheritable(lock, True)
    os.execv(command[0], command)


def _how(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    if code == -signal.SIGKILL:
        return "signal SIGKILL (the kernel out of memory?)"
    return f"exit code {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"


def _ask(path: str, *words: str) -> bytes | None:
    """One command on a connection of its own: the first bytes of the answer, None if there is none within a second."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(1.0)
        try:
            sock.connect(path)
            sock.sendall(f"*{len(words)}\r\n".encode() + b"".join(f"${len(w)}\r\n{w}\r\n".encode() for w in words))
            return sock.recv(65536)
        except OSError:
            return None


def _loading(path: str) -> str:
    """How far a server is with loading its data, as a text that may be empty."""
    match = re.search(rb"loading_loaded_perc:([\d.]+)", _ask(path, "INFO", "persistence") or b"")
    return f": {match[1].decode()} % of its data is loaded" if match else ""
