"""Answers of plugins in the place of the upstream's: return_overrides (tyk-plugins 3.5)."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest

from tests.conftest import Start
from tests.plugins.conftest import StartServer
from tests.plugins.plugin_site import PluginServer, grpc_conf, plugged
from tests.support.gateway import Gateway, Json, wait_for
from tests.support.upstream import Upstream

HOOKS = """
def said(o):
    import json
    given = json.loads(o.request.headers["X-Say"])
    overrides = o.request.return_overrides
    for name, value in given.items():
        if name == "headers": overrides.headers.update(value)
        else: setattr(overrides, name, value)
    o.request.set_headers["X-Edited"] = "1"
    if "X-Token" in o.request.headers: o.metadata["token"] = o.request.headers["X-Token"]
def never(o): raise AssertionError("it ran")
"""
ON_FAILURE = {"AuthFailure": [{"handler_name": "cp_dynamic_handler", "handler_meta": {"name": "failed"}}]}


@dataclass(slots=True)
class Stand:
    server: PluginServer
    gateway: Gateway


@pytest.fixture(scope="module")
def stand(start_server: StartServer, start: Start, upstream: Upstream) -> Stand:
    server = start_server(HOOKS)
    events: Json = {"definition": {"event_handlers": {"events": ON_FAILURE}}}
    apis = [
        plugged("pre", upstream.url, pre=["said", "never"], **events),
        plugged("post", upstream.url, post=["said", "never"], response="never"),
        plugged("on", upstream.url, pre="said"),
    ]
    return Stand(server, start(apis, grpc_conf(server)))


def say(**fields: object) -> str:
    return f"X-Say: {json.dumps(fields)}"


@pytest.mark.parametrize("place", ["pre", "post"])
def test_an_answer_ends_the_chain_and_is_sent_as_it_is(stand: Stand, upstream: Upstream, place: str) -> None:
    before = len(upstream.seen("/x"))
    line = say(response_code=202, response_body="plugin says", headers={"x-own": "1"})
    answer = stand.gateway.fetch(f"/{place}/x", line)
    assert (answer.status, answer.body) == (202, b"plugin says")
    assert (answer.get("X-Own"), answer.get("Content-Type")) == ("1", "text/plain; charset=utf-8")
    assert [answer.get(name) for name in ("X-Generator", "X-Ratelimit-Limit", "Server")] == [None, None, None]
    assert len(upstream.seen("/x")) == before


def test_content_type_of_the_plugin_is_not_guessed_over(stand: Stand) -> None:
    answer = stand.gateway.fetch("/pre/x", say(response_code=200, response_body="<p>", headers={"Content-Type": "text/x"}))
    assert answer.all("Content-Type") == ["text/x"]


def test_an_answer_without_a_body_has_none(stand: Stand) -> None:
    answer = stand.gateway.fetch("/pre/x", say(response_code=200))
    assert (answer.status, answer.body, answer.get("Content-Length")) == (200, b"", "0")


def test_a_redirect_is_passed_on(stand: Stand) -> None:
    answer = stand.gateway.fetch("/pre/x", say(response_code=302, headers={"Location": "http://elsewhere.test/"}))
    assert (answer.status, answer.get("Location")) == (302, "http://elsewhere.test/")


@pytest.mark.parametrize(
    ("said", "status", "text"),
    [
        ({"response_code": 400, "response_error": "bad thing"}, 400, "bad thing"),
        ({"response_code": 403, "response_error": "error", "response_body": "body"}, 403, "error"),
        ({"response_code": 401, "response_body": "body"}, 401, "body"),
        ({"response_code": 404}, 404, "Key not authorised"),
        ({"response_code": 503, "response_error": 'a "quoted" <text>'}, 503, 'a "quoted" <text>'),
    ],
)
def test_errors_come_as_the_error_page(stand: Stand, said: dict[str, object], status: int, text: str) -> None:
    answer = stand.gateway.fetch("/pre/x", say(**said, headers={"X-Own": "1", "Content-Type": "text/x"}))
    assert (answer.status, json.loads(answer.body)) == (status, {"error": text})
    assert (answer.all("Content-Type"), answer.get("X-Own")) == (["application/json"], "1")


@pytest.mark.parametrize("kind", ["application/xml", "text/xml", "application/soap+xml"])
def test_error_page_follows_the_content_type_of_the_request(stand: Stand, kind: str) -> None:
    answer = stand.gateway.fetch("/pre/x", say(response_code=401, response_error="a <b>"), f"Content-Type: {kind}")
    assert (answer.get("Content-Type"), b"<error>a &lt;b&gt;</error>" in answer.body) == (kind, True)


def test_an_error_that_is_to_be_sent_as_it_is(stand: Stand) -> None:
    answer = stand.gateway.fetch("/pre/x", say(response_code=401, override_error=True, response_body="raw"))
    assert (answer.status, answer.body, answer.get("Content-Type")) == (401, b"raw", "text/plain; charset=utf-8")


@pytest.mark.parametrize("code", [0, -1, -2000000000])
def test_no_code_means_no_answer(stand: Stand, code: int) -> None:
    answer = stand.gateway.fetch("/on/x", say(response_code=code, response_body="ignored"))
    assert answer.status == 200
    assert ["X-Edited", "1"] in json.loads(answer.body)["headers"]


@pytest.mark.parametrize("code", [1, 99, 101, 199, 600, 999, 2000000000])
def test_a_code_that_is_no_status_refuses_the_request(stand: Stand, code: int) -> None:
    answer = stand.gateway.fetch("/pre/x", say(response_code=code, response_body="x"))
    assert (answer.status, json.loads(answer.body)) == (500, {"error": "Middleware error"})


@pytest.mark.parametrize("code", [200, 429])
def test_limits_that_the_plugin_counts_itself_reach_the_client(stand: Stand, code: int) -> None:
    told = {"X-Ratelimit-Limit": "5", "X-Ratelimit-Remaining": "0", "Retry-After": "3", "Server": "own"}
    answer = stand.gateway.fetch("/pre/x", say(response_code=code, response_error="slow down", headers=told))
    assert {name: answer.get(name) for name in told} == told


def test_fields_of_the_connection_are_not_the_plugins(stand: Stand) -> None:
    given = {"Content-Length": "1", "Transfer-Encoding": "chunked", "Connection": "close", "Date": "never", "Keep-Alive": "1"}
    answer = stand.gateway.fetch("/pre/x", say(response_code=200, response_body="hello", headers=given))
    assert (answer.body, answer.all("Content-Length"), len(answer.all("Date"))) == (b"hello", ["5"], 1)
    assert [answer.get(name) for name in ("Transfer-Encoding", "Connection", "Keep-Alive")] == [None, None, None]
    assert answer.get("Date") != "never"


def test_headers_of_an_answer_cannot_split_it(stand: Stand) -> None:
    answer = stand.gateway.fetch("/pre/x", say(response_code=200, headers={"X-A": "a\r\nX-Smuggled: 1"}))
    assert (answer.get("X-A"), answer.get("X-Smuggled")) == ("a  X-Smuggled: 1", None)


def test_a_refusal_fires_an_event_with_the_token_that_the_plugin_named(stand: Stand) -> None:
    stand.gateway.fetch("/pre/refused", say(response_code=403), "X-Token: t0k")

    def found() -> list[Json]:
        return [one for one in stand.server.events("failed") if one["message"]["Meta"]["Path"] == "/pre/refused"]

    event = wait_for(found, "the event of the refusal")[0]
    assert event["spec"] == {"APIID": "pre", "OrgID": "default"}
    assert event["message"]["Type"] == "AuthFailure"
    assert event["message"]["Meta"]["Key"] == "t0k"
    assert set(event["message"]) == {"Type", "Meta", "TimeStamp"}
