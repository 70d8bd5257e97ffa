"""Hooks beside the other steps of an API: rewrites, methods, access rights, ignored paths, loops (tyk-plugins 3.2, 3.4)."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest

from tests.conftest import Start
from tests.plugins.conftest import StartServer
from tests.plugins.plugin_site import PluginServer, grpc_conf, plugged
from tests.support.gateway import Gateway, Json, api, merge
from tests.support.keys import ORG, call, session
from tests.support.site import manage
from tests.support.upstream import Upstream

HOOKS = """
def nothing(o): pass
def adds(o): o.request.add_params["p"] = "1"
def posts(o): o.request.method = "POST"
def marks(o): o.request.set_headers["X-Mark"] = o.hook_name + str(o.hook_type)
def goes(o):
    o.request.url = "tyk://inner/newpath"
    o.request.method = "GET"
def elsewhere(o): o.request.url = o.request.url.replace("/away?to=1", "/further?to=2")
def bare(o): o.request.url = "/path-alone"
def bad_url(o):
    lets_in(o)
    o.request.url = "/a%zz"
def bad_header(o):
    lets_in(o)
    o.request.set_headers["X Bad"] = "1"
def lets_in(o):
    o.session.rate, o.session.per = 0, 0
    o.metadata["token"] = "let-in"
def told(o): o.response.headers["X-Told"] = " ".join([o.request.method, o.request.url, *sorted(o.request.params)])
"""


def paths(**lists: list[Json]) -> Json:
    """A definition whose only version has these path lists."""
    version = {"name": "Default", "use_extended_paths": True, "extended_paths": lists}
    return {"version_data": {"versions": {"Default": version}}}


def rewrite(to: str) -> Json:
    """`/old` leads there, and its method becomes POST."""
    return paths(
        url_rewrites=[{"path": "/old", "method": "GET", "match_pattern": "old", "rewrite_to": to}],
        method_transforms=[{"path": "/old", "method": "GET", "to_method": "POST"}],
    )


@dataclass(slots=True)
class Stand:
    server: PluginServer
    gateway: Gateway


@pytest.fixture(scope="module")
def stand(start_server: StartServer, start: Start, upstream: Upstream) -> Stand:
    server, url = start_server(HOOKS), upstream.url
    keys: Json = {"use_keyless": False, "org_id": ORG}
    auth = merge(keys, {"enable_coprocess_auth": True})
    ignored = paths(ignored=[{"path": "/free", "method_actions": {"GET": {"action": "no_action", "code": 200}}}])
    apis = [
        api("inner", "/inner/", url),
        plugged("params", url, post="adds", response="told", definition=rewrite("/new?b=2")),
        plugged("loops", url, post="goes", definition=rewrite("/test2")),
        plugged("away", url, post="elsewhere", definition=rewrite(f"{url}/away?to=1")),
        plugged("bare", url, post="bare", definition=rewrite(f"{url}/away?to=1")),
        plugged("allowed", url, pre="posts", definition=keys),
        plugged("ignored", url, pre="marks", auth_check="lets_in", post_key_auth="marks", post="marks",
                definition=merge(auth, ignored)),
        plugged("bad_url", url, auth_check="bad_url", definition=auth),
        plugged("bad_header", url, auth_check="bad_header", definition=auth),
    ]  # fmt: skip
    return Stand(server, start(apis, grpc_conf(server)))


def seen(stand: Stand, target: str) -> Json:
    """What the upstream got of a request that passes."""
    answer = stand.gateway.fetch(target)
    assert answer.status == 200, (answer.status, answer.body)
    found: Json = json.loads(answer.body)
    return found


def test_parameters_of_a_hook_are_not_those_of_a_rewrites_target(stand: Stand) -> None:
    assert seen(stand, "/params/old?a=1")["target"] == "/new?b=2"


def test_a_response_hook_is_told_the_request_that_the_upstream_got(stand: Stand) -> None:
    answer = stand.gateway.fetch("/params/old?a=1")
    told = (answer.get("X-Told") or "").split()
    assert (told[0], told[1].partition("/new")[1:], told[2:]) == ("POST", ("/new", "?b=2"), ["b"])


def test_a_hook_can_lead_a_rewritten_request_into_another_api(stand: Stand) -> None:
    found = seen(stand, "/loops/old")
    assert (found["method"], found["target"]) == ("GET", "/newpath")
    request = stand.server.last("goes").request
    assert (request.url, request.method) == ("/test2", "POST")


@pytest.mark.parametrize(("name", "target"), [("away", "/further?to=2"), ("bare", "/path-alone")])
def test_a_hook_can_lead_a_request_for_another_upstream_elsewhere(stand: Stand, name: str, target: str) -> None:
    found = seen(stand, f"/{name}/old")
    assert (found["method"], found["target"]) == ("POST", target)


def test_access_rights_are_those_of_the_method_that_the_client_sent(stand: Stand) -> None:
    allowed = [{"url": "/allowed/.*", "methods": ["GET"]}]
    rights = {"allowed": {"api_id": "allowed", "api_name": "allowed", "versions": ["Default"], "allowed_urls": allowed}}
    manage(stand.gateway, "POST", "/tyk/keys/k1", session(access_rights=rights))
    answer = call(stand.gateway, "/allowed/x", f"{ORG}k1")
    assert (answer.status, json.loads(answer.body).get("method")) == (200, "POST")


def test_on_an_ignored_path_all_hooks_run_but_auth_check(stand: Stand) -> None:
    found = seen(stand, "/ignored/free")
    assert [value for name, value in found["headers"] if name == "X-Mark"] == ["marks2"]
    assert [said.hook_type for said in stand.server.seen("marks")] == [1, 3, 2]
    assert not stand.server.seen("lets_in")
    seen(stand, "/ignored/other")
    assert len(stand.server.seen("lets_in")) == 1


@pytest.mark.parametrize(
    ("name", "status", "text"), [("bad_url", 500, "Middleware error"), ("bad_header", 403, "Key not authorised")]
)
def test_an_auth_hook_whose_edits_cannot_be_made_lets_nobody_in(stand: Stand, name: str, status: int, text: str) -> None:
    answer = stand.gateway.fetch(f"/{name}/x")
    assert (answer.status, json.loads(answer.body)) == (status, {"error": text})
