"""Counters that workers share: a limit that lets one request too many through is no limit."""

from __future__ import annotations

import mmap
import multiprocessing
import os
import signal
import struct
import time
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accel.limits import ASK, BLOCKED, FULL, PASS, LimitTable, QuotaWindow, RateWindow, clock_ms


def children(count: int, work: Callable[[int], int]) -> list[int]:
    """Run `work(number)` in forked processes at once; their results."""
    start_read, start_write = os.pipe()
    pipes = []
    for number in range(count):
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(start_write)
            os.read(start_read, 1)
            os.write(write, struct.pack("q", work(number)))
            os._exit(0)
        os.close(write)
        pipes.append((pid, read))
    os.close(start_read)
    os.close(start_write)
    results = []
    for pid, read in pipes:
        results.append(struct.unpack("q", os.read(read, 8))[0])
        os.close(read)
        assert os.waitpid(pid, 0)[1] == 0
    return results


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 20), st.integers(1, 50), st.lists(st.integers(0, 30), max_size=100))
def test_window_lets_exactly_the_limit_through(rate: int, per_ms: int, gaps: list[int]) -> None:
    table = LimitTable.create(64)
    window = RateWindow(table, b"k", rate, per_ms / 1000)
    per = max(1, int(per_ms / 1000 * 1000))
    now, start, count = 1_000_000, 0, 0
    for gap in gaps:
        now += gap
        if count == 0 or now >= start + per:
            start, count = now, 0
        expected = PASS if count < rate else BLOCKED
        count += expected == PASS
        assert window.take(now) == expected
        assert window.reset == start + per
        assert window.peek(now) == count


@pytest.mark.parametrize("rate", [0, -1])
def test_no_rate_means_no_limit(rate: int) -> None:
    window = RateWindow(LimitTable.create(64), b"k", rate, 1)
    assert [window.take(5) for _ in range(100)] == [PASS] * 100


def test_two_keys_do_not_share_a_window() -> None:
    table = LimitTable.create(64)
    one, two = RateWindow(table, b"one", 1, 10), RateWindow(table, b"two", 1, 10)
    assert [one.take(1), two.take(1), one.take(2), two.take(2)] == [PASS, PASS, BLOCKED, BLOCKED]


def test_nodes_share_a_limit_evenly() -> None:
    table = LimitTable.create(64)
    table.nodes = 3
    window = RateWindow(table, b"k", 10, 10)
    assert [window.take(1) for _ in range(5)].count(PASS) == 3


def test_processes_together_never_pass_the_limit() -> None:
    table = LimitTable.create(64)
    rate, workers = 50_000, 4

    def work(_: int) -> int:
        window = RateWindow(LimitTable.attach(os.dup(table.fd)), b"k", rate, 3600)
        now = clock_ms()
        return sum(window.take(now) == PASS for _ in range(30_000))

    assert sum(children(workers, work)) == rate


def test_processes_that_claim_at_once_share_one_slot() -> None:
    table = LimitTable.create(4096)
    keys = 500

    def work(_: int) -> int:
        shared = LimitTable.attach(os.dup(table.fd))
        now = clock_ms()
        return sum(RateWindow(shared, b"key-%d" % n, 2, 3600).take(now) == PASS for n in range(keys))

    assert sum(children(4, work)) == 2 * keys
    assert table.in_use() == keys


def test_slots_are_reused_when_their_time_is_over_and_refused_before() -> None:
    table = LimitTable.create(64)
    now = clock_ms()
    windows = [RateWindow(table, b"key-%d" % n, 1, 1) for n in range(64)]
    assert [w.take(now) for w in windows] == [PASS] * 64
    late = RateWindow(table, b"late", 1, 1)
    assert late.take(now) == FULL
    assert table.full == 1
    assert late.take(now + 1000) == PASS
    assert [w.take(now + 1000) for w in windows[:32]].count(FULL) <= 1, "the others take places that are free again"


def test_expired_owner_does_not_count_for_the_next_one() -> None:
    table = LimitTable.create(64)
    old = [RateWindow(table, b"old-%d" % n, 5, 1) for n in range(64)]
    now = clock_ms()
    for window in old:
        window.take(now)
    new = [RateWindow(table, b"new-%d" % n, 1, 100) for n in range(64)]
    assert [w.take(now + 1001) for w in new] == [PASS] * 64
    assert [w.take(now + 1002) for w in old] == [FULL] * 64
    assert [w.take(now + 1003) for w in new] == [BLOCKED] * 64


