"""The loader child: reads and checks files that users wrote, so that nothing in them can stop the master."""

from __future__ import annotations

import os
import pickle
import signal
import time
from dataclasses import dataclass, field

from core.process import forkguard
from core.process.app import App, LoadReport

LOAD_SECONDS = 300.0
MAX_REPORT = 1 << 30


@dataclass(slots=True)
class Loader:
    """A running loader child. fd: the master's end of its pipe; its report comes when the pipe ends."""

    pid: int
    fd: int
    deadline: float = field(default_factory=lambda: time.monotonic() + LOAD_SECONDS)
    data: bytearray = field(default_factory=bytearray)

    def read(self) -> LoadReport | None:
        """Take what has arrived; the report once it is whole."""
        try:
            piece = os.read(self.fd, 1 << 20)
        except BlockingIOError:
            return None
        self.data += piece
        if piece and len(self.data) <= MAX_REPORT:
            return None
        os.close(self.fd)
        self.fd = -1
        try:
            report: LoadReport = pickle.loads(bytes(self.data))
        except (pickle.UnpicklingError, EOFError, AttributeError, IndexError):
            return LoadReport(b"", ok=False, summary="the loader ended without a report")
        return report

    def cancel(self) -> None:
        os.kill(self.pid, signal.SIGKILL)


def start(app: App) -> Loader:
    """Fork a loader child. Raises ForkRefused or OSError."""
    forkguard.check()
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.close(read_end)
            for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
                signal.signal(number, signal.SIG_IGN)
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
                signal.signal(number, signal.SIG_DFL)
            signal.set_wakeup_fd(-1)
            with os.fdopen(write_end, "wb") as pipe:
                pipe.write(pickle.dumps(_load(app), protocol=pickle.HIGHEST_PROTOCOL))
            code = 0
        finally:
            os._exit(code)
    os.close(write_end)
    os.set_blocking(read_end, False)
    return Loader(pid, read_end)


def _load(app: App) -> LoadReport:
    try:
        return app.load()
    except Exception as error:
        return LoadReport(b"", ok=False, summary=f"{type(error).__name__}: {error}")


def load_now(app: App) -> LoadReport:
    """Load in a child and wait for it: the first load, before there is a poll loop."""
    loader = start(app)
    os.set_blocking(loader.fd, True)
    report = None
    while report is None:
        report = loader.read()
    os.waitpid(loader.pid, 0)
    return report
