"""Bodies of 20 MB through gRPC hooks, both ways, and what stays of them afterwards."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.conftest import Start
from tests.plugins.conftest import StartServer
from tests.plugins.plugin_site import PluginServer, grpc_conf, plugged
from tests.support.gateway import Gateway, Json, merge, resident, wait_for
from tests.support.upstream import Upstream, head, reply
from tests.support.wire import get

HOOKS = """
import time
def seen(o): o.request.set_headers["X-Seen"] = f"{len(o.request.raw_body)} {len(o.request.body)}"
def seen_response(o): o.response.headers["X-Seen"] = f"{len(o.response.raw_body)} {len(o.response.body)}"
def makes(o): o.request.raw_body = bytes(range(256)) * (20 << 12)
def makes_response(o): o.response.raw_body = bytes(range(256)) * (20 << 12)
def refuses(o): o.request.return_overrides.response_code = 403
def waits(o): time.sleep(float(o.request.headers.get("X-Sleep", "0")))
"""
MIB = 1 << 20
BINARY = bytes(range(256)) * (20 << 12)
TEXT = b"\xc3\xa4" * (10 * MIB)
RAISED: Json = {
    "coprocess_options": {"grpc_recv_max_size": 100 * MIB, "grpc_send_max_size": 100 * MIB},
    "preforge": {"limits": {"max_buffered_body_bytes": 64 * MIB, "max_buffered_response_bytes": 64 * MIB}},
}


@dataclass(slots=True)
class Stand:
    server: PluginServer
    upstream: Upstream
    raised: Gateway
    usual: Gateway


@pytest.fixture(scope="module")
def stand(start_server: StartServer, start: Start) -> Iterator[Stand]:
    server = start_server(HOOKS)
    with Upstream(keep_bytes=0) as upstream:
        names = ("seen", "makes", "refuses", "waits")
        apis = [
            *(plugged(name, upstream.url, pre=name) for name in names),
            plugged("response", upstream.url, response="seen_response"),
            plugged("makes_response", upstream.url, response="makes_response"),
        ]
        small: Json = {"driver": "grpc", "target": server.target, "max_bytes": MIB}
        servers: Json = {"preforge": {"plugins": {"servers": {"small": small}}}}
        at: Json = {"name": "waits", "preforge": {"plugins": {"server": "small"}}}
        usual = [*apis, plugged("small", upstream.url, pre=at)]
        for path in ("/sent", "/made"):
            upstream.on(path, reply(head("200 OK", "Content-Length: 2") + b"ok"))
        upstream.on("/large", reply(head("200 OK", f"Content-Length: {len(TEXT)}") + TEXT))
        yield Stand(
            server, upstream, start(apis, merge(grpc_conf(server), RAISED)), start(usual, merge(grpc_conf(server), servers))
        )


@pytest.mark.parametrize("body", [TEXT, BINARY], ids=["text", "binary"])
def test_a_request_of_20_megabytes_reaches_plugin_and_upstream(stand: Stand, body: bytes) -> None:
    assert stand.raised.fetch("/seen/sent", method="POST", body=body).status == 200
    sent = stand.upstream.seen("/sent")[-1]
    assert sent.body == body
    assert sent.get("X-Seen") == f"{len(body)} {len(body) // 2 if body is TEXT else 0}"


def test_a_response_of_20_megabytes_reaches_plugin_and_client(stand: Stand) -> None:
    answer = stand.raised.fetch("/response/large")
    assert (answer.body, answer.get("X-Seen")) == (TEXT, f"{len(TEXT)} {len(TEXT) // 2}")


def test_bodies_that_a_plugin_makes_go_on_whole(stand: Stand) -> None:
    assert stand.raised.fetch("/makes/made").status == 200
    assert stand.upstream.seen("/made")[-1].body == BINARY
    assert stand.raised.fetch("/makes_response/x").body == BINARY


def test_by_default_such_bodies_are_refused_on_every_way(stand: Stand) -> None:
    answer = stand.usual.fetch("/seen/x", method="POST", body=TEXT)
    assert (answer.status, json.loads(answer.body)) == (413, {"error": "Request is too large"})
    assert stand.usual.fetch("/response/large").status == 500
    assert stand.usual.fetch("/makes/x").status == 500
    assert stand.usual.fetch("/makes_response/x").status == 500
    for limit in ("buffered_body", "buffered_response", "plugin_messages"):
        name = f'preforge_limit_hits_total{{limit="{limit}"}}'
        wait_for(lambda name=name: stand.usual.metrics()[name] >= 1, name)  # type: ignore[misc]


def test_messages_under_way_are_bounded_and_the_rest_is_answered_with_503(stand: Stand) -> None:
    """The bound is max_bytes of the server."""
    body = b"\xff" * (MIB // 2)
    with stand.usual.connect() as client:
        lines = f"Content-Length: {len(body)}", "X-Sleep: 2"
        client.send(get("/small/x", "h", *lines).replace(b"GET", b"POST", 1) + body)
        wait_for(lambda: stand.usual.metrics()["preforge_plugin_calls_running"] == 1, "the first call")
        answer = stand.usual.fetch("/small/x", method="POST", body=body * 2)
        assert (answer.status, json.loads(answer.body)) == (503, {"error": "Service temporarily unavailable."})
        assert client.read().status == 200
    wait_for(lambda: stand.usual.metrics()['preforge_limit_hits_total{limit="plugins"}'] == 1, "the count")
    assert stand.usual.fetch("/small/x", method="POST", body=body * 4).status == 200


def test_nothing_stays_of_a_body_when_its_request_is_over(stand: Stand) -> None:
    """Neither on connections that are closed nor on those that are kept."""
    (worker,) = stand.raised.workers()
    body = TEXT[: 8 * MIB]
    request = get("/refuses/x", "h", f"Content-Length: {len(body)}").replace(b"GET", b"POST", 1) + body
    sizes = []
    with contextlib.ExitStack() as kept:
        for _ in range(16):
            assert kept.enter_context(stand.raised.connect()).send(request).read().status == 403
            assert stand.raised.fetch("/refuses/x", method="POST", body=body).status == 403
            sizes.append(resident(worker))
    assert sizes[-1] - sizes[3] < 6 * len(body), sizes
