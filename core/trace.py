"""A request played through a definition that is not loaded, on a gateway and a connection of its own."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
from collections.abc import Callable
from socket import AF_UNIX, SOCK_STREAM, socketpair
from typing import Any

from accel.http1 import Gateway
from accel.shm import SharedCounters
from core.apidef.specs import PlanSpec
from core.plans import PlanBuilder
from core.services import Services

MOST_BYTES = 8 << 20        # of a response that is shown
MOST_RUNNING = 8
SECONDS = 60.0


class NoRows:
    """A played request is counted for no API."""

    def row_for(self, api_id: str) -> int:
        return -1


class Collector(logging.Handler):
    """Keeps the log of one request, a JSON object on each line."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(json.dumps({"level": record.levelname.lower(), "msg": record.getMessage()}))


class Tracer:
    """Plays requests; at most MOST_RUNNING at a time."""

    def __init__(self, pages: Any, services: Services, settings: Callable[[], dict[str, Any]]) -> None:
        """pages: renders errors, see Gateway; settings: those of the data path at the moment."""
        # Counters of its own, so that what is played does not show in the metrics of what is served.
        self._region = SharedCounters.create(1, 2).region(0)
        self._pages = pages
        self._services = services
        self._settings = settings
        self._turns = asyncio.Semaphore(MOST_RUNNING)

    async def play(self, spec: PlanSpec, message: bytes, config: Any) -> tuple[bytes, str]:
        """The raw response and the log. Raises OSError (TimeoutError) when there is none."""
        try:
            async with asyncio.timeout(SECONDS), self._turns:
                return await self._play(spec, message, config)
        except TimeoutError:
            raise TimeoutError(f"it took longer than {SECONDS:g} s") from None

    async def _play(self, spec: PlanSpec, message: bytes, config: Any) -> tuple[bytes, str]:
        loop = asyncio.get_running_loop()
        logs = Collector()
        log = logging.Logger("preforge.trace", logging.DEBUG)
        log.addHandler(logs)
        gateway = Gateway(loop, self._region, self._pages, log, None, self._settings())
        # What a definition that is not loaded answers must not be kept for one that is.
        builder = PlanBuilder(gateway, NoRows(), self._services, cached=False)
        built = builder.build([dataclasses.replace(spec, active=True)], config)
        for finding in built.findings:
            log.error("%s", finding.render())
        gateway.swap(built.router, built.origins)
        inner, outer = socketpair(AF_UNIX, SOCK_STREAM)
        try:
            await loop.connect_accepted_socket(gateway.client, sock=inner)
            reader, writer = await asyncio.open_unix_connection(sock=outer, limit=MOST_BYTES)
            try:
                writer.write(message)
                await writer.drain()
                response = await reader.read(MOST_BYTES)
                while response and len(response) < MOST_BYTES:
                    more = await reader.read(MOST_BYTES - len(response))
                    if not more:
                        break
                    response += more
            finally:
                writer.close()
        finally:
            gateway.abort()
        return response, "".join(f"{line}\n" for line in logs.lines)
