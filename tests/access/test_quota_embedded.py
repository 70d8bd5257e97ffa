"""A node that is alone with its store decides about quotas by itself: to the request, whoever of its workers dies."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.access.test_limits import flood
from tests.support.gateway import Gateway
from tests.support.keys import ORG, call, keyed, session
from tests.support.site import manage
from tests.support.upstream import Upstream
from tests.support.wire import WireError, get


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    with Upstream() as upstream:
        found = Gateway(tmp_path, [keyed("a", upstream.url)], {"preforge": {"workers": 4}})
        found.start()
        try:
            yield found
        finally:
            found.stop()


def remaining(gateway: Gateway, key: str) -> int:
    answer = manage(gateway, "GET", f"/tyk/keys/{ORG}{key}")
    assert answer.status == 200, answer.body
    return int(json.loads(answer.body)["quota_remaining"])


def test_quota_is_exact_over_workers_and_shown_as_it_is(gateway: Gateway) -> None:
    for number in range(3):
        key = f"mykey{number}"
        body = session("a", quota_max=300, quota_renewal_rate=600)
        assert manage(gateway, "POST", f"/tyk/keys/{key}", body).status == 200
        assert flood(gateway, "/a/x", key, 40, 12) == 300
        assert remaining(gateway, key) == 0
        assert call(gateway, "/a/x", key).status == 403


def test_quota_of_workers_that_are_killed_is_not_given_away_again(gateway: Gateway) -> None:
    body = session("a", quota_max=400, quota_renewal_rate=600)
    assert manage(gateway, "POST", "/tyk/keys/mykey", body).status == 200
    seen: list[int] = []

    def one() -> None:
        for _ in range(60):
            try:
                with gateway.connect() as client:
                    answer = client.send(get("/a/x", "gateway.test", "Authorization: mykey")).read()
            except (OSError, WireError):
                continue
            seen.append(answer.status)

    threads = [threading.Thread(target=one) for _ in range(20)]
    for thread in threads:
        thread.start()
    time.sleep(0.05)
    for pid in gateway.workers()[:2]:
        os.kill(pid, signal.SIGKILL)
    for thread in threads:
        thread.join()
    statuses = Counter(seen)
    # What was counted and then lost with its worker has used the quota, and a report whose answer was lost counts twice;
    # none is let through in their place.
    assert set(statuses) == {200, 403}, gateway.log()
    assert 200 <= statuses[200] <= 400
    assert remaining(gateway, "mykey") == 0


def test_quota_that_is_reset_begins_anew_at_once(gateway: Gateway) -> None:
    body = session("a", quota_max=50, quota_renewal_rate=600)
    assert manage(gateway, "POST", "/tyk/keys/mykey", body).status == 200
    for _ in range(3):
        assert flood(gateway, "/a/x", "mykey", 10, 8) == 50
        assert remaining(gateway, "mykey") == 0
        assert manage(gateway, "PUT", f"/tyk/keys/{ORG}mykey", body).status == 200
