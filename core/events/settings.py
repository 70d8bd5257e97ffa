"""What of tyk.conf concerns events."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Any

from core.outbound.networks import Network, blocks


@dataclass(frozen=True, slots=True)
class EventSettings:
    """The bounds of ``preforge.events``, per worker.

    max_queued: events that wait for one web hook host; per_target: requests to one host at a time; timeout: seconds of one
    request; request_bytes: of the originating request; blocked: networks that no web hook is sent to; depth: xff_depth;
    script_queue: events that wait for scripts; script_calls: event scripts that run at a time.
    """

    max_queued: int = 1000
    per_target: int = 8
    timeout: float = 30.0
    request_bytes: int = 16384
    blocked: tuple[Network, ...] = ()
    depth: int = 0
    log_keys: bool = False
    template_path: str = ""
    script_queue: int = 1000
    script_calls: int = 4

    @classmethod
    def from_config(cls, config: Any) -> EventSettings:
        ours = config.preforge.events
        return cls(
            max_queued=max(1, ours.max_queued),
            per_target=max(1, ours.max_concurrent_per_target),
            timeout=max(0.1, float(ours.timeout)),
            request_bytes=max(0, ours.max_request_bytes),
            blocked=tuple(ipaddress.ip_network(text, strict=False) for text in ours.blocked_networks),
            depth=config.http_server_options.xff_depth,
            log_keys=config.enable_key_logging,
            template_path=config.template_path,
            script_queue=max(1, ours.max_queued_scripts),
            script_calls=max(1, min(ours.max_concurrent_scripts, config.preforge.jsvm.max_contexts // 2)),
        )

    def blocks(self, address: str) -> bool:
        """Whether no web hook may be sent to this address; a text that is no address is blocked."""
        return blocks(address, self.blocked)


def obfuscated(key: str, log_keys: bool) -> str:
    """A key as logs may show it: its last four characters (tyk-core 1.2, enable_key_logging)."""
    if log_keys:
        return key
    return f"****{key[-4:]}" if len(key) > 8 else "--" if key else ""
