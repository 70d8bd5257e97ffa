"""TykBatchRequest: parallel, in the order of arrival, bounded (tyk-jsvm 6.2)."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.scripts.host_support import Host, config, said, with_host
from tests.support.gateway import Json, free_port
from tests.support.tls import Authority
from tests.support.upstream import Connection, Seen, Upstream, head, reply, silent

BATCH = "TykBatchRequest"
FAILED = {"relative_url": "", "code": 0, "headers": None, "body": ""}


@pytest.fixture
def server() -> Iterator[Upstream]:
    with Upstream() as found:
        yield found


def sent(tmp_path: Path, batch: Any, options: Json | None = None, **jsvm: Any) -> Any:
    async def use(host: Host) -> Any:
        return await host.value(BATCH, batch)

    return with_host(use, config(tmp_path, options, **jsvm))


def test_answers_differ_from_their_requests(tmp_path: Path, server: Upstream) -> None:
    part = {"METHOD": "post", "headers": {"x-MIXED": "1"}, "body": "b\udcff", "relative_url": f"{server.url}/x#frag"}
    server.on("/x", reply(head("418 Teapot", "x-lower: 1", "Content-Length: 2"), b"\xffk"))
    found = sent(tmp_path, {"requests": [part]})
    headers = {"Content-Length": ["2"], "X-Lower": ["1"]}
    assert found == [{"relative_url": f"{server.url}/x#frag", "code": 418, "headers": headers, "body": "\ufffdk"}]
    seen = server.requests[0]
    assert (seen.method, seen.target, seen.body) == ("post", "/x", b"b\xff")
    assert [name for name, _ in seen.headers] == ["Host", "User-Agent", "X-Mixed", "Accept-Encoding", "Content-Length"]
    sent(tmp_path, {"requests": [part]}, {"ignore_canonical_mime_header_key": True})
    assert "x-MIXED" in [name for name, _ in server.requests[1].headers]


def test_requests_run_one_after_the_other(tmp_path: Path, server: Upstream) -> None:
    meeting = threading.Barrier(4)

    def meet(connection: Connection, seen: Seen) -> bool:
        meeting.wait(20)
        return reply(head("200 OK", "Content-Length: 2"), b"ok")(connection, seen)

    server.on("/x", meet)
    found = sent(tmp_path, {"requests": [{"relative_url": f"{server.url}/x"}] * 4})
    assert [unit["body"] for unit in found] == ["ok"] * 4


def test_answers_wait_for_those_before_them(tmp_path: Path, server: Upstream) -> None:
    second = threading.Event()

    def slow(connection: Connection, seen: Seen) -> bool:
        second.wait(20)
        return reply(head("200 OK", "Content-Length: 1"), b"1")(connection, seen)

    def quick(connection: Connection, seen: Seen) -> bool:
        try:
            return reply(head("200 OK", "Content-Length: 1"), b"2")(connection, seen)
        finally:
            threading.Timer(0.05, second.set).start()

    server.on("/1", slow)
    server.on("/2", quick)
    parts = [{"relative_url": f"{server.url}/{number}"} for number in (1, 2)]
    assert [unit["body"] for unit in sent(tmp_path, {"requests": parts})] == ["2", "1"]


def test_a_sequence_runs_at_once(tmp_path: Path, server: Upstream) -> None:
    running, most = 0, 0

    def count(connection: Connection, seen: Seen) -> bool:
        nonlocal running, most
        running += 1
        most = max(most, running)
        connection.read_body(seen)
        running -= 1
        connection.send(head("200 OK", "Content-Length: 0"))
        return True

    parts = [{"relative_url": f"{server.url}/x?{number}"} for number in range(12)]
    server.on("/x", count)
    found = sent(tmp_path, {"requests": parts, "suppress_parallel_execution": True})
    assert [unit["relative_url"] for unit in found] == [part["relative_url"] for part in parts]
    assert [seen.target for seen in server.requests] == [f"/x?{number}" for number in range(12)]
    assert most == 1


def test_one_failure_takes_the_others_along(tmp_path: Path, server: Upstream, caplog: pytest.LogCaptureFixture) -> None:
    urls = [f"http://127.0.0.1:{free_port()}/", server.url, "/relative", "ftp://h/", "", "http://169.254.169.254/", "http://h/%zz"]
    batch = {"requests": [{"relative_url": url} for url in urls], "suppress_parallel_execution": True}
    found = sent(tmp_path, batch)
    assert [unit["code"] for unit in found] == [0, 200, 0, 0, 0, 0, 0]
    assert [unit for unit in found if not unit["code"]] == [FAILED] * 6
    assert [record.message.startswith("Batch request failed: ") for record in said(caplog)] == [True] * 6


@pytest.mark.parametrize(
    "batch",
    [
        "undefined", "", "{", "[]", '{"requests": {}}', '{"requests": [5]}', '{"requests": [{"method": 5}]}',
        '{"requests": [{"body": {}}]}', '{"requests": [{"headers": {"a": 5}}]}', '{"suppress_parallel_execution": "yes"}',
        '{"requests": [{"relative_url": "SELF"}, {"relative_url": "SELF", "method": "A B"}]}',
        '{"requests": [{"relative_url": "SELF"}, {"relative_url": "SELF", "headers": {"a": "b\\r\\nc: d"}}]}',
    ],
)  # fmt: skip
def test_what_is_no_batch_is_sent_in_part(
    tmp_path: Path, server: Upstream, caplog: pytest.LogCaptureFixture, batch: str
) -> None:
    async def use(host: Host) -> Any:
        return await host.call(BATCH, batch.replace("SELF", server.url))

    assert with_host(use, config(tmp_path)) is None
    assert [record.message.startswith("Batch request error: ") for record in said(caplog)] == [True]
    assert server.requests == []


@pytest.mark.parametrize("batch", ["{}", '{"requests": []}', '{"requests": null}', "null"])
def test_an_empty_batch_fails(tmp_path: Path, batch: str) -> None:
    assert sent(tmp_path, batch) == []


def test_a_batch_opens_more_requests_than_may_run(tmp_path: Path, server: Upstream) -> None:
    server.on("/x", silent)

    async def use(host: Host) -> dict[str, int]:
        batch = {"requests": [{"relative_url": f"{server.url}/x"}] * 50}
        task = asyncio.create_task(host.call(BATCH, batch))
        second = asyncio.create_task(host.call(BATCH, batch))
        while len(server.seen("/x")) < 3:
            await asyncio.sleep(0.005)
        await asyncio.sleep(0.05)
        stats = host.functions.stats()
        task.cancel()
        second.cancel()
        await asyncio.gather(task, second, return_exceptions=True)
        assert host.functions.stats()["http_running"] == 0
        assert host.functions.stats()["http_waiting"] == 0
        return stats

    stats = with_host(use, config(tmp_path, max_requests=3))
    assert (stats["http_running"], stats["http_waiting"], stats["http_refused"]) == (3, 3, 0)
    assert len(server.seen("/x")) == 3


def test_a_batch_of_many_is_refused(tmp_path: Path, server: Upstream) -> None:
    found = sent(tmp_path, {"requests": [{"relative_url": f"{server.url}/x"}] * 100}, max_requests=2)
    assert [unit["code"] for unit in found] == [200] * 100
    assert len(server.connections) == 2


@pytest.mark.parametrize("suppress", [False, True])
def test_the_answers_of_a_batch_fill_the_memory(tmp_path: Path, server: Upstream, suppress: bool) -> None:
    server.on("/x", reply(head("200 OK", "Content-Length: 400"), bytes(400)))
    batch = {"requests": [{"relative_url": f"{server.url}/x"}] * 9, "suppress_parallel_execution": suppress}
    found = sent(tmp_path, batch, max_response_bytes=1000)
    assert sorted(unit["code"] for unit in found) == [0] * 7 + [200] * 2


def test_only_the_settings_of_the_gateway_count_for_tls(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    with Upstream(tls=authority.server("127.0.0.1")) as server:

        async def use(host: Host) -> Any:
            batch = {"requests": [{"relative_url": server.url}]}
            loose = host.caller.tls.__class__(True, 0, 0, (), "")  # type: ignore[misc]
            return (await host.value(BATCH, batch, tls=loose))[0]["code"]

        assert with_host(use, config(tmp_path / "1")) == 0
        assert with_host(use, config(tmp_path / "2", {"proxy_ssl_insecure_skip_verify": True})) == 200
