"""Reloading: a loader child reads everything anew, then all workers swap."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable

from core.process import forkguard, loader
from core.process.app import App, LoadReport
from core.process.channel import ChannelClosed, Message
from core.process.slots import State, WorkerProcess
from core.process.systemd import Notifier

log = logging.getLogger("preforge.master")

SWAP_SECONDS = 60.0

# Told once how it ended: an error text or "", and the findings.
Requester = Callable[[str, list[str]], None]


def tell(worker: WorkerProcess, message: Message) -> None:
    """Send a message to a worker; one that is gone does not need it."""
    with contextlib.suppress(ChannelClosed):
        worker.channel.send(message)


class Reloader:
    """Runs one reload at a time; requests while one runs are served together by the next.

    loader: the child that loads, whose pipe the master polls. count, last, findings: for `preforge status`.
    """

    def __init__(
        self, app: App, notifier: Notifier, workers: Callable[[], list[WorkerProcess]], adopted: Callable[[], None]
    ) -> None:
        """workers: all that run; adopted: called when the application has taken a new state."""
        self.loader: loader.Loader | None = None
        self.count = 0
        self.last = ""
        self.findings: list[str] = []
        self._app = app
        self._notifier = notifier
        self._workers = workers
        self._adopted = adopted
        self._requests: list[Requester] = []
        self._next: list[Requester] = []
        self._number = 0
        self._deadline = 0.0
        self._errors: list[str] = []

    @property
    def busy(self) -> bool:
        """Whether a reload runs."""
        return self.loader is not None or self._deadline > 0

    def request(self, requester: Requester) -> None:
        """Load anew and let all workers swap."""
        if self.busy:
            self._next.append(requester)
            return
        self._requests = [requester]
        self._notifier.reloading()
        try:
            self.loader = loader.start(self._app)
        except (OSError, forkguard.ForkRefused) as error:
            self._finish(f"the loader cannot start: {error}")

    def read(self) -> None:
        """Take what the loader sent; once its report is whole, let the workers swap."""
        report = self.loader.read() if self.loader is not None else None
        if report is None:
            return
        self.loader = None
        self.note(report)
        if not report.ok:
            self._finish(report.summary)
            return
        payload = self._app.adopt(report)
        self._adopted()
        self._number += 1
        self._errors = []
        self._deadline = time.monotonic() + SWAP_SECONDS
        for worker in self._workers():
            if worker.state is not State.DRAINING:
                worker.swaps.add(self._number)
                tell(worker, ("swap", self._number, payload))
        self._swapped()

    def note(self, report: LoadReport) -> None:
        """Log and keep what a loader found."""
        self.findings = [finding.render() for finding in report.findings]
        for finding in report.findings:
            level = logging.ERROR if finding.severity == "error" else logging.WARNING
            if finding.severity != "info":
                log.log(level, "%s", finding.render())

    def answered(self, worker: WorkerProcess, message: Message) -> None:
        """A worker has swapped: ("swapped", number, findings, error)."""
        worker.swaps.discard(message[1])
        self.findings.extend(finding.render() for finding in message[2])
        if message[3]:
            self._errors.append(f"worker {worker.slot}: {message[3]}")
        self._swapped()

    def forget(self, worker: WorkerProcess) -> None:
        """A worker will not answer any more."""
        worker.swaps.clear()
        self._swapped()

    def due(self, now: float) -> None:
        """Give up what takes too long."""
        if self.loader is not None and now > self.loader.deadline:
            log.error("loading takes longer than %g s: given up", loader.LOAD_SECONDS)
            self.loader.cancel()
        if self._deadline and now > self._deadline:
            self._errors.append(f"not every worker took the new definitions within {SWAP_SECONDS:g} s")
            for worker in self._workers():
                worker.swaps.clear()
            self._swapped()

    def _swapped(self) -> None:
        """Finish when no worker is left that has not answered."""
        if self._deadline and not any(worker.swaps for worker in self._workers()):
            self._deadline = 0.0
            self._finish("; ".join(self._errors))

    def _finish(self, error: str) -> None:
        self.count += 1
        self.last = error or "ok"
        if error:
            log.error("reload: %s", error)
            for worker in self._workers():
                tell(worker, ("reload_failed",))
        self._notifier.ready("serving")
        requests, self._requests = self._requests, []
        for requester in requests:
            requester(error, self.findings)
        waiting, self._next = self._next, []
        for requester in waiting:
            if self.busy:
                self._requests.append(requester)
            else:
                self.request(requester)
