"""Flow control and large messages, in both directions."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from coprocess.driver import Reply
from tests.coprocess.grpc.model import (
    DATA,
    END_STREAM,
    HEADERS,
    RST_STREAM,
    WINDOW_UPDATE,
    Frame,
    Peer,
    Reader,
    frame,
    response,
    scripted,
    settings,
)  # fmt: skip
from tests.coprocess.grpc.rig import MIB, ask, child, drive, driving, grpcio, tell, until


def window(stream: int, more: int) -> bytes:
    return frame(WINDOW_UPDATE, 0, stream, more.to_bytes(4, "big"))


@pytest.mark.parametrize("where", ["tcp", "unix"])
@pytest.mark.parametrize("kind", ["sync", "aio"])
def test_20_megabytes_both_ways(kind: str, where: str, tmp_path: Path) -> None:
    message = bytes(range(256)) * (20 * MIB // 256)
    listen = "127.0.0.1:0" if where == "tcp" else f"unix:{tmp_path}/s"

    async def main(target: str) -> list[Reply]:
        async with driving(target, recv_max_size=32 * MIB) as driver:
            calls = [ask(driver, message), ask(driver, b"small"), ask(driver, message[:-1])]
            return [await call.reply() for call in calls]

    with child(*grpcio(kind, listen)) as server:
        replies = drive(main(f"tcp://127.0.0.1:{server.port}" if where == "tcp" else f"unix://{tmp_path}/s"))
    assert [reply.message for reply in replies] == [message[::-1], b"llams", message[:-1][::-1]]


def test_a_reply_over_the_limit_and_one_at_it() -> None:
    async def main(port: int) -> list[Reply]:
        async with driving(f"127.0.0.1:{port}", recv_max_size=100_000) as driver:
            return [await tell(driver, b"big:%d" % size) for size in (100_001, 100_000, 5_000_000, 1)]

    with child(*grpcio("aio", "127.0.0.1:0")) as server:
        replies = drive(main(server.port))
    assert [reply.outcome for reply in replies] == ["too_large", "ok", "too_large", "ok"]
    assert len(replies[1].message) == 100_000
    assert "recv_max_size is 100000" in replies[0].detail


def test_the_default_limit_is_4_mebibytes() -> None:
    async def main(port: int) -> list[Reply]:
        async with driving(f"127.0.0.1:{port}") as driver:
            return [await tell(driver, b"big:%d" % size) for size in (4 * MIB + 1, 4 * MIB)]

    with child(*grpcio("aio", "127.0.0.1:0")) as server:
        assert [reply.outcome for reply in drive(main(server.port))] == ["too_large", "ok"]


def test_a_request_over_the_limit_is_not_sent() -> None:
    async def script(peer: Peer) -> None:
        await peer.greet()
        stream, _, body = await peer.request()
        assert body[5:] == b"x" * 1000
        peer.send(response(stream, b"fine"))

    async def main() -> list[Reply]:
        async with scripted(script) as server, driving(server.target, send_max_size=1000) as driver:
            calls = [ask(driver, b"x" * 1001), ask(driver, b"x" * 1000)]
            assert calls[0].replies == []
            return [await call.reply() for call in calls]

    assert [reply.outcome for reply in drive(main())] == ["too_large", "ok"]


def test_windows_of_the_server_are_kept_to() -> None:
    """A stream's window of 10 bytes, then 0, then negative, then enough; nothing is sent beyond."""

    async def script(peer: Peer) -> None:
        await peer.greet(window=10)
        first = await peer.find(DATA)
        assert (len(first.payload), first.flags & END_STREAM) == (10, 0)
        peer.send(settings(window=4) + window(1, 5))        # -6 and 5: nothing may come
        peer.send(window(1, 8))                             # 7
        second = await peer.find(DATA)
        assert (len(second.payload), second.flags & END_STREAM) == (7, 0)
        peer.send(settings(window=1000))                    # 996 more
        third = await peer.find(DATA)
        assert third.flags & END_STREAM
        body = first.payload + second.payload + third.payload
        assert body == b"\0\0\0\0\x64" + b"m" * 100
        peer.send(response(1, b"fine"))
        await peer.rest()

    async def main() -> Reply:
        async with scripted(script) as server, driving(server.target) as driver:
            return await tell(driver, b"m" * 100)

    assert drive(main()).outcome == "ok"


def test_the_window_of_the_connection_is_shared() -> None:
    seen: list[Frame] = []

    async def script(peer: Peer) -> None:
        await peer.greet(window=1 << 20)
        while sum(len(f.payload) for f in seen) < 65535:
            seen.append(await peer.find(DATA))
        assert sum(len(f.payload) for f in seen) == 65535
        assert {f.stream for f in seen} == {1, 3}, "each large request gets its turn"
        peer.send(window(0, 1 << 20))
        ended: set[int] = set()
        while len(ended) < 2:
            found = await peer.find(DATA)
            seen.append(found)
            if found.flags & END_STREAM:
                ended.add(found.stream)
                peer.send(response(found.stream, b"fine"))
        await peer.rest()

    async def main() -> list[Reply]:
        async with scripted(script) as server, driving(server.target) as driver:
            calls = [ask(driver, b"1" * 100_000), ask(driver, b"3" * 100_000)]
            return [await call.reply() for call in calls]

    assert [reply.outcome for reply in drive(main())] == ["ok", "ok"]
    for stream, byte in ((1, b"1"), (3, b"3")):
        assert b"".join(f.payload for f in seen if f.stream == stream) == b"\0\0\x01\x86\xa0" + byte * 100_000


