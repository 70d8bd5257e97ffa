"""What plugins may ask of the gateway (tyk-plugins 5.4); the class is used without an instance."""

from __future__ import annotations

import sys
import traceback
from typing import Any

from coprocess.python.host import link, wire
from coprocess.python.host.channel import Refused

__all__ = ["Refused", "TykGateway"]

_LEVELS = ("debug", "warning", "error")


def _bytes(value: Any, what: str) -> bytes:
    if isinstance(value, str):
        return value.encode("utf-8")
    if isinstance(value, (bytes, bytearray)):
        return bytes(value)
    raise TypeError(f"{what}: expected str or bytes, not {type(value).__name__}")


class TykGateway:
    """Calls block until the gateway has answered; log() and trigger_event() do not wait."""

    @staticmethod
    def log(message: Any, level: str = "info") -> None:
        """Write to the gateway's log. level: debug, warning, error; anything else is info."""
        level = level if level in _LEVELS else "info"
        link.channel().send(wire.LOG, 0, f"{level}\n{message}".encode("utf-8", "backslashreplace"))

    @staticmethod
    def log_error(*messages: Any) -> None:
        """Write an error; without a message, the exception that is being handled."""
        text = " ".join(str(message) for message in messages)
        if not messages and sys.exc_info()[0] is not None:
            text = traceback.format_exc()
        TykGateway.log(text, "error")

    @staticmethod
    def store_data(key: str, value: Any, ttl: int) -> None:
        """Keep a value for `ttl` seconds. Raises Refused if the store is away or a size or rate is over its limit."""
        name = _bytes(key, "store_data: key")
        head = wire.STORE_HEAD.pack(int(ttl), len(name))
        link.channel().ask(wire.STORE, head, name, _bytes(value, "store_data: value"))

    @staticmethod
    def get_data(key: str) -> bytes:
        """A kept value, b"" if there is none. Raises Refused as store_data() does."""
        return link.channel().ask(wire.GET, _bytes(key, "get_data: key"))

    @staticmethod
    def trigger_event(name: str, payload: Any) -> None:
        """Fire a system event with `payload` as its message."""
        named = _bytes(name, "trigger_event: name")
        head = wire.TRIGGER_HEAD.pack(len(named))
        link.channel().send(wire.TRIGGER, 0, head, named, _bytes(payload, "trigger_event: payload"))
