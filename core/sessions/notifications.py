"""What gateways tell each other over the store's channel, signed (tyk-core 5.8)."""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import time
from dataclasses import dataclass
from typing import Any

log = logging.getLogger("preforge.nodes")

CHANNEL = "tyk.cluster.notifications"
SHA256 = 5          # Go's number for the algorithm
RELOADS = frozenset(["ApiUpdated", "ApiRemoved", "ApiAdded", "PolicyChanged", "GroupReload"])
KEYS_CHANGED = "KeySpaceUpdateNotification"


@dataclass(frozen=True, slots=True)
class Notification:
    """A command with its payload."""

    command: str
    payload: str = ""

    @property
    def reloads(self) -> bool:
        return self.command in RELOADS


class Signer:
    """Signs with the node secret, and takes only what is signed with it."""

    def __init__(self, secret: str, *, insecure: bool) -> None:
        """insecure: take unsigned notifications too (allow_insecure_configs)."""
        self._secret = secret
        self._insecure = insecure
        self.refused = 0
        self._warned_at = -60.0

    @classmethod
    def from_config(cls, config: Any) -> Signer:
        return cls(config.node_secret, insecure=config.allow_insecure_configs)

    def _signature(self, command: str, payload: str) -> str:
        return hashlib.sha256(f"{command}{payload}{self._secret}".encode()).hexdigest()

    def sign(self, notification: Notification) -> bytes:
        """The message for the channel."""
        message = {
            "command": notification.command,
            "payload": notification.payload,
            "signature": self._signature(notification.command, notification.payload),
            "algorithm": SHA256,
        }
        return json.dumps(message, separators=(",", ":")).encode()

    def verify(self, message: bytes) -> Notification | None:
        """The notification in a message; None, counted and logged, when it is not to be believed."""
        try:
            value = json.loads(message)
            command, payload = value["command"], value.get("payload", "")
            signature, algorithm = value.get("signature", ""), value.get("algorithm", 0)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            self._refuse("it is not a notification")
            return None
        if not isinstance(command, str) or not isinstance(payload, str) or not isinstance(signature, str):
            self._refuse("it is not a notification")
            return None
        if not self._insecure:
            if algorithm != SHA256:
                self._refuse("it is signed in a way that is not supported")
                return None
            if not hmac.compare_digest(signature.encode(), self._signature(command, payload).encode()):
                self._refuse("its signature is wrong: do all gateways have the same node_secret?")
                return None
        return Notification(command, payload)

    def _refuse(self, reason: str) -> None:
        self.refused += 1
        if time.monotonic() - self._warned_at >= 60:
            self._warned_at = time.monotonic()
            log.warning("a notification on %s is ignored: %s", CHANNEL, reason)