def answer(quota: QuotaWindow, count: int, left_ms: int, now: int) -> bool:
    """One flight to a store that counts `count` afterwards; False if another one is under way."""
    begun = quota.begin(now, 1000)
    if begun is None:
        return False
    quota.land(begun[1], begun[0], count, left_ms, now)
    return True


def test_killed_process_leaves_no_lock_behind() -> None:
    table = LimitTable.create(64)
    for attempt in range(30):
        pid = os.fork()
        if pid == 0:
            n = 0
            while True:
                n += 1
                answer(QuotaWindow(table, b"%d" % (n % 50), 100), n, 1, clock_ms())
                RateWindow(table, b"r%d" % (n % 50), 1, 0.001).take(clock_ms())
        time.sleep(0.003 + attempt * 0.0003)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    time.sleep(0.005)
    later = clock_ms() + 2000
    window = RateWindow(table, b"after", 1, 1)
    assert [window.take(later), window.take(later)] == [PASS, BLOCKED]
    quota = QuotaWindow(table, b"after", 10)
    assert answer(quota, 1, 1000, later)


def test_quota_is_unknown_first_then_counted_here_and_asked_for_near_its_end() -> None:
    quota = QuotaWindow(LimitTable.create(64), b"q", 1000)
    assert quota.try_take(100) == ASK
    assert answer(quota, 1, 60_000, 100)
    assert (quota.used, quota.ends) == (1, 60_100)
    alone = 0
    while quota.try_take(200) == PASS:
        alone += 1
        if alone % 10 == 0:  # what the regular report to the store does
            assert answer(quota, 1 + alone, 59_900, 200)
    assert 900 <= alone <= 1000 - 32
    assert quota.try_take(60_100) == ASK, "a period that is over is not known"


def test_quota_of_a_node_that_is_alone_is_decided_here_to_the_last_request() -> None:
    quota = QuotaWindow(LimitTable.create(64), b"q", 100, True)
    assert quota.try_take(1) == ASK
    answer(quota, 30, 60_000, 1)
    assert [quota.try_take(2) for _ in range(72)] == [PASS] * 70 + [BLOCKED] * 2
    assert (quota.used, quota.unacked()) == (100, 70)
    answer(quota, 100, 59_000, 3)
    assert (quota.try_take(4), quota.unacked()) == (BLOCKED, 0)


def test_small_quota_of_a_shared_store_is_always_asked_for() -> None:
    quota = QuotaWindow(LimitTable.create(64), b"q", 32)
    answer(quota, 1, 60_000, 100)
    assert quota.try_take(101) == ASK


def test_there_is_one_flight_at_a_time_which_takes_what_all_workers_counted() -> None:
    table = LimitTable.create(64)
    one, two = QuotaWindow(table, b"q", 10_000), QuotaWindow(table, b"q", 10_000)
    answer(one, 1, 60_000, 0)
    assert [w.try_take(1) for w in (one, one, two)] == [PASS] * 3
    begun = two.begin(2, 500)
    assert begun is not None
    added, ticket = begun
    assert added == 3
    assert one.begin(3, 500) is None
    assert one.try_take(3) == PASS
    two.land(ticket, added, 4, 60_000, 4)
    assert (one.unacked(), one.try_take(5), one.used) == (1, PASS, 6)


def test_flight_of_a_worker_that_died_is_given_up_and_what_it_took_along_is_not_lost() -> None:
    table = LimitTable.create(64)
    one, two = QuotaWindow(table, b"q", 10_000), QuotaWindow(table, b"q", 10_000)
    answer(one, 1, 60_000, 0)
    one.try_take(1)
    lost = one.begin(2, 500)
    assert lost is not None
    assert two.begin(501, 500) is None
    begun = two.begin(502, 500)
    assert begun is not None
    assert begun[0] == 1
    one.land(lost[1], lost[0], 2, 60_000, 503)
    assert two.unacked() == 1, "the flight that was given up ends nothing"
    two.land(begun[1], begun[0], 2, 60_000, 504)
    assert (two.unacked(), two.try_take(505), two.used) == (0, PASS, 3)


def test_flight_that_told_the_store_nothing_leaves_all_as_it_was() -> None:
    quota = QuotaWindow(LimitTable.create(64), b"q", 10_000)
    answer(quota, 5, 60_000, 0)
    quota.try_take(1)
    begun = quota.begin(2, 500)
    assert begun is not None
    quota.land(begun[1], begun[0], -1, 0, 3)
    assert (quota.unacked(), quota.try_take(4), quota.used) == (1, PASS, 7)


