"""An upstream that takes its time: GET /SECONDS is answered that much later."""

from __future__ import annotations

import asyncio
import threading

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 4\r\nConnection: close\r\n\r\nslow"


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        line = (await reader.readuntil(b"\r\n\r\n")).split(b" ", 2)[1]
        gone = asyncio.create_task(reader.read())       # a client that gives up is let go at once
        await asyncio.wait([gone], timeout=float(line.lstrip(b"/").split(b"?")[0]))
        if not gone.done():
            gone.cancel()
            writer.write(ANSWER)
            await writer.drain()
    except (OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        return
    finally:
        writer.close()


class SlowServer:
    """It serves in a thread of its own, on a free port of 127.0.0.1."""

    def __init__(self) -> None:
        self.port = 0
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self._thread.start()
        self._ready.wait(10)

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopped = asyncio.Event()
        server = await asyncio.start_server(_serve, "127.0.0.1", 0, backlog=4096)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stopped.wait()
        server.close()

    def stop(self) -> None:
        """End it, with the requests that still wait."""
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join(5)
