"""An organisation that is switched off or over its limits must not get through, with a key or without."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest

from tests.support.gateway import Gateway, Json, api, wait_for
from tests.support.keys import ORG, call, keyed, session
from tests.support.site import Site

DISABLED = "this organisation access has been disabled, please contact your API administrator"
RATE = "This organisation rate limit has been exceeded, please contact your API administrator"
QUOTA = "This organisation quota has been exceeded, please contact your API administrator"


def put(site: Site, **more: Any) -> None:
    """The session of the organisation, as another program would write it."""
    value = {"org_id": ORG, "rate": 0, "per": 0, "quota_max": -1, **more}
    assert site.store.ask("SET", f"orgkey.{ORG}", json.dumps(value)) == b"OK"


def opened(site: Site, api_id: str = "a", org: str = ORG) -> Json:
    """An API of the organisation that asks for no key."""
    return api(api_id, f"/{api_id}/", site.upstream.url, org_id=org)


def start(site: Site, *apis: Json, **conf: Any) -> Gateway:
    return site.gateway(*(apis or (opened(site),)), enforce_org_quotas=True, **conf)


def told(gateway: Gateway, target: str = "/a/x", *lines: str) -> tuple[int, str]:
    answer = gateway.fetch(target, *lines)
    return answer.status, "" if answer.status == 200 else json.loads(answer.body)["error"]


def test_organisation_without_a_session_may_do_everything(site: Site) -> None:
    gateway = start(site)
    assert [told(gateway)[0] for _ in range(3)] == [200] * 3


@pytest.mark.parametrize("kind", ["keyless", "keyed"])
def test_organisation_that_is_switched_off_is_refused(site: Site, kind: str) -> None:
    put(site, is_inactive=True)
    site.put(f"{ORG}mykey", session("a"))
    gateway = start(site, opened(site) if kind == "keyless" else keyed("a", site.upstream.url))
    assert told(gateway, "/a/x", "Authorization: mykey") == (403, DISABLED)
    assert site.upstream.requests == []


def test_nothing_is_checked_unless_it_is_asked_for(site: Site) -> None:
    put(site, is_inactive=True, rate=1, per=600, quota_max=1, quota_renewal_rate=600)
    gateway = site.gateway(opened(site))
    assert [told(gateway)[0] for _ in range(3)] == [200] * 3


def test_check_begins_with_a_reload(site: Site) -> None:
    put(site, is_inactive=True)
    gateway = site.gateway(opened(site))
    assert told(gateway)[0] == 200
    gateway.conf_path.write_text(json.dumps({**json.loads(gateway.conf_path.read_text()), "enforce_org_quotas": True}))
    assert gateway.fetch("/tyk/reload?block=true", "X-Tyk-Authorization: test-secret").status == 200
    assert told(gateway) == (403, DISABLED)


def test_change_of_an_organisation_is_seen_soon(site: Site) -> None:
    gateway = start(site)
    assert told(gateway)[0] == 200
    put(site, is_inactive=True)
    wait_for(lambda: told(gateway) == (403, DISABLED), "the organisation is refused")
    assert site.store.ask("DEL", f"orgkey.{ORG}") == 1
    wait_for(lambda: told(gateway)[0] == 200, "the organisation is let in again")


def test_other_organisations_are_left_alone(site: Site) -> None:
    put(site, is_inactive=True)
    gateway = start(site, opened(site), opened(site, "b", "other"), opened(site, "c", ""))
    assert [told(gateway, f"/{name}/x")[0] for name in "abc"] == [403, 200, 200]


def flood(gateway: Gateway, targets: list[str], connections: int, each: int) -> list[int]:
    found: list[int] = []

    def one() -> None:
        for at in range(each):
            found.append(gateway.fetch(targets[at % len(targets)]).status)

    threads = [threading.Thread(target=one) for _ in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


@pytest.mark.parametrize("limiter", ["", "enable_redis_rolling_limiter", "enable_fixed_window_rate_limiter"])
def test_rate_counts_all_apis_and_workers_together(site: Site, limiter: str) -> None:
    put(site, rate=20, per=600)
    conf = {limiter: True} if limiter else {}
    gateway = start(site, opened(site), opened(site, "b"), preforge={"workers": 2}, **conf)
    assert flood(gateway, ["/a/x", "/b/x"], 10, 6).count(200) == 20
    assert told(gateway) == (403, RATE)


def test_quota_counts_all_apis_and_workers_together(site: Site) -> None:
    put(site, quota_max=25, quota_renewal_rate=600)
    gateway = start(site, opened(site), opened(site, "b"), preforge={"workers": 2})
    assert flood(gateway, ["/a/x", "/b/x"], 10, 6).count(200) == 25
    assert told(gateway) == (403, QUOTA)
    assert int(site.store.ask("GET", f"quota-{ORG}")) >= 25
    assert 0 < site.store.ask("TTL", f"quota-{ORG}") <= 600


def test_large_quota_is_counted_on_the_node_and_reported(site: Site) -> None:
    put(site, quota_max=100_000, quota_renewal_rate=600)
    gateway = start(site)
    assert flood(gateway, ["/a/x"], 5, 20) == [200] * 100
    wait_for(lambda: int(site.store.ask("GET", f"quota-{ORG}")) == 100, "the store knows all requests")
    assert gateway.metrics()["preforge_quota_asked_total"] < 100


def test_quota_of_two_nodes_is_one_quota(site: Site) -> None:
    put(site, quota_max=5, quota_renewal_rate=600)
    gateways = [start(site), start(site)]
    assert [told(gateway)[0] for gateway in gateways * 4] == [200] * 5 + [403] * 3


def test_rate_is_asked_before_the_quota(site: Site) -> None:
    put(site, rate=2, per=600, quota_max=2, quota_renewal_rate=600)
    gateway = start(site)
    assert [told(gateway) for _ in range(4)][2:] == [(403, RATE)] * 2
    assert int(site.store.ask("GET", f"quota-{ORG}")) == 2


def test_limits_of_a_key_count_beside_those_of_its_organisation(site: Site) -> None:
    put(site, quota_max=3, quota_renewal_rate=600)
    site.put(f"{ORG}mykey", session("a", rate=2, per=600))
    gateway = start(site, keyed("a", site.upstream.url))
    assert [call(gateway, "/a/x", "mykey").status for _ in range(4)] == [200, 200, 429, 403]


def test_session_that_cannot_be_read_refuses(site: Site) -> None:
    site.store.ask("SET", f"orgkey.{ORG}", '{"rate": "fast"}')
    gateway = start(site)
    assert told(gateway)[0] == 500
    assert wait_for(lambda: f"orgkey.{ORG}: $.rate" in gateway.log(), "the key and the field in the log")
    assert site.upstream.requests == []


def test_without_the_store_an_unknown_organisation_is_refused(site: Site) -> None:
    gateway = start(site)
    site.store.kill()
    assert told(gateway)[0] == 503
    assert site.upstream.requests == []


def test_without_the_store_a_known_organisation_goes_on_as_it_was(site: Site) -> None:
    put(site, rate=4, per=600)
    gateway = start(site)
    assert [told(gateway)[0] for _ in range(2)] == [200] * 2
    site.store.kill()
    wait_for(lambda: told(gateway) == (403, RATE), "the rate still holds")
    assert len(site.upstream.seen("/x")) == 4