def test_frames_are_as_large_as_the_server_allows() -> None:
    async def script(peer: Peer) -> None:
        await peer.greet(window=1 << 20, frame=30_000)
        peer.send(window(0, 1 << 20))
        stream = (await peer.find(HEADERS)).stream
        sizes = [len((await peer.find(DATA)).payload) for _ in range(4)]
        assert max(sizes) <= 30_000
        assert sum(sizes) == 100_005
        peer.send(response(stream, b"fine"))
        await peer.rest()

    async def main() -> Reply:
        async with scripted(script) as server, driving(server.target) as driver:
            await asyncio.sleep(0.05)
            return await tell(driver, b"m" * 100_000)

    assert drive(main()).outcome == "ok"


def test_a_response_that_comes_before_the_request_is_whole() -> None:
    """The rest of the request is not sent, and the stream is reset so that the server does not wait for it."""

    async def script(peer: Peer) -> None:
        await peer.greet()
        await peer.find(DATA)
        peer.send(response(1, b"early"))
        reset = await peer.find(RST_STREAM)
        assert reset.stream == 1
        peer.send(window(0, 1 << 20) + window(1, 1 << 20))
        stream, _, body = await peer.request()
        assert (stream, body[5:]) == (3, b"next")
        peer.send(response(stream, b"fine"))
        await peer.rest()

    async def main() -> list[Reply]:
        async with scripted(script) as server, driving(server.target) as driver:
            return [await tell(driver, b"m" * 300_000), await tell(driver, b"next")]

    assert [reply.message for reply in drive(main())] == [b"early", b"fine"]


def test_no_more_streams_at_once_than_the_server_allows() -> None:
    most = 0

    async def script(peer: Peer) -> None:
        nonlocal most
        await peer.greet(streams=2)
        for _ in range(5):
            first, _, _ = await peer.request()
            second, _, _ = await peer.request()
            most = max(most, 2)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(peer.frame(), 0.05)
            peer.send(response(first, b"%d" % first) + response(second, b"%d" % second))
        await peer.rest()

    async def main() -> list[Reply]:
        async with scripted(script) as server, driving(server.target) as driver:
            calls = [ask(driver) for _ in range(10)]
            assert driver.counts()["waiting"] == 8
            return [await call.reply() for call in calls]

    assert [reply.message for reply in drive(main())] == [b"%d" % stream for stream in range(1, 20, 2)]
    assert most == 2


def test_a_window_is_given_back_for_what_was_read() -> None:
    """More bytes than the connection's window come through, padding included."""

    async def main(port: int) -> int:
        async with driving(f"127.0.0.1:{port}", recv_max_size=64 * MIB) as driver:
            got = 0
            for _ in range(12):
                got += len((await tell(driver, b"big:%d" % (50 * MIB))).message)
            return got

    with child(*grpcio("aio", "127.0.0.1:0")) as server:
        assert drive(main(server.port), 100) == 600 * MIB


def test_a_server_that_does_not_read_gets_no_unbounded_buffer() -> None:
    """Calls wait here, not in the transport, and their deadlines hold."""
    release = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.greet(window=(1 << 31) - 1)
        peer.send(window(0, (1 << 31) - 1 - 65535))
        await release.wait()

    async def main() -> tuple[list[Reply], int]:
        async with scripted(script) as server, driving(server.target) as driver:
            await asyncio.sleep(0.05)
            calls = [ask(driver, b"m" * MIB, 0.5) for _ in range(100)]
            replies = [await call.reply() for call in calls]
            written = driver.counts()["bytes_out"]
            release.set()
            return replies, written

    replies, written = drive(main())
    assert {reply.outcome for reply in replies} == {"timeout"}
    assert written < 20 * MIB


def test_requests_say_what_servers_expect() -> None:
    async def script(peer: Peer) -> None:
        await peer.greet(table=0)
        head = await peer.find(HEADERS)
        assert head.payload.startswith(b"\x20"), "a table that became smaller has to be acknowledged in the block"
        fields = dict(Reader(head.payload).fields())
        assert fields.pop(b"grpc-timeout") in {b"4999m", b"5000m"}
        assert fields == {
            b":method": b"POST", b":scheme": b"http", b":path": b"/coprocess.Dispatcher/Dispatch",
            b":authority": b"plugins.example", b"te": b"trailers", b"content-type": b"application/grpc",
            b"user-agent": b"grpc-preforge",
        }  # fmt: skip
        peer.send(response(head.stream, b"fine"))
        second = await peer.find(HEADERS)
        assert dict(Reader(second.payload).fields())[b"grpc-timeout"] == b"1000000S"
        peer.send(response(second.stream, b"fine"))
        await peer.rest()

    async def main() -> list[Reply]:
        async with scripted(script) as server, driving(server.target, authority="plugins.example") as driver:
            await until(lambda: driver.state().status == "up")
            return [await tell(driver, b"a", 5.0), await tell(driver, b"b", 1_000_000.0)]

    assert [reply.outcome for reply in drive(main())] == ["ok", "ok"]