def test_reset_in_the_store_is_believed_and_what_was_counted_before_is_gone() -> None:
    quota = QuotaWindow(LimitTable.create(64), b"q", 10_000)
    answer(quota, 9000, 60_000, 0)
    quota.try_take(1)
    quota.reset()
    assert (quota.try_take(1), quota.unacked()) == (ASK, 0)
    answer(quota, 1, 60_000, 1)
    assert (quota.try_take(2), quota.used) == (PASS, 2)
    quota.forget()
    assert (quota.try_take(3), quota.unacked()) == (ASK, 1), "another change leaves what is not reported"


def test_what_a_period_left_unreported_does_not_count_in_the_next() -> None:
    quota = QuotaWindow(LimitTable.create(64), b"q", 10_000)
    answer(quota, 1, 1_000, 0)
    quota.try_take(1)
    begun = quota.begin(1_001, 500)
    assert begun is not None
    assert begun[0] == 0


def test_store_away_quota_goes_on_with_what_is_known_and_refuses_what_is_not() -> None:
    table = LimitTable.create(64)
    quota = QuotaWindow(table, b"q", 10)
    assert quota.away(0, 60_000) == FULL
    answer(quota, 8, 60_000, 0)
    quota.forget()
    assert [quota.away(1, 60_000) for _ in range(4)] == [PASS, PASS, BLOCKED, BLOCKED]
    assert quota.unacked() == 2
    assert quota.away(60_001, 60_000) == PASS, "a new period"
    assert quota.try_take(60_002) == ASK, "the store has the last word"
    never = QuotaWindow(table, b"never", 10)
    answer(never, 10, -1, 0)
    assert never.away(10**9, 0) == BLOCKED, "a quota that is never renewed"


def test_quota_is_exact_whatever_workers_do_at_the_same_time() -> None:
    """Processes that take and report as they like, against a store that is a number behind a lock."""
    table = LimitTable.create(64)
    most, processes = 3000, 4
    store = mmap.mmap(-1, 4096)
    passed = mmap.mmap(-1, 4096)
    guard = multiprocessing.get_context("fork").Lock()
    first = QuotaWindow(table, b"q", most, True)
    answer(first, 0, 600_000, clock_ms())

    def work(number: int) -> None:
        quota = QuotaWindow(table, b"q", most, True)
        count = 0
        while True:
            said = quota.try_take(clock_ms())
            if said == BLOCKED:
                break
            count += said == PASS
            if count % 7 == number:
                begun = quota.begin(clock_ms(), 10_000)
                if begun is not None:
                    with guard:
                        total = int.from_bytes(store[:8], "little") + begun[0]
                        store[:8] = total.to_bytes(8, "little")
                    quota.land(begun[1], begun[0], total, 600_000, clock_ms())
        passed[number * 8 : number * 8 + 8] = count.to_bytes(8, "little")

    children = [multiprocessing.get_context("fork").Process(target=work, args=(n,)) for n in range(processes)]
    for child in children:
        child.start()
    for child in children:
        child.join(60)
    counts = [int.from_bytes(passed[n * 8 : n * 8 + 8], "little") for n in range(processes)]
    assert sum(counts) == most
    assert int.from_bytes(store[:8], "little") + first.unacked() == most


def test_quotas_of_long_periods_leave_their_places_to_keys_that_are_in_use() -> None:
    table = LimitTable.create(64)
    month = 30 * 86_400_000
    quotas = [QuotaWindow(table, b"%d" % n, 1000, True) for n in range(64)]
    for quota in quotas:
        added, ticket = quota.begin(0, 1000) or (0, 0)
        quota.land(ticket, added, 1, month, 10)
    assert RateWindow(table, b"rate", 1, 1).take(50_000) == FULL, "for a while they stay"
    owing = quotas[:32]
    assert {quota.try_take(60_000) for quota in owing} == {PASS}
    now = 100_000
    windows = [RateWindow(table, b"rate %d" % n, 1, 3600) for n in range(33)]
    assert [window.take(now) for window in windows] == [PASS] * 32 + [FULL]
    assert [quota.unacked() for quota in owing] == [1] * 32, "what the store does not know stays"
    assert quotas[-1].try_take(now) == ASK
