"""The HTTP client of web hooks. Imported when the first one is sent: a gateway without web hooks does not load aiohttp."""

from __future__ import annotations

import socket

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

from core.events.settings import EventSettings
from core.events.webhook import WebHook

MOST_ANSWER = 65536         # bytes of an answer that are read, so that its connection can be used again
# Shorter than what servers keep: a connection that the server is closing just now loses the hook, which is not sent twice.
KEEP_SECONDS = 2.0


class GuardedResolver(AbstractResolver):
    """Leaves out addresses that no hook may be sent to.

    The addresses that are returned are those that are connected to, so a second look-up cannot change them.
    """

    def __init__(self, settings: EventSettings) -> None:
        self.settings = settings
        self._resolver = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Raises OSError when no address is left."""
        found = await self._resolver.resolve(host, port, family)
        allowed = [result for result in found if not self.settings.blocks(result["host"])]
        if not allowed:
            raise OSError(None, f"{host} has only addresses in preforge.events.blocked_networks")
        return allowed

    async def close(self) -> None:
        await self._resolver.close()


class HookClient:
    """One per worker, on its loop. Proxies of the environment are not used, and no redirect is followed."""

    def __init__(self, settings: EventSettings) -> None:
        self._resolver = GuardedResolver(settings)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0, resolver=self._resolver, use_dns_cache=False, keepalive_timeout=KEEP_SECONDS
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
        )

    def configure(self, settings: EventSettings) -> None:
        self._resolver.settings = settings

    async def send(self, hook: WebHook, body: bytes, timeout: float) -> str:
        """Send one request; returns why it does not count as delivered, "" if it does. timeout: seconds in all."""
        try:
            return await self._send(hook, body, aiohttp.ClientTimeout(total=timeout))
        except TimeoutError:
            return f"no answer within {timeout:g} s"
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return str(error) or type(error).__name__

    async def _send(self, hook: WebHook, body: bytes, timeout: aiohttp.ClientTimeout) -> str:
        async with self._session.request(
            hook.method, hook.target, data=body, headers=hook.headers, timeout=timeout, allow_redirects=False
        ) as answer:
            left = MOST_ANSWER
            while left > 0 and (piece := await answer.content.read(left)):
                left -= len(piece)
            if left <= 0:
                answer.close()
            return "" if answer.status < 300 else f"the answer was {answer.status}"

    async def close(self) -> None:
        await self._session.close()
