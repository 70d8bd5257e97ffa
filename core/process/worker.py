"""A worker process: its event loop, its conversation with the master, its end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from socket import socket
from typing import Any

from accel.shm import G_RELOAD_FAILURES, G_RELOADS
from core.findings import Finding
from core.process.app import App, WorkerContext
from core.process.channel import ChannelClosed, Decoder, Message, encode

log = logging.getLogger("preforge.worker")

HEARTBEAT_SECONDS = 1.0
EXIT_BOOT = 3
EXIT_FAILED = 4
MASTER_SIGNALS = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGHUP,
    signal.SIGUSR1,
    signal.SIGUSR2,
)


class Worker:
    """Runs the application on uvloop until the master says stop, or is gone."""

    def __init__(self, app: App, ctx: WorkerContext, channel: socket) -> None:
        self._app = app
        self._ctx = ctx
        self._channel = channel
        self._decoder = Decoder()
        self._writer: asyncio.StreamWriter | None = None
        self._reloads: dict[int, asyncio.Future[str]] = {}
        self._next_reload = 0
        self._stopping: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._done = asyncio.Event()

    async def run(self) -> None:
        """Start, report readiness, serve messages; returns when the worker may exit."""
        self._channel.setblocking(False)
        reader, self._writer = await asyncio.open_unix_connection(sock=self._channel)
        beat = asyncio.create_task(self._beat())
        self._ctx.request_reload = self.request_reload
        self._ctx.request_replacement = self.request_replacement
        await self._app.start_worker(self._ctx)
        self._send(("ready",))
        listening = asyncio.create_task(self._listen(reader))
        await self._done.wait()
        listening.cancel()
        beat.cancel()
        with contextlib.suppress(OSError, asyncio.TimeoutError):
            await asyncio.wait_for(self._writer.drain(), 1)

    async def request_reload(self) -> str:
        """Ask the master for a reload of all workers; returns an error text or ""."""
        self._next_reload += 1
        number = self._next_reload
        future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._reloads[number] = future
        self._send(("reload", number))
        try:
            return await future
        finally:
            del self._reloads[number]

    def request_replacement(self, why: str) -> None:
        """Ask the master for another worker in this one's place."""
        self._send(("replace", why))

    def _send(self, message: Message) -> None:
        if self._writer is not None:
            self._writer.write(encode(message))

    async def _beat(self) -> None:
        while True:
            self._ctx.region.beat()
            await asyncio.sleep(HEARTBEAT_SECONDS)

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        while True:
            data = await reader.read(262144)
            if not data:
                log.error("the master is gone: finishing")
                self._stop(10.0)
                return
            try:
                messages = self._decoder.feed(data)
            except ChannelClosed:
                self._stop(0.0)
                return
            for message in messages:
                self._handle(message)

    def _handle(self, message: Message) -> None:
        kind = message[0]
        if kind == "swap":
            task = asyncio.create_task(self._swap(message[1], message[2]))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        elif kind == "drain":
            self._stop(message[1])
        elif kind == "reload_failed":
            self._ctx.region.add(G_RELOAD_FAILURES)
        elif kind == "reloaded":
            future = self._reloads.get(message[1])
            if future is not None and not future.done():
                future.set_result(message[2])

    async def _swap(self, number: int, payload: bytes) -> None:
        findings: list[Finding] = []
        error = ""
        try:
            findings = await self._app.swap(payload)
        except Exception as problem:
            log.exception("reload")
            error = f"{type(problem).__name__}: {problem}"
        else:
            self._ctx.region.add(G_RELOADS)
        self._send(("swapped", number, findings, error))

    def _stop(self, grace: float) -> None:
        if self._stopping is None:
            self._stopping = asyncio.create_task(self._drain(grace))
        elif grace <= 0:
            self._app.abort()
            self._done.set()

    async def _drain(self, grace: float) -> None:
        try:
            await self._app.drain(grace)
        except Exception:
            log.exception("draining")
        self._done.set()


def run_worker(app: App, ctx: WorkerContext, channel: socket) -> int:
    """Body of the worker process; returns its exit code."""
    for number in MASTER_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGABRT, signal.SIG_DFL)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.environ.pop("NOTIFY_SOCKET", None)
    import uvloop  # noqa: PLC0415  # only in workers: the master has no event loop

    def report(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        log.error("%s", context.get("message", "error in the event loop"), exc_info=context.get("exception"))

    async def body() -> None:
        asyncio.get_running_loop().set_exception_handler(report)
        await Worker(app, ctx, channel).run()

    try:
        uvloop.run(body())
    except Exception:
        log.exception("worker %d could not start or failed", ctx.slot)
        sys.stderr.flush()
        return EXIT_BOOT
    return 0
