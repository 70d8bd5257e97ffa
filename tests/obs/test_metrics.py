"""/metrics: every number must be the sum over all workers, and nothing in a name may break the page."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from prometheus_client.parser import text_string_to_metric_families

from accel import shm
from core.obs import metrics
from tests.support.gateway import wait_for

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def parse(page: bytes) -> Samples:
    samples: Samples = {}
    for family in text_string_to_metric_families(page.decode()):
        for sample in family.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            assert key not in samples, f"{key} appears twice"
            samples[key] = sample.value
    return samples


def value(samples: Samples, name: str, **labels: str) -> float:
    return samples[name, tuple(sorted(labels.items()))]


def test_counters_are_summed_over_all_workers_and_survive_a_replacement() -> None:
    shared = shm.SharedCounters.create(4, 16)
    row = shared.row_for("a1")
    for index in range(4):
        region = shared.region(index)
        region.begin(index % 2, os.getpid())
        region.add(shm.G_REQUESTS_TOTAL, 10)
        region.set(shm.G_CONNECTIONS, 3)
        region.add(shm.B_HEAD_BYTES)
        region.add(shm.R_VERSION, 2)
        region.count(row, 200, 700, 300, 10, 20)
        region.count(row, 503, 70_000_000)
    shared.region(0).end()
    samples = parse(metrics.render(shared, {"a1": "First"}, "1.2"))
    api = {"api_id": "a1", "api_name": "First"}
    assert value(samples, "preforge_http_requests_total") == 40
    assert value(samples, "preforge_connections") == 9
    assert value(samples, "preforge_limit_hits_total", limit="head_bytes") == 4
    assert value(samples, "preforge_refused_messages_total", reason="version") == 8
    assert value(samples, "preforge_requests_total", **api, status_class="2xx") == 4
    assert value(samples, "preforge_requests_total", **api, status_class="5xx") == 4
    duration = "preforge_request_duration_seconds"
    assert value(samples, f"{duration}_bucket", **api, le="0.0005") == 0
    assert value(samples, f"{duration}_bucket", **api, le="0.001") == 4
    assert value(samples, f"{duration}_bucket", **api, le="60") == 4
    assert value(samples, f"{duration}_bucket", **api, le="+Inf") == 8
    assert value(samples, f"{duration}_count", **api) == 8
    assert value(samples, f"{duration}_sum", **api) == 280.0028
    assert value(samples, "preforge_upstream_duration_seconds_count", **api) == 4
    assert value(samples, "preforge_upstream_duration_seconds_sum", **api) == 0.0012
    assert value(samples, "preforge_api_received_bytes_total", **api) == 40
    assert value(samples, "preforge_api_sent_bytes_total", **api) == 80


@pytest.mark.parametrize("text", ['quote"', "back\\slash", "line\nfeed", "}{,=", "é", "x" * 300, 'x 1\n# "'])
def test_names_cannot_break_or_forge_a_line(text: str) -> None:
    shared = shm.SharedCounters.create(2, 16)
    shared.region(0).count(shared.row_for(text), 404, 1)
    samples = parse(metrics.render(shared, {text: text}, text))
    stored = shm.stored_name(text).decode()
    labels = {"api_id": stored, "api_name": text, "status_class": "4xx"}
    assert value(samples, "preforge_requests_total", **labels) == 1


def test_a_loaded_api_without_traffic_has_a_series_and_an_unloaded_one_has_none() -> None:
    shared = shm.SharedCounters.create(2, 16)
    shared.row_for("loaded")
    shared.row_for("gone")
    page = metrics.render(shared, {"loaded": "L"}, "1")
    samples = parse(page)
    assert value(samples, "preforge_requests_total", api_id="loaded", api_name="L", status_class="2xx") == 0
    assert b"gone" not in page


def test_apis_beyond_the_table_are_counted_together_and_as_a_limit() -> None:
    shared = shm.SharedCounters.create(2, 3)
    rows = [shared.row_for(f"api{number}") for number in range(5)]
    assert rows == [1, 2, 0, 0, 0]
    for row in rows:
        shared.region(1).count(row, 200, 1)
    samples = parse(metrics.render(shared, {}, "1"))
    labels = {"api_id": "_other", "api_name": "", "status_class": "2xx"}
    assert value(samples, "preforge_requests_total", **labels) == 3
    assert value(samples, "preforge_limit_hits_total", limit="api_rows") == 3


def test_workers_are_listed_with_their_memory_while_they_run() -> None:
    shared = shm.SharedCounters.create(4, 4)
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        shared.region(3).begin(7, child.pid)
        shared.region(3).set(shm.G_CONNECTIONS, 5)
        shared.region(3).set(shm.G_APIS, 12)
        worker = {"slot": "1", "generation": "7"}

        def large() -> Samples | None:
            found = parse(metrics.render(shared, {}, "1"))
            return found if value(found, "preforge_worker_memory_bytes", **worker) > 100_000 else None

        # Between fork and exec a child has hardly any memory.
        samples = wait_for(large, "the child is as large as an interpreter")
        assert value(samples, "preforge_worker_info", **worker, pid=str(child.pid)) == 1
        assert value(samples, "preforge_worker_connections", **worker) == 5
        assert value(samples, "preforge_worker_heartbeat_age_seconds", **worker) >= 0
        assert value(samples, "preforge_apis") == 12
    finally:
        child.communicate(b"\n")
    assert metrics.memory_bytes(child.pid) == 0


def test_ten_thousand_apis_are_rendered_in_parts_of_bounded_size() -> None:
    shared = shm.SharedCounters.create(2, 16384)
    names = {f"api-{number}": f"API {number}" for number in range(10_000)}
    for api_id in names:
        shared.region(0).count(shared.row_for(api_id), 200, 1000)
    chunks = list(metrics.render_chunks(shared, names, "1"))
    assert max(len(chunk) for chunk in chunks) < 1 << 20
    assert b"".join(chunks).count(b'le="+Inf"} 1\n') == 10_000


def test_every_word_of_the_counters_is_on_the_page() -> None:
    shared = shm.SharedCounters.create(1, 2)
    region = shared.region(0)
    region.begin(0, os.getpid())
    for number, word in enumerate(shm.word_numbers().values()):
        if word > shm.G_GENERATION:
            region.set(word, 1_000_000 + number)
    values = set(parse(metrics.render(shared, {}, "1")).values())
    missing = [
        name
        for number, (name, word) in enumerate(shm.word_numbers().items())
        if word > shm.G_GENERATION and 1_000_000 + number not in values
    ]
    assert missing == []
