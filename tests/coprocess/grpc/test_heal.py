"""Servers that go away, come back, or say that they will: what was sent ends, what was not goes to the next connection."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from pathlib import Path

import pytest

from coprocess.driver import Reply
from coprocess.grpc import GrpcDriver, GrpcSettings
from coprocess.grpc.link import GROWTH, JITTER
from tests.coprocess.grpc.model import (
    ACK,
    DATA,
    GOAWAY,
    HEADERS,
    PING,
    RST_STREAM,
    Peer,
    frame,
    response,
    scripted,
    settings,
)  # fmt: skip
from tests.coprocess.grpc.rig import Asked, Child, ask, drive, driving, free_port, grpcio, tell, until


def goaway(last: int, code: int = 0, text: bytes = b"") -> bytes:
    return frame(GOAWAY, 0, 0, last.to_bytes(4, "big") + code.to_bytes(4, "big") + text)


def test_a_server_that_is_back_is_used_within_2_seconds_by_default() -> None:
    """The longest pause between two attempts is below that."""
    defaults = GrpcSettings("a", "127.0.0.1:1")
    assert defaults.backoff_min * GROWTH * (1 + JITTER) < defaults.backoff_max * (1 + JITTER) < 2


@pytest.mark.parametrize("where", ["tcp", "unix"])
def test_a_server_killed_and_restarted_under_load_heals(where: str, tmp_path: Path) -> None:
    port = free_port()
    listen, target = (f"127.0.0.1:{port}",) * 2 if where == "tcp" else (f"unix:{tmp_path}/s", f"unix://{tmp_path}/s")

    async def main() -> tuple[Counter[str], int]:
        server = Child(*grpcio("aio", listen))
        outcomes: Counter[str] = Counter()
        running = True
        try:
            async with driving(target) as driver:

                async def caller(number: int) -> None:
                    while running:
                        message = b"caller %d" % number
                        reply = await tell(driver, message, 5.0)
                        outcomes[reply.outcome] += 1
                        if reply.outcome == "ok":
                            assert reply.message == message[::-1], "a reply of somebody else's"
                        else:
                            assert reply.detail
                            await asyncio.sleep(0.01)

                callers = [asyncio.ensure_future(caller(n)) for n in range(32)]
                for _ in range(2):
                    await until(lambda before=outcomes["ok"]: outcomes["ok"] > before + 200)
                    await asyncio.to_thread(server.kill)
                    await until(lambda before=outcomes["away"]: outcomes["away"] > before + 32)
                    assert driver.state().status != "up"
                    server = await asyncio.to_thread(Child, *grpcio("aio", listen))
                    await until(lambda: driver.state().status == "up")
                running = False
                await asyncio.gather(*callers)
                counts = driver.counts()
                assert counts["in_flight"] == counts["waiting"] == 0
                assert counts["calls"] == sum(outcomes.values())
                return outcomes, counts["connects"]
        finally:
            server.kill()

    outcomes, connects = drive(main(), 100)
    assert connects == 3
    assert set(outcomes) <= {"ok", "away"}


def test_a_server_that_dies_in_the_middle_of_a_call(tmp_path: Path) -> None:
    async def main() -> list[Reply]:
        server = Child(*grpcio("aio", f"unix:{tmp_path}/s"))
        try:
            async with driving(f"unix:{tmp_path}/s") as driver:
                calls = [ask(driver, b"sleep:30"), ask(driver, b"x" * 5_000_000), ask(driver, b"die")]
                return [await call.reply() for call in calls]
        finally:
            server.kill()

    replies = drive(main())
    assert replies[0].outcome == replies[2].outcome == "away"
    assert "connection" in replies[0].detail


def test_calls_that_were_sent_are_not_sent_again() -> None:
    """A hook may have effects."""
    seen: list[bytes] = []

    async def script(peer: Peer) -> None:
        await peer.greet()
        stream, _, body = await peer.request()
        seen.append(body[5:])
        if body[5:] != b"last":
            return
        peer.send(response(stream, b"fine"))
        await peer.rest()

    async def main() -> list[Reply]:
        async with scripted(script) as server, driving(server.target) as driver:
            first = await tell(driver, b"first")
            await until(lambda: driver.state().status == "up")
            return [first, await tell(driver, b"last")]

    assert [reply.outcome for reply in drive(main())] == ["away", "ok"]
    assert seen == [b"first", b"last"]


def test_goaway_moves_what_was_not_looked_at() -> None:
    """Stream 1 goes on, streams 3 and 5 were not processed: they go to the next connection, and so do new calls."""
    moved = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.greet()
        if server.connections == 1:
            for _ in range(3):
                await peer.request()
            peer.send(goaway(1, 0, b"see you"))
            await moved.wait()
            peer.send(response(1, b"old"))
            assert [f.kind for f in await peer.rest()][-1] == GOAWAY
        else:
            while True:
                stream, _, body = await peer.request()
                peer.send(response(stream, b"new " + body[5:]))

    async def main() -> list[Reply]:
        nonlocal server
        async with scripted(script) as server, driving(server.target) as driver:
            calls = [ask(driver, b"%d" % n) for n in range(3)]
            replies = [await call.reply() for call in calls[1:]]
            replies.append(await tell(driver, b"3"))
            moved.set()
            counts = driver.counts()
            assert (counts["goaways"], counts["retries"], counts["connects"], counts["disconnects"]) == (1, 2, 2, 1)
            return [await calls[0].reply(), *replies]

    server = None
    assert [reply.message for reply in drive(main())] == [b"old", b"new 1", b"new 2", b"new 3"]


def test_a_call_is_sent_anew_once_at_most() -> None:
    async def script(peer: Peer) -> None:
        await peer.greet()
        await peer.request()
        peer.send(goaway(0))
        await peer.rest()

    async def main() -> tuple[Reply, int]:
        async with scripted(script) as server, driving(server.target) as driver:
            return await tell(driver), driver.counts()["retries"]

    reply, retries = drive(main())
    assert (reply.outcome, retries) == ("away", 1)


def test_a_refused_stream_is_sent_anew_once() -> None:
    async def script(peer: Peer) -> None:
        await peer.greet()
        refused = 0
        while True:
            stream, _, body = await peer.request()
            if body[5:] == b"never" or not refused:
                refused += 1
                peer.send(frame(RST_STREAM, 0, stream, b"\0\0\0\x07"))
            else:
                peer.send(response(stream, body[5:]))

    async def main() -> list[Reply]:
        async with scripted(script) as server, driving(server.target) as driver:
            replies = [await tell(driver, b"once"), await tell(driver, b"never")]
            assert driver.counts()["connects"] == 1
            return replies

    assert [(reply.outcome, reply.message) for reply in drive(main())] == [("ok", b"once"), ("away", b"")]


def test_a_large_request_is_sent_anew_from_its_beginning() -> None:
    async def script(peer: Peer) -> None:
        await peer.greet(window=1 << 20)
        if server.connections == 1:
            await peer.find(DATA)
            peer.send(goaway(0))
            await peer.rest()
            return
        stream, _, body = await peer.request()
        peer.send(response(stream, body[:5] + body[-5:]))
        await peer.rest()

    async def main() -> Reply:
        nonlocal server
        async with scripted(script) as server, driving(server.target) as driver:
            return await tell(driver, b"a" * 59_995 + b"after")

    server = None
    assert drive(main()).message == b"\0\0\0\xea\x60after"


def test_a_graceful_goaway_lets_calls_end() -> None:
    """2^31-1 first, a PING, then the real last stream, as servers do that shut down."""

    async def script(peer: Peer) -> None:
        await peer.greet()
        if server.connections > 1:
            await peer.rest()
            return
        stream, _, _ = await peer.request()
        peer.send(goaway((1 << 31) - 1) + frame(PING, 0, 0, b"shutdown"))
        assert (await peer.find(PING)).flags == ACK
        peer.send(goaway(stream) + response(stream, b"fine"))
        await peer.rest()

    async def main() -> Reply:
        nonlocal server
        async with scripted(script) as server, driving(server.target) as driver:
            reply = await tell(driver)
            await until(lambda: driver.counts()["connects"] == 2)
            return reply

    server = None
    assert drive(main()).message == b"fine"


def test_a_server_that_says_goaway_at_once_is_not_hammered() -> None:
    async def script(peer: Peer) -> None:
        await peer.preface()
        peer.send(settings() + goaway(0, 11, b"too many"))
        await peer.rest()

    async def main() -> tuple[int, str]:
        async with scripted(script) as server, driving(server.target, up=False, backoff_min=0.1, backoff_max=0.1) as driver:
            await until(lambda: driver.state().status == "down")
            await asyncio.sleep(0.5)
            return server.connections, driver.state().detail

    connections, detail = drive(main())
    assert 2 <= connections <= 8
    assert "GOAWAY: ENHANCE_YOUR_CALM too many" in detail


def test_calls_wait_while_a_server_drains_one_connection_after_the_other() -> None:
    async def script(peer: Peer) -> None:
        await peer.greet()
        if server.connections < 4:
            peer.send(goaway((1 << 31) - 1, 0, b"max_age"))
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                stream, _, body = await peer.request()
                peer.send(response(stream, body[5:]))

    async def main() -> set[str]:
        nonlocal server
        seen = set()
        async with scripted(script) as server, driving(server.target, up=False) as driver:
            while server.connections < 4 or driver.state().status != "up":
                seen.add((await tell(driver)).outcome)
            return seen

    server = None
    assert drive(main()) == {"ok"}


def test_closing_ends_at_any_moment_of_connecting() -> None:
    async def script(peer: Peer) -> None:
        await peer.greet()
        await peer.rest()

    async def main() -> int:
        async with scripted(script) as server:
            for turns in range(60):
                driver = GrpcDriver(GrpcSettings("plugin", server.target))
                await driver.start()
                for _ in range(turns):
                    await asyncio.sleep(0)
                await asyncio.wait_for(driver.close(0), 5)
                assert driver.counts()["connections"] == 0
            return server.connections

    assert drive(main()) > 0


def test_a_silent_connection_is_found_by_a_ping() -> None:
    answered: list[bytes] = []

    async def script(peer: Peer) -> None:
        await peer.greet()
        await peer.find(HEADERS)
        if server.connections == 1:
            await peer.rest()
        else:
            ping = await peer.find(PING)
            answered.append(ping.payload)
            peer.send(frame(PING, ACK, 0, ping.payload) + response(1, b"alive"))
            await peer.rest()

    async def main() -> list[Reply]:
        nonlocal server
        async with scripted(script) as server, driving(server.target, keepalive_time=1, keepalive_timeout=0.2) as driver:
            first = await tell(driver)
            second = await tell(driver)
            return [first, second]

    server = None
    first, second = drive(main())
    assert (first.outcome, second.message) == ("away", b"alive")
    assert "PING" in first.detail
    assert answered == [b"preforge"]


def test_pings_and_settings_of_the_server_are_answered() -> None:
    async def script(peer: Peer) -> None:
        await peer.greet()
        await peer.find(SETTINGS_KIND, ACK)
        peer.send(frame(PING, 0, 0, b"12345678") + settings(window=100))
        ping = await peer.find(PING)
        assert (ping.flags, ping.payload) == (ACK, b"12345678")
        assert (await peer.find(SETTINGS_KIND)).flags == ACK
        stream, _, _ = await peer.request()
        peer.send(response(stream, b"fine"))
        await peer.rest()

    async def main() -> Reply:
        async with scripted(script) as server, driving(server.target) as driver:
            await asyncio.sleep(0.1)
            return await tell(driver)

    assert drive(main()).message == b"fine"


SETTINGS_KIND = 4


def test_waiting_calls_go_to_the_next_connection() -> None:
    """Only those that were written end with the connection."""

    async def script(peer: Peer) -> None:
        await peer.greet(streams=1)
        stream, _, body = await peer.request()
        if server.connections == 1:
            return
        while True:
            peer.send(response(stream, body[5:]))
            stream, _, body = await peer.request()

    async def main() -> list[Reply]:
        nonlocal server
        async with scripted(script) as server, driving(server.target) as driver:
            calls: list[Asked] = [ask(driver, b"%d" % n) for n in range(4)]
            return [await call.reply() for call in calls]

    server = None
    replies = drive(main())
    assert [reply.outcome for reply in replies] == ["away", "ok", "ok", "ok"]
    assert [reply.message for reply in replies[1:]] == [b"1", b"2", b"3"]
