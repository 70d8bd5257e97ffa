"""A web hook: the request that tells somebody of an event (tyk-core C.1)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from urllib.parse import urlsplit

from core.events.templates import HookTemplate

METHODS = frozenset(("GET", "PUT", "POST", "DELETE", "PATCH"))
USER_AGENT = "Tyk-Hookshot"
# Go names itself so in the request that is summed up, though not in the one that is sent.
SUMMED_AGENT = "Go-http-client/1.1"


@dataclass(frozen=True, slots=True)
class WebHook:
    """headers: as they are sent; cooldown: seconds in which the same request is not sent again, 0 for none."""

    method: str
    target: str
    template: HookTemplate
    headers: tuple[tuple[str, str], ...]
    cooldown: int

    @property
    def host(self) -> str:
        """Whom it goes to: hooks of one host share their queue."""
        parts = urlsplit(self.target)
        return f"{parts.scheme}://{_host(parts.netloc)}"

    def checksum(self, body: bytes) -> str:
        """What stands for a request in the store: MD5 of its text, the same that Tyk writes there."""
        parts = urlsplit(self.target)
        # Not from parts: Go keeps a "?" with nothing behind it.
        target = self.target.partition("#")[0].partition(f"//{parts.netloc}")[2]
        if not target.startswith("/"):
            target = f"/{target}"
        head = f"{self.method} {target} HTTP/1.1\r\nHost: {_host(parts.netloc)}\r\nUser-Agent: {SUMMED_AGENT}\r\n"
        if body or self.method in ("POST", "PUT", "PATCH"):
            head += f"Content-Length: {len(body)}\r\n"
        return hashlib.md5(head.encode() + b"\r\n" + body, usedforsecurity=False).hexdigest()


def _host(netloc: str) -> str:
    """Host and port, without the credentials that may stand before them."""
    return netloc.rpartition("@")[2]


def request_headers(json: bool, header_map: dict[str, str]) -> tuple[tuple[str, str], ...]:
    """User-Agent and Content-Type, and what the user sets, which goes first. A body that is no JSON has an empty type."""
    given = {name.title(): value for name, value in header_map.items()}
    headers = {"User-Agent": USER_AGENT, "Content-Type": "application/json" if json else "", **given}
    return tuple(headers.items())
