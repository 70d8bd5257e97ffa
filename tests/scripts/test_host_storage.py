"""TykStorage*: what scripts keep in the store, and its bounds (tyk-jsvm 6.4)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from core.scripts.host import HostError
from tests.scripts.host_support import Host, config, said, with_host
from tests.support.valkey import Valkey, valkey


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    with valkey(tmp_path_factory.mktemp("valkey")) as found:
        yield found


@pytest.fixture
def run(tmp_path: Path, server: Valkey) -> Callable[[Callable[[Host], Awaitable[Any]]], Any]:
    server.ask("FLUSHALL")
    return lambda use: with_host(use, config(tmp_path), port=server.port)


Run = Callable[[Callable[[Host], Awaitable[Any]]], Any]


def test_a_value_is_not_what_was_stored(run: Run, server: Valkey) -> None:
    async def use(host: Host) -> list[Any]:
        found: list[Any] = [await host.call("TykStorageGet", "k")]
        for value in ("v", "", "ü\U0001f600", "\udcff\udc80", "\x00", "5"):
            found.append(await host.call("TykStorageSet", "k", value, "0"))
            found.append(await host.call("TykStorageGet", "k"))
        found.append(await host.call("TykStorageDel", "k"))
        found.append(await host.call("TykStorageGet", "k"))
        found.append(await host.call("TykStorageDel", "k"))
        return found

    values = ["v", "", "ü\U0001f600", "\udcff\udc80", "\x00", "5"]
    assert run(use) == [None, *(item for value in values for item in (None, value)), None, None, None]


def test_keys_leave_their_place(run: Run, server: Valkey) -> None:
    async def use(host: Host) -> None:
        for key in ("a", "../apikey-x", "\r\nDEL x", "*", "\udcff"):
            await host.call("TykStorageSet", key, "v", "0")

    server.ask("SET", "apikey-x", "session")
    run(use)
    assert set(server.ask("KEYS", "*")) == {
        b"apikey-x", b"jsvm-store:a", b"jsvm-store:../apikey-x", b"jsvm-store:\r\nDEL x", b"jsvm-store:*", b"jsvm-store:\xff"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("ttl", "left"),
    [("0", "-1"), ("undefined", "-1"), ("null", "-1"), ("", "-1"), (" 60 ", "60"), ("60.9", "60"), ("0.5", "1"), ("1e2", "100"),
     (None, "-1")],
)  # fmt: skip
def test_a_key_lives_too_long_or_too_short(run: Run, ttl: str | None, left: str) -> None:
    async def use(host: Host) -> list[str | None]:
        await host.call("TykStorageSet", "k", "v", ttl)
        await host.call("TykStorageIncr", "n", ttl)
        await host.call("TykStorageSetNX", "x", "v", ttl)
        return [await host.call("TykStorageTTL", key) for key in ("k", "n", "x", "missing")]

    assert run(use) == [left, left, left, "-2"]


@pytest.mark.parametrize("ttl", ["-1", "NaN", "Infinity", "abc", "[object Object]", "1e30", "3162240001", "9" * 400])
def test_seconds_that_are_none_mean_for_ever(run: Run, server: Valkey, ttl: str) -> None:
    async def use(host: Host) -> None:
        for name, args in (("Set", ("k", "v", ttl)), ("SetNX", ("k", "v", ttl)), ("Incr", ("k", ttl))):
            with pytest.raises(HostError, match="seconds"):
                await host.call(f"TykStorage{name}", *args)

    run(use)
    assert server.ask("DBSIZE") == 0


def test_keys_and_values_have_no_bounds(run: Run) -> None:
    async def use(host: Host) -> None:
        await host.call("TykStorageSet", "k" * 256, "v" * 65536, "0")
        assert await host.call("TykStorageGet", "k" * 256) == "v" * 65536
        for key in ("", "k" * 257, "ü" * 129):
            for name in ("Get", "Set", "SetNX", "Del", "TTL", "Incr"):
                with pytest.raises(HostError, match="the key has"):
                    await host.call(f"TykStorage{name}", key, "1", "0")
        for value in ("v" * 65537, "ü" * 32769):
            for name in ("TykStorageSet", "TykStorageSetNX"):
                with pytest.raises(HostError, match="the value has"):
                    await host.call(name, "k", value, "0")

    run(use)


def test_two_win_a_lock(run: Run) -> None:
    async def use(host: Host) -> list[str | None]:
        tries = [host.call("TykStorageSetNX", "lock", str(number), "30") for number in range(50)]
        return list(await asyncio.gather(*tries))

    found = run(use)
    assert sorted(found) == ["false"] * 49 + ["true"]


def test_a_count_is_lost_or_lives_for_ever(run: Run, server: Valkey) -> None:
    async def use(host: Host) -> list[str | None]:
        found = await asyncio.gather(*(host.call("TykStorageIncr", "n", "50") for _ in range(100)))
        server.ask("EXPIRE", "jsvm-store:n", 20)
        found.append(await host.call("TykStorageIncr", "n", "50"))
        return [*found, await host.call("TykStorageTTL", "n")]

    *counts, left = run(use)
    assert sorted(int(count) for count in counts) == list(range(1, 102))
    assert left is not None
    assert int(left) <= 20


def test_a_count_is_more_than_a_number_holds(run: Run, server: Valkey) -> None:
    server.ask("SET", "jsvm-store:n", str(2**53))

    async def use(host: Host) -> str | None:
        return await host.call("TykStorageIncr", "n", "0")

    assert run(use) == str(2**53 + 1)


def test_a_value_that_is_no_count_is_counted(run: Run, server: Valkey) -> None:
    server.ask("SET", "jsvm-store:text", "abc")
    server.ask("LPUSH", "jsvm-store:list", "abc")

    async def use(host: Host) -> dict[str, int]:
        for name, key in (("TykStorageIncr", "text"), ("TykStorageIncr", "list"), ("TykStorageGet", "list")):
            with pytest.raises(HostError, match=name):
                await host.call(name, key, "0")
        return host.functions.stats()

    stats = run(use)
    assert (stats["storage_asked"], stats["storage_failed"]) == (3, 3)


CALLS = [
    ("Get", ("k",)),
    ("Set", ("k", "v", "0")),
    ("SetNX", ("k", "v", "0")),
    ("Del", ("k",)),
    ("TTL", ("k",)),
    ("Incr", ("k", "0")),
]


@pytest.mark.parametrize(("name", "args"), CALLS)
def test_a_store_that_is_away_does_not_throw(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, args: tuple[str, ...]
) -> None:
    async def use(host: Host) -> None:
        with pytest.raises(HostError, match=f"TykStorage{name}: "):
            await host.call(f"TykStorage{name}", *args)

    with_host(use, config(tmp_path))
    assert said(caplog) == []


def test_a_store_that_hangs_is_waited_for(tmp_path: Path) -> None:
    with valkey(tmp_path / "valkey") as slow:

        async def use(host: Host) -> None:
            await host.call("TykStorageSet", "k", "v", "0")
            slow.pause()
            with pytest.raises(HostError, match=r"has not answered within 0\.1 s"):
                await host.call("TykStorageGet", "k", seconds=0.1)
            with pytest.raises(HostError, match="has not answered within 2 s"):
                await host.call("TykStorageIncr", "n", "0")
            slow.resume()
            assert await host.call("TykStorageGet", "k") == "v"

        with_host(use, config(tmp_path), port=slow.port)
