"""The HTTP client of web hooks. Imported when the first one is sent."""

from __future__ import annotations

import asyncio

from core.events.settings import EventSettings
from core.events.webhook import WebHook
from core.outbound.client import Client, ClientSettings, Manner
from core.outbound.messages import OutboundError, Outgoing
from core.outbound.urls import UrlError, parse

MOST_ANSWER = 65536         # bytes of an answer that are read, so that its connection can be used again


class HookClient:
    """One per worker, on its loop. Proxies of the environment are not used, and no redirect is followed."""

    def __init__(self, settings: EventSettings) -> None:
        self._client = Client(_rules(settings))

    def configure(self, settings: EventSettings) -> None:
        self._client.configure(_rules(settings))

    async def send(self, hook: WebHook, body: bytes, timeout: float) -> str:
        """Send one request; returns why it does not count as delivered, "" if it does. timeout: seconds in all."""
        try:
            async with asyncio.timeout(timeout):
                request = Outgoing(hook.method, parse(hook.target), hook.headers, body)
                answer = await self._client.send(request, Manner(MOST_ANSWER, cut=True))
        except TimeoutError:
            return f"no answer within {timeout:g} s"
        except (OutboundError, UrlError) as error:
            return str(error)
        return "" if answer.status < 300 else f"the answer was {answer.status}"

    async def close(self) -> None:
        await self._client.close()


def _rules(settings: EventSettings) -> ClientSettings:
    return ClientSettings(settings.blocked, "preforge.events.blocked_networks")
