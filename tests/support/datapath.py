"""The data path alone, on a real socket, with plans whose steps are functions of a test.

The event loop runs in a thread of its own; steps are called there. `DataPath.call` runs a function on the loop.
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import threading
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Self, TypeVar

import uvloop

from accel.accesslog import AccessLog
from accel.endpoints import EndpointMatcher
from accel.http1 import Exchange, Gateway, Plan, PyStep, Step, Target, WaitStep
from accel.router import Route, Router
from accel.shm import SharedCounters
from core.errors.pages import ErrorPages
from tests.support.gateway import wait_for
from tests.support.upstream import Upstream
from tests.support.wire import Client, Response, fetch

T = TypeVar("T")
SECONDS = 15.0
LISTEN = b"/api/"


class DataPath:
    """One data path under a listen path that is stripped, in front of one upstream."""

    def __init__(self, upstream: Upstream, access_log: AccessLog | None = None, **settings: Any) -> None:
        """settings: see accel.http1.DEFAULTS."""
        self._access_log = access_log
        self._upstream = upstream
        self._settings = settings
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self.region = SharedCounters.create(1, 4).region(0)
        self.log = Lines()
        self.gateway: Gateway

    def __enter__(self) -> Self:
        self._thread.start()
        self.address: tuple[str, int] = self.wait(self._open())
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.wait(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(SECONDS)
        self._loop.close()

    async def _open(self) -> tuple[str, int]:
        logger = logging.Logger("datapath", logging.DEBUG)
        logger.addHandler(self.log)
        self.gateway = Gateway(self._loop, self.region, ErrorPages("").render, logger, self._access_log, self._settings)
        listener = socket.create_server(("127.0.0.1", 0))
        self._server = await self._loop.create_server(self.gateway.client, sock=listener)
        return "127.0.0.1", listener.getsockname()[1]

    async def _close(self) -> None:
        self._server.close()
        self.gateway.abort()
        await asyncio.sleep(0.05)

    def wait(self, running: Any) -> Any:
        """The result of a coroutine that runs on the loop."""
        return asyncio.run_coroutine_threadsafe(running, self._loop).result(SECONDS)

    def call(self, function: Callable[[], T]) -> T:
        """The result of a function that is called on the loop."""

        async def called() -> T:
            return function()

        found: T = self.wait(called())
        return found

    def later(self, function: Callable[[], object], seconds: float = 0.0) -> None:
        """Call a function on the loop later; for steps, which are on the loop."""
        self._loop.call_later(seconds, function)

    def plan(self, *steps: Step, response: Iterable[Step] = (), matcher: EndpointMatcher | None = None, **more: Any) -> Plan:
        """Serve one plan from now on; it has no targets if `targets` says so."""
        host, port = self._upstream.url.removeprefix("http://").split(":")

        def swap() -> Plan:
            origin = self.gateway.origin(host, int(port))
            options = {"targets": [Target(origin, f"{host}:{port}".encode())], "strip": True, **more}
            plan = Plan(b"api", row=1, steps=steps, response_steps=list(response), matcher=matcher, **options)
            self.gateway.swap(Router([(None, Route(LISTEN, plan))]), {origin})
            return plan

        return self.call(swap)

    def connect(self, **more: Any) -> Client:
        """A client connection; close it with the data path still open."""
        return Client(self.address, **more)

    def fetch(self, target: str, *lines: str, method: str = "GET", body: bytes | None = None) -> Response:
        """One request on a connection of its own."""
        return fetch(self.address, target, *lines, method=method, body=body)


def does(function: Callable[[Exchange], object]) -> WaitStep:
    """A step that calls a function and does not wait."""

    def step(x: Exchange) -> bool:
        function(x)
        return False

    return WaitStep(step)


class Waits:
    """A response step that notes whom it holds, until the test lets them go."""

    def __init__(self) -> None:
        self.held: list[tuple[Exchange, int]] = []

    def __call__(self, x: Exchange) -> bool:
        self.held.append((x, x.serial_number))
        return True

    def step(self) -> WaitStep:
        return WaitStep(self, whole_body=True)

    def wait(self, count: int = 1) -> None:
        wait_for(lambda: len(self.held) >= count, "the response waits")

    def go(self, path: DataPath) -> None:
        x, serial = self.held.pop(0)
        path.call(lambda: x.resume(serial))


def whole(function: Callable[[Exchange], object]) -> PyStep:
    """A response step that calls a function with the whole response."""

    def step(x: Exchange) -> None:
        function(x)

    return PyStep(step, whole_body=True)


def message(answer: Response) -> str:
    assert answer.get("Content-Type") == "application/json"
    return str(json.loads(answer.body)["error"])


class Lines(logging.Handler):
    """Keeps what was logged."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())
