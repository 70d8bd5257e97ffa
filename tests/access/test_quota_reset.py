"""A quota that begins anew while its requests are reported: a report that comes late must not begin the new count."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import uvloop

from accel.limits import PASS, LimitTable, QuotaWindow, clock_ms
from core.access.answers import Answers
from core.access.quota import QuotaKeeper
from core.sessions.keyspace import KeySpace
from core.sessions.model import from_value
from core.sessions.notifications import Signer
from core.store.client import Store, open_store
from core.store.errors import StoreAway
from core.store.settings import Address, StoreSettings
from tests.support.valkey import Valkey, valkey

NAME = "quota-mykey"
CONFIG = SimpleNamespace(
    hash_keys=False, hash_key_function="", hash_key_function_fallback=[], disable_key_actions_by_username=False
)


@contextlib.asynccontextmanager
async def counting(server: Valkey) -> AsyncIterator[tuple[KeySpace, Store, QuotaWindow]]:
    """Keys and their store, and a counter that has let three requests through that the store does not know of."""
    store = open_store(StoreSettings((Address("127.0.0.1", server.port),), command_timeout=0.5))
    await store.start()
    keyspace = KeySpace(store, CONFIG, Signer("secret", insecure=False))
    keeper = QuotaKeeper(store, LimitTable.create(64), Answers(lambda *_: None), 60, shared=False, timeout=0.5)
    keyspace.resetting = keeper.resetting
    window = keeper.window(NAME, 50)
    begun = window.begin(clock_ms(), 1000)
    assert begun is not None
    window.land(begun[1], 0, 0, 600_000, clock_ms())
    assert [window.try_take(clock_ms()) for _ in range(3)] == [PASS] * 3
    try:
        yield keyspace, store, window
    finally:
        await store.close()


def test_reset_waits_for_a_report_that_is_under_way(tmp_path: Path) -> None:
    async def body(server: Valkey) -> None:
        async with counting(server) as (keyspace, store, window):
            begun = window.begin(clock_ms(), 5000)
            assert begun is not None
            assert begun[0] == 3
            reset = asyncio.ensure_future(keyspace.reset_quota(from_value({}), "mykey"))
            await asyncio.sleep(0.05)
            assert not reset.done()
            assert await store.call("INCRBY", NAME, begun[0]) == 3
            window.land(begun[1], begun[0], 3, 600_000, clock_ms())
            await reset
            assert await store.call("GET", NAME) is None
            assert window.unacked() == 0
            assert window.begin(clock_ms(), 1000) is not None

    with valkey(tmp_path / "valkey") as server:
        uvloop.run(body(server))


def test_no_report_leaves_while_the_count_is_removed(tmp_path: Path) -> None:
    async def body(server: Valkey) -> None:
        async with counting(server) as (keyspace, _, window):
            async with keyspace.resetting(NAME):
                assert window.begin(clock_ms(), 1000) is None
            assert window.unacked() == 0

    with valkey(tmp_path / "valkey") as server:
        uvloop.run(body(server))


def test_count_stays_when_the_store_cannot_remove_it(tmp_path: Path) -> None:
    async def body(server: Valkey) -> None:
        async with counting(server) as (keyspace, _, window):
            server.stop()
            with pytest.raises(StoreAway):
                await keyspace.reset_quota(from_value({}), "mykey")
            assert window.unacked() == 3
            assert window.begin(clock_ms(), 1000) is not None

    with valkey(tmp_path / "valkey") as server:
        uvloop.run(body(server))
