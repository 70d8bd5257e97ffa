"""Shared counters: sums must stay exact with many processes, and a killed one must not block the others."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from accel import shm

WRITER = """
import sys
from accel import shm
shared = shm.SharedCounters.attach(int(sys.argv[1]))
index = int(sys.argv[2])
region = shared.region(index)
region.begin(index, 1)
for number in range(20000):
    region.add(shm.G_REQUESTS_TOTAL)
    region.count(shared.row_for(f"api-{number % 50}"), 200 + 100 * (number % 4), number, 1, 2, 3)
"""


def start(code: str, shared: shm.SharedCounters, *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", code, str(shared.fd), *arguments], pass_fds=(shared.fd,))


def in_child(body: Callable[[], None]) -> int:
    """Run body in a forked child and return its wait status."""
    pid = os.fork()
    if pid == 0:
        try:
            body()
            os._exit(0)
        except BaseException:
            os._exit(1)
    return os.waitpid(pid, 0)[1]


def test_sums_are_exact_over_processes_that_write_at_the_same_time() -> None:
    shared = shm.SharedCounters.create(4, 128)
    children = [start(WRITER, shared, str(index)) for index in range(4)]
    assert [child.wait() for child in children] == [0, 0, 0, 0]
    assert shared.totals()["G_REQUESTS_TOTAL"] == 80_000
    names = dict(shared.rows())
    assert sorted(names.values()) == sorted(["_other", *(f"api-{number}" for number in range(50))])
    totals = shared.row_totals()
    assert 0 not in totals
    assert len(totals) == 50
    for words in totals.values():
        assert sum(words[:5]) == sum(words[shm.A_BUCKETS : shm.A_LATENCY_US]) == 1600
        assert words[shm.A_UPSTREAM_COUNT] == 1600
        assert words[shm.A_BYTES_IN] == 3200
        assert words[shm.A_BYTES_OUT] == 4800
    assert sum(words[shm.A_LATENCY_US] for words in totals.values()) == 4 * sum(range(20_000))


CLAIMER = """
import sys
from accel import shm
shared = shm.SharedCounters.attach(int(sys.argv[1]))
print("ready", flush=True)
for number in range(100_000):
    shared.row_for(f"api-{number}")
