"""Under which name an answer is kept (tyk-core 2.7). Gateways of one fleet must agree on it, those of Tyk included."""

from __future__ import annotations

import hashlib

from accel.http1 import Exchange
from core.sessions.murmur import murmur128

PREFIX = b"cache-"
# Without a key the client's address stands for the client. Several people may share one, so what tells them apart to the
# upstream is part of the name as well (RFC 9111 section 3.5 for Authorization).
CREDENTIALS = (b"authorization", b"cookie")


class KeyMaker:
    """Names for the answers of one API."""

    def __init__(
        self, api_id: str, headers: tuple[str, ...], *, versioned: bool = False, hosts: bool = False, led: bool = False
    ) -> None:
        """headers: names of request headers that count; versioned: the API has versions, which answer differently; hosts:
        the upstream sees the Host of the request; led: more than the URL decides where a rewrite leads."""
        self._start = PREFIX + api_id.encode() * 2
        self._headers = tuple(name.encode() for name in headers)
        self._versioned = versioned
        self._hosts = hosts
        self._led = led
        self.named = frozenset(name.lower().encode() for name in headers)

    def make(self, x: Exchange, body: bytes | None) -> bytes | None:
        """The name for a request, None where the client cannot be told. body: the part of it that counts, if any does."""
        who = x.key.token if x.key is not None else x.client_address
        if not who:
            return None
        query = x.full_query
        text = x.method + b"-" + x.full_path + (b"?" + query if query else b"")
        if self._headers:
            text += b"-" + b"".join(name + b"-" + (x.header(name) or b"") for name in self._headers)
        if body is not None:
            text += b"-" + murmur128(body).encode()
        apart = self._apart(x)
        if apart:
            text += b"-" + apart
        return self._start + who + hashlib.md5(text, usedforsecurity=False).hexdigest().encode()

    def _apart(self, x: Exchange) -> bytes:
        """What Tyk leaves out, as a digest; b"" where a request has nothing of it, so that its name is the one of Tyk."""
        parts = [b"version", x.version] if self._versioned else []
        if self._hosts:
            parts += [b"host", x.header(b"Host") or b""]
        if self._led and x.pending_url is not None:
            parts += [b"rewrite", x.pending_url]
        if x.key is None and any(x.header(name) is not None for name in CREDENTIALS if name not in self.named):
            for name, value in x.req.items():
                if name.lower() in CREDENTIALS and name.lower() not in self.named:
                    parts += [name.lower(), value]
        return digest(parts) if parts else b""


def digest(parts: list[bytes]) -> bytes:
    """A digest that differs where any part does: 64 hexadecimal digits."""
    state = hashlib.sha256()
    for part in parts:
        state.update(b"%d:" % len(part))
        state.update(part)
    return state.hexdigest().encode()
