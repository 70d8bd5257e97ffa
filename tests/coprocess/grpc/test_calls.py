"""The driver's promises to those who call: one end for each call, deadlines, bounds, events, an orderly end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import pytest

from coprocess.driver import Reply
from coprocess.grpc import GrpcDriver, GrpcSettings
from tests.coprocess.grpc.model import DATA, HEADERS, RST_STREAM, Peer, Reader, response, scripted
from tests.coprocess.grpc.rig import Child, ask, child, drive, driving, free_port, grpcio, tell, until


@pytest.fixture(scope="module")
def server() -> Iterator[Child]:
    with child(*grpcio("aio", "127.0.0.1:0")) as started:
        yield started


def test_replies_go_to_their_calls(server: Child) -> None:
    async def main() -> list[Reply]:
        async with driving(f"127.0.0.1:{server.port}") as driver:
            calls = [ask(driver, b"call %d" % i) for i in range(500)]
            replies = [await call.reply() for call in calls]
            counts = driver.counts()
            assert (counts["calls"], counts["replies"], counts["in_flight"]) == (500, 500, 0)
            return replies

    assert drive(main()) == [Reply("ok", (b"call %d" % i)[::-1]) for i in range(500)]


@pytest.mark.parametrize("connections", [1, 3])
def test_calls_before_the_connection_is_up_wait_for_it(server: Child, connections: int) -> None:
    async def main() -> list[Reply]:
        async with driving(f"127.0.0.1:{server.port}", up=False, connections=connections) as driver:
            assert driver.state().status == "connecting"
            calls = [ask(driver) for _ in range(20)]
            replies = [await call.reply() for call in calls]
            await until(lambda: driver.counts()["connections"] == connections)
            return replies

    assert {reply.outcome for reply in drive(main())} == {"ok"}


def test_several_connections_share_the_calls() -> None:
    async def script(peer: Peer) -> None:
        await peer.greet()
        while True:
            stream, _, _ = await peer.request()
            peer.send(response(stream, b"%d" % id(peer)))

    async def main() -> set[bytes]:
        async with scripted(script) as server, driving(server.target, connections=3) as driver:
            await until(lambda: driver.counts()["connections"] == 3)
            return {(await tell(driver)).message for _ in range(9)}

    assert len(drive(main())) == 3


@pytest.mark.parametrize(
    ("message", "outcome", "detail"),
    [
        (b"fail:5:nobody is here", "error", "NOT_FOUND: nobody is here"),
        (b"fail:12:", "error", "UNIMPLEMENTED"),
        (b"fail:14:go away", "away", "UNAVAILABLE: go away"),
        (b"fail:8:100% sure\n", "error", "RESOURCE_EXHAUSTED: 100% sure"),
    ],
)
def test_statuses_of_a_plugin(server: Child, message: bytes, outcome: str, detail: str) -> None:
    async def main() -> Reply:
        async with driving(f"127.0.0.1:{server.port}") as driver:
            return await tell(driver, message)

    reply = drive(main())
    assert (reply.outcome, reply.detail.rstrip()) == (outcome, detail)


def test_an_empty_message_and_an_empty_reply(server: Child) -> None:
    async def main() -> Reply:
        async with driving(f"127.0.0.1:{server.port}") as driver:
            return await tell(driver, b"")

    assert drive(main()) == Reply("ok", b"")


def test_deadlines_end_calls_in_their_order_and_not_before(server: Child) -> None:
    async def main() -> list[str]:
        async with driving(f"127.0.0.1:{server.port}") as driver:
            seconds = [0.35, 0.05, 6.0, 0.2, 0.0, -1.0]
            began = time.monotonic()
            calls = [ask(driver, b"sleep:%f" % (1.0 if wait == 6.0 else 30.0), wait) for wait in seconds]
            replies = [await call.reply() for call in calls]
            at = [call.at[0] - began for call in calls]
            assert at[4] < at[1] < at[3] < at[0] < at[2]
            assert all(when >= wait for when, wait in zip(at, seconds, strict=True) if wait != 6.0)
            assert driver.counts()["timeouts"] == 5
            return [reply.outcome for reply in replies]

    assert drive(main()) == ["timeout", "timeout", "ok", "timeout", "timeout", "timeout"]


def test_the_server_is_told_when_nobody_waits_any_more() -> None:
    resets: list[int] = []

    async def script(peer: Peer) -> None:
        await peer.greet()
        while len(resets) < 2:
            resets.append((await peer.find(RST_STREAM)).stream)
        peer.send(response(1, b"late") + response(3, b"late"))
        stream, _, _ = await peer.request()
        peer.send(response(stream, b"fine"))
        await peer.rest()

    async def main() -> tuple[list[Reply], Reply, Reply]:
        async with scripted(script) as server, driving(server.target) as driver:
            given_up, late = ask(driver), ask(driver, deadline=0.1)
            await asyncio.sleep(0.02)
            given_up.ticket.cancel()
            given_up.ticket.cancel()
            first = await late.reply()
            last = await tell(driver)
            counts = driver.counts()
            assert (counts["cancelled"], counts["timeouts"], counts["replies"], counts["in_flight"]) == (1, 1, 1, 0)
            return given_up.replies, first, last

    nothing, late, last = drive(main())
    assert (nothing, late.outcome, last.message) == ([], "timeout", b"fine")
    assert sorted(resets) == [1, 3]


def test_bounds_of_calls_in_flight_and_waiting(server: Child) -> None:
    async def main() -> list[str]:
        async with driving(f"127.0.0.1:{server.port}", max_in_flight=2, max_waiting=3) as driver:
            calls = [ask(driver, b"sleep:0.2") for _ in range(7)]
            assert [call.replies for call in calls] == [[]] * 7
            counts = driver.counts()
            assert (counts["in_flight"], counts["waiting"]) == (2, 3)
            calls[2].ticket.cancel()
            calls[0].ticket.cancel()
            assert driver.counts()["waiting"] == 1
            calls.append(ask(driver, b"again"))
            replies = [await call.reply() for call in (calls[1], *calls[3:])]
            assert driver.counts()["busy"] == 2
            assert calls[0].replies == calls[2].replies == []
            return [reply.outcome for reply in replies]

    assert drive(main()) == ["ok", "ok", "ok", "busy", "busy", "ok"]


def test_a_cancelled_call_that_was_refused_stays_silent(server: Child) -> None:
    async def main() -> list[Reply]:
        async with driving(f"127.0.0.1:{server.port}", max_in_flight=1, max_waiting=0) as driver:
            first, refused = ask(driver), ask(driver)
            refused.ticket.cancel()
            await first.reply()
            await asyncio.sleep(0.05)
            return refused.replies

    assert drive(main()) == []


def test_calls_may_be_made_where_others_end(server: Child) -> None:
    async def main() -> tuple[int, int]:
        async with driving(f"127.0.0.1:{server.port}", max_in_flight=4, max_waiting=4) as driver:
            ended = 0
            finished = asyncio.Event()

            def done(reply: Reply) -> None:
                nonlocal ended
                assert reply.outcome == "ok"
                ended += 1
                if ended <= 392:
                    driver.dispatch(b"again", 10.0, done)
                elif ended == 400:
                    finished.set()

            for _ in range(8):
                driver.dispatch(b"first", 10.0, done)
            await finished.wait()
            return ended, driver.counts()["replies"]

    assert drive(main()) == (400, 400)


def test_a_fault_of_a_caller_hurts_nobody_else(server: Child, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> Reply:
        async with driving(f"127.0.0.1:{server.port}") as driver:

            def broken(reply: Reply) -> None:
                raise RuntimeError("the caller's fault")

            driver.dispatch(b"a", 10.0, broken)
            return await tell(driver)

    assert drive(main()).outcome == "ok"
    assert "the caller's fault" in caplog.text


def test_events_reach_the_plugin(server: Child) -> None:
    async def main() -> bytes:
        async with driving(f"127.0.0.1:{server.port}") as driver:
            before = int((await tell(driver, b"count")).message.split()[1])
            assert [driver.event(b'{"n": %d}' % i) for i in range(10)] == [True] * 10
            await until(lambda: driver.counts()["events_pending"] == 0)
            counts = driver.counts()
            assert (counts["events"], counts["events_failed"], counts["calls"]) == (10, 0, 1)
            return b"%d" % (int((await tell(driver, b"count")).message.split()[1]) - before)

    assert drive(main()) == b"10"


@pytest.mark.parametrize("size", [0, 1, 127, 128, 300, 20000])
def test_an_event_is_a_message_with_one_string(size: int) -> None:
    bodies: list[tuple[bytes, bytes]] = []

    async def script(peer: Peer) -> None:
        await peer.greet()
        head = await peer.find(HEADERS)
        body = b""
        while len(body) < size + 5:
            body += (await peer.find(DATA)).payload
        bodies.append((dict(Reader(head.payload).fields())[b":path"], body[5:]))
        peer.send(response(head.stream, b""))
        await peer.rest()

    async def main() -> None:
        async with scripted(script) as server, driving(server.target) as driver:
            assert driver.event(b"x" * size)
            await until(lambda: driver.counts()["events_pending"] == 0)
            assert driver.counts()["events_failed"] == 0

    drive(main())
    length = bytes([size]) if size < 128 else bytes([size & 127 | 128, size >> 7 & 127 | (128 if size > 16383 else 0)])
    length += bytes([size >> 14]) if size > 16383 else b""
    assert bodies == [(b"/coprocess.Dispatcher/DispatchEvent", b"\x0a" + length + b"x" * size)]


def test_events_are_bounded_and_dropped_ones_counted(caplog: pytest.LogCaptureFixture) -> None:
    async def script(peer: Peer) -> None:
        await peer.greet()
        await peer.rest()

    async def main() -> None:
        async with scripted(script) as server, driving(server.target, max_events=2, event_timeout=0.1) as driver:
            assert [driver.event(b"{}") for _ in range(4)] == [True, True, False, False]
            await until(lambda: driver.counts()["events_pending"] == 0)
            counts = driver.counts()
            assert (counts["events"], counts["events_dropped"], counts["events_failed"]) == (2, 2, 2)
            assert driver.event(b"{}")

    drive(main())
    said = [record.getMessage() for record in caplog.records if "did not take" in record.getMessage()]
    assert said == ['gRPC server "plugin" did not take 1 events, the last one because: no reply within the deadline']


def test_a_server_that_is_away_is_away_at_once() -> None:
    async def main() -> tuple[list[str], str]:
        async with driving(f"tcp://127.0.0.1:{free_port()}", up=False) as driver:
            waited = await tell(driver)
            calls = [ask(driver) for _ in range(3)]
            assert not driver.event(b"{}")
            replies = [await call.reply() for call in calls]
            return [waited.outcome, *(reply.outcome for reply in replies)], driver.state().detail

    outcomes, detail = drive(main())
    assert outcomes == ["away"] * 4
    assert "127.0.0.1" in detail


def test_a_call_that_waits_for_a_connection_has_its_deadline() -> None:
    async def script(peer: Peer) -> None:
        await peer.preface()
        await peer.rest()

    async def main() -> Reply:
        async with scripted(script) as server, driving(server.target, up=False) as driver:
            return await tell(driver, deadline=0.1)

    assert drive(main()).outcome == "timeout"


def test_before_the_start_and_after_the_end() -> None:
    async def main() -> list[str]:
        driver = GrpcDriver(GrpcSettings("plugin", f"127.0.0.1:{free_port()}"))
        replies = [await tell(driver)]
        assert not driver.event(b"{}")
        assert driver.state().status == "connecting"
        await driver.start()
        await driver.close(0)
        replies.append(await tell(driver))
        assert not driver.event(b"{}")
        assert driver.state().status == "down"
        return [reply.outcome for reply in replies]

    assert drive(main()) == ["away", "away"]


def test_closing_lets_calls_end(server: Child) -> None:
    async def main() -> list[str]:
        async with driving(f"127.0.0.1:{server.port}", max_in_flight=2) as driver:
            calls = [ask(driver, b"sleep:0.2") for _ in range(4)]
            closing = asyncio.ensure_future(driver.close(20))
            await asyncio.sleep(0)
            refused = await tell(driver)
            await closing
            assert driver.counts()["in_flight"] == 0
            return [refused.outcome, *[(await call.reply()).outcome for call in calls]]

    assert drive(main()) == ["away", "ok", "ok", "ok", "ok"]


def test_closing_ends_calls_when_the_grace_is_over(server: Child) -> None:
    async def main() -> list[Reply]:
        async with driving(f"127.0.0.1:{server.port}", max_in_flight=2) as driver:
            calls = [ask(driver, b"sleep:30") for _ in range(4)]
            await driver.close(0.1)
            return [call.replies[0] for call in calls]

    assert drive(main()) == [Reply("away", b"", "closing")] * 4