sys.stdin.read()
"""


def test_a_process_killed_at_any_moment_while_claiming_rows_blocks_nobody() -> None:
    for already in range(0, 5000, 500):
        shared = shm.SharedCounters.create(1, 1 << 17)
        child = subprocess.Popen(
            [sys.executable, "-c", CLAIMER, str(shared.fd)],
            pass_fds=(shared.fd,),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        with child:
            assert child.stdout is not None
            child.stdout.readline()
            while len(shared.rows()) < already:
                time.sleep(0.0005)
            child.kill()
        assert child.returncode == -signal.SIGKILL
        rows = [shared.row_for(f"api-{number}") for number in range(2000)]
        assert len(set(rows)) == 2000
        assert 0 not in rows


@pytest.mark.parametrize("stop", [1, 2])
def test_each_half_done_claim_is_completed_by_the_next_process(stop: int) -> None:
    shared = shm.SharedCounters.create(1, 8)

    def die_in_the_middle() -> None:
        assert shared.row_for("api", stop) == -1
        os.kill(os.getpid(), signal.SIGKILL)

    assert in_child(die_in_the_middle) == signal.SIGKILL
    assert shared.rows() == [(0, "_other")]
    row = shared.row_for("api")
    assert row == 1
    assert shared.rows() == [(0, "_other"), (1, "api")]
    assert shared.row_for("api") == row


def test_the_same_id_has_the_same_row_in_every_process() -> None:
    shared = shm.SharedCounters.create(1, 64)
    rows = {name: shared.row_for(name) for name in ("a", "b", "ü" * 40, "x" * 500)}

    def check() -> None:
        other = shm.SharedCounters.attach(os.dup(shared.fd))
        assert {name: other.row_for(name) for name in rows} == rows

    assert in_child(check) == 0
    assert len(set(rows.values())) == 4


def test_long_ids_stay_apart_although_their_names_are_cut() -> None:
    shared = shm.SharedCounters.create(1, 64)
    first, second = "ü" * 200 + "1", "ü" * 200 + "2"
    assert shared.row_for(first) != shared.row_for(second)
    for row, name in shared.rows():
        assert len(name.encode()) <= 120, row
    assert shm.stored_name(first).decode() == dict(shared.rows())[shared.row_for(first)]


def test_a_full_table_counts_into_other_and_known_apis_keep_their_row() -> None:
    shared = shm.SharedCounters.create(1, 3)
    assert [shared.row_for(name) for name in ("a", "b", "c", "d", "a", "b")] == [1, 2, 0, 0, 1, 2]
    assert shared.overflows == 2
    assert shared.totals()["B_API_ROWS"] == 2
    assert shared.row_for("_other") == 0


def test_the_memory_survives_exec_of_the_master() -> None:
    shared = shm.SharedCounters.create(2, 4)
    assert os.get_inheritable(shared.fd)
    shared.region(1).add(shm.G_RELOADS, 7)
    code = (
        "import sys; from accel import shm; s = shm.SharedCounters.attach(int(sys.argv[1]));"
        "sys.exit(s.totals()['G_RELOADS'])"
    )

    def replace_program() -> None:
        os.execv(sys.executable, [sys.executable, "-c", code, str(shared.fd)])

    assert os.waitstatus_to_exitcode(in_child(replace_program)) == 7


def test_begin_and_end_clear_gauges_and_keep_counters() -> None:
    region = shm.SharedCounters.create(2, 4).region(1)
    region.begin(3, 42)
    region.set(shm.G_CONNECTIONS, 9)
    region.add(shm.G_REQUESTS_TOTAL, 9)
    assert (region.pid, region.generation) == (42, 3)
    assert 0 < region.heartbeat_ms <= shm.clock_ms()
    region.begin(5, 43)
    assert (region.pid, region.value(shm.G_CONNECTIONS), region.value(shm.G_REQUESTS_TOTAL)) == (43, 0, 9)
    region.end()
    assert (region.pid, region.heartbeat_ms, region.value(shm.G_REQUESTS_TOTAL)) == (0, 0, 9)
    assert region.snapshot()["G_REQUESTS_TOTAL"] == 9


def test_a_bound_belongs_to_its_own_bucket_and_one_more_to_the_next() -> None:
    for index, bound in enumerate(shm.BUCKET_BOUNDS_US):
        shared = shm.SharedCounters.create(1, 2)
        shared.region(0).count(0, 200, bound)
        shared.region(0).count(0, 200, bound + 1)
        buckets = shared.row_totals()[0][shm.A_BUCKETS : shm.A_LATENCY_US]
        assert [at for at, count in enumerate(buckets) if count] == [index, index + 1]


@pytest.mark.parametrize(
    ("status", "column"),
    [(100, 0), (204, 1), (301, 2), (499, 3), (599, 4), (0, 4), (-7, 4), (99, 4), (600, 4)],
)
def test_every_status_is_counted_once(status: int, column: int) -> None:
    shared = shm.SharedCounters.create(1, 2)
    row = shared.row_for("a")
    shared.region(0).count(row, status, 1)
    assert [at for at, count in enumerate(shared.row_totals()[row][:5]) if count] == [column]


def test_a_row_number_out_of_range_cannot_write_outside_the_table() -> None:
    shared = shm.SharedCounters.create(1, 2)
    for row in (-1, 2, 1 << 30):
        shared.region(0).count(row, 200, 1)
    assert shared.row_totals()[0][1] == 3
    with pytest.raises(IndexError, match=r"0\.\.127"):
        shared.region(0).add(128)
    with pytest.raises(IndexError, match=r"0\.\.0"):
        shared.region(1)


def test_unused_rows_take_no_memory_also_after_they_were_read() -> None:
    shared = shm.SharedCounters.create(64, 16384)
    shared.region(5).count(shared.row_for("a"), 200, 1)
    shared.totals()
    assert list(shared.row_totals()) == [1]
    assert os.fstat(shared.fd).st_blocks * 512 < shared.size // 64


def words_at(fd: int, offset: int, value: int) -> None:
    os.pwrite(fd, struct.pack("=Q", value), offset)


@pytest.mark.parametrize(
    ("word", "value", "expected"),
    [
        (0, 1, "magic"),
        (1, 99, "layout version 99, expected 1"),
        (2, 5, "bytes, expected"),
        (3, 3, "for 3 regions"),
        (3, 1 << 40, "out of range"),
        (4, 1, "1 rows, expected 2"),
        (6, 64, "block sizes"),
    ],
)
def test_a_foreign_or_older_memory_is_refused_by_name(word: int, value: int, expected: str) -> None:
    shared = shm.SharedCounters.create(2, 4)
    words_at(shared.fd, word * 8, value)
    fd = os.dup(shared.fd)
    with pytest.raises(ValueError, match=expected):
        shm.SharedCounters.attach(fd)
    os.close(fd)


def test_a_file_that_is_too_short_or_sizes_out_of_range_are_refused() -> None:
    fd = os.memfd_create("short")
    with pytest.raises(ValueError, match="at least 4096"):
        shm.SharedCounters.attach(fd)
    os.close(fd)
    for regions, rows in ((0, 4), (1, 1), (5000, 4), (1, 1 << 21)):
        with pytest.raises(ValueError, match="expected"):
            shm.SharedCounters.create(regions, rows)


def test_nobody_can_shrink_the_memory_under_a_running_worker() -> None:
    shared = shm.SharedCounters.create(1, 2)
    with pytest.raises(PermissionError):
        os.ftruncate(shared.fd, 0)


def test_a_region_keeps_the_memory_alive() -> None:
    region = shm.SharedCounters.create(1, 2).region(0)
    region.add(shm.G_TUNNELS, 4)
    assert region.value(shm.G_TUNNELS) == 4
