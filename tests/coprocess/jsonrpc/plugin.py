"""A plugin that does what the hook's name says, most of it wrong. Run by the tests as a child; standard library only."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
import time
from typing import Any

FRAMING = sys.argv[1]
STATE = sys.argv[2] if len(sys.argv) > 2 else ""
READ, WRITE = sys.stdin.buffer, sys.stdout.buffer
LOCK = threading.Lock()


def raw(data: bytes) -> None:
    with LOCK, contextlib.suppress(BrokenPipeError):
        WRITE.write(data)
        WRITE.flush()


def framed(body: bytes) -> bytes:
    return body + b"\n" if FRAMING == "newline" else b"Content-Length: %d\r\n\r\n%b" % (len(body), body)


def send(message: Any) -> None:
    raw(framed(json.dumps(message).encode()))


def answer(number: int, result: Any) -> None:
    send({"jsonrpc": "2.0", "result": result, "id": number})


def receive() -> Any:
    if FRAMING == "newline":
        line = READ.readline()
        return json.loads(line) if line else None
    length = -1
    while True:
        field = READ.readline()
        if not field:
            return None
        if field == b"\r\n":
            return json.loads(READ.read(length))
        name, _, value = field.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)


HELD: list[tuple[int, Any]] = []
EVENTS: list[Any] = []


def dispatch(number: int, params: Any) -> None:
    what = params["hook_name"]
    if what == "echo":
        answer(number, params)
    elif what == "pid":
        answer(number, {"pid": os.getpid()})
    elif what == "events":
        answer(number, {"events": EVENTS})
    elif what == "slow":
        time.sleep(params["seconds"])
        answer(number, params)
    elif what == "later":
        threading.Timer(params["seconds"], answer, (number, params)).start()
    elif what == "silent":
        pass
    elif what == "error":
        send({"jsonrpc": "2.0", "id": number, "error": {"code": -32000, "message": "boom\n" + "x" * 9000}})
    elif what == "garbage":
        raw(framed(b"this is not JSON"))
    elif what == "no frame":
        raw(b"Traceback (most recent call last):\n" * 2)
    elif what == "half":
        raw(framed(json.dumps({"jsonrpc": "2.0", "id": number, "result": {}}).encode())[:-8])
    elif what == "half and die":
        raw(framed(json.dumps({"jsonrpc": "2.0", "id": number, "result": {}}).encode())[:-8])
        os._exit(5)
    elif what == "long":
        with contextlib.suppress(BrokenPipeError):
            answer(number, {"raw_body": "x" * params["size"]})
    elif what == "endless":
        while True:
            raw(b"x" * 65536)
    elif what == "die":
        os._exit(7)
    elif what == "segfault":
        os.kill(os.getpid(), signal.SIGSEGV)
    elif what == "answer and die":
        answer(number, params)
        os._exit(0)
    elif what == "twice":
        answer(number, params)
        answer(number, {"hook_name": "the second"})
    elif what == "unknown id":
        answer(number + 1_000_000, params)
    elif what == "null id":
        send({"jsonrpc": "2.0", "id": None, "error": {"code": -32700, "message": "Parse error"}})
    elif what == "hold":
        HELD.append((number, params))
        if len(HELD) == params["count"]:
            for held in reversed(HELD):
                answer(*held)
            HELD.clear()
    elif what == "close stdout":
        os.close(1)
    elif what == "close stdin":
        os.close(0)
        time.sleep(600)
    elif what == "read no more":
        time.sleep(600)
    elif what == "ignore SIGTERM":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        answer(number, {"pid": os.getpid()})
        for _ in READ:
            pass
        time.sleep(600)
    elif what == "flood":
        sys.stderr.write("noise\n" * 200_000)
        answer(number, params)
    else:
        raise AssertionError(what)


def main() -> None:
    if STATE and os.path.exists(STATE):  # noqa: PTH110
        sys.stderr.write("not today\n")
        sys.exit(9)
    while (message := receive()) is not None:
        for one in message if isinstance(message, list) else [message]:
            if one["method"] == "DispatchEvent":
                EVENTS.append([one["params"], len(message) if isinstance(message, list) else 0])
            else:
                dispatch(one["id"], one["params"])


main()
