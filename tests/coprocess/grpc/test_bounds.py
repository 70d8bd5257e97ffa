"""What calls and events may take, and that neither keeps the other from its turn."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from coprocess.driver import Reply
from tests.coprocess.grpc.model import (
    DATA,
    END_HEADERS,
    END_STREAM,
    HEAD,
    HEADERS,
    RST_STREAM,
    Peer,
    Reader,
    frame,
    response,
    scripted,
    trailers,
)  # fmt: skip
from tests.coprocess.grpc.rig import ask, drive, driving, tell, until

CANCEL = 8      # RFC 9113 7


class Deaf:
    """A server that never answers events, and calls only once `open` is set."""

    def __init__(self, **settings: int) -> None:
        self.settings = settings
        self.open = asyncio.Event()
        self.events = 0

    async def __call__(self, peer: Peer) -> None:
        await peer.greet(**self.settings)
        paths: dict[int, bytes] = {}
        while True:
            found = await peer.frame()
            if found.kind == HEADERS:
                paths[found.stream] = dict(Reader(found.payload).fields())[b":path"]
                self.events += paths[found.stream].endswith(b"/DispatchEvent")
            elif found.kind == DATA and found.flags & END_STREAM and paths[found.stream].endswith(b"/Dispatch"):
                await self.open.wait()
                peer.send(response(found.stream, b"fine"))


@pytest.mark.parametrize(
    ("streams", "settings", "events"),
    [(1000, {"max_in_flight": 2, "max_waiting": 0, "max_events_in_flight": 3}, 3), (4, {"max_events_in_flight": 100}, 3)],
)
def test_events_that_are_never_answered_do_not_hold_calls_up(streams: int, settings: dict[str, Any], events: int) -> None:
    server = Deaf(streams=streams)
    server.open.set()

    async def main() -> list[Reply]:
        async with scripted(server) as peer, driving(peer.target, max_events=20, **settings) as driver:
            assert all(driver.event(b"{}") for _ in range(20))
            await until(lambda: server.events == events)
            replies = [await tell(driver) for _ in range(10)]
            assert driver.counts()["events_pending"] == 20
            return replies

    assert {reply.message for reply in drive(main())} == {b"fine"}
    assert server.events == events


def test_an_event_uses_the_only_stream_that_a_server_allows() -> None:
    server = Deaf(streams=1)

    async def main() -> None:
        async with scripted(server) as peer, driving(peer.target) as driver:
            assert driver.event(b"{}")
            await until(lambda: server.events == 1)

    drive(main())


def test_messages_of_all_calls_together_are_bounded() -> None:
    server = Deaf()

    async def main() -> list[str]:
        async with scripted(server) as peer, driving(peer.target, max_bytes=1000, max_in_flight=1) as driver:
            large = ask(driver, b"m" * 5000)            # alone it may be larger
            assert not driver.event(b"{}")
            assert (await tell(driver, b"m")).outcome == "busy"
            server.open.set()
            await large.reply()
            server.open.clear()
            calls = [ask(driver, b"m" * 400) for _ in range(3)]     # one in flight, one waits, one is too much
            assert driver.counts()["bytes_held"] == 800
            calls[1].ticket.cancel()
            assert driver.counts()["bytes_held"] == 400
            assert driver.event(b"e" * 300)
            server.open.set()
            outcomes: list[str] = [(await call.reply()).outcome for call in (large, calls[0], calls[2])]
            counts = driver.counts()
            assert (counts["busy"], counts["events_dropped"]) == (2, 1)
        assert driver.counts()["bytes_held"] == 0
        return outcomes

    assert drive(main()) == ["ok", "ok", "busy"]


def test_replies_count_from_the_moment_that_they_say_their_size() -> None:
    """Two replies come side by side, and there is room for one."""
    reply = b"r" * 3000
    body = b"\0" + len(reply).to_bytes(4, "big") + reply

    async def script(peer: Peer) -> None:
        await peer.greet()
        streams = [(await peer.request())[0] for _ in range(2)]
        for stream in streams:
            peer.send(frame(HEADERS, END_HEADERS, stream, HEAD) + frame(DATA, 0, stream, body[:10]))
        reset = await peer.find(RST_STREAM)
        assert (reset.stream, int.from_bytes(reset.payload, "big")) == (streams[1], CANCEL)
        end = frame(HEADERS, END_HEADERS | END_STREAM, streams[0], trailers())
        peer.send(frame(DATA, 0, streams[0], body[10:]) + end)
        peer.send(response((await peer.request())[0], reply))
        await peer.rest()

    async def main() -> list[Reply]:
        async with scripted(script) as server, driving(server.target, max_bytes=4000) as driver:
            replies = [await call.reply() for call in [ask(driver), ask(driver)]]
            assert driver.counts()["bytes_held"] == 0
            return [*replies, await tell(driver)]

    first, second, last = drive(main())
    assert (first.message, second.outcome, last.message) == (reply, "busy", reply)
    assert second.detail == "a reply of 3000 bytes beside messages of 3010, max_bytes is 4000"
