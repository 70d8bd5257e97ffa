"""Other people's HTTP/2: gRPC's C core, Go's net/http, Node's nghttp2."""

from __future__ import annotations

from pathlib import Path

import pytest

from coprocess.driver import Reply
from tests.coprocess.grpc.rig import MIB, ask, child, drive, driving, go, grpcio, node

SIZES = [0, 1, 100, 16_379, 16_380, 65_530, 65_531, 1_000_000, 20 * MIB]


@pytest.mark.parametrize("where", ["tcp", "unix"])
@pytest.mark.parametrize("kind", ["sync", "aio", "go", "node"])
def test_messages_of_every_size_at_once(kind: str, where: str, tmp_path: Path) -> None:
    path = f"{tmp_path}/s"
    if kind == "go":
        command = go(tmp_path) if where == "tcp" else go(tmp_path, "unix", path)
    elif kind == "node":
        command = node() if where == "tcp" else node("unix", path)
    else:
        command = grpcio(kind, "127.0.0.1:0" if where == "tcp" else f"unix:{path}")
    messages = [bytes([65 + n]) * size + b"end" for size in SIZES for n in range(2 if size > MIB else 10)]

    async def main(target: str) -> list[Reply]:
        async with driving(target, recv_max_size=32 * MIB) as driver:
            for _ in range(2):
                calls = [ask(driver, message) for message in messages]
                replies = [await call.reply() for call in calls]
            assert driver.counts()["connects"] == 1
            return replies

    with child(*command) as server:
        replies = drive(main(f"tcp://127.0.0.1:{server.port}" if where == "tcp" else f"unix:{path}"))
    assert [reply.outcome for reply in replies] == ["ok"] * len(messages)
    assert all(reply.message == message[::-1] for reply, message in zip(replies, messages, strict=True))


@pytest.mark.parametrize("kind", ["aio", "go", "node"])
def test_many_small_calls(kind: str, tmp_path: Path) -> None:
    command = {"aio": lambda: grpcio("aio", "127.0.0.1:0"), "go": lambda: go(tmp_path), "node": node}[kind]()

    async def main(port: int) -> list[Reply]:
        async with driving(f"127.0.0.1:{port}", max_in_flight=64, max_waiting=3000) as driver:
            calls = [ask(driver, b"message %d" % n) for n in range(3000)]
            return [await call.reply() for call in calls]

    with child(*command) as server:
        assert drive(main(server.port)) == [Reply("ok", (b"message %d" % n)[::-1]) for n in range(3000)]
