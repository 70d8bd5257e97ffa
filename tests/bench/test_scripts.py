"""The parts of bench.scripts that figures and judgements hang on."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from bench.scripts import apis, growth, probe
from bench.scripts.scene import Held
from bench.scripts.slow import SlowServer
from tests.support.upstream import Connection, Upstream, head


def row(calls: int, pss: float, descriptors: int = 50, threads: int = 10, contexts: int = 4, replaced: int = 0) -> growth.Row:
    return growth.Row(calls, 1.0, contexts, 0, replaced, Held(pss, 3.0, pss / 2, descriptors, threads), 0)


def reply(connection: Connection, status: str) -> bool:
    connection.send(head(status, "Content-Length: 2") + b"ok")
    return True


def judged(*rows: growth.Row, calls: int = 1_000_000) -> tuple[growth.Growth, list[str]]:
    found, problems = growth.Growth(list(rows)), []
    growth._judge(found, problems, calls)
    return found, problems


def test_a_leak_is_not_seen_in_the_slope() -> None:
    found, problems = judged(row(0, 100.0), row(500_000, 110.0), row(1_000_000, 120.0, replaced=1))
    assert found.kb_per_million == pytest.approx(20000)
    assert found.growth_mb == pytest.approx(20)
    assert problems == ["memory grew by 20.0 MB, more than 16 MB"]


def test_memory_that_goes_up_and_down_counts_as_a_leak() -> None:
    found, problems = judged(*(row(n * 250_000, 100.0 + 10 * (n % 2), replaced=n) for n in range(5)))
    assert found.growth_mb == pytest.approx(0, abs=0.01)
    assert problems == []


def test_leaked_descriptors_and_threads_pass() -> None:
    _, problems = judged(row(0, 100.0), row(1_000_000, 100.0, descriptors=90, threads=20, contexts=5, replaced=1))
    assert problems == ["descriptors grew from 50 to 90", "threads grew from 10 to 20"]


def test_threads_of_more_contexts_count_as_leaked() -> None:
    assert judged(row(0, 100.0), row(1_000_000, 100.0, threads=20, contexts=14, replaced=1))[1] == []


def test_a_run_without_replaced_contexts_or_with_too_few_calls_passes() -> None:
    assert judged(row(0, 100.0), row(900_000, 100.0))[1] == [
        "no context was replaced, so what that leaves behind was not seen", "900,000 calls are fewer than 1,000,000",
    ]  # fmt: skip


def test_the_mixture_makes_another_number_of_calls_than_is_counted() -> None:
    requests = [text.split(b" ")[1].decode() for text, _, _ in growth.mixture(1)]
    assert len(requests) == 100
    assert sum(2 if path.startswith("/both/") else 1 for path in requests) == growth.CALLS_PER_REQUEST * 100
    assert {path.rpartition("/")[2] for path in requests if path.startswith("/good/")} == set(growth.GOOD)


def test_scripts_of_the_memory_test_are_alike_or_not_of_realistic_size(tmp_path: Path) -> None:
    for number in range(200):
        apis.realistic(tmp_path, number)
    texts = [path.read_text() for path in tmp_path.glob("*.js")]
    assert len(set(texts)) == 200
    assert all("NUMBER" not in text and "/*" not in text for text in texts)
    assert min(map(len, texts)) > 2000
    assert max(map(len, texts)) < 9000


def test_latencies_leave_out_the_slowest() -> None:
    found = probe.Latencies("/x", [float(n) for n in range(1000)])
    assert (found.at(0.5), found.at(0.99), found.at(1.0)) == (500.0, 990.0, 999.0)
    assert probe.Latencies("/x").at(0.5) == 0.0


def test_the_probe_takes_errors_for_answers() -> None:
    with Upstream() as server:
        server.on("/good", lambda connection, _: reply(connection, "200 OK"))
        server.on("/bad", lambda connection, _: reply(connection, "500 No"))
        good, bad = probe.measure(server.port, ["/good", "/bad"], 100.0, 0.2)
    assert (len(good.found), good.failed) == (20, {})
    assert bad.failed == {"status 500": 20}


def test_the_slow_upstream_answers_at_once() -> None:
    server = SlowServer()
    try:
        async def ask() -> tuple[bytes, float]:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(b"GET /0.2 HTTP/1.1\r\nHost: x\r\n\r\n")
            began = time.monotonic()
            answer = await reader.read()
            writer.close()
            return answer, time.monotonic() - began

        answer, took = asyncio.run(ask())
    finally:
        server.stop()
    assert answer.endswith(b"slow")
    assert took >= 0.19
