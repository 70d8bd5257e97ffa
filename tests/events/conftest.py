"""A receiver of web hooks, and a gateway that sends them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.gateway import Gateway, Json, merge, wait_for
from tests.support.upstream import Seen, Upstream
from tests.support.valkey import Valkey, valkey


@dataclass(slots=True)
class Site:
    """What a test works with."""

    directory: Path
    store: Valkey
    receiver: Upstream
    gateways: list[Gateway]

    def gateway(self, *apis: Json, **conf: Any) -> Gateway:
        """Start one more gateway on the store."""
        base: Json = {"storage": {"type": "redis", "host": "127.0.0.1", "port": self.store.port}}
        gateway = Gateway(self.directory / f"gateway{len(self.gateways)}", list(apis), merge(base, conf))
        self.gateways.append(gateway)
        gateway.start()
        return gateway

    def put(self, key: str, value: Json) -> None:
        """Write a session as another program would."""
        assert self.store.ask("SET", f"apikey-{key}", json.dumps(value)) == b"OK"

    def received(self, path: str, count: int) -> list[Seen]:
        """The hooks for a path, when there are `count` of them with their bodies."""
        done = wait_for(
            lambda: [seen for seen in self.receiver.seen(path) if seen.complete][: count or None]
            if len([seen for seen in self.receiver.seen(path) if seen.complete]) >= count
            else [],
            f"{count} hooks at {path}",
        )
        assert len(self.receiver.seen(path)) == count
        return done


def hook(site: Site, path: str, **more: Any) -> Json:
    """A web hook handler for a path of the receiver."""
    meta = {"method": "POST", "target_path": site.receiver.url + path, **more}
    return {"handler_name": "eh_web_hook_handler", "handler_meta": meta}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    receiver = Upstream()
    with valkey(tmp_path / "store") as store:
        found = Site(tmp_path, store, receiver, [])
        try:
            yield found
        finally:
            for gateway in found.gateways:
                gateway.stop()
            receiver.close()
