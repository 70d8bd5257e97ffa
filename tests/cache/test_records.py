"""What others see of a hit: analytics, played requests, versions."""

from __future__ import annotations

import base64
import json
from typing import Any

import msgpack

from tests.cache.cache_support import OPTIONS, caching, hit, kept, stored
from tests.support.gateway import Json, merge, wait_for
from tests.support.site import Site, manage

LIST = "analytics-tyk-system-analytics"


def taken(site: Site, count: int) -> list[dict[str, Any]]:
    wait_for(lambda: site.store.ask("LLEN", LIST) >= count, f"{count} records")
    return [msgpack.unpackb(raw) for raw in site.store.ask("LRANGE", LIST, 0, -1)]


def test_a_hit_is_recorded_as_one(site: Site) -> None:
    definition = caching("a", site.upstream.url, tags=["mine"], tag_headers=["X-Tag"])
    gateway = site.gateway(
        definition,
        enable_analytics=True,
        analytics_config={"enable_detailed_recording": True},
        db_app_conf_options={"node_is_segmented": False, "tags": ["node"]},
    )
    for _ in range(2):
        gateway.fetch("/a/x", "X-Tag: v")
    miss, found = taken(site, 2)
    assert miss["Tags"] == ["x-tag-v", "mine", "node", "org-default", "api-a"]
    assert found["Tags"] == ["x-tag-v", "mine", "cached-response", "node", "org-default", "api-a"]
    assert (found["ResponseCode"], found["Latency"]["Upstream"], found["Path"]) == (200, 0, "/x")
    raw = base64.b64decode(found["RawResponse"])
    assert b"X-Tyk-Cached-Response: 1\r\n" in raw
    assert b'"target": "/x"' in raw


def test_a_played_request_neither_uses_nor_fills_the_cache(site: Site) -> None:
    definition = caching("a", site.upstream.url)
    gateway = site.gateway(definition)
    gateway.fetch("/a/x")
    names = kept(site.store, "a")
    for target in ("/a/x", "/a/y"):
        answer = manage(gateway, "POST", "/tyk/debug", {"spec": definition, "request": {"method": "GET", "path": target}})
        assert answer.status == 200
        assert b"Cached-Response" not in base64.b64decode(json.loads(answer.body)["response"])
    assert stored(site.store, "a") == names
    assert len(site.upstream.seen("/x")) == 2


def test_a_hit_names_the_version_that_answered_as_before(site: Site) -> None:
    versions: Json = {name: {"name": name} for name in ("v1", "v2")}
    definition = merge(
        caching("ver", site.upstream.url),
        {
            "definition": {"location": "header", "key": "x-version"},
            "version_data": {"not_versioned": False, "default_version": "v2", "versions": versions},
            "cache_options": OPTIONS,
        },
    )
    gateway = site.gateway(definition, version_header="X-Served-By")
    found = [gateway.fetch("/ver/x") for _ in range(2)]
    assert [(hit(one), one.get("X-Served-By")) for one in found] == [(False, "v2"), (True, "v2")]
