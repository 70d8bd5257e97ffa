"""Commands and their replies on a real server: order, errors, scripts, bounds."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from core.store.errors import StoreAway, StoreError, StoreReply
from core.store.script import Script
from tests.store.conftest import opened, run, settings, until
from tests.support.valkey import Valkey

ADD = Script("redis.call('INCRBY', KEYS[1], ARGV[1]); return {KEYS[1], ARGV[1], false, 7}")


def test_replies_of_every_kind_come_back_as_plain_values(server: Valkey) -> None:
    async def body() -> None:
        async with opened(settings(server)) as store:
            assert await store.call("SET", "a", "ü") == b"OK"
            assert await store.call("GET", "a") == "ü".encode()
            assert await store.call("GET", "nothing") is None
            assert await store.call("INCRBY", "n", 5) == 5
            assert await store.call("RPUSH", b"l", b"\x00\xff", 1.5) == 2
            assert await store.call("LRANGE", "l", 0, -1) == [b"\x00\xff", b"1.5"]
            assert await store.call("EXISTS", "a", "n", "x") == 2
            assert await store.mget(["a", "x"]) == ["ü".encode(), None]
            assert await store.mget([]) == []

    run(body())


def test_an_error_reply_is_an_exception_and_its_neighbours_are_not_touched(server: Valkey) -> None:
    async def body() -> None:
        async with opened(settings(server)) as store:
            await store.call("SET", "a", "x")
            with pytest.raises(StoreReply, match="not an integer"):
                await store.call("INCR", "a")
            before, failed, after = await store.pipeline([("GET", "a"), ("INCR", "a"), ("STRLEN", "a")])
            assert (before, after) == (b"x", 1)
            assert isinstance(failed, StoreReply)
            assert store.stats()["errors"] == 2
            assert await store.pipeline([]) == []

    run(body())


def test_every_reply_goes_to_its_own_command_when_hundreds_ask_at_once(server: Valkey) -> None:
    async def body() -> None:
        async with opened(settings(server, command_timeout=10)) as store:
            async def ask(number: int) -> None:
                for turn in range(20):
                    text = f"{number}-{turn}"
                    assert await store.call("ECHO", text) == text.encode()

            await asyncio.gather(*(ask(number) for number in range(300)))
            assert store.stats()["commands"] == 6000
            assert store.stats()["waiting"] == 0

    run(body())


def test_commands_of_one_turn_of_the_loop_leave_in_one_write(server: Valkey) -> None:
    async def body() -> None:
        async with opened(settings(server)) as store:
            replies: list[Any] = []
            before = int(_info(server)["total_reads_processed"])
            for number in range(500):
                store.send(replies.append, "ECHO", number)
            await until(lambda: len(replies) == 500, "all replies")
            assert replies == [str(number).encode() for number in range(500)]
            after = int(_info(server)["total_reads_processed"])
            assert after - before < 20

    run(body())


def _info(server: Valkey) -> dict[str, str]:
    lines = server.ask("INFO", "stats").decode().splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)


def test_a_command_that_cannot_be_packed_fails_alone(server: Valkey) -> None:
    async def body() -> None:
        async with opened(settings(server)) as store:
            with pytest.raises(StoreError, match="cannot be sent"):
                await store.call("SET", "a", None)  # type: ignore[arg-type]
            with pytest.raises(StoreError, match="cannot be sent"):
                await store.call("SET", "a", "\ud800")
            assert await store.call("PING") == b"PONG"

    run(body())


def test_a_callback_that_raises_does_not_cost_the_others_their_replies(
    server: Valkey, caplog: pytest.LogCaptureFixture
) -> None:
    async def body() -> None:
        async with opened(settings(server)) as store:
            replies: list[Any] = []

            def fails(_: Any) -> None:
                raise ValueError("broken callback")

            store.send(replies.append, "ECHO", 1)
            store.send(fails, "ECHO", 2)
            store.send(replies.append, "ECHO", 3)
            await until(lambda: len(replies) == 2, "both replies")
            assert replies == [b"1", b"3"]

    run(body())
    assert "broken callback" in caplog.text


def test_a_script_runs_on_a_server_that_does_not_know_it_or_has_forgotten_it(server: Valkey) -> None:
    async def body() -> None:
        async with opened(settings(server)) as store:
            for _ in range(2):
                assert await store.script(ADD, ["k"], [2]) == [b"k", b"2", None, 7]
            await store.call("SCRIPT", "FLUSH")
            replies: list[Any] = []
            store.send_script(replies.append, ADD, ["k"], [3])
            await until(lambda: replies, "the reply of the script")
            assert replies == [[b"k", b"3", None, 7]]
            assert await store.call("GET", "k") == b"7"
            with pytest.raises(StoreReply, match="intended"):
                await store.script(Script("error('intended')"), [], [])

    run(body())


def test_scan_finds_every_key_of_a_pattern_once(server: Valkey) -> None:
    async def body() -> None:
        async with opened(settings(server)) as store:
            await store.pipeline([("SET", f"apikey-{number}", 1) for number in range(5000)])
            await store.call("SET", "other", 1)
            found = await store.scan("apikey-*")
            assert found == sorted(f"apikey-{number}".encode() for number in range(5000))
            assert await store.scan("nothing*") == []

    run(body())


def test_one_command_over_the_bound_of_waiters_fails_at_once_and_is_counted(server: Valkey) -> None:
    async def body() -> None:
        async with opened(settings(server, max_waiting=10)) as store:
            replies: list[Any] = []
            for number in range(25):
                store.send(replies.append, "ECHO", number)
            await until(lambda: len(replies) == 25, "every callback is called")
            refused = [reply for reply in replies if isinstance(reply, StoreAway)]
            assert len(refused) == 15
            assert "max_waiting" in str(refused[0])
            assert sorted(reply for reply in replies if isinstance(reply, bytes)) == sorted(b"%d" % n for n in range(10))
            assert store.stats()["refused"] == 15
            assert await store.call("PING") == b"PONG"

    run(body())


def test_bytes_that_a_paused_server_does_not_take_are_bounded(server: Valkey) -> None:
    async def body() -> None:
        wanted = settings(server, max_queued=1 << 20, command_timeout=3)
        async with opened(wanted) as store:
            server.pause()
            try:
                replies: list[Any] = []
                for _ in range(400):
                    store.send(replies.append, "SET", "big", b"x" * 60000)
                    await asyncio.sleep(0)
                await until(lambda: replies, "some are refused")
                assert all(isinstance(reply, StoreAway) and "max_queued_bytes" in str(reply) for reply in replies)
                assert store.stats()["refused"] == len(replies)
                taken = 400 - len(replies)
                assert taken * 60000 < 12 << 20
            finally:
                server.resume()
            await until(lambda: len(replies) == 400, "the others are answered")
            assert replies.count(b"OK") == taken

    run(body())


def test_pipeline_raises_when_nothing_could_be_sent(server: Valkey) -> None:
    async def body() -> None:
        async with opened(settings(server)) as store:
            server.kill()
            await until(lambda: not store.available, "the loss is seen")
            with pytest.raises(StoreAway):
                await store.pipeline([("GET", "a"), ("GET", "b")])

    run(body())
