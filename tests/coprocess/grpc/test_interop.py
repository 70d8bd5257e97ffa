"""Other people's HTTP/2: gRPC's C core, grpc-go's own, and Node's nghttp2 below @grpc/grpc-js."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from coprocess.driver import Reply
from coprocess.proto.coprocess_object_pb2 import Object
from tests.coprocess.grpc.rig import MIB, ask, child, drive, driving, grpcio, tell
from tests.plugins.foreign import BUILD_LIMIT, Language, foreign, serving

pytestmark = pytest.mark.timeout(BUILD_LIMIT)

SIZES = [100, 16_379, 16_380, 65_530, 65_531, 1_000_000, 20 * MIB]
"""Of messages: small, and at the edges of a frame and of the first window."""


@contextlib.contextmanager
def served(kind: str, folder: Path, where: str) -> Iterator[str]:
    """The target of a server that reverses messages (grpcio) or bodies (the others)."""
    path = f"unix:{folder}/s" if where == "unix" else ""
    if kind in ("sync", "aio"):
        with child(*grpcio(kind, path or "127.0.0.1:0")) as server:
            yield path or f"tcp://127.0.0.1:{server.port}"
    else:
        language: Language = "node" if kind == "node" else "go"
        with serving(foreign(language, folder / "run", path)) as one:
            yield one.target


def made(kind: str, size: int, fill: int) -> tuple[bytes, bytes]:
    """(a message of this size, what the server makes of it)."""
    if kind in ("sync", "aio"):
        message = bytes([fill]) * (size - 3) + b"end"
        return message, message[::-1]
    thing = Object(hook_name="reverse")
    thing.request.raw_body = bytes([fill]) * size
    body = bytes([fill]) * (size - (thing.ByteSize() - size) - 3) + b"end"
    messages = []
    for one in (body, body[::-1]):
        thing.request.raw_body = one
        messages.append(bytes(thing.SerializeToString()))
    return messages[0], messages[1]


@pytest.mark.parametrize("where", ["tcp", "unix"])
@pytest.mark.parametrize("kind", ["sync", "aio", "go", "node"])
def test_messages_of_every_size_at_once(kind: str, where: str, tmp_path: Path) -> None:
    pairs = [made(kind, size, 65 + n) for size in SIZES for n in range(2 if size > MIB else 10)]
    assert {len(message) for message, _ in pairs} >= {16_379, 16_380, 65_530, 65_531}
    if kind in ("sync", "aio"):
        pairs += [(b"", b""), (b"x", b"x")]

    async def main(target: str) -> list[Reply]:
        async with driving(target, recv_max_size=32 * MIB) as driver:
            for _ in range(2):
                calls = [ask(driver, message) for message, _ in pairs]
                replies = [await call.reply() for call in calls]
            assert driver.counts()["connects"] == 1
            return replies

    with served(kind, tmp_path, where) as target:
        replies = drive(main(target))
    assert [reply.outcome for reply in replies] == ["ok"] * len(pairs)
    assert all(normal(kind, reply.message) == expected for reply, (_, expected) in zip(replies, pairs, strict=True))


@pytest.mark.parametrize("kind", ["aio", "go", "node"])
def test_many_small_calls(kind: str, tmp_path: Path) -> None:
    pairs = [made(kind, 40, n % 256) for n in range(3000)]

    async def main(target: str) -> list[Reply]:
        async with driving(target, max_in_flight=64, max_waiting=3000) as driver:
            calls = [ask(driver, message) for message, _ in pairs]
            return [await call.reply() for call in calls]

    with served(kind, tmp_path, "tcp") as target:
        replies = drive(main(target))
    assert [(reply.outcome, normal(kind, reply.message)) for reply in replies] == [("ok", expected) for _, expected in pairs]


def test_a_long_call_is_not_ended_because_the_server_was_asked_too_often(tmp_path: Path) -> None:
    """grpc-go closes a connection on which more than three PINGs come without anything to answer."""
    thing = Object(hook_name="slow")
    thing.request.headers["X-Sleep"] = "5.5"

    async def main(target: str) -> Reply:
        async with driving(target, keepalive_time=1, keepalive_timeout=0.2) as driver:
            return await tell(driver, bytes(thing.SerializeToString()))

    with served("go", tmp_path, "tcp") as target:
        reply = drive(main(target))
    assert (reply.outcome, reply.detail) == ("ok", "")


def normal(kind: str, message: bytes) -> bytes:
    """Encoders differ in the order of fields, and in whether they write those that are empty."""
    if kind in ("sync", "aio"):
        return message
    return bytes(Object.FromString(message).SerializeToString())
