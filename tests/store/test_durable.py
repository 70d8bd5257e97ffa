"""durable() returns when what was acknowledged is on the disk of the embedded server, and says so when it cannot."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.store.errors import StoreAway, StoreError
from core.store.settings import Address, StoreSettings
from tests.store.conftest import opened, run, settings, until
from tests.support.valkey import Valkey, valkey


@pytest.fixture
def ours(tmp_path: Path) -> Iterator[Valkey]:
    """A server as the gateway runs it: at a socket, with a file that is synced once a second."""
    options = ("--appendonly", "yes", "--appendfsync", "everysec", "--unixsocket", str(tmp_path / "s"))
    with valkey(tmp_path / "valkey", *options) as found:
        yield found


def embedded(tmp_path: Path) -> StoreSettings:
    return StoreSettings((Address(str(tmp_path / "s")),), embedded=True, command_timeout=2.0)


def test_many_who_wait_at_once_share_a_few_syncs_and_all_is_on_the_disk(ours: Valkey, tmp_path: Path) -> None:
    async def body() -> None:
        async with opened(embedded(tmp_path)) as store:
            await until(lambda: store.available, "connected")

            async def write(number: int) -> None:
                await store.call("SET", f"k{number}", "x" * 100)
                await store.durable()

            await asyncio.gather(*(write(number) for number in range(500)))
            (appended,) = (ours.directory / "appendonlydir").glob("*.incr.aof")
            data = appended.read_bytes()
            assert all(b"\r\nk%d\r\n" % number in data for number in range(500))
            assert ours.ask("EXISTS", "preforge-sync") == 0
            policy = ["appendfsync", "everysec"]
            await until(
                lambda: [part.decode() for part in ours.ask("CONFIG", "GET", "appendfsync")] == policy, "syncs are seldom again"
            )
            assert data.count(b"preforge-sync") < 500

    run(body())


def test_a_restart_between_write_and_sync_is_told(ours: Valkey, tmp_path: Path) -> None:
    async def body() -> None:
        async with opened(embedded(tmp_path)) as store:
            await store.call("SET", "a", 1)
            ours.kill()
            await until(lambda: not store.available, "the loss is seen")
            ours.start()
            await until(lambda: store.available, "connected again")

            async def works() -> bool:
                try:
                    await store.durable()
                except StoreAway as error:
                    return "started anew" in str(error)
                return False

            for _ in range(500):
                if await works():
                    break
                await asyncio.sleep(0.01)
            else:
                pytest.fail("durable() did not tell of the restart")
            # A write to the new run is kept as before.
            await store.call("SET", "a", 2)
            await store.durable()

    run(body())


def test_a_server_that_cannot_promise_it_is_not_believed(tmp_path: Path) -> None:
    with valkey(tmp_path / "valkey", "--appendonly", "no", "--unixsocket", str(tmp_path / "s")):

        async def body() -> None:
            async with opened(embedded(tmp_path)) as store:
                await store.call("SET", "a", 1)
                with pytest.raises(StoreError):
                    await store.durable()

        run(body())


def test_a_server_of_someone_else_is_not_asked(server: Valkey) -> None:
    async def body() -> None:
        async with opened(settings(server)) as store:
            await store.call("SET", "a", 1)
            before = store.stats()["commands"]
            await store.durable()
            assert store.stats()["commands"] == before

    run(body())
