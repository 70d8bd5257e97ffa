"""The master: one thread, no event loop. It forks, watches, reloads, upgrades and ends workers."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable
from typing import Any

from accel.shm import SharedCounters, clock_ms
from core.process import embedded, forkguard, loader, upgrade
from core.process.app import App, BootError, WorkerContext
from core.process.backoff import SOON, delay
from core.process.channel import Channel, ChannelClosed
from core.process.control import Client, ControlServer
from core.process.embedded import EmbeddedServer
from core.process.listeners import Listeners, bind_all
from core.process.pidfile import PidFile
from core.process.reload import Reloader, Requester, tell
from core.process.rolling import Rolling
from core.process.slots import Slot, State, WorkerProcess
from core.process.status import worker_status
from core.process.strays import kill_session
from core.process.systemd import Notifier
from core.process.worker import EXIT_BOOT, run_worker

log = logging.getLogger("preforge.master")

HANDLED = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGUSR2, signal.SIGCHLD)
ABORT_GRACE = 2.0


async def _never() -> str:
    raise RuntimeError("the worker has not connected to the master yet")


class Master:
    """Owns sockets, shared counters and worker processes. `run` returns the exit code."""

    def __init__(
        self,
        app: App,
        arguments: list[str],
        control_path: str,
        pid_file: str,
        on_ready: Callable[[], None] | None = None,
    ) -> None:
        """arguments: of `start`, for an upgrade; on_ready: called once when all workers are ready for the first time."""
        self._app = app
        self._arguments = arguments
        self._limits = app.limits()
        self._control_path = control_path
        self._pid_path = pid_file
        self._on_ready = on_ready
        self._notifier = Notifier(os.environ)
        self._started = time.time()
        self._slots = [Slot(n) for n in range(self._limits.workers)]
        self._retired: list[WorkerProcess] = []
        self._poll = select.poll()
        self._reloads = Reloader(app, self._notifier, self._workers, self._adopted)
        self._rolling = Rolling(self._notifier, self._start)
        self._storage: EmbeddedServer | None = None
        self._stopping = False
        self._stop_at = 0.0
        self._ready_once = False
        self._next_watchdog = 0.0
        self._exit = 0
        self._listeners: Listeners
        self._counters: SharedCounters
        self._control: ControlServer
        self._pid_file = PidFile(pid_file)

    # -- start -----------------------------------------------------------------

    def run(self) -> int:
        """Serve until told to stop. Raises ListenError, ControlError, PidFileError or BootError before that."""
        state = upgrade.received()
        if state is None:
            self._first_start()
        else:
            self._adopt(state)
        wake_read, wake_write = socket.socketpair()
        wake_read.setblocking(False)
        wake_write.setblocking(False)
        for number in HANDLED:
            signal.signal(number, lambda *_: None)
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        signal.set_wakeup_fd(wake_write.fileno(), warn_on_full_buffer=False)
        self._wake = wake_read
        if state is None:
            for slot in self._slots:
                self._start(slot)
        else:
            self._rolling.begin(self._slots)
        try:
            while not self._finished():
                self._turn()
        finally:
            signal.set_wakeup_fd(-1)
            self._kill_all()
            if self._storage is not None:
                self._storage.stop()
            self._control.close(unlink=True)
            self._pid_file.release()
        log.info("stopped")
        return self._exit

    def _first_start(self) -> None:
        if self._pid_path:
            self._pid_file.acquire()
        try:
            self._start_storage()
            report = loader.load_now(self._app)
            self._reloads.note(report)
            if not report.ok:
                raise BootError(report.summary)
            self._app.adopt(report)
            self._listeners = bind_all(
                self._app.listeners(),
                self._limits.workers,
                self._limits.shared_listener,
                self._limits.backlog,
            )
            self._control = ControlServer(self._control_path)
            self._await_storage()
        except Exception:
            if self._storage is not None:
                self._storage.stop()
            self._pid_file.release()
            raise
        self._counters = SharedCounters.create(self._limits.workers * 2, self._app.rows())

    def _start_storage(self) -> None:
        """Start the embedded store, which loads its data while the rest is prepared. Raises BootError."""
        spec = self._app.storage()
        if spec is not None:
            self._storage = EmbeddedServer(spec)
            self._storage.start()

    def _await_storage(self) -> None:
        if self._storage is not None:
            self._storage.wait_ready(lambda text: self._notifier.starting(text, 30))

    def _adopt_storage(self, raw: dict[str, Any] | None) -> None:
        """Go on with the running store; a configuration that wants another one takes effect at a restart."""
        if raw is None:
            self._start_storage()
            self._await_storage()
            return
        state = embedded.from_json(raw)
        wanted = self._app.storage()
        if wanted is None or wanted.directory != state.spec.directory:
            log.warning("storage: the change of the embedded store needs a restart of the gateway")
            wanted = state.spec
        self._storage = EmbeddedServer(wanted, state)

    def _adopt(self, state: upgrade.HandOver) -> None:
        """Go on where the image before this one stopped."""
        self._pid_file = PidFile(self._pid_path, state.pid_file)
        if not self._pid_path:
            self._pid_file = PidFile("")
        self._counters = SharedCounters.attach(state.counters)
        self._control = ControlServer(self._control_path, state.control)
        self._listeners = Listeners({name: _sockets(fds) for name, fds in state.listeners.items()})
        workers = len(next(iter(state.listeners.values()), []))
        self._slots = [Slot(n) for n in range(workers)]
        for found in state.workers:
            worker = WorkerProcess(
                found.pid,
                found.slot,
                found.generation,
                Channel(socket.socket(fileno=found.channel)),
                State.READY,
                time.monotonic() - found.age,
            )
            slot = self._slots[found.slot]
            slot.current = worker
            slot.generation = max(slot.generation, found.generation)
        self._ready_once = True
        self._adopt_storage(state.storage)
        self._app.restore(upgrade.kept(state.snapshot))
        report = loader.load_now(self._app)
        self._reloads.note(report)
        if report.ok:
            self._app.adopt(report)
        else:
            log.error("after the upgrade: %s", report.summary)

    # -- the loop --------------------------------------------------------------

    def _turn(self) -> None:
        """Wait for one event, or the next thing that is due, and handle it."""
        poll = select.poll()
        poll.register(self._wake, select.POLLIN)
        poll.register(self._control.sock, select.POLLIN)
        for fd in self._control.clients:
            poll.register(fd, select.POLLIN)
        if self._reloads.loader is not None:
            poll.register(self._reloads.loader.fd, select.POLLIN)
        if self._storage is not None and self._storage.fd >= 0:
            poll.register(self._storage.fd, select.POLLIN)
        by_fd: dict[int, WorkerProcess] = {}
        for worker in self._workers():
            by_fd[worker.channel.sock.fileno()] = worker
            poll.register(
                worker.channel.sock, select.POLLIN | (select.POLLOUT if worker.channel.waiting else 0)
            )
        events = dict(poll.poll(200))
        if self._wake.fileno() in events:
            self._signals()
        for fd, worker in by_fd.items():
            if fd in events:
                self._hear(worker, events[fd])
        if self._reloads.loader is not None and self._reloads.loader.fd in events:
            self._reloads.read()
        if self._storage is not None and self._storage.fd in events:
            self._storage.read()
        for fd in list(self._control.clients):
            if fd in events:
                self._serve(self._control.clients[fd])
        if self._control.sock.fileno() in events:
            self._control.accept()
        self._reap()
        self._due()

    def _signals(self) -> None:
        try:
            numbers = set(self._wake.recv(4096))
        except BlockingIOError:
            return
        if numbers & {signal.SIGTERM, signal.SIGINT, signal.SIGQUIT}:
            self._stop(now=self._stopping)
        if signal.SIGHUP in numbers:
            self._reload(lambda error, _: log.info("reload by signal: %s", error or "done"))
        if signal.SIGUSR2 in numbers:
            self._upgrade(lambda error, _: log.info("upgrade by signal: %s", error or "done"))

    def _workers(self) -> list[WorkerProcess]:
        found = [w for s in self._slots for w in (s.current, s.replacing) if w is not None]
        return found + self._retired

    def _due(self) -> None:
        """Everything that depends on the time."""
        now = time.monotonic()
        for slot in self._slots:
            if (
                slot.current is None
                and slot.replacing is None
                and not self._stopping
                and now >= slot.not_before
            ):
                self._start(slot)
        for worker in self._workers():
            self._watch(worker, now)
        for client in list(self._control.clients.values()):
            if now > client.deadline:
                self._control.forget(client)
                client.sock.close()
        self._reloads.due(now)
        if self._storage is not None:
            self._storage.due(self._limits.backoff_max)
        if self._stopping and now >= self._stop_at:
            self._stop(now=True)
        if self._notifier.watchdog is not None and now >= self._next_watchdog:
            self._next_watchdog = now + self._notifier.watchdog
            self._notifier.alive()

    # -- workers ---------------------------------------------------------------

    def _start(self, slot: Slot) -> None:
        """Fork a worker for a slot; if one runs there, the new one takes over when it is ready."""
        forkguard.check()
        slot.generation += 1
        ours, theirs = socket.socketpair()
        generation = slot.generation
        sys.stdout.flush()
        sys.stderr.flush()
        gc.collect()
        gc.freeze()
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                code = self._become_worker(slot.number, generation, ours, theirs)
            finally:
                sys.stderr.flush()
                os._exit(code)
        gc.unfreeze()
        theirs.close()
        worker = WorkerProcess(pid, slot.number, generation, Channel(ours))
        if slot.current is None:
            slot.current = worker
        else:
            slot.replacing = worker
        log.info("worker %d (generation %d) started as %d", slot.number, generation, pid)

    def _become_worker(self, number: int, generation: int, ours: socket.socket, theirs: socket.socket) -> int:
        signal.set_wakeup_fd(-1)
        os.setsid()     # what its plugins start is found by that: see strays
        ours.close()
        self._wake.close()
        for worker in self._workers():
            worker.channel.close()
        self._control.close(unlink=False)
        if self._pid_file.fd >= 0:
            os.close(self._pid_file.fd)
        storage_socket = ""
        if self._storage is not None:
            self._storage.forget()
            storage_socket = self._storage.spec.socket
        self._listeners.keep_only(number)
        region = self._counters.region(number * 2 + (generation & 1))
        region.begin(generation, os.getpid())
        ctx = WorkerContext(
            number, generation, self._listeners.of_slot(number), self._counters, region, _never, storage_socket
        )
        return run_worker(self._app, ctx, theirs)

    def _hear(self, worker: WorkerProcess, event: int) -> None:
        try:
            if event & select.POLLOUT:
                worker.channel.flush()
            if event & (select.POLLIN | select.POLLHUP | select.POLLERR):
                for message in worker.channel.receive():
                    self._message(worker, message)
        except ChannelClosed:
            # The process is ending; what happened is known when it is reaped.
            worker.channel.close()
            worker.channel.sock = socket.socket()
            self._reloads.forget(worker)

    def _message(self, worker: WorkerProcess, message: tuple[Any, ...]) -> None:
        if message[0] == "ready":
            self._worker_ready(worker)
        elif message[0] == "swapped":
            self._reloads.answered(worker, message)
        elif message[0] == "reload":
            number = message[1]
            self._reload(lambda error, _: tell(worker, ("reloaded", number, error)))
        elif message[0] == "replace":
            self._replace(worker, message[1])

    def _replace(self, worker: WorkerProcess, why: str) -> None:
        """Start a worker that takes the place of one that cannot go on for long."""
        slot = self._slots[worker.slot]
        if slot.current is worker and slot.replacing is None and not self._stopping and not self._rolling.active:
            log.warning("worker %d (%d) is replaced: %s", worker.slot, worker.pid, why)
            self._start(slot)

    def _worker_ready(self, worker: WorkerProcess) -> None:
        slot = self._slots[worker.slot]
        worker.state = State.READY
        if slot.replacing is worker:
            old, slot.current, slot.replacing = slot.current, worker, None
            if old is not None:
                self._retire(old)
        if not self._ready_once and all(s.current and s.current.state is State.READY for s in self._slots):
            self._ready_once = True
            self._notifier.ready(f"{len(self._slots)} workers")
            log.info("ready: %d workers", len(self._slots))
            if self._on_ready is not None:
                self._on_ready()
        self._rolling.next()

    def _retire(self, worker: WorkerProcess) -> None:
        worker.state = State.DRAINING
        worker.kill_at = time.monotonic() + self._limits.drain_timeout + ABORT_GRACE
        self._retired.append(worker)
        self._reloads.forget(worker)
        tell(worker, ("drain", self._limits.drain_timeout))

    def _watch(self, worker: WorkerProcess, now: float) -> None:
        """Kill what is stuck or late."""
        if worker.kill_at and now > worker.kill_at:
            reason = "it did not end in time"
        elif worker.state is State.STARTING and now - worker.since > self._limits.start_timeout:
            reason = (
                f"it was not ready within {self._limits.start_timeout:g} s (preforge.worker_start_timeout)"
            )
        elif worker.state is State.READY and not worker.kill_at:
            beat = self._counters.region(worker.region).heartbeat_ms
            if clock_ms() - max(beat, int(worker.since * 1000)) <= self._limits.worker_timeout * 1000:
                return
            reason = f"no heartbeat for {self._limits.worker_timeout:g} s (preforge.worker_timeout)"
        else:
            return
        if worker.aborted:
            log.error("worker %d (%d): %s: killed", worker.slot, worker.pid, reason)
            worker.killed = True
            os.kill(worker.pid, signal.SIGKILL)
            worker.kill_at = now + 5
        else:
            log.error("worker %d (%d): %s: aborted", worker.slot, worker.pid, reason)
            worker.aborted = True
            os.kill(worker.pid, signal.SIGABRT)
            worker.kill_at = now + ABORT_GRACE

    def _reap(self) -> None:
        while True:
            try:
                ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
                if ended is None:
                    return
                pid = ended.si_pid
                if any(worker.pid == pid for worker in self._workers()):
                    self._end_strays(pid)
                _, status = os.waitpid(pid, 0)
            except ChildProcessError:
                return
            if self._storage is not None and self._storage.buried(pid, status):
                continue
            for worker in self._workers():
                if worker.pid == pid:
                    self._buried(worker, status)

    @staticmethod
    def _end_strays(pid: int) -> None:
        try:
            count = kill_session(pid)
        except OSError as error:
            log.error("processes that the worker %d has left behind cannot be looked for: %s", pid, error)
            return
        if count:
            log.warning("%d processes that belonged to the worker %d were killed", count, pid)

    def _buried(self, worker: WorkerProcess, status: int) -> None:
        slot = self._slots[worker.slot]
        self._counters.region(worker.region).end()
        worker.channel.close()
        self._reloads.forget(worker)
        if worker in self._retired:
            self._retired.remove(worker)
            log.info("worker %d (%d) has ended", worker.slot, worker.pid)
            return
        code = os.waitstatus_to_exitcode(status)
        how = f"exit code {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"
        if code == -signal.SIGKILL and not worker.killed:
            how += " (killed from outside: the kernel out of memory?)"
        early = worker.state is State.STARTING or time.monotonic() - worker.since < SOON
        slot.failures = slot.failures + 1 if early else 0
        wait = delay(slot.failures, self._limits.backoff_max)
        slot.not_before = time.monotonic() + wait
        if slot.replacing is worker:
            slot.replacing = None
        else:
            slot.current, slot.replacing = slot.replacing, None
        log.error(
            "worker %d (%d) died: %s%s", worker.slot, worker.pid, how, f"; next in {wait:g} s" if wait else ""
        )
        if code == EXIT_BOOT and not self._ready_once:
            log.error("a worker cannot start: giving up")
            self._exit = 1
            self._stop(now=True)
        elif self._rolling.active and worker.state is State.STARTING:
            self._rolling.done(f"the new worker {worker.slot} did not start ({how})")

    # -- reload and upgrade ------------------------------------------------------

    def _reload(self, requester: Requester) -> None:
        if self._stopping:
            requester("the gateway is stopping", [])
        else:
            self._reloads.request(requester)

    def _adopted(self) -> None:
        self._limits = self._app.limits()

    def _upgrade(self, requester: Requester) -> None:
        """Try the new code, then become it. The new image replaces the workers one by one."""
        if self._stopping or self._rolling.active or not self._ready_once:
            requester("the gateway is starting, stopping or being upgraded", [])
            return
        if self._reloads.busy:
            requester("a reload is running: try again", [])
            return
        error = upgrade.preflight(self._arguments)
        if error:
            log.error("upgrade: %s", error)
            requester(error, [])
            return
        state = upgrade.HandOver(
            counters=self._counters.fd,
            control=self._control.sock.fileno(),
            pid_file=self._pid_file.fd,
            listeners={
                name: [sock.fileno() for sock in found] for name, found in self._listeners.sockets.items()
            },
            workers=[
                upgrade.AdoptedWorker(
                    w.pid, w.slot, w.generation, w.channel.sock.fileno(), time.monotonic() - w.since
                )
                for w in (slot.current for slot in self._slots)
                if w is not None
            ],
            snapshot=upgrade.keep(self._app.snapshot()),
            storage=embedded.as_json(self._storage.state()) if self._storage is not None else None,
        )
        log.info("upgrade: the new code starts")
        requester("", [])
        signal.set_wakeup_fd(-1)
        for client in self._control.clients.values():
            client.sock.close()
        try:
            upgrade.execute(state, self._arguments)
        except OSError as problem:
            log.critical("upgrade: cannot execute the new code: %s", problem)
            self._exit = 1
            self._stop(now=False)

    # -- control clients -------------------------------------------------------

    def _serve(self, client: Client) -> None:
        verb = client.read()
        if verb is None:
            return
        if verb == "":
            self._control.forget(client)
            client.sock.close()
            return
        self._control.forget(client)
        if verb == "status":
            client.answer(self.status())
        elif verb == "reload":
            self._reload(
                lambda error, found: client.answer({"ok": not error, "error": error, "findings": found})
            )
        elif verb == "upgrade":
            self._upgrade(
                lambda error, found: client.answer({"ok": not error, "error": error, "findings": found})
            )
        elif verb == "stop":
            client.answer({"ok": True, "pid": os.getpid()})
            self._stop(now=False)
        else:
            client.answer({"ok": False, "error": f"unknown verb {verb!r}"})

    def status(self) -> dict[str, Any]:
        """What `preforge status` prints."""
        kind, address = self._app.store()
        workers = [worker_status(worker, self._counters) for worker in self._workers()]
        return {
            "ok": True,
            "pid": os.getpid(),
            "state": "stopping"
            if self._stopping
            else "upgrading"
            if self._rolling.active
            else "running",
            "uptime": round(time.time() - self._started, 1),
            "reloads": self._reloads.count,
            "last_reload": self._reloads.last,
            "findings": self._reloads.findings,
            "storage": self._storage.status() if self._storage is not None else None,
            "store": {"kind": kind, "address": address, "connected": sum(worker["store"] for worker in workers)},
            "workers": workers,
        }

    # -- the end ---------------------------------------------------------------

    def _stop(self, *, now: bool) -> None:
        if not self._stopping:
            log.info("stopping")
            self._notifier.stopping()
            self._stopping = True
            for sock in self._listeners.all():
                sock.close()  # new connections are refused at once instead of waiting in a queue nobody serves
            grace = self._limits.drain_timeout
            self._stop_at = time.monotonic() + grace + self._limits.drain_delay + ABORT_GRACE
            for slot in self._slots:
                for worker in (slot.current, slot.replacing):
                    if worker is not None:
                        self._retire(worker)
                slot.current = slot.replacing = None
        if now:
            self._kill_all()

    def _finished(self) -> bool:
        return self._stopping and not self._workers()

    def _kill_all(self) -> None:
        for worker in self._workers():
            worker.killed = True
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker.pid, signal.SIGKILL)


def _sockets(fds: list[int]) -> list[socket.socket]:
    """Socket objects for descriptors; one object per descriptor."""
    made: dict[int, socket.socket] = {}
    for fd in fds:
        if fd not in made:
            made[fd] = socket.socket(fileno=fd)
    return [made[fd] for fd in fds]
