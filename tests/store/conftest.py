"""What the tests of the store share: a server, a store on it, and a way to wait inside a loop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest
import uvloop

from core.store.client import Store, open_store
from core.store.settings import Address, StoreSettings
from tests.support.valkey import Valkey, valkey


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Valkey]:
    """A server of its own for the test."""
    with valkey(tmp_path / "valkey") as found:
        yield found


class Listening(Protocol):
    """What listens on a port of 127.0.0.1."""

    port: int


def settings(server: Listening, **more: Any) -> StoreSettings:
    """How to reach a server, with a short deadline."""
    return StoreSettings((Address("127.0.0.1", server.port),), **{"command_timeout": 1.5, **more})


@contextlib.asynccontextmanager
async def opened(wanted: StoreSettings) -> AsyncIterator[Store]:
    """A store that has been started."""
    store = open_store(wanted)
    await store.start()
    try:
        yield store
    finally:
        await store.close()


def run(body: Coroutine[Any, Any, None]) -> None:
    """Run a test on the loop that workers use."""
    uvloop.run(body)


async def until(condition: Callable[[], Any], what: str, seconds: float = 20.0) -> None:
    """Wait until the condition holds; fail, saying what did not happen."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while not condition():
        assert loop.time() < deadline, f"not in time: {what}"
        await asyncio.sleep(0.01)
