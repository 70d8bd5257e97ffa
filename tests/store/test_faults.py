"""A server that stops, dies, loads, talks nonsense: what waits fails in time, and the store comes back by itself."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from core.store.client import open_store
from core.store.errors import StoreAway
from core.store.script import Script
from core.store.settings import Address, StoreSettings
from tests.store.conftest import opened, run, settings, until
from tests.support.gateway import free_port
from tests.support.valkey import Valkey, valkey

COUNT = Script("return redis.call('INCR', KEYS[1])")


def test_a_paused_server_holds_no_command_longer_than_the_deadline(server: Valkey) -> None:
    async def body() -> None:
        async with opened(settings(server, command_timeout=0.5)) as store:
            loop = asyncio.get_running_loop()
            server.pause()
            ended: list[float] = []
            started = loop.time()
            for _ in range(100):
                store.send(lambda reply: ended.append(loop.time()) if isinstance(reply, StoreAway) else None, "PING")
            await until(lambda: len(ended) == 100, "all fail")
            assert store.stats()["timeouts"] >= 1
            assert store.stats()["timeouts"] + store.stats()["lost"] >= 100
            assert max(ended) - started < 5
            # From now on nothing waits: there is no connection.
            with pytest.raises(StoreAway, match="cannot be reached"):
                await store.call("PING")
            server.resume()
            await until(lambda: store.available, "it is connected again")
            assert await store.call("ECHO", "again") == b"again"
            assert store.stats()["reconnects"] >= 1

    run(body())


def test_replies_from_before_a_deadline_are_never_given_to_later_commands(server: Valkey) -> None:
    async def body() -> None:
        async with opened(settings(server, command_timeout=0.2)) as store:
            for turn in range(5):
                server.pause()
                with pytest.raises(StoreAway):
                    await store.call("ECHO", f"old-{turn}")
                server.resume()
                await until(lambda: store.available, "it is connected again")
                texts = [f"{turn}-{number}" for number in range(50)]
                assert await store.pipeline([("ECHO", text) for text in texts]) == [text.encode() for text in texts]

    run(body())


def test_a_killed_server_fails_what_waits_and_is_found_again_after_its_restart(server: Valkey) -> None:
    async def body() -> None:
        async with opened(settings(server, command_timeout=5)) as store:
            server.pause()
            waiting = [asyncio.ensure_future(store.call("PING")) for _ in range(10)]
            await asyncio.sleep(0.05)
            server.kill()
            replies = await asyncio.gather(*waiting, return_exceptions=True)
            assert all(isinstance(reply, StoreAway) for reply in replies)
            assert not store.available
            with pytest.raises(StoreAway):
                await store.call("PING")
            server.start()
            await until(lambda: store.available, "it is connected again")
            assert await store.call("PING") == b"PONG"

    run(body())


def test_start_does_not_fail_or_hang_when_the_server_is_away(tmp_path: Path) -> None:
    server = Valkey(tmp_path / "valkey", port=free_port())

    async def body() -> None:
        async with opened(settings(server)) as store:
            assert not store.available
            with pytest.raises(StoreAway, match=f"127.0.0.1:{server.port}"):
                await store.call("PING")
            server.start()
            await until(lambda: store.available, "it is connected")
            assert await store.call("PING") == b"PONG"

    try:
        run(body())
    finally:
        server.stop()


def test_commands_from_before_the_first_connection_are_sent_when_it_is_there(server: Valkey) -> None:
    async def body() -> None:
        store = open_store(settings(server))
        starting = asyncio.ensure_future(store.start())
        await asyncio.sleep(0)
        assert not store.available
        assert await store.call("ECHO", "early") == b"early"
        await starting
        await store.close()
        with pytest.raises(StoreAway, match="closed"):
            await store.call("PING")

    run(body())


def test_commands_before_a_first_connection_that_never_comes_fail_at_the_deadline(server: Valkey) -> None:
    async def body() -> None:
        server.pause()
        async with opened(settings(server, command_timeout=0.3, timeout=30)) as store:
            with pytest.raises(StoreAway):
                await store.call("PING")
        server.resume()

    run(body())


def test_a_server_that_loads_its_data_counts_as_away(tmp_path: Path) -> None:
    with valkey(tmp_path / "valkey", "--appendonly", "yes", "--appendfsync", "no") as server:
        server.ask("EVAL", "for i=1,20000 do redis.call('SET', 'k'..i, i) end", "0")
        server.kill()
        # Slow loading down to about a second: a pause for each key.
        server.options = (*server.options, "--key-load-delay", "5")
        server.start(loaded=False)
        assert str(server.ask("PING")).startswith("LOADING")

        async def body() -> None:
            async with opened(settings(server)) as store:
                with pytest.raises(StoreAway):
                    await store.call("GET", "k1")
                await until(lambda: store.available, "it has loaded")
                assert await store.call("GET", "k20000") == b"20000"

        run(body())


def test_a_read_only_replica_counts_as_away_for_writes(tmp_path: Path, server: Valkey) -> None:
    with valkey(tmp_path / "replica", "--replicaof", "127.0.0.1", str(server.port)) as replica:

        async def body() -> None:
            async with opened(settings(replica)) as store:
                with pytest.raises(StoreAway, match="READONLY"):
                    await store.call("SET", "a", 1)

        run(body())


def test_a_server_that_is_demoted_is_looked_up_anew_without_a_storm_of_connections(server: Valkey) -> None:
    async def body() -> None:
        async with opened(settings(server)) as store:
            await store.call("SET", "a", 1)
            server.ask("REPLICAOF", "127.0.0.1", free_port())
            with pytest.raises(StoreAway, match="READONLY"):
                await store.call("SET", "a", 2)
            # The name of the server may lead elsewhere now.
            await until(lambda: store.stats()["reconnects"] == 1, "the connection is made anew")
            for _ in range(30):
                await until(lambda: store.available, "it is connected")
                with pytest.raises(StoreAway, match="READONLY"):
                    await store.call("SET", "a", 2)
            assert store.stats()["reconnects"] <= 2
            server.ask("REPLICAOF", "NO", "ONE")
            await until(lambda: store.available, "it is connected")
            assert await store.call("SET", "a", 3) == b"OK"

    run(body())


class Nonsense:
    """A server of our own that answers every batch of bytes with what it is told to."""

    def __init__(self, *answers: bytes) -> None:
        self.answers = list(answers)
        self.port = 0

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(65536):
            writer.write(self.answers.pop(0) if self.answers else b"+PONG\r\n")
        writer.close()

    async def start(self) -> asyncio.Server:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        return server


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "does not speak RESP"),
        (b"+PONG\r\n+PONG\r\n", "nobody waits for"),
        (b"$100000\r\n" + b"x" * 90000, "max_reply_bytes"),
    ],
    ids=["http", "surplus", "huge"],
)
def test_what_is_not_a_reply_ends_the_connection(answer: bytes, reason: str, caplog: pytest.LogCaptureFixture) -> None:
    async def body() -> None:
        fake = Nonsense(b"+PONG\r\n", answer)
        server = await fake.start()
        wanted = StoreSettings((Address("127.0.0.1", fake.port),), command_timeout=5, max_reply=65536)
        async with opened(wanted) as store:
            assert store.available
            replies: list[Any] = []
            store.send(replies.append, "GET", "a")
            await until(lambda: reason in caplog.text, "the connection is given up")
            await until(lambda: replies, "the command is answered")
            await until(lambda: store.available, "a new connection is made")
            assert store.stats()["reconnects"] == 1
        server.close()

    run(body())


def test_replies_that_come_byte_by_byte_are_put_together() -> None:
    reply = b"*3\r\n$5\r\nhello\r\n:-12\r\n*2\r\n$-1\r\n+OK\r\n"

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65536)
        writer.write(b"+PONG\r\n")
        while await reader.read(65536):
            for place in range(len(reply)):
                writer.write(reply[place : place + 1])
                await asyncio.sleep(0)
        writer.close()

    async def body() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with opened(StoreSettings((Address("127.0.0.1", port),))) as store:
            assert await store.call("X") == [b"hello", -12, [None, b"OK"]]
        server.close()

    run(body())


def test_loss_and_return_are_logged_once_each(server: Valkey, caplog: pytest.LogCaptureFixture) -> None:
    async def body() -> None:
        async with opened(settings(server)) as store:
            server.kill()
            await until(lambda: not store.available, "the loss is seen")
            await asyncio.sleep(0.5)
            server.start()
            await until(lambda: store.available, "it is connected again")

    run(body())
    assert caplog.text.count("cannot be reached") == 1
    assert caplog.text.count("is there again") == 1


def test_a_connection_that_ends_within_a_reply_fails_that_command_and_those_behind_it() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            if b"GET" in data:
                writer.write(b"$5\r\nfirst\r\n$100\r\nhalf of it")
                await writer.drain()
                break
            writer.write(b"+PONG\r\n")
        writer.close()

    async def body() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        address = Address("127.0.0.1", server.sockets[0].getsockname()[1])
        async with opened(StoreSettings((address,), command_timeout=5)) as store:
            first, *others = await store.pipeline([("GET", "a"), ("GET", "b"), ("GET", "c")])
            assert first == b"first"
            assert all(isinstance(other, StoreAway) for other in others)
            assert (store.stats()["lost"], store.stats()["errors"], store.stats()["timeouts"]) == (2, 0, 0)
            await until(lambda: store.available, "a new connection is made")
            assert await store.call("PING") == b"PONG"
        server.close()

    run(body())


def test_a_slow_server_is_waited_for_up_to_the_deadline_and_no_reply_is_mixed_up(server: Valkey) -> None:
    async def body() -> None:
        async with opened(settings(server, command_timeout=20)) as store:
            for turn in range(5):
                server.pause()
                waiting = [asyncio.ensure_future(store.call("ECHO", f"{turn}-{number}")) for number in range(50)]
                await asyncio.sleep(0.1)
                assert not any(future.done() for future in waiting)
                server.resume()
                assert await asyncio.gather(*waiting) == [f"{turn}-{number}".encode() for number in range(50)]
            assert (store.stats()["timeouts"], store.stats()["reconnects"]) == (0, 0)

    run(body())


def test_a_server_that_is_started_with_other_data_is_used_as_it_is(server: Valkey, tmp_path: Path) -> None:
    async def body() -> None:
        async with opened(settings(server)) as store:
            assert await store.script(COUNT, ["n"], []) == 1
            server.kill()
            await until(lambda: not store.available, "the loss is seen")
            server.directory = tmp_path / "other"
            server.directory.mkdir()
            server.start()
            await until(lambda: store.available, "it is connected again")
            assert await store.script(COUNT, ["n"], []) == 1
            assert await store.scan("*") == [b"n"]

    run(body())


def test_connections_that_the_server_ends_are_made_again(server: Valkey) -> None:
    async def body() -> None:
        async with opened(settings(server)) as store:
            for turn in range(1, 4):
                server.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
                await until(lambda: store.stats()["reconnects"] == turn, "the loss is seen")  # noqa: B023
                await until(lambda: store.available, "it is connected again")
                assert await store.call("PING") == b"PONG"

    run(body())
