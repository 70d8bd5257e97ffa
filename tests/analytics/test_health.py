"""The numbers of /tyk/health, counted by all workers."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest

from tests.support.gateway import Gateway, wait_for
from tests.support.keys import ORG, keyed, session, statuses
from tests.support.site import Site

WINDOW = {"enable_health_checks": True, "health_check_value_timeouts": 100}


def health(gateway: Gateway, api_id: str) -> dict[str, Any]:
    answer = gateway.fetch(f"/tyk/health?api_id={api_id}", "X-Tyk-Authorization: test-secret")
    assert answer.status == 200
    found = json.loads(answer.body)
    assert isinstance(found, dict)
    return found


def test_refusals_and_requests_are_counted_per_second_over_all_workers(site: Site) -> None:
    apis = [keyed("a", site.upstream.url), keyed("b", site.upstream.url)]
    gateway = site.gateway(*apis, health_check=WINDOW, preforge={"workers": 2})
    site.put(f"{ORG}rated", session("a", "b", rate=10, per=600))
    site.put(f"{ORG}counted", session("a", "b", quota_max=10, quota_renewal_rate=600))
    assert statuses(gateway, "/a/x", "nonsense", 30) == [403] * 30
    assert Counter(statuses(gateway, "/a/x", "rated", 30)) == {200: 10, 429: 20}
    assert Counter(statuses(gateway, "/a/x", "counted", 20)) == {200: 10, 403: 10}
    found = health(gateway, "a")
    assert found.pop("average_upstream_latency") > 0
    # Samples are taken four times a second, so that the window's length varies a little.
    assert found == {
        "throttle_reqests_per_second": pytest.approx(0.2, rel=0.1),
        "quota_violations_per_second": pytest.approx(0.1, rel=0.1),
        "key_failures_per_second": pytest.approx(0.3, rel=0.1),
        "average_requests_per_second": pytest.approx(0.2, rel=0.1),
    }
    assert set(health(gateway, "b").values()) == {0}


def test_what_is_older_than_the_window_does_not_count(site: Site) -> None:
    window = {"enable_health_checks": True, "health_check_value_timeouts": 1}
    gateway = site.gateway(keyed("a", site.upstream.url), health_check=window)
    assert statuses(gateway, "/a/x", "nonsense", 5) == [403] * 5
    wait_for(lambda: health(gateway, "a")["key_failures_per_second"] == 0, "the window moves on")


def test_without_health_checks_there_are_no_numbers(site: Site) -> None:
    gateway = site.gateway(keyed("a", site.upstream.url))
    answer = gateway.fetch("/tyk/health?api_id=a", "X-Tyk-Authorization: test-secret")
    assert answer.status == 400
    assert json.loads(answer.body)["message"] == "Health checks are not enabled for this node"
