"""A gateway, a store and keys in it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.gateway import Gateway, Json, merge
from tests.support.upstream import Upstream
from tests.support.valkey import Valkey, valkey


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


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    upstream = Upstream()
    with valkey(tmp_path / "store") as store:
        found = Site(tmp_path, store, upstream, [])
        try:
            yield found
        finally:
            for gateway in found.gateways:
                gateway.stop()
            upstream.close()
