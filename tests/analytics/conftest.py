"""A gateway that records, the store it writes to, and its records."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgpack
import pytest

from tests.support.gateway import Gateway, Json, merge, wait_for
from tests.support.site import Site

LIST = "analytics-tyk-system-analytics"
Record = dict[str, Any]


@dataclass(slots=True)
class Records:
    """The other end: fetches and decodes as Tyk Pump does."""

    site: Site

    def gateway(self, *apis: Json, **conf: Any) -> Gateway:
        """A gateway that records."""
        return self.site.gateway(*apis, **merge({"enable_analytics": True}, conf))

    def length(self, key: str = LIST) -> int:
        return int(self.site.store.ask("LLEN", key))

    def raw(self, count: int, key: str = LIST) -> list[bytes]:
        """Wait until there are this many records, and take them."""
        wait_for(lambda: self.length(key) >= count, f"{count} records in {key}")
        found = self.site.store.ask("LRANGE", key, 0, -1)
        self.site.store.ask("DEL", key)
        assert len(found) == count
        return list(found)

    def take(self, count: int, key: str = LIST) -> list[Record]:
        """Wait for records and decode them."""
        return [msgpack.unpackb(raw) for raw in self.raw(count, key)]

    def one(self) -> Record:
        return self.take(1)[0]


@pytest.fixture
def records(site: Site) -> Records:
    return Records(site)
