"""A call reaches a server and its reply comes back."""

from __future__ import annotations

import asyncio

import grpc
import uvloop

from coprocess.driver import Reply
from coprocess.grpc import GrpcDriver, GrpcSettings


async def echo(request: bytes, context: object) -> bytes:
    return request[::-1]


async def both() -> tuple[Reply, Reply]:
    server = grpc.aio.server()
    handlers = {"Dispatch": grpc.unary_unary_rpc_method_handler(echo)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("coprocess.Dispatcher", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    loop = asyncio.get_running_loop()
    out = []
    driver = GrpcDriver(GrpcSettings("a", f"tcp://127.0.0.1:{port}"))
    await driver.start()
    for _ in range(2):
        got: asyncio.Future[Reply] = loop.create_future()
        driver.dispatch(b"abc", 5.0, got.set_result)
        out.append(await got)
        await server.stop(None)
    await driver.close(1)
    return out[0], out[1]


def test_a_call_and_a_server_that_is_away() -> None:
    first, second = uvloop.run(both())
    assert (first.outcome, first.message) == ("ok", b"cba")
    assert second.outcome == "away", second
