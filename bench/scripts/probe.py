"""Latencies at a steady rate: a request is sent when its time has come, whether or not those before it are answered."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass, field

CONNECTIONS = 16
DEADLINE = 30.0         # seconds for one answer


@dataclass(slots=True)
class Latencies:
    """Of one path, in milliseconds; failed: kind -> requests."""

    path: str
    found: list[float] = field(default_factory=list)
    failed: dict[str, int] = field(default_factory=dict)

    def at(self, share: float) -> float:
        """A quantile; 0 if nothing was answered."""
        ordered = sorted(self.found)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0

    def fail(self, kind: str) -> None:
        self.failed[kind] = self.failed.get(kind, 0) + 1


class _Connection(asyncio.Protocol):
    """One keep-alive connection with one request under way. Answers have a Content-Length."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.answer: asyncio.Future[int] | None = None
        self._have = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        if self.answer is not None and not self.answer.done():
            self.answer.set_exception(ConnectionError("closed"))

    def data_received(self, data: bytes) -> None:
        self._have += data
        head, found, body = self._have.partition(b"\r\n\r\n")
        if not found or self.answer is None or self.answer.done():
            return
        at = head.lower().find(b"\r\ncontent-length:")
        length = int(head[at + 17 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        if len(body) >= length:
            self._have = b""
            self.answer.set_result(int(head[9:12]))

    async def ask(self, text: bytes) -> int:
        """The status. Raises ConnectionError, TimeoutError."""
        if self.transport is None:
            raise ConnectionError("closed")
        self.answer = asyncio.get_running_loop().create_future()
        self.transport.write(text)
        async with asyncio.timeout(DEADLINE):
            return await self.answer


async def _measure(port: int, paths: list[str], rate: float, seconds: float) -> list[Latencies]:
    loop = asyncio.get_running_loop()
    found = [Latencies(path) for path in paths]
    texts = [f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode() for path in paths]
    pools: list[deque[_Connection]] = [deque() for _ in paths]
    for pool in pools:
        for _ in range(CONNECTIONS):
            pool.append((await loop.create_connection(_Connection, "127.0.0.1", port))[1])
    due: list[deque[float]] = [deque() for _ in paths]
    tasks: set[asyncio.Task[None]] = set()

    async def work(which: int, connection: _Connection) -> None:
        while due[which]:
            began = due[which].popleft()
            try:
                status = await connection.ask(texts[which])
            except (OSError, TimeoutError) as error:
                found[which].fail(type(error).__name__)
                return
            found[which].found.append((time.perf_counter() - began) * 1000)
            if status != 200:
                found[which].fail(f"status {status}")
        pools[which].append(connection)

    count = max(1, int(rate * seconds))
    start = time.perf_counter()
    for number in range(count):
        delay = start + number / rate - time.perf_counter()
        if delay > 0:
            await asyncio.sleep(delay)
        for which in range(len(paths)):
            due[which].append(time.perf_counter())
            if pools[which]:                # else the next connection that is done takes it, and the wait counts
                task = loop.create_task(work(which, pools[which].popleft()))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
    if tasks:
        await asyncio.wait(tasks, timeout=DEADLINE)
    for which, waiting in enumerate(due):
        if waiting:
            found[which].failed["not sent"] = len(waiting)
    for pool in pools:
        for connection in pool:
            if connection.transport is not None:
                connection.transport.close()
    return found


def measure(port: int, paths: list[str], rate: float, seconds: float) -> list[Latencies]:
    """Ask for each path `rate` times a second on 16 connections of its own; answers have to have the status 200."""
    return asyncio.run(_measure(port, paths, rate, seconds))
