"""The store of a running gateway fails in every way: nobody gets in who should not, and all heals without a restart."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cluster import Cluster, cluster
from tests.support.gateway import Gateway, Json, wait_for
from tests.support.keys import ORG, call, keyed, session, statuses
from tests.support.site import Site
from tests.support.valkey import valkey

QUICK = {"preforge": {"storage": {"command_timeout": 0.3}}}
ADMIN = "X-Tyk-Authorization: test-secret"
LIMITERS = ["enable_redis_rolling_limiter", "enable_fixed_window_rate_limiter", "enable_sentinel_rate_limiter"]


def away(gateway: Gateway) -> bool:
    """Whether a key that no cache has is answered with 503."""
    return call(gateway, "/a/x", f"{ORG}never-seen").status == 503


@pytest.mark.parametrize("how", ["kill", "pause"])
def test_known_keys_go_on_and_unknown_ones_get_503_until_the_store_is_back(site: Site, how: str) -> None:
    gateway = site.gateway(keyed("a", site.upstream.url), **QUICK)
    site.put(f"{ORG}known", session("a"))
    site.put(f"{ORG}later", session("a"))
    assert call(gateway, "/a/x", f"{ORG}known").status == 200
    getattr(site.store, how)()
    wait_for(lambda: away(gateway), "the store is away")
    assert call(gateway, "/a/x", f"{ORG}later").status == 503
    assert statuses(gateway, "/a/x", f"{ORG}known", 3) == [200] * 3
    assert len(site.upstream.seen("/x")) == 4
    if how == "kill":
        site.store.start()
        site.put(f"{ORG}later", session("a"))
    else:
        site.store.resume()
    wait_for(lambda: call(gateway, "/a/x", f"{ORG}later").status == 200, "it is used again")
    assert call(gateway, "/a/x", f"{ORG}never-seen").status == 403


def test_a_store_that_comes_back_with_other_data_is_believed(site: Site) -> None:
    gateway = site.gateway(keyed("a", site.upstream.url), **QUICK)
    site.put(f"{ORG}old", session("a", quota_max=3, quota_renewal_rate=600))
    assert statuses(gateway, "/a/x", f"{ORG}old", 4) == [200, 200, 200, 403]
    site.store.kill()
    site.store.directory = site.directory / "other"
    site.store.directory.mkdir()
    site.store.start()
    site.put(f"{ORG}new", session("a", quota_max=2, quota_renewal_rate=600))
    wait_for(lambda: call(gateway, "/a/x", f"{ORG}new").status == 200, "the new key opens")
    wait_for(lambda: call(gateway, "/a/x", f"{ORG}old").status == 403, "the old key is forgotten")
    # The script of the quota is not known to the new server.
    assert statuses(gateway, "/a/x", f"{ORG}new", 2) == [200, 403]
    assert int(site.store.ask("GET", f"quota-{ORG}new")) >= 2


@pytest.mark.parametrize("option", LIMITERS)
def test_scripts_that_the_server_forgets_are_given_to_it_again(site: Site, option: str) -> None:
    gateway = site.gateway(keyed("a", site.upstream.url), **{option: True})
    site.put(f"{ORG}key", session("a", rate=5, per=600))
    found = []
    for _ in range(12):
        site.store.ask("SCRIPT", "FLUSH")
        found.append(call(gateway, "/a/x", f"{ORG}key").status)
    assert found.count(200) in ({5, 6} if "sentinel" in option else {5})
    assert gateway.metrics()["preforge_store_errors_total"] == 0


def test_a_full_store_refuses_what_it_cannot_write_and_recovers(site: Site) -> None:
    gateway = site.gateway(keyed("a", site.upstream.url))
    site.put(f"{ORG}key", session("a"))
    site.store.ask("CONFIG", "SET", "maxmemory", "1")
    assert add(gateway, f"{ORG}new") >= 500
    assert call(gateway, "/a/x", f"{ORG}key").status == 200
    site.store.ask("CONFIG", "SET", "maxmemory", "0")
    assert add(gateway, f"{ORG}new") == 200
    assert call(gateway, "/a/x", f"{ORG}new").status == 200


def test_metrics_tell_what_happened_to_commands(site: Site) -> None:
    gateway = site.gateway(keyed("a", site.upstream.url), **QUICK)
    wait_for(lambda: gateway.metrics()["preforge_store_connected"] == 1, "it is connected")
    site.put(f"{ORG}key", session("a"))
    assert call(gateway, "/a/x", f"{ORG}key").status == 200
    wait_for(lambda: gateway.metrics()["preforge_store_commands_total"] >= 1, "commands are counted")
    before = gateway.metrics()
    assert before["preforge_store_timeouts_total"] == before["preforge_store_reconnects_total"] == 0
    site.store.pause()
    wait_for(lambda: away(gateway), "the store is away")
    wait_for(lambda: gateway.metrics()["preforge_store_timeouts_total"] >= 1, "a command timed out")
    wait_for(lambda: away(gateway) and gateway.metrics()["preforge_store_refused_total"] >= 1, "commands are refused")
    during = gateway.metrics()
    assert during["preforge_store_connected"] == 0
    assert during["preforge_store_waiting"] == 0
    site.store.resume()
    wait_for(lambda: gateway.metrics()["preforge_store_connected"] == 1, "it is connected again")
    assert gateway.metrics()["preforge_store_reconnects_total"] >= 1


def add(gateway: Gateway, key: str, **more: object) -> int:
    """The status of the answer to a new key."""
    body = json.dumps(session("a", **more)).encode()
    return gateway.fetch(f"/tyk/keys/{key}", ADMIN, method="POST", body=body).status


@pytest.fixture
def on_cluster(site: Site, tmp_path: Path) -> Iterator[tuple[Site, Cluster, Json]]:
    """A site, a cluster, and the configuration that makes a gateway use it."""
    with cluster(tmp_path / "cluster") as found:
        yield site, found, {"type": "redis", "addrs": [found.masters[0].address], "enable_cluster": True}
        for gateway in site.gateways:
            gateway.stop()


def test_a_gateway_on_a_cluster_keeps_keys_quotas_and_limits(on_cluster: tuple[Site, Cluster, Json]) -> None:
    site, found, storage = on_cluster
    gateway = site.gateway(keyed("a", site.upstream.url), storage=storage)
    for number in range(12):
        key = f"{ORG}key{number}"
        limit = {"quota_max": 2, "quota_renewal_rate": 600} if number % 2 else {"rate": 2, "per": 600}
        assert add(gateway, key, **limit) == 200
        assert statuses(gateway, "/a/x", key, 3) == [200, 200, 403 if number % 2 else 429]
    names = json.loads(gateway.fetch("/tyk/keys", ADMIN).body)["keys"]
    assert sorted(names) == sorted(f"{ORG}key{number}" for number in range(12))
    assert min(node.ask("DBSIZE") for node in found.masters) > 0


def test_limits_in_a_cluster_hold_whatever_slots_their_keys_have(on_cluster: tuple[Site, Cluster, Json]) -> None:
    site, _, storage = on_cluster
    for option in LIMITERS:
        gateway = site.gateway(keyed("a", site.upstream.url), storage=storage, **{option: True})
        for number in range(4):
            key = f"{ORG}{option}{number}"
            assert add(gateway, key, rate=4, per=600) == 200
            passed = statuses(gateway, "/a/x", key, 8)
            assert passed.count(200) in ({4, 5} if "sentinel" in option else {4}), (option, passed)
            assert passed[-1] == 429


def test_limits_have_a_store_of_their_own_when_it_is_asked_for(site: Site, tmp_path: Path) -> None:
    with valkey(tmp_path / "limits") as other:
        section = {"type": "redis", "host": "127.0.0.1", "port": other.port}
        options = {"enable_rate_limiter_storage": True, "rate_limiter_storage": section, "enable_redis_rolling_limiter": True}
        gateway = site.gateway(keyed("a", site.upstream.url), **options, **QUICK)
        site.put(f"{ORG}key", session("a", rate=3, per=600))
        assert statuses(gateway, "/a/x", f"{ORG}key", 5) == [200] * 3 + [429] * 2
        assert other.ask("ZCARD", f"rate-limit-{ORG}key") > 0
        assert site.store.ask("KEYS", "rate-limit*") == []
        other.kill()
        # The node counts by itself then: the limit still holds.
        assert statuses(gateway, "/a/x", f"{ORG}key", 5)[-1] == 429
        gateway.stop()
