"""How many gateways share the limits: each says twice in its period that it is there (tyk-core 5.6, DRL)."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import time
import uuid
from typing import Any

from accel.limits import LimitTable
from core.sessions.notifications import CHANNEL, Notification, Signer
from core.store.client import Store
from core.store.errors import StoreError

log = logging.getLogger("preforge.nodes")

COMMAND = "NoticeGatewayDRLNotification"
MISSED = 3          # periods without a word after which a gateway counts as gone
MOST_NODES = 10_000


class Nodes:
    """Counts the gateways that announce themselves. The leading worker of a node speaks for it; all listen."""

    def __init__(self, store: Store, signer: Signer, table: LimitTable, *, leader: bool, node_id: str) -> None:
        """node_id: the same in all workers of this node."""
        self._store = store
        self._signer = signer
        self._table = table
        self._leader = leader
        self._id = node_id or uuid.uuid4().hex
        self._period = 2.0
        self._silent = False
        self._seen: dict[str, float] = {}
        self._task: asyncio.Task[None] | None = None

    def configure(self, config: Any) -> None:
        self._period = float(config.drl_notification_frequency or 2)
        self._silent = config.management_node or config.suppress_redis_signal_reload

    def start(self) -> None:
        if self._leader:
            self._task = asyncio.get_running_loop().create_task(self._announce())

    def close(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _announce(self) -> None:
        host = socket.gethostname()
        while True:
            if not self._silent:
                payload = {"HostName": host, "ID": self._id, "LoadPerSec": 0, "Percentage": 0, "TagHash": ""}
                message = self._signer.sign(Notification(COMMAND, json.dumps(payload, separators=(",", ":"))))
                try:
                    await self._store.publish(CHANNEL, message)
                except StoreError:
                    log.debug("this node could not announce itself")
            self._count()
            await asyncio.sleep(self._period)

    def notified(self, notification: Notification) -> None:
        """Take an announcement of any node; other notifications are left alone."""
        if notification.command != COMMAND:
            return
        try:
            node = json.loads(notification.payload)["ID"]
        except (ValueError, KeyError, TypeError):
            return
        if node != self._id and isinstance(node, str) and (node in self._seen or len(self._seen) < MOST_NODES):
            self._seen[node] = time.monotonic()
            self._count()

    def _count(self) -> None:
        """Only the leading worker writes: one word, read by all."""
        limit = time.monotonic() - MISSED * self._period
        self._seen = {node: at for node, at in self._seen.items() if at > limit}
        if self._leader:
            self._table.nodes = 1 + len(self._seen)
