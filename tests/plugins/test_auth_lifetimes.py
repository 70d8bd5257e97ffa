"""How long the store keeps sessions of plugins: as they and their API say, and anew while they are used (tyk-plugins 4.2)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from accel.http1 import KeyCache
from accel.limits import LimitTable, clock_ms
from core.access.terms import Terms
from tests.plugins.auth_support import AuthSite, accepts, auth_site, options
from tests.support.datapath import DataPath
from tests.support.gateway import wait_for
from tests.support.valkey import Valkey


@pytest.fixture
def site(path: DataPath, redis: Valkey) -> Iterator[AuthSite]:
    with auth_site(path, redis) as found:
        yield found


@pytest.mark.parametrize(
    ("api", "respects", "more", "least", "most"),
    [
        (0, False, {}, -1, -1),
        (90, False, {}, 80, 90),
        (90, False, {"session_lifetime": 50}, 40, 50),
        (90, True, {"expires": 300}, 290, 300),
        (90, True, {"expires": 20}, 80, 90),
        (90, True, {"expires": 0}, -1, -1),
        (0, False, {"post_expiry_action": "delete", "expires": 40}, 30, 40),
        (0, False, {"post_expiry_action": "retain", "post_expiry_grace_period": 60, "expires": 40}, 90, 100),
        (90, False, {"session_lifetime": 2**62}, 3_162_000_000, 3_162_240_000),
    ],
)
def test_sessions_are_kept_as_long_as_they_and_the_api_say(
    site: AuthSite, api: int, respects: bool, more: Any, least: int, most: int
) -> None:
    given = {**more, "expires": int(time.time()) + more["expires"]} if more.get("expires") else more
    site.serve(accepts(**given), lifetime=api, respects=respects)
    assert site.get().status == 200
    assert least <= site.lifetime("alice") <= most


def test_a_session_that_the_plugin_confirms_lives_on_in_the_store(site: AuthSite, monkeypatch: pytest.MonkeyPatch) -> None:
    site.serve(accepts(alias="Al"), lifetime=320)
    for _ in range(2):      # the notification of the first write empties the cache
        site.get()
        site.settle()
    site.store.ask("EXPIRE", "apikey-alice", "100")
    later = clock_ms() + 10_000
    monkeypatch.setattr("core.access.terms.clock_ms", lambda: later)
    assert site.get().status == 200
    wait_for(lambda: site.lifetime("alice") > 300, "the lifetime begins anew")


@pytest.mark.parametrize(("lifetime", "after"), [(1, 500), (20, 1000), (320, 10_000), (0, 10_000), (-1, 10_000)])
def test_a_session_is_prolonged_well_before_its_end(lifetime: int, after: int, monkeypatch: pytest.MonkeyPatch) -> None:
    now = clock_ms()
    terms = Terms(KeyCache(10, 1000, LimitTable.create(1)))
    monkeypatch.setattr("core.access.terms.clock_ms", lambda: now)
    terms.begin(b"k", lifetime)
    for passed, over in ((after - 1, False), (after, True)):
        monkeypatch.setattr("core.access.terms.clock_ms", lambda passed=passed: now + passed)
        assert terms.over(b"k") is over


def test_what_is_known_of_sessions_in_use_is_bounded() -> None:
    terms = Terms(KeyCache(10, 1000, LimitTable.create(1)))
    for number in range(100):
        terms.begin(b"%d" % number, 320)
        assert not terms.over(b"%d" % number)
    assert len(terms._ends) <= 10
    assert terms.over(b"0")


def test_a_forced_lifetime_goes_before_all_others(path: DataPath, redis: Valkey) -> None:
    with auth_site(path, redis, options(force_global_session_lifetime=True, global_session_lifetime=500)) as site:
        site.serve(accepts(session_lifetime=10), lifetime=90)
        assert site.get().status == 200
        assert 490 <= site.lifetime("alice") <= 500
