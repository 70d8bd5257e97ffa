"""Sentinels: the master that they name is used, another one that they choose is followed, nothing else is believed."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.store.errors import StoreAway
from core.store.settings import Address, StoreSettings
from tests.store.conftest import opened, run, until
from tests.support.gateway import free_port, wait_for
from tests.support.valkey import Valkey

PASSWORD = "of the data"
SENTINEL_PASSWORD = "of the sentinels"
SENTINELS = 3


class Sentinel(Valkey):
    """A sentinel process with a configuration file, which it rewrites itself."""

    def __init__(self, directory: Path, master: int) -> None:
        """master: port of the server to watch."""
        super().__init__(directory)
        self.login = (SENTINEL_PASSWORD,)
        self.file = directory / "sentinel.conf"
        lines = [
            f"port {self.port}", "bind 127.0.0.1", f'dir "{directory}"', f'requirepass "{SENTINEL_PASSWORD}"',
            f'sentinel sentinel-pass "{SENTINEL_PASSWORD}"',
            f"sentinel monitor main 127.0.0.1 {master} 2", f'sentinel auth-pass main "{PASSWORD}"',
            "sentinel down-after-milliseconds main 400", "sentinel failover-timeout main 3000",
        ]  # fmt: skip
        self.file.write_text("\n".join(lines) + "\n")

    def start(self, *, loaded: bool = True) -> None:
        """Start, look after the servers several times a second, and do not stop doing so when this machine is slow."""
        super().start(loaded=loaded)
        periods = ("INFO-PERIOD", 200, "PUBLISH-PERIOD", 200, "TILT-TRIGGER", 60_000, "TILT-PERIOD", 500)
        assert self.ask("SENTINEL", "DEBUG", *periods) == b"OK"

    def command(self) -> list[str]:
        return [super().command()[0], str(self.file), "--sentinel"]


@dataclasses.dataclass
class Watched:
    """Two servers, of which one is the master, and sentinels that watch them."""

    servers: list[Valkey]
    sentinels: list[Sentinel]

    def settings(self, *sentinels: Valkey, **more: Any) -> StoreSettings:
        addresses = tuple(Address("127.0.0.1", one.port) for one in sentinels or self.sentinels)
        common = {"command_timeout": 0.5, "password": PASSWORD, "sentinel_password": SENTINEL_PASSWORD, "master": "main"}
        return StoreSettings(addresses, **{**common, **more})

    @property
    def master(self) -> Valkey:
        """The server that the sentinels name."""
        asked = next(one for one in self.sentinels if one.process is not None and one.process.poll() is None)
        port = int(asked.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "main")[1])
        return next(server for server in self.servers if server.port == port)

    def in_order(self) -> bool:
        """Whether all runs, the replica is in step, and each sentinel knows all others and the replica."""
        master = self.master
        for one in self.sentinels:
            (fields,) = one.ask("SENTINEL", "MASTERS")
            known = dict(zip(fields[::2], fields[1::2], strict=True))
            wanted = (b"%d" % (SENTINELS - 1), b"1", b"master", b"%d" % master.port)
            if tuple(known[name] for name in (b"num-other-sentinels", b"num-slaves", b"flags", b"port")) != wanted:
                return False
        replica = next(server for server in self.servers if server is not master)
        return b"master_link_status:up" in replica.ask("INFO", "replication")


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    directory = tmp_path_factory.mktemp("sentinel")
    login = ("--requirepass", PASSWORD, "--masterauth", PASSWORD, "--repl-diskless-sync-delay", "0")
    master = Valkey(directory / "one", *login)
    replica = Valkey(directory / "two", *login, "--replicaof", "127.0.0.1", str(master.port))
    with contextlib.ExitStack() as stack:
        for server in (master, replica):
            server.login = (PASSWORD,)
            stack.callback(server.stop)
            server.start()
        sentinels = []
        for number in range(SENTINELS):
            (directory / f"sentinel{number}").mkdir()
            sentinel = Sentinel(directory / f"sentinel{number}", master.port)
            stack.callback(sentinel.stop)
            sentinel.start()
            sentinels.append(sentinel)
        yield Watched([master, replica], sentinels)


@pytest.fixture
def watched(started: Watched) -> Watched:
    wait_for(started.in_order, "sentinels and servers are in order", 30)
    return started


def test_the_master_that_sentinels_name_gets_the_commands(watched: Watched) -> None:
    async def body() -> None:
        away = Valkey(watched.servers[0].directory, port=free_port())
        async with opened(watched.settings(away, watched.sentinels[1])) as store:
            assert await store.call("SET", "a", 1) == b"OK"
            assert await store.scan("a") == [b"a"]

    run(body())
    assert watched.master.ask("GET", "a") == b"1"


def test_many_sentinels_that_do_not_answer_do_not_hide_the_one_that_does(watched: Watched) -> None:
    async def body(silent: list[socket.socket]) -> None:
        addresses = [Address("127.0.0.1", one.getsockname()[1]) for one in silent]
        wanted = watched.settings(watched.sentinels[2], command_timeout=0.2, timeout=0.5)
        async with opened(dataclasses.replace(wanted, addresses=(*addresses, *wanted.addresses))) as store:
            await until(lambda: store.available, "the master is found")
            assert await store.call("PING") == b"PONG"

    with contextlib.ExitStack() as stack:
        # The kernel takes connections, nobody reads from them.
        run(body([stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(8)]))


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"master": "other"}, "watches no master named 'other'"),
        ({"sentinel_password": "wrong"}, "the sentinel .* WRONGPASS"),
        ({"sentinel_password": ""}, "the sentinel .* NOAUTH"),
        ({"password": "wrong"}, "WRONGPASS"),
    ],
    ids=["name", "sentinel-password", "no-sentinel-password", "password"],
)
def test_what_keeps_the_store_away_is_said(watched: Watched, more: dict[str, str], text: str) -> None:
    async def body() -> None:
        async with opened(watched.settings(**more)) as store:
            assert not store.available
            with pytest.raises(StoreAway, match=text):
                await store.call("PING")

    run(body())


def test_a_server_that_is_no_master_is_not_written_to_whatever_a_sentinel_says(watched: Watched) -> None:
    replica = next(server for server in watched.servers if server is not watched.master)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            for word in (b"PING", b"GET-MASTER", b"SENTINELS", b"SUBSCRIBE"):
                if word in data:
                    named = b"*2\r\n$9\r\n127.0.0.1\r\n$%d\r\n%d\r\n" % (len(str(replica.port)), replica.port)
                    subscribed = b"*3\r\n$9\r\nsubscribe\r\n$14\r\n+switch-master\r\n:1\r\n"
                    answers = {b"PING": b"+PONG\r\n", b"GET-MASTER": named, b"SUBSCRIBE": subscribed}
                    writer.write(answers.get(word, b"*0\r\n"))
        writer.close()

    async def body() -> None:
        liar = await asyncio.start_server(serve, "127.0.0.1", 0)
        address = Address("127.0.0.1", liar.sockets[0].getsockname()[1])
        wanted = dataclasses.replace(watched.settings(), addresses=(address,), sentinel_password="")
        async with opened(wanted) as store:
            with pytest.raises(StoreAway, match="that the sentinels name is a slave"):
                await store.call("SET", "a", 2)
        liar.close()

    run(body())


@pytest.mark.parametrize("how", ["pause", "kill"])
def test_another_master_is_followed_and_the_old_one_is_left(watched: Watched, how: str) -> None:
    old = watched.master
    replica = next(server for server in watched.servers if server is not old)

    async def body() -> None:
        # One sentinel is enough: it tells of the others.
        async with opened(watched.settings(watched.sentinels[0])) as store:
            heard: list[bytes] = []
            states: list[bool] = []
            store.subscribe("news", heard.append, states.append)
            await until(lambda: states == [True], "subscribed")
            await store.call("SET", "kept", how)
            await until(lambda: replica.ask("GET", "kept") == how.encode(), "the replica has it")
            watched.sentinels[0].kill()
            getattr(old, how)()
            await until(lambda: watched.master is not old, "another master is chosen", 30)
            await until(lambda: store.available and states[-1], "it is connected")
            old.resume() if how == "pause" else old.start()
            await until(lambda: old.ask("ROLE")[0] == b"slave", "the old one is told to follow")
            await until(lambda: store.available and states[-1], "it is connected")
            assert await store.call("SET", "new", how) == b"OK"
            assert replica.ask_all(("GET", "kept"), ("GET", "new")) == [how.encode()] * 2
            replica.ask("PUBLISH", "news", how)
            await until(lambda: heard == [how.encode()], "the message of the new master")
            assert store.stats()["reconnects"] >= 1

    try:
        run(body())
    finally:
        old.resume()
        watched.sentinels[0].start()
