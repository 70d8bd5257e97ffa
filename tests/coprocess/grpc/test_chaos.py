"""Everything at once: each call ends exactly once, with its own reply or with none, and nothing is left behind."""

from __future__ import annotations

import asyncio
import gc
import random
from collections import Counter

import pytest

from coprocess.driver import Reply
from coprocess.grpc.http2 import Call, Connection
from tests.coprocess.grpc.model import (
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEAD,
    HEADERS,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    Peer,
    frame,
    response,
    scripted,
    settings,
    trailers,
)  # fmt: skip
from tests.coprocess.grpc.rig import MIB, Asked, ask, drive, driving, tell, until

QUICK = {"backoff_min": 0.01, "backoff_max": 0.05}


class Moody:
    """A server that answers most calls, late and out of order, and does whatever else a server may do."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    async def __call__(self, peer: Peer) -> None:
        await peer.greet(window=self.random.choice([100, 65535, 1 << 20]), streams=self.random.choice([3, 50, 1000]))
        bodies: dict[int, bytearray] = {}
        last = 0
        while True:
            found = await peer.frame()
            if found.kind == HEADERS:
                bodies[found.stream] = bytearray()
                last = found.stream
            elif found.kind == RST_STREAM:
                bodies.pop(found.stream, None)
            elif found.kind == DATA and found.stream in bodies:
                bodies[found.stream] += found.payload
                more = len(found.payload).to_bytes(4, "big")
                if found.payload:
                    peer.send(frame(WINDOW_UPDATE, 0, 0, more) + frame(WINDOW_UPDATE, 0, found.stream, more))
                whole = found.flags & END_STREAM
                if whole and not await self.answer(peer, found.stream, bytes(bodies.pop(found.stream)), last):
                    return
            elif found.kind == SETTINGS:
                assert found.flags & 1
            await peer.writer.drain()

    async def answer(self, peer: Peer, stream: int, body: bytes, last: int) -> bool:
        chance = self.random.random()
        whole = response(stream, body[5:][::-1])
        if chance < 0.90:
            cut = self.random.randrange(len(whole))
            peer.send(whole[:cut])
            if self.random.random() < 0.2:
                await asyncio.sleep(self.random.random() / 200)
            peer.send(whole[cut:])
        elif chance < 0.92:
            peer.send(frame(RST_STREAM, 0, stream, self.random.choice([2, 7, 8]).to_bytes(4, "big")))
        elif chance < 0.94:
            peer.send(frame(HEADERS, END_HEADERS | END_STREAM, stream, HEAD + trailers(b"13", b"moody")))
        elif chance < 0.95:
            peer.send(settings(window=self.random.choice([10, 70_000]), streams=self.random.choice([1, 100])))
            peer.send(whole)
        elif chance < 0.96:
            peer.send(frame(GOAWAY, 0, 0, self.random.choice([stream, last, 0]).to_bytes(4, "big") + b"\0" * 4) + whole)
        elif chance < 0.97:
            peer.send(whole[: len(whole) // 2])
            return False
        elif chance < 0.98:
            peer.send(bytes(self.random.randrange(256) for _ in range(40)))
        return True


@pytest.mark.parametrize("seed", range(6))
def test_each_call_ends_once_with_its_own_reply(seed: int) -> None:
    rand = random.Random(seed)

    async def main() -> None:
        async with (
            scripted(Moody(seed)) as server,
            driving(server.target, max_in_flight=40, max_waiting=100, max_bytes=MIB, connections=2, **QUICK) as driver,
        ):
            calls: list[tuple[bytes, Asked]] = []
            cancelled: list[Asked] = []
            for number in range(1500):
                message = b"%d:" % number + rand.randbytes(rand.choice([0, 10, 10, 500, 40_000]))
                asked = ask(driver, message, rand.choice([0.001, 0.05, 2.0, 2.0]))
                if rand.random() < 0.1:
                    if rand.random() < 0.5:
                        await asyncio.sleep(rand.random() / 500)
                    if not asked.replies:
                        asked.ticket.cancel()
                        cancelled.append(asked)
                        continue
                calls.append((message, asked))
                if number % 7 == 0:
                    driver.event(message)
                    await asyncio.sleep(0.002)
            outcomes: Counter[str] = Counter()
            for message, asked in calls:
                reply = await asked.reply()
                outcomes[reply.outcome] += 1
                assert (reply.message == message[::-1]) == (reply.outcome == "ok")
            assert not [asked for asked in cancelled if asked.replies]
            assert outcomes["ok"] > 100
            assert {"ok", "error", "timeout"} <= set(outcomes) <= {"ok", "error", "timeout", "away", "busy"}
            await until(lambda: driver.counts()["events_pending"] == 0)
            counts = driver.counts()
            assert counts["calls"] == 1500
            assert counts["cancelled"] == len(cancelled)
            assert counts["in_flight"] == counts["waiting"] == counts["bytes_held"] == 0

    drive(main())


def alive(kind: type) -> int:
    gc.collect()
    return sum(type(thing) is kind for thing in gc.get_objects())


def test_nothing_is_left_of_calls_and_connections() -> None:
    before = alive(Call), alive(Connection)

    async def main() -> None:
        async with scripted(Moody(1)) as server, driving(server.target, **QUICK) as driver:
            for _ in range(5):
                calls = [ask(driver, b"x" * n, 0.2) for n in range(100)]
                for call in calls[::3]:
                    call.ticket.cancel()
                await until(lambda: driver.counts()["in_flight"] + driver.counts()["waiting"] == 0)
            del calls, call
            await until(lambda: alive(Connection) - before[1] <= 1)
        assert alive(Call) == before[0]

    drive(main())
    assert alive(Connection) == before[1]


def test_late_responses_of_calls_that_timed_out_are_no_attack() -> None:
    """A slow plugin answers everything too late, thousands of times: its connection stays."""

    async def script(peer: Peer) -> None:
        await peer.greet()
        late = b""
        while True:
            found = await peer.find(HEADERS)
            late += response(found.stream, b"late")
            if found.stream % 1000 == 999:
                await asyncio.sleep(0.05)
                peer.send(late)
                late = b""

    async def main() -> int:
        async with scripted(script) as server, driving(server.target) as driver:
            for _ in range(10):
                replies: list[Reply] = []
                for _ in range(500):
                    driver.dispatch(b"x", 0.02, replies.append)
                await until(lambda got=replies: len(got) == 500)
                assert {reply.outcome for reply in replies} == {"timeout"}
            await asyncio.sleep(0.1)
            assert (await tell(driver, deadline=0.05)).outcome == "timeout"
            return driver.counts()["connects"]

    assert drive(main()) == 1
