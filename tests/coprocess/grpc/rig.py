"""Servers in child processes, and the driver on a loop, for tests of the gRPC driver."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import uvloop

from coprocess.driver import Reply
from coprocess.grpc import GrpcDriver, GrpcSettings

SERVERS = Path(__file__).parent / "servers"
MIB = 1024 * 1024
T = TypeVar("T")


def drive(main: Coroutine[Any, Any, T], seconds: float = 60) -> T:
    """Run one test's coroutine on the loop that workers have."""

    async def bounded() -> T:
        return await asyncio.wait_for(main, seconds)

    return uvloop.run(bounded())


@contextlib.asynccontextmanager
async def driving(target: str, *, up: bool = True, **settings: Any) -> AsyncIterator[GrpcDriver]:
    """A started driver. up: wait until it is connected."""
    driver = GrpcDriver(GrpcSettings("plugin", target, **settings))
    await driver.start()
    try:
        if up:
            await until(lambda: driver.state().status == "up")
        yield driver
    finally:
        await driver.close(0)


async def until(true: Callable[[], bool], seconds: float = 20) -> None:
    """Wait for a condition; a deadline turns a hang into a failure."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "the condition did not become true"
        await asyncio.sleep(0.005)


class Asked:
    """A call and what became of it; more than one end is an error."""

    def __init__(self, driver: GrpcDriver, message: bytes, deadline: float) -> None:
        self.replies: list[Reply] = []
        self.at: list[float] = []
        self._ended = asyncio.Event()
        self._inside = True
        self.ticket = driver.dispatch(message, deadline, self._end)
        self._inside = False

    def _end(self, reply: Reply) -> None:
        assert not self._inside, "done was called from inside dispatch()"
        self.replies.append(reply)
        self.at.append(time.monotonic())
        self._ended.set()

    async def reply(self) -> Reply:
        """The only end of the call."""
        await self._ended.wait()
        assert len(self.replies) == 1, self.replies
        return self.replies[0]


def ask(driver: GrpcDriver, message: bytes = b"hello", deadline: float = 20.0) -> Asked:
    """Begin a call."""
    return Asked(driver, message, deadline)


async def tell(driver: GrpcDriver, message: bytes = b"hello", deadline: float = 20.0) -> Reply:
    """One call and its reply."""
    return await ask(driver, message, deadline).reply()


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nobody listens on now."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


class Child:
    """A server process; `port` is what it printed when it served."""

    def __init__(self, *command: str) -> None:
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env={**os.environ, "GRPC_VERBOSITY": "NONE"}
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line.strip().isdigit():
            self.kill()
            raise AssertionError(f"{command} did not begin to serve")
        self.port = int(line)

    def kill(self) -> None:
        """At once, as a crash would."""
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


@contextlib.contextmanager
def child(*command: str) -> Iterator[Child]:
    """A server process for the time of a test."""
    started = Child(*command)
    try:
        yield started
    finally:
        started.kill()


def grpcio(kind: str, target: str, *files: Path) -> tuple[str, ...]:
    """The command of a server on grpcio; kind: sync or aio."""
    return (sys.executable, str(SERVERS / "grpcio_server.py"), kind, target, *map(str, files))
