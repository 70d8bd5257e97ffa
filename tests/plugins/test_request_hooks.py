"""Hooks that see a request: what they are told, and what becomes of what they say (tyk-plugins 3.3, 3.4)."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.plugins.conftest import StartServer
from tests.plugins.plugin_site import PluginServer, grpc_conf, plugged
from tests.support.gateway import Gateway, Json, api, merge
from tests.support.keys import ORG, call, session
from tests.support.site import Site, manage, open_site
from tests.support.wire import Response

HOOKS = """
def nothing(o): pass
def headers(o):
    o.request.set_headers["x-both"] = "set"
    o.request.set_headers["Host"] = "other.test"
    o.request.set_headers["X-Spelt"] = "one"
    o.request.delete_headers.extend(["X-Both", "x-gone"])
def params(o):
    o.request.add_params["both"] = "added"
    o.request.add_params["b"] = "a b&c"
    o.request.delete_params.extend(["both", "gone"])
def body(o): o.request.raw_body = b"from " + o.request.raw_body
def text_body(o): o.request.body = "ignored"
def no_body(o): o.request.raw_body = b""
def path(o): o.request.url = "/path/other"
def query(o): o.request.url = "/query/other?own=1"
def same_query(o): o.request.url = "/same_query/other?b=2&a=1"
def outside(o): o.request.url = "/elsewhere"
def absolute(o): o.request.url = "http://elsewhere.test/absolute/y"
def loops(o): o.request.url = "tyk://inner/there?x=1"
def loops_named(o): o.request.url = "tyk://self/again"
def lost(o): o.request.url = "tyk://nobody/"
def method(o): o.request.method = "PUT"
def no_method(o): o.request.method = ""
def bad_url(o): o.request.url = "/a%zz"
def empty_url(o): o.request.url = ""
def bad_header(o): o.request.set_headers["X Bad"] = "1"
def bad_value(o): o.request.set_headers["X-Bad"] = "a\\r\\nX-Smuggled: 1"
def too_many(o):
    for number in range(1001): o.request.set_headers[f"X-{number}"] = "1"
def first(o): o.request.set_headers["X-From-First"] = "1"
def second(o): o.request.set_headers["X-Second-Saw"] = o.request.headers["X-From-First"]
def echo_session(o): o.request.set_headers["X-Alias"] = o.session.alias
def other_session(o):
    o.session.alias = "changed"
    o.metadata["token"] = "stolen"
