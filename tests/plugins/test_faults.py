"""Plugins that fail, in every way: what the client gets (tyk-plugins 3.8), and that nothing passes unasked."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest

from tests.conftest import Start
from tests.plugins.conftest import StartServer
from tests.plugins.plugin_site import PluginServer, grpc_conf, plugged
from tests.support.gateway import Gateway, Json, wait_for
from tests.support.site import manage
from tests.support.upstream import Upstream
from tests.support.wire import Response, get

HOOKS = """
import time
def nothing(o): pass
def fails(o): raise ValueError("boom")
def slow(o): time.sleep(float(o.request.headers.get("X-Sleep", "20")))
def empty(o): return b""
def garbage(o): return b"\\xff\\xff\\xff\\xff"
def cut(o): return o.SerializeToString()[:-7]
def not_text(o): return b"\\x1a\\x04\\x2a\\x02\\xff\\xfe"
def no_request(o): o.ClearField("request")
def no_overrides(o): o.request.ClearField("return_overrides")
def large(o): o.request.raw_body = b"x" * (5 << 20)
def refuses(o):
    o.request.return_overrides.response_code = 401
"""
PLAIN = "fails empty garbage cut not_text no_such_hook no_request no_overrides large"
CASES = [*(("pre", name) for name in PLAIN.split()), *(("response", name) for name in PLAIN.split()[:6])]
MIDDLEWARE = {"error": "Middleware error"}


@dataclass(slots=True)
class Stand:
    server: PluginServer
    gateway: Gateway
    upstream: Upstream


def at(server: str) -> Json:
    """For a hook of this server."""
    return {"preforge": {"plugins": {"server": server}}}


@pytest.fixture(scope="module")
def stand(start_server: StartServer, start: Start, upstream: Upstream) -> Stand:
    server = start_server(HOOKS)
    away = start_server(HOOKS, run=False)
    url = upstream.url
    short: Json = {"preforge": {"plugins": {"deadline": 0.2}}}
    one: Json = {"driver": "grpc", "target": server.target, "max_in_flight": 1, "max_waiting": 0}
    servers: Json = {
        "away": {"driver": "grpc", "target": away.target},
        "wide": {"driver": "grpc", "target": server.target, "recv_max_size": 64 << 20},
        "one": one,
        "broken": {"driver": "grpc", "target": server.target, "tls": True, "ca_file": "/nonexistent/ca.pem"},
    }
    apis = [
        *(plugged(f"pre_{name}", url, pre=name) for name in PLAIN.split()),
        *(plugged(f"response_{name}", url, response=name) for name in PLAIN.split()),
        plugged("open", url, pre="nothing"),
        plugged("late", url, pre={"name": "slow", **short}),
        plugged("late_api", url, post="slow", definition=short),
        plugged("late_response", url, response={"name": "slow", **short}),
        plugged("gone", url, pre="slow"),
        *(plugged(f"{name}_pre", url, pre={"name": "slow", **at(name)}) for name in servers),
        plugged("wide", url, pre={"name": "nothing", "raw_body_only": True, **at("wide")}),
        *(plugged(f"{name}_response", url, response={"name": "slow", **at(name)}) for name in servers),
        plugged("nowhere", url, pre={"name": "nothing", **at("nobody")}),
        plugged("nameless", url, pre={"name": ""}),
    ]  # fmt: skip
    limits = {"max_buffered_body_bytes": 32 << 20}
    gateway = start(apis, grpc_conf(server, preforge={"plugins": {"servers": servers}, "limits": limits}))
    return Stand(server, gateway, upstream)


def error_of(answer: Response) -> tuple[int, Json]:
    return answer.status, json.loads(answer.body)


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_what_a_plugin_cannot_answer_is_refused_and_said(stand: Stand, kind: str, name: str) -> None:
    passed = len(stand.upstream.seen("/x"))
    assert error_of(stand.gateway.fetch(f"/{kind}_{name}/x", method="POST", body=b"client")) == (500, MIDDLEWARE)
    assert len(stand.upstream.seen("/x")) == passed + (kind == "response")
    assert f"API {kind}_{name}: {kind} hook {name} (driver grpc" in stand.gateway.log()


@pytest.mark.parametrize("name", ["late", "late_api", "late_response"])
def test_a_plugin_that_is_too_slow_is_not_waited_for(stand: Stand, name: str) -> None:
    assert error_of(stand.gateway.fetch(f"/{name}/x")) == (500, MIDDLEWARE)
    assert "the plugin did not answer in time" in stand.gateway.log()


def test_within_the_deadline_a_slow_plugin_counts(stand: Stand) -> None:
    assert stand.gateway.fetch("/late/x", "X-Sleep: 0.01").status == 200


def test_a_call_is_given_up_when_its_client_goes_away(stand: Stand) -> None:
    before = stand.gateway.metrics()["preforge_plugins_cancelled_total"]
    with stand.gateway.connect() as client:
        client.send(get("/gone/x"))
        wait_for(lambda: [one for one in stand.server.seen("slow") if one.spec["APIID"] == "gone"], "the call")
        client.reset()
    wait_for(lambda: stand.gateway.metrics()["preforge_plugins_cancelled_total"] == before + 1, "the end of the call")
    assert stand.gateway.metrics()["preforge_plugin_calls_running"] == 0


def test_too_many_calls_at_once_are_answered_with_503(stand: Stand) -> None:
    with stand.gateway.connect() as client:
        client.send(get("/one_pre/x", "h", "X-Sleep: 1"))
        wait_for(lambda: stand.gateway.metrics()["preforge_plugin_calls_running"] == 1, "the first call")
        for name in ("one_pre", "one_response"):
            answer = stand.gateway.fetch(f"/{name}/x")
            assert error_of(answer) == (503, {"error": "Service temporarily unavailable."})
        assert client.read().status == 200
    assert stand.gateway.metrics()['preforge_limit_hits_total{limit="plugins"}'] >= 2


@pytest.mark.parametrize("name", ["away_pre", "away_response"])
def test_a_server_that_is_away_refuses_its_hooks_alone(stand: Stand, name: str) -> None:
    assert error_of(stand.gateway.fetch(f"/{name}/x")) == (500, MIDDLEWARE)
    assert stand.gateway.fetch("/open/x").status == 200


@pytest.mark.parametrize("name", ["broken_pre", "broken_response", "nowhere", "nameless"])
def test_a_driver_that_cannot_run_is_an_internal_error(stand: Stand, name: str) -> None:
    assert error_of(stand.gateway.fetch(f"/{name}/x")) == (500, {"error": "Internal Server Error"})


def test_hello_says_which_servers_are_away_and_tells_only_administrators_why(stand: Stand) -> None:
    assert stand.gateway.fetch("/open/x").status == 200
    public = json.loads(stand.gateway.fetch("/hello").body)
    assert public["status"] == "warn"
    assert not any("output" in one for one in public["details"].values() if one["componentType"] == "plugin:grpc")
    said = json.loads(manage(stand.gateway, "GET", "/hello").body)
    states = {name: one["status"] for name, one in said["details"].items() if one["componentType"] == "plugin:grpc"}
    assert states.pop("away") in ("warn", "fail")
    assert states == {"coprocess_grpc_server": "pass", "one": "pass", "wide": "pass", "broken": "fail"}
    assert "ca.pem" in said["details"]["broken"]["output"]


@pytest.mark.parametrize("line", ["X-Bytes: \xff\xfe", "X-Half: \xc3"])
def test_a_header_that_is_not_utf8_is_refused_and_named(stand: Stand, line: str) -> None:
    with stand.gateway.connect() as client:
        client.send(f"GET /open/x HTTP/1.1\r\nHost: h\r\n{line}\r\n\r\n".encode("latin-1"))
        assert error_of(client.read()) == (500, MIDDLEWARE)
    assert f"request.headers.{line.partition(':')[0]}" in stand.gateway.log()
    assert stand.gateway.fetch("/open/x").status == 200


def test_a_body_over_the_limit_of_the_driver_is_refused(stand: Stand) -> None:
    """The default limits: a request of any size, a reply of 4 MiB. The reply has the body of the request."""
    assert stand.gateway.fetch("/open/x", method="POST", body=b"\xff" * (3 << 20)).status == 200
    assert error_of(stand.gateway.fetch("/open/x", method="POST", body=b"\xff" * (6 << 20))) == (500, MIDDLEWARE)
    assert stand.gateway.metrics()['preforge_limit_hits_total{limit="plugin_messages"}'] >= 1


def test_a_large_body_goes_through_a_driver_that_takes_it(stand: Stand) -> None:
    body = bytes(range(256)) * (20 << 12)
    assert stand.gateway.fetch("/wide/large", method="POST", body=body).status == 200
    assert stand.server.last("nothing").request.raw_body == body


def test_failures_are_counted_by_their_outcome(stand: Stand) -> None:
    stand.gateway.fetch("/pre_fails/x")
    stand.gateway.fetch("/late/x")
    text = stand.gateway.fetch("/metrics").body.decode()
    for api, hook, outcome in (("pre_fails", "fails", "error"), ("late", "slow", "timeout")):
        assert f'{{api_id="{api}",hook="pre",name="{hook}",driver="grpc",outcome="{outcome}"}}' in text
