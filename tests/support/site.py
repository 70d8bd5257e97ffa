"""A store, an upstream and gateways that share them, for tests that need keys."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.gateway import Gateway, Json, merge
from tests.support.upstream import Upstream
from tests.support.valkey import Valkey, valkey
from tests.support.wire import Response

SECRET = "test-secret"


@dataclass(slots=True)
class Site:
    """What a test works with."""

    directory: Path
    store: Valkey
    upstream: Upstream
    gateways: list[Gateway]

    def gateway(self, *apis: Json, **conf: Any) -> Gateway:
        """Start one more gateway on the store."""
        base: Json = {"storage": {"type": "redis", "host": "127.0.0.1", "port": self.store.port}}
        gateway = Gateway(self.directory / f"gateway{len(self.gateways)}", list(apis), merge(base, conf))
        self.gateways.append(gateway)
        gateway.start()
        return gateway

    def put(self, key: str, value: Json, *options: str) -> None:
        """Write a session as another program would."""
        assert self.store.ask("SET", f"apikey-{key}", json.dumps(value), *options) == b"OK"


@contextmanager
def open_site(directory: Path) -> Iterator[Site]:
    """A site whose parts end with the block."""
    upstream = Upstream()
    with valkey(directory / "store") as store:
        found = Site(directory, store, upstream, [])
        try:
            yield found
        finally:
            for gateway in found.gateways:
                gateway.stop()
            upstream.close()


def manage(gateway: Gateway, method: str, target: str, body: Any = None, *lines: str) -> Response:
    """One call of the REST API with the secret; body: JSON value, or bytes as they are."""
    raw = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    return gateway.fetch(target, f"X-Tyk-Authorization: {SECRET}", *lines, method=method, body=raw)
