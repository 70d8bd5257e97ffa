"""Counters that workers share: a limit that lets one request too many through is no limit."""

from __future__ import annotations

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


def test_killed_process_leaves_no_lock_behind() -> None:
    table = LimitTable.create(64)
    for attempt in range(30):
        pid = os.fork()
        if pid == 0:
            n = 0
            while True:
                n += 1
                QuotaWindow(table, b"%d" % (n % 50), 100).answered(n, 1, 0, clock_ms())
                RateWindow(table, b"r%d" % (n % 50), 1, 0.001).take(clock_ms())
        time.sleep(0.003 + attempt * 0.0003)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    time.sleep(0.005)
    later = clock_ms() + 2000
    window = RateWindow(table, b"after", 1, 1)
    assert [window.take(later), window.take(later)] == [PASS, BLOCKED]
    quota = QuotaWindow(table, b"after", 10)
    assert quota.answered(1, 1000, 0, later)


def test_quota_asks_first_then_counts_alone_then_asks_near_the_end() -> None:
    table = LimitTable.create(64)
    quota = QuotaWindow(table, b"q", 1000)
    assert quota.try_take(100) == ASK
    assert quota.answered(1, 60_000, 0, 100)
    assert (quota.used, quota.ends) == (1, 60_100)
    alone = 0
    while quota.try_take(200) == PASS:
        alone += 1
        if alone % 10 == 0:  # what the regular report to the store does
            added, quota.pending = quota.pending, 0
            assert quota.answered(1 + alone, 59_900, added, 200)
    assert 900 <= alone <= 1000 - 32
    assert quota.try_take(60_100) == ASK, "a period that is over is not known"


def test_small_quota_is_always_asked_for() -> None:
    quota = QuotaWindow(LimitTable.create(64), b"q", 32)
    quota.answered(1, 60_000, 0, 100)
    assert quota.try_take(101) == ASK


def test_answers_that_overtake_each_other_do_not_lose_requests() -> None:
    table = LimitTable.create(64)
    one, two = QuotaWindow(table, b"q", 10_000), QuotaWindow(table, b"q", 10_000)
    one.answered(1, 60_000, 0, 0)
    for _ in range(10):
        assert one.try_take(1) == PASS
    for _ in range(5):
        assert two.try_take(1) == PASS
    # The store added ten, then five; the second answer arrives first.
    two.answered(16, 60_000, 5, 2)
    one.answered(11, 60_000, 10, 2)
    assert one.try_take(3) == PASS
    assert one.used == 17


def test_reset_in_the_store_is_believed_after_the_next_answer() -> None:
    table = LimitTable.create(64)
    quota = QuotaWindow(table, b"q", 10_000)
    quota.answered(9000, 60_000, 0, 0)
    quota.forget()
    assert quota.try_take(1) == ASK
    quota.answered(1, 60_000, 0, 1)
    assert quota.try_take(2) == PASS
    assert quota.used == 2


def test_store_away_quota_goes_on_with_what_is_known_and_refuses_what_is_not() -> None:
    table = LimitTable.create(64)
    quota = QuotaWindow(table, b"q", 10)
    assert quota.alone(0, 60_000) == FULL
    quota.answered(8, 60_000, 0, 0)
    quota.forget()
    assert [quota.alone(1, 60_000) for _ in range(4)] == [PASS, PASS, BLOCKED, BLOCKED]
    assert quota.pending == 2
    assert quota.alone(60_001, 60_000) == PASS, "a new period"
    never = QuotaWindow(table, b"never", 10)
    never.answered(10, -1, 0, 0)
    assert never.alone(10**9, 0) == BLOCKED, "a quota that is never renewed"


def test_worker_that_dies_with_unreported_requests_takes_nothing_from_the_next_period() -> None:
    table = LimitTable.create(64)
    dead, alive = QuotaWindow(table, b"q", 1000), QuotaWindow(table, b"q", 1000)
    dead.answered(1, 60_000, 0, 0)
    assert [dead.try_take(1) for _ in range(50)] == [PASS] * 50
    del dead
    alive.answered(2, 59_990, 0, 10)
    assert alive.used == 52, "what it has let through counts until the period is over"
    alive.answered(1, 60_000, 0, 60_001)
    assert alive.used == 1
    assert alive.try_take(60_002) == PASS


def test_reports_of_an_old_period_open_nothing_in_the_next() -> None:
    table = LimitTable.create(64)
    one, two = QuotaWindow(table, b"q", 1000), QuotaWindow(table, b"q", 1000)
    one.answered(1, 1000, 0, 0)
    assert [one.try_take(1) for _ in range(50)] == [PASS] * 50
    added, period = one.hand_over(999)
    assert added == 50
    assert two.alone(1001, 60_000) == PASS, "a new period without the store"
    assert one.alone(1002, 60_000) == PASS
    assert (one.used, one.pending) == (2, 1)
    one.give_back(added, period)
    assert one.pending == 1, "what belongs to the old period is void"
    one.answered(52, 59_000, added, 1003, period)
    assert one.used == 52 + 2
    assert one.hand_over(1004)[0] == 1


def test_requests_of_a_period_that_is_over_are_not_reported() -> None:
    quota = QuotaWindow(LimitTable.create(64), b"q", 1000)
    quota.answered(1, 1000, 0, 0)
    assert quota.try_take(1) == PASS
    assert quota.hand_over(1000)[0] == 0


def test_request_given_back_is_handed_over_again() -> None:
    quota = QuotaWindow(LimitTable.create(64), b"q", 1000)
    quota.answered(1, 1000, 0, 0)
    assert [quota.try_take(1), quota.try_take(1)] == [PASS, PASS]
    taken = quota.hand_over(2)
    assert quota.try_take(3) == PASS
    quota.give_back(*taken)
    assert quota.hand_over(4) == (3, taken[1])
    assert quota.used == 4


def test_answer_that_comes_late_does_not_begin_a_period() -> None:
    table = LimitTable.create(64)
    one, two = QuotaWindow(table, b"q", 1000), QuotaWindow(table, b"q", 1000)
    one.answered(1, 60_000, 0, 0)
    assert [one.try_take(1) for _ in range(50)] == [PASS] * 50
    two.answered(2, 60_000, 0, 5_000)
    assert two.used == 52
    assert one.hand_over(5_001)[0] == 50


def test_quota_of_several_nodes_is_asked_for_when_nothing_was_heard_for_a_while() -> None:
    table = LimitTable.create(64)
    quota = QuotaWindow(table, b"q", 1000)
    quota.answered(1, 60_000, 0, 0)
    assert quota.try_take(30_000) == PASS
    table.nodes = 2
    assert quota.try_take(30_000) == ASK
    quota.answered(2, 30_000, 1, 30_000)
    assert quota.try_take(30_500) == PASS
