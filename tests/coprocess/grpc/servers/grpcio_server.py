"""A plugin server on grpcio that does what messages tell it to: grpcio_server.py sync|aio TARGET [CERT KEY [CA]].

sleep:SECONDS  fail:CODE:TEXT  big:BYTES  authority  die  count -> how many calls came  anything else: the message, reversed.
Prints the port when it serves.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc

LIMITS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1), ("grpc.so_reuseport", 0)]
seen = {"calls": 0, "events": 0}


def prepare(request: bytes) -> tuple[float, bytes, tuple[int, str] | None]:
    """(seconds to wait, reply, status)."""
    seen["calls"] += 1
    verb, _, rest = request.partition(b":")
    if len(request) > 100:
        return 0, request[::-1], None
    if verb == b"sleep":
        return float(rest), request, None
    if verb == b"fail":
        code, _, text = rest.decode().partition(":")
        return 0, b"", (int(code), text)
    if verb == b"big":
        return 0, b"x" * int(rest), None
    if verb == b"count":
        return 0, f"{seen['calls']} {seen['events']}".encode(), None
    if verb == b"die":
        os._exit(9)
    return 0, request[::-1], None


def by_number(number: int) -> grpc.StatusCode:
    return next(code for code in grpc.StatusCode if code.value[0] == number)


def dispatch(request: bytes, context: Any) -> bytes:
    wait, reply, status = prepare(request)
    time.sleep(wait)
    if status:
        context.abort(by_number(status[0]), status[1])
    return reply


def event(request: bytes, context: Any) -> bytes:
    seen["events"] += request.startswith(b"\x0a")
    return b""


async def dispatch_aio(request: bytes, context: Any) -> bytes:
    wait, reply, status = prepare(request)
    if wait:
        await asyncio.sleep(wait)
    if status:
        await context.abort(by_number(status[0]), status[1])
    return reply


async def event_aio(request: bytes, context: Any) -> bytes:
    return event(request, context)


def prepare_server(server: Any, handlers: tuple[Any, Any], target: str, files: list[str]) -> None:
    names = ("Dispatch", "DispatchEvent")
    methods = {name: grpc.unary_unary_rpc_method_handler(handler) for name, handler in zip(names, handlers, strict=True)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("coprocess.Dispatcher", methods),))
    if files:
        pem = [Path(name).read_bytes() for name in files]
        ca = pem[2] if len(pem) > 2 else None
        credentials = grpc.ssl_server_credentials([(pem[1], pem[0])], ca, ca is not None)
        port = server.add_secure_port(target, credentials)
    else:
        port = server.add_insecure_port(target)
    print(port, flush=True)


async def serve_aio(target: str, files: list[str]) -> None:
    server = grpc.aio.server(options=LIMITS)
    prepare_server(server, (dispatch_aio, event_aio), target, files)
    await server.start()
    await server.wait_for_termination()


def main(kind: str, target: str, files: list[str]) -> None:
    if kind == "aio":
        asyncio.run(serve_aio(target, files))
        return
    server = grpc.server(futures.ThreadPoolExecutor(8), options=LIMITS)
    prepare_server(server, (dispatch, event), target, files)
    server.start()
    server.wait_for_termination()


main(sys.argv[1], sys.argv[2], sys.argv[3:])