def rewritten(o): o.request.set_headers["X-Saw"] = o.request.method + " " + o.request.url + " " + o.request.request_uri
def rewrites_again(o): o.request.url = "/third?c=3"
"""
REWRITE = {
    "use_extended_paths": True,
    "extended_paths": {
        "url_rewrites": [{"path": "/old", "method": "GET", "match_pattern": "old", "rewrite_to": "/new?b=2"}],
        "method_transforms": [{"path": "/old", "method": "GET", "to_method": "PUT"}],
    },
}
PLAIN = "headers params body text_body no_body path query same_query outside absolute method no_method bad_url empty_url "
PLAIN += "bad_header bad_value too_many nothing lost loops loops_named"


@dataclass(slots=True)
class Stand:
    """A gateway with its plugin server."""

    site: Site
    server: PluginServer
    gateway: Gateway

    def upstream(self, target: str, *lines: str, **more: Any) -> Json:
        """A request that passes: what the upstream got."""
        answer = self.gateway.fetch(target, *lines, **more)
        assert answer.status == 200, (answer.status, answer.body)
        found: Json = json.loads(answer.body)
        return found


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory, start_server: StartServer) -> Iterator[Stand]:
    server = start_server(HOOKS)
    with contextlib.ExitStack() as stack:
        site = stack.enter_context(open_site(tmp_path_factory.mktemp("site")))
        url = site.upstream.url
        config: Json = {"definition": {"config_data": {"b": "<&>", "a": [1]}}}
        versioned: Json = {"definition": {"version_data": {"versions": {"Default": {"name": "Default", **REWRITE}}}}}
        keys: Json = {"definition": {"use_keyless": False, "org_id": ORG}}
        apis = [
            *(plugged(name, url, pre=name) for name in PLAIN.split()),
            api("inner", "/inner/", url),
            plugged("twice", url, pre=["first", "second"]),
            plugged("told", url, pre={"name": "nothing"}, **config),
            plugged("raw", url, pre={"name": "nothing", "raw_body_only": True}),
            plugged("hidden", url, pre="nothing", **merge(config, {"definition": {"config_data_disabled": True}})),
            plugged("off", url, pre=[{"name": "bad_url", "disabled": True}]),
            plugged("keyed", url, post_key_auth="echo_session", post=["other_session", "echo_session"], **keys),
            plugged("keyless", url, post_key_auth="bad_url", post="nothing"),
            plugged("rewritten", url, post="rewritten", **versioned),
            plugged("again", url, post=["rewrites_again", "rewritten"], **versioned),
            plugged("pre_put", url, pre=["method", "rewritten"]),
        ]
        gateway = site.gateway(*apis, **grpc_conf(server))
        yield Stand(site, server, gateway)


def header(seen: Json, name: str) -> list[str]:
    return [value for key, value in seen["headers"] if key == name]


def test_headers_are_deleted_before_others_are_set_and_host_stays(stand: Stand) -> None:
    seen = stand.upstream("/headers/x", "X-Both: client", "X-Both: twice", "X-Gone: 1", "X-Stay: 1", "X-Stay: 2")
    assert header(seen, "X-Both") == ["set"]
    assert header(seen, "X-Gone") == []
    assert header(seen, "X-Stay") == ["1", "2"]
    assert header(seen, "Host") == [f"127.0.0.1:{stand.site.upstream.url.rpartition(':')[2].rstrip('/')}"]


def test_parameters_are_deleted_before_others_are_added(stand: Stand) -> None:
    assert stand.upstream("/params/x?both=client&gone=1&stay=%7e")["target"] == "/x?b=a+b%26c&both=added&stay=~"


def test_a_query_that_no_parameter_changes_stays_as_it_was_written(stand: Stand) -> None:
    assert stand.upstream("/nothing/x?z=1&a=%7e&flag")["target"] == "/x?z=1&a=%7e&flag"


def test_the_raw_body_counts_with_its_new_length(stand: Stand) -> None:
    seen = stand.upstream("/body/x", method="POST", body=b"client")
    assert seen["body"] == "from client"
    assert header(seen, "Content-Length") == ["11"]


def test_a_changed_text_body_is_ignored(stand: Stand) -> None:
    assert stand.upstream("/text_body/x", method="POST", body=b"client")["body"] == "client"


def test_an_emptied_raw_body_goes_on_empty(stand: Stand) -> None:
    seen = stand.upstream("/no_body/x", method="POST", body=b"client")
    assert (seen["body"], header(seen, "Content-Length")) == ("", ["0"])


@pytest.mark.parametrize(
    ("target", "seen"),
    [
        ("/path/x?a=1", "/other?a=1"),
        ("/query/x?a=1", "/other?a=1"),
        ("/query/x?own=1", "/other?own=1"),
        ("/query/x", "/other"),
        ("/same_query/x?a=1&b=2", "/other?b=2&a=1"),
        ("/outside/x", "/elsewhere"),
        ("/absolute/x", "/y"),
        ("/loops/x", "/there?x=1"),
    ],
)
def test_url_of_the_plugin_counts_but_the_query_is_that_of_the_parameters(stand: Stand, target: str, seen: str) -> None:
    assert stand.upstream(target)["target"] == seen


@pytest.mark.parametrize("name", ["bad_url", "empty_url", "bad_header", "bad_value", "too_many"])
def test_what_cannot_stand_in_a_request_refuses_it(stand: Stand, name: str) -> None:
    before = len(stand.site.upstream.seen("/x"))
    answer = stand.gateway.fetch(f"/{name}/x", method="POST", body=b"b")
    assert answer.status == 500
    assert json.loads(answer.body) == {"error": "Middleware error"}
    assert len(stand.site.upstream.seen("/x")) == before
    assert f"API {name}: pre hook {name}" in stand.gateway.log()


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("empty_url", "request.url: expected a URL, found none"),
        ("bad_url", "request.url: '/a%zz' is not a URL"),
        ("bad_header", 'request.set_headers["X Bad"]: this is not the name of a header'),
        ("too_many", "request.set_headers: expected at most 1000 headers, got 1001"),
    ],
)
def test_the_log_names_the_field_that_cannot_be_used(stand: Stand, name: str, problem: str) -> None:
    stand.gateway.fetch(f"/{name}/x")
    assert problem in stand.gateway.log().replace('\\"', '"')


def test_a_loop_to_no_api_is_refused(stand: Stand) -> None:
    answer = stand.gateway.fetch("/lost/x")
    assert (answer.status, json.loads(answer.body)) == (500, {"error": "Couldn't detect target"})


def test_a_loop_that_never_ends_is_bounded(stand: Stand) -> None:
    answer = stand.gateway.fetch("/loops_named/x")
    assert answer.status == 500
    assert "Loop level too deep" in json.loads(answer.body)["error"]
    assert 1 < len(stand.server.seen("loops_named")) < 200


def test_another_method_goes_upstream(stand: Stand) -> None:
    assert stand.upstream("/method/x", method="POST", body=b"b")["method"] == "PUT"
    assert stand.upstream("/no_method/x", method="POST", body=b"b")["method"] == "POST"


def test_the_next_hook_is_told_the_method_that_the_one_before_wanted(stand: Stand) -> None:
    assert header(stand.upstream("/pre_put/x"), "X-Saw") == ["PUT /pre_put/x /pre_put/x"]


def test_hooks_run_in_order_and_see_what_was_changed(stand: Stand) -> None:
    assert header(stand.upstream("/twice/x"), "X-Second-Saw") == ["1"]


def test_a_disabled_hook_is_never_called(stand: Stand) -> None:
    assert stand.upstream("/off/x")["target"] == "/x"


def test_what_a_pre_hook_is_told(stand: Stand) -> None:
    body = b'{"a": "\xc3\xa4"}'
    stand.upstream("/told/x%20y?p=1&p=2&q=%26", "X-Two: 1", "x-two: 2", "Cookie: c", method="POST", body=body)
    said = stand.server.last("nothing")
    request = said.request
    assert (said.hook_type, said.hook_name) == (1, "nothing")
    assert (request.method, request.scheme) == ("POST", "http")
    assert request.url == "/told/x%20y?p=1&p=2&q=%26"
    assert request.request_uri == request.url
    assert request.headers["X-Two"] == "1"
    assert request.headers["Host"] == "gateway.test"
    assert dict(request.params) == {"p": "1", "q": "&"}
    assert (request.body, request.raw_body) == (body.decode(), body)
    assert request.return_overrides.response_code == -1
    assert not said.HasField("session")
    assert not said.HasField("response")
    assert dict(said.metadata) == {}
    assert dict(said.spec) == {
        "OrgID": "default", "APIID": "told", "bundle_hash": "d41d8cd98f00b204e9800998ecf8427e",
        "config_data": '{"a":[1],"b":"\\u003c\\u0026\\u003e"}',
    }  # fmt: skip


def test_config_data_that_is_disabled_is_not_told(stand: Stand) -> None:
    stand.upstream("/hidden/x")
    assert "config_data" not in stand.server.last("nothing").spec


def test_text_body_is_left_out_where_it_is_not_wanted_or_not_text(stand: Stand) -> None:
    stand.upstream("/raw/x", method="POST", body=b"text")
    assert (stand.server.last("nothing").request.body, stand.server.last("nothing").request.raw_body) == ("", b"text")
    stand.upstream("/nothing/x", method="POST", body=b"\xff\xfe")
    assert (stand.server.last("nothing").request.body, stand.server.last("nothing").request.raw_body) == ("", b"\xff\xfe")


def test_hooks_behind_authentication_see_the_session_and_cannot_change_it(stand: Stand) -> None:
    meta = {"deep": {"x": [1]}, "plain": "text"}
    manage(stand.gateway, "POST", "/tyk/keys/k1", session("keyed", alias="ali", meta_data=meta, rate=77, per=7))
    answers: list[Response] = [call(stand.gateway, "/keyed/x", f"{ORG}k1") for _ in range(2)]
    assert [header(json.loads(answer.body), "X-Alias") for answer in answers] == [["ali"], ["ali"]]
    said = stand.server.last("echo_session")
    assert (said.session.alias, said.session.rate, said.session.org_id) == ("ali", 77.0, ORG)
    assert dict(said.session.metadata) == dict(said.metadata) == {"deep": '{"x":[1]}', "plain": "text"}
    assert [one.hook_type for one in stand.server.seen("echo_session")[-2:]] == [3, 2]


def test_hooks_are_told_what_is_left_of_the_quota_now(stand: Stand) -> None:
    quota = {"quota_max": 10, "quota_remaining": 10, "quota_renewal_rate": 3600}
    manage(stand.gateway, "POST", "/tyk/keys/k2", session("keyed", alias="quota", **quota))
    told = []
    for _ in range(3):
        assert call(stand.gateway, "/keyed/x", f"{ORG}k2").status == 200
        said = stand.server.last("echo_session")
        assert (said.session.alias, said.session.quota_max) == ("quota", 10)
        told.append(said.session.quota_remaining)
    assert told == [9, 8, 7]


def test_post_key_auth_never_runs_for_an_open_api_and_post_has_no_session(stand: Stand) -> None:
    stand.upstream("/keyless/x")
    assert not stand.server.last("nothing").HasField("session")
    assert "never runs" in stand.gateway.log()


def test_post_hooks_are_told_where_a_rewrite_leads(stand: Stand) -> None:
    seen = stand.upstream("/rewritten/old?a=1")
    assert (seen["method"], seen["target"]) == ("PUT", "/new?b=2")
    assert header(seen, "X-Saw") == ["PUT /new?b=2 /new?b=2"]


def test_a_post_hook_can_lead_a_rewrite_elsewhere(stand: Stand) -> None:
    seen = stand.upstream("/again/old?a=1")
    assert (seen["method"], seen["target"]) == ("PUT", "/third?c=3")
    assert header(seen, "X-Saw") == ["PUT /third?c=3 /third?c=3"]


def test_each_of_many_requests_at_once_gets_its_own_answer(stand: Stand) -> None:
    clients = [stand.gateway.connect() for _ in range(16)]
    try:
        for number, client in enumerate(clients):
            client.send(f"POST /body/{number} HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{number:02d}".encode())
        bodies = [json.loads(client.read().body) for client in clients]
    finally:
        for client in clients:
            client.sock.close()
    assert [(one["target"], one["body"]) for one in bodies] == [(f"/{n}", f"from {n:02d}") for n in range(16)]


def test_calls_are_counted_by_driver_api_and_hook(stand: Stand) -> None:
    stand.upstream("/twice/x")
    text = stand.gateway.fetch("/metrics").body.decode()
    assert 'preforge_hook_calls_total{api_id="twice",hook="pre",name="second",driver="grpc",outcome="ok"}' in text
    assert 'preforge_hook_duration_seconds_count{api_id="twice",hook="pre",name="first",driver="grpc"}' in text


def test_the_library_of_grpc_is_in_no_process_of_the_gateway(stand: Stand) -> None:
    stand.upstream("/nothing/x")
    processes = [stand.gateway.pid, *stand.gateway.workers()]
    assert [pid for pid in processes if "/grpc/_cython" in Path(f"/proc/{pid}/maps").read_text()] == []
    assert "cygrpc" not in Path(f"/proc/{processes[0]}/maps").read_text()
