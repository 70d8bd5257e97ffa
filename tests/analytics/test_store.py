"""Records on their way to the store: batches, bounds, a store that goes away, the end of a worker."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import msgpack

from tests.analytics.conftest import LIST, Records
from tests.support.gateway import Gateway, Json, api, running, wait_for
from tests.support.upstream import Upstream
from tests.support.valkey import Valkey, valkey

RECORDS = "preforge_analytics_records_total"
RETRIES = "preforge_analytics_retries_total"
DROPPED = 'preforge_limit_hits_total{limit="records"}'


def open_api(records: Records) -> Json:
    return api("open", "/open/", records.site.upstream.url)


def request(gateway: Gateway, first: int, count: int) -> None:
    """Requests for /first, /first+1 ...; each must succeed, whatever the store does."""
    for number in range(first, first + count):
        assert gateway.fetch(f"/open/{number}").status == 200


def paths(store: Valkey, key: str = LIST) -> list[int]:
    return sorted(int(msgpack.unpackb(raw)["Path"][1:]) for raw in store.ask("LRANGE", key, 0, -1))


def test_records_wait_while_the_store_is_away_and_follow_when_it_is_back(records: Records) -> None:
    gateway = records.gateway(open_api(records))
    store = records.site.store
    request(gateway, 0, 3)
    wait_for(lambda: records.length() == 3, "records of before")
    store.kill()
    request(gateway, 3, 20)
    store.start()
    wait_for(lambda: records.length() >= 20, "records of meanwhile")
    assert paths(store) == list(range(3, 23))
    wait_for(lambda: gateway.metrics()[RECORDS] == 23, "the count of records")
    assert gateway.metrics()[DROPPED] == 0


def test_records_that_a_frozen_store_did_not_acknowledge_are_written_again(records: Records) -> None:
    gateway = records.gateway(open_api(records))
    store = records.site.store
    store.pause()
    request(gateway, 0, 5)
    wait_for(lambda: gateway.metrics()[RETRIES] >= 1, "a failed attempt")
    store.resume()
    wait_for(lambda: records.length() >= 5, "the records")
    assert set(paths(store)) == set(range(5))       # at least once


def test_records_over_the_bound_are_dropped_and_counted_while_the_store_is_away(records: Records) -> None:
    gateway = records.gateway(open_api(records), preforge={"analytics": {"max_buffered_records": 10}})
    store = records.site.store
    store.kill()
    request(gateway, 0, 25)
    wait_for(lambda: gateway.metrics()[DROPPED] == 15, "dropped records")
    store.start()
    wait_for(lambda: records.length() == 10, "records that were kept")
    assert paths(store) == list(range(10))


def test_what_is_buffered_is_written_when_the_gateway_ends(records: Records) -> None:
    gateway = records.gateway(open_api(records))
    request(gateway, 0, 7)
    gateway.stop()
    assert paths(records.site.store) == list(range(7))


def test_an_end_without_the_store_is_not_held_up_and_says_what_is_lost(records: Records) -> None:
    gateway = records.gateway(open_api(records))
    request(gateway, 0, 1)
    wait_for(lambda: records.length() == 1, "a record")
    records.site.store.kill()
    request(gateway, 1, 4)
    gateway.stop()
    assert "4 records are lost" in gateway.log()


def test_all_workers_write_and_count_together(records: Records) -> None:
    gateway = records.gateway(open_api(records), preforge={"workers": 2})
    request(gateway, 0, 60)
    wait_for(lambda: records.length() == 60, "records of both workers")
    assert paths(records.site.store) == list(range(60))
    wait_for(lambda: gateway.metrics()[RECORDS] == 60, "the count of both workers")


def test_full_batches_go_at_once_and_in_order(records: Records) -> None:
    gateway = records.gateway(open_api(records), analytics_config={"records_buffer_size": 10})
    answers = gateway.on_one_connection(95, "/open/1")
    assert {answer.status for answer in answers} == {200}
    wait_for(lambda: records.length() == 95, "records")
    stamps = [tuple(msgpack.unpackb(raw)["TimeStamp"]) for raw in records.site.store.ask("LRANGE", LIST, 0, -1)]
    assert stamps == sorted(stamps)


def test_lists_get_a_lifetime_and_keep_the_one_they_have(records: Records) -> None:
    gateway = records.gateway(open_api(records), analytics_config={"storage_expiration_time": 500})
    store = records.site.store
    request(gateway, 0, 1)
    wait_for(lambda: store.ask("TTL", LIST) > 0, "a lifetime")
    assert 490 <= store.ask("TTL", LIST) <= 500
    store.ask("EXPIRE", LIST, 100)
    request(gateway, 1, 1)
    wait_for(lambda: records.length() == 2, "the next record")
    gateway.stop()
    assert 0 < store.ask("TTL", LIST) <= 100


def test_lists_live_for_ever_where_that_is_wanted(records: Records) -> None:
    gateway = records.gateway(open_api(records), analytics_config={"storage_expiration_time": -1})
    request(gateway, 0, 1)
    gateway.stop()
    assert records.site.store.ask("TTL", LIST) == -1


def test_a_list_that_nobody_fetches_does_not_grow_for_ever(records: Records) -> None:
    gateway = records.gateway(open_api(records), preforge={"analytics": {"max_list_length": 10}})
    for first in range(0, 30, 6):
        request(gateway, first, 6)
        done = first + 6
        wait_for(lambda done=done: gateway.metrics()[RECORDS] == done, "the records are written")  # type: ignore[misc]
    wait_for(lambda: records.length() == 10, "the list is short")
    assert paths(records.site.store) == list(range(20, 30))     # the newest stay
    wait_for(lambda: gateway.metrics()[DROPPED] == 20, "dropped records")


def test_several_lists_hold_each_record_once(records: Records) -> None:
    config = {"enable_multiple_analytics_keys": True, "records_buffer_size": 1}
    gateway = records.gateway(open_api(records), analytics_config=config)
    store = records.site.store
    request(gateway, 0, 60)
    names = [f"{LIST}_{number}" for number in range(10)]
    wait_for(lambda: sum(records.length(name) for name in names) == 60, "records in all lists")
    counts = Counter(path for name in names for path in paths(store, name))
    assert counts == Counter(range(60))
    assert sum(records.length(name) > 0 for name in names) >= 3
    assert records.length() == 0


def test_a_separate_store_takes_the_records(records: Records, tmp_path: Path) -> None:
    with valkey(tmp_path / "other") as other:
        section = {"type": "redis", "host": "127.0.0.1", "port": other.port}
        gateway = records.gateway(open_api(records), enable_separate_analytics_store=True, analytics_storage=section)
        request(gateway, 0, 3)
        gateway.stop()
        assert paths(other) == [0, 1, 2]
        assert records.length() == 0


def test_a_list_of_another_kind_does_not_stop_requests(records: Records) -> None:
    gateway = records.gateway(open_api(records))
    store = records.site.store
    store.ask("SET", LIST, "not a list")
    request(gateway, 0, 3)
    wait_for(lambda: gateway.metrics()[RETRIES] >= 1, "a failed attempt")
    assert "records wait, because the store did not take them: WRONGTYPE" in gateway.log()
    store.ask("DEL", LIST)
    wait_for(lambda: records.length() == 3, "the records")


def test_the_embedded_store_takes_records_too(tmp_path: Path) -> None:
    with Upstream() as upstream:
        conf = {"enable_analytics": True}
        with running(tmp_path / "gateway", [api("open", "/open/", upstream.url)], conf) as gateway:
            request(gateway, 0, 5)
            wait_for(lambda: gateway.metrics()[RECORDS] == 5, "records in the embedded store")
