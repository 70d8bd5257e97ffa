"""Bundles and drivers with real host processes, for the tests in this folder."""

from __future__ import annotations

import asyncio
import contextlib
import json
import textwrap
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import uvloop

from coprocess.driver import Reply
from coprocess.proto.coprocess_object_pb2 import Object
from coprocess.python import PythonDriver, PythonSettings
from tests.coprocess.children.child_support import descriptors

PRELUDE = "from tyk.decorators import *\nfrom gateway import TykGateway as tyk\n"


def write_bundle(directory: Path, code: str | None = None, files: dict[str, str] | None = None, **more: Any) -> Path:
    """A bundle: `code` is its middleware.py, after the usual imports; `files` are others. more: members of the manifest."""
    texts = dict(files or {})
    if code is not None:
        texts["middleware.py"] = PRELUDE + textwrap.dedent(code)
    for name, text in texts.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text), encoding="utf-8")
    manifest = {"file_list": list(texts), "custom_middleware": {"driver": "python"}} | more
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return directory


class Kept:
    """Services that keep data in memory; tests/coprocess/python/test_gateway_calls.py has those with a real store."""

    def __init__(self) -> None:
        self.data: dict[str, bytes] = {}
        self.fired: list[tuple[str, str]] = []

    async def store_data(self, key: str, value: bytes, ttl: int) -> None:
        self.data[key] = value

    async def get_data(self, key: str) -> bytes:
        return self.data.get(key, b"")

    def trigger_event(self, name: str, payload: str) -> None:
        self.fired.append((name, payload))


class Hosted:
    """A started driver."""

    def __init__(self, driver: PythonDriver, logged: list[tuple[str, str]]) -> None:
        self.driver = driver
        self.logged = logged

    def send(self, name: str, message: Any = None, deadline: float = 20.0) -> asyncio.Future[Reply]:
        """Begin a call. message: an Object; its hook_name is set."""
        message = message if message is not None else Object(hook_type=1)
        message.hook_name = name
        return self.send_raw(message.SerializeToString(), deadline)

    def send_raw(self, message: bytes, deadline: float = 20.0) -> asyncio.Future[Reply]:
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self.driver.dispatch(message, deadline, lambda reply: None if future.cancelled() else future.set_result(reply))
        assert not future.done()
        return future

    async def call(self, name: str, message: Any = None, deadline: float = 20.0) -> Any:
        """The Object that a hook that must succeed replies with."""
        reply = await self.send(name, message, deadline)
        assert reply.outcome == "ok", (reply, self.log)
        return Object.FromString(reply.message)

    async def failed(self, name: str, message: Any = None, deadline: float = 20.0) -> Reply:
        """The reply of a call that must not succeed."""
        reply = await self.send(name, message, deadline)
        assert reply.outcome != "ok"
        assert reply.message == b""
        return reply

    @property
    def log(self) -> str:
        return "\n".join(f"{level}: {text}" for level, text in self.logged)

    def pids(self) -> list[int]:
        return [process.child.pid for process in self.driver._processes if process.child.pid]

    async def until(self, condition: Callable[[], bool], seconds: float = 60.0) -> None:
        """Wait for something that must become true."""
        end = asyncio.get_running_loop().time() + seconds
        while not condition():
            assert asyncio.get_running_loop().time() < end, self.log
            await asyncio.sleep(0.005)

    async def up(self) -> None:
        """Wait until all processes are ready."""
        await self.until(lambda: self.driver.counts()["processes_ready"] == self.driver.settings.processes)

    async def begun(self, count: int) -> None:
        """Wait until the first process has begun so many calls."""
        page = self.driver._processes[0]._page
        assert page is not None
        await self.until(lambda: page.begun() >= count)

    async def down(self) -> str:
        """Wait until the driver is down; its detail."""
        await self.until(lambda: self.driver.state().status == "down")
        return self.driver.state().detail


@contextlib.asynccontextmanager
async def hosted(bundle: Path, services: Any = None, grace: float = 5.0, **settings: Any) -> AsyncIterator[Hosted]:
    """Run a bundle. Afterwards no process and no descriptor is left; one that is run beside it has to be up before."""
    await asyncio.sleep(0)
    before = descriptors()
    logged: list[tuple[str, str]] = []
    driver = PythonDriver(
        PythonSettings(bundle=str(bundle), **settings), services or Kept(), lambda level, text: logged.append((level, text))
    )
    await driver.start()
    host = Hosted(driver, logged)
    try:
        yield host
    finally:
        pids = host.pids()
        await driver.close(grace)
        assert [pid for pid in pids if Path(f"/proc/{pid}").exists()] == []
        assert descriptors() - before == set()
        assert driver.counts()["in_flight"] == driver.counts()["waiting"] == 0


def on_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run an async test on the loop that workers use."""

    def run(**fixtures: Any) -> None:
        uvloop.run(test(**fixtures))

    run.__name__ = test.__name__
    run.__doc__ = test.__doc__
    run.__signature__ = __import__("inspect").signature(test)  # type: ignore[attr-defined]
    return run


async def gathered(*calls: Awaitable[Reply]) -> list[str]:
    """The outcomes, in order."""
    return [reply.outcome for reply in await asyncio.gather(*calls)]
