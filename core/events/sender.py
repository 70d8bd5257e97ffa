"""Sends web hooks: one bounded queue and a few requests at a time for each host, so that a slow host delays its own only."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING

from core.events.cooldown import Cooldown
from core.events.event import Event
from core.events.reports import Reports
from core.events.settings import EventSettings
from core.events.webhook import WebHook
from core.gotemplate import TemplateError

if TYPE_CHECKING:
    from core.events.client import HookClient

log = logging.getLogger("preforge.events")


class _Lane:
    """One host: what waits for it, and how many tasks send."""

    __slots__ = ("drops", "failures", "queue", "running")

    def __init__(self) -> None:
        self.queue: deque[tuple[WebHook, Event]] = deque()
        self.running = 0
        self.failures = Reports()
        self.drops = Reports()


class Sender:
    """One per worker. put() never blocks nor raises."""

    def __init__(self, settings: EventSettings, cooldown: Cooldown) -> None:
        self.sent = 0
        self.failed = 0
        self.dropped = 0
        self.suppressed = 0
        self._settings = settings
        self._cooldown = cooldown
        self._client: HookClient | None = None
        self._lanes: dict[str, _Lane] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = False

    @property
    def waiting(self) -> int:
        """Events in the queues."""
        return sum(len(lane.queue) for lane in self._lanes.values())

    def configure(self, settings: EventSettings) -> None:
        """Bounds from now on."""
        self._settings = settings
        if self._client is not None:
            self._client.configure(settings)
        for host in [host for host, lane in self._lanes.items() if not lane.running]:
            del self._lanes[host]

    def put(self, hook: WebHook, event: Event) -> None:
        """Send an event, later. It is dropped and counted when too many wait for the host."""
        lane = self._lanes.get(hook.host)
        if lane is None:
            lane = self._lanes[hook.host] = _Lane()
        if self._closing or len(lane.queue) >= self._settings.max_queued:
            self._drop(hook, lane)
            return
        lane.queue.append((hook, event))
        if lane.running < self._settings.per_target:
            lane.running += 1
            task = asyncio.get_running_loop().create_task(self._run(lane))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _drop(self, hook: WebHook, lane: _Lane) -> None:
        self.dropped += 1
        count = lane.drops.due()
        if count:
            most = self._settings.max_queued
            log.error("%d events for %s were dropped: %d wait (preforge.events.max_queued)", count, hook.host, most)

    async def _run(self, lane: _Lane) -> None:
        try:
            while lane.queue and lane.running <= self._settings.per_target:
                hook, event = lane.queue.popleft()
                await self._handle(lane, hook, event)
        finally:
            lane.running -= 1

    async def _handle(self, lane: _Lane, hook: WebHook, event: Event) -> None:
        try:
            body = hook.template.body(event)
            if not await self._cooldown.begin(hook.checksum(body), hook.cooldown):
                self.suppressed += 1
                return
            why = await self._client_for_hooks().send(hook, body, self._settings.timeout)
        except TemplateError as error:
            why = f"the template fails for {event.name}: {error}"
        except asyncio.CancelledError:
            self.dropped += 1
            raise
        if not why:
            self.sent += 1
            return
        self.failed += 1
        count = lane.failures.due()
        if count:
            log.warning("web hook %s %s: %s (%d failed)", hook.method, hook.host, why, count)

    def _client_for_hooks(self) -> HookClient:
        if self._client is None:
            from core.events.client import HookClient  # noqa: PLC0415  # see there

            self._client = HookClient(self._settings)
        return self._client

    async def close(self, grace: float) -> None:
        """Send what waits, for at most `grace` seconds; the rest is dropped and counted."""
        self._closing = True
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=max(0.0, grace))
        tasks = set(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        left = 0
        for lane in self._lanes.values():
            left += len(lane.queue)
            lane.queue.clear()
        self.dropped += left
        if left or tasks:
            log.warning("%d events were dropped because the worker ended before they were sent", left + len(tasks))
        if self._client is not None:
            await self._client.close()
