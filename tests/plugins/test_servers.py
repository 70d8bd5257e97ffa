"""Several servers, global hooks, reloads: who is called, and when (tyk-plugins 1.1, 3.7)."""

from __future__ import annotations

import contextlib
import itertools
import json
import sys
import threading
from pathlib import Path

from tests.plugins.plugin_site import PluginServer, grpc_conf, plugged, plugin_server
from tests.support.gateway import Gateway, Json, api, merge, running, wait_for
from tests.support.site import Site, manage
from tests.support.upstream import Upstream

NAMED = """
import os
def nothing(o): pass
def named(o): o.request.set_headers["X-By"] = " ".join(filter(None, [o.request.headers.get("X-By"), "NAME"]))
def answered(o): o.response.headers["X-By"] = "NAME"
"""
JSON_RPC = """
import json, sys
for line in sys.stdin:
    call = json.loads(line)
    if "id" not in call:
        continue
    said = call["params"]
    if said["hook_type"] == "response":
        said["response"]["headers"]["X-By"] = "children"
    else:
        said["request"]["set_headers"]["X-By"] = "children"
    print(json.dumps({"jsonrpc": "2.0", "result": said, "id": call["id"]}), flush=True)
"""


def by(gateway: Gateway, target: str) -> str:
    """Who has touched a request."""
    answer = gateway.fetch(target)
    assert answer.status == 200, (target, answer.status, answer.body)
    found = [value for name, value in json.loads(answer.body)["headers"] if name == "X-By"]
    return found[0] if found else ""


def at(server: str) -> Json:
    return {"preforge": {"plugins": {"server": server}}}


def test_apis_and_hooks_choose_among_servers_of_all_kinds(tmp_path: Path, upstream: Upstream) -> None:
    socket = f"unix:{tmp_path}/plugin.sock"
    (tmp_path / "plugin.py").write_text(JSON_RPC)
    with contextlib.ExitStack() as stack:
        servers = [
            stack.enter_context(plugin_server(tmp_path / name, NAMED.replace("NAME", name), address))
            for name, address in (("main", ""), ("tcp", ""), ("unix", socket))
        ]
        conf: Json = {"servers": {
            "tcp": {"driver": "grpc", "target": servers[1].address},
            "unix": {"driver": "grpc", "target": f"unix://{tmp_path}/plugin.sock"},
            "rpc": {"driver": "jsonrpc", "command": [sys.executable, str(tmp_path / "plugin.py")]},
        }}  # fmt: skip
        url = upstream.url
        apis = [
            plugged("own", url, pre=["named", {"name": "named", **at("tcp")}, {"name": "named", **at("unix")}]),
            plugged("theirs", url, pre="named", definition=at("tcp")),
            plugged("both", url, pre=["named", {"name": "named", **at("unix")}], definition=at("tcp")),
            plugged("rpc", url, driver="jsonrpc", pre="any", response="any"),
            plugged("other", url, pre={"name": "any", **at("rpc")}),
        ]
        with running(tmp_path / "gateway", apis, grpc_conf(servers[0], preforge={"plugins": conf})) as gateway:
            assert by(gateway, "/own/x") == "main tcp unix"
            assert by(gateway, "/theirs/x") == "tcp"
            assert by(gateway, "/both/x") == "tcp unix"
            assert by(gateway, "/rpc/x") == "children"
            assert gateway.fetch("/rpc/x").get("X-By") == "children"
            assert by(gateway, "/other/x") == "children"
            text = gateway.fetch("/metrics").body.decode()
            assert 'name="any",driver="jsonrpc",outcome="ok"}' in text
            states = json.loads(gateway.fetch("/hello").body)["details"]
            up = {name for name, one in states.items() if one["status"] == "pass"}
            assert up == {"redis", "coprocess_grpc_server", "tcp", "unix", "rpc"}


def test_global_hooks_stand_around_those_of_all_apis_or_of_those_with_a_tag(tmp_path: Path, upstream: Upstream) -> None:
    script = tmp_path / "mw.js"
    script.write_text(
        "var js = new TykJS.TykMiddleware.NewMiddleware({});\n"
        "js.NewProcessRequest(function(request, session) {\n"
        "  request.SetHeaders['X-By'] = (request.Headers['X-By'] || [''])[0] + ' js';\n"
        "  return js.ReturnData(request, {});\n});\n"
    )
    with contextlib.ExitStack() as stack:
        one = stack.enter_context(plugin_server(tmp_path / "one", NAMED.replace("NAME", "one")))
        two = stack.enter_context(plugin_server(tmp_path / "two", NAMED.replace("NAME", "two")))
        hooks: list[Json] = [
            {"hook": "pre", "driver": "grpc", "name": "named", "tags": ["some"]},
            {"hook": "pre", "server": "two", "name": "named", "position": "after"},
            {"hook": "response", "server": "two", "name": "answered"},
            {"hook": "post_key_auth", "server": "two", "name": "no_such_hook"},
        ]
        url = upstream.url
        js: Json = {"custom_middleware": {"driver": "otto", "pre": [{"name": "js", "path": str(script)}]}}
        apis = [
            api("bare", "/bare/", url),
            api("tagged", "/tagged/", url, tags=["other", "some"]),
            plugged("own", url, pre="named", definition={"tags": ["some"]}),
            api("script", "/script/", url, **merge(js, {"tags": ["some"]})),
        ]
        ours: Json = {"servers": {"two": {"driver": "grpc", "target": two.target}}, "global_hooks": hooks}
        conf = grpc_conf(one, preforge={"plugins": ours}, enable_jsvm=True)
        with running(tmp_path / "gateway", apis, conf) as gateway:
            assert by(gateway, "/bare/x") == "two"
            assert by(gateway, "/tagged/x") == "one two"
            assert by(gateway, "/own/x") == "one one two"
            assert by(gateway, "/script/x") == "one js two"
            assert gateway.fetch("/bare/x").get("X-By") == "two"
            two.kill()
            assert gateway.fetch("/bare/x").status == 500


SCRIPT = """
var NAME = new TykJS.TykMiddleware.NewMiddleware({});
NAME.NewProcessRequest(function(request, session, config) {
  request.SetHeaders['X-By'] = [(request.Headers['X-By'] || [''])[0], 'NAME:' + config.APIID].join(' ').trim();
  return NAME.ReturnData(request, {});
});
"""
ANSWERS = """
var answers = new TykJS.TykMiddleware.NewMiddleware({});
answers.NewProcessResponse(function(response) {
  response.SetHeaders['X-Answered'] = 'js';
  return answers.ReturnResponseData(response, {});
});
"""


def test_scripts_and_plugins_in_global_hooks_run_in_the_order_of_the_list(tmp_path: Path, upstream: Upstream) -> None:
    for name in ("first", "last", "own"):
        (tmp_path / f"{name}.js").write_text(SCRIPT.replace("NAME", name))
    hooks: list[Json] = [
        {"hook": "pre", "driver": "otto", "name": "last", "path": str(tmp_path / "last.js"), "position": "after"},
        {"hook": "pre", "driver": "otto", "name": "first", "path": str(tmp_path / "first.js")},
        {"hook": "pre", "driver": "grpc", "name": "named", "tags": ["some"]},
        {"hook": "pre", "driver": "javascript", "name": "last", "path": str(tmp_path / "last.js"), "tags": ["some"]},
        {"hook": "post_key_auth", "driver": "otto", "name": "absent", "path": str(tmp_path / "first.js")},
    ]
    url = upstream.url
    js: Json = {"custom_middleware": {"driver": "otto", "pre": [{"name": "own", "path": str(tmp_path / "own.js")}]}}
    with plugin_server(tmp_path / "plugin", NAMED.replace("NAME", "grpc")) as server:
        apis = [
            api("bare", "/bare/", url),
            plugged("rich", url, pre="named", definition={"tags": ["some"]}),
            api("script", "/script/", url, **js),
        ]
        conf = grpc_conf(server, preforge={"plugins": {"global_hooks": hooks}}, enable_jsvm=True)
        with running(tmp_path / "gateway", apis, conf) as gateway:
            assert by(gateway, "/bare/x") == "first:bare last:bare"
            assert by(gateway, "/rich/x") == "first:rich grpc last:rich grpc last:rich"
            assert by(gateway, "/script/x") == "first:script own:script last:script"
            counted = gateway.fetch("/metrics").body.decode()
            assert 'hook="pre",name="first",driver="javascript",outcome="ok"}' in counted


def test_an_edited_global_script_is_taken_at_a_reload_and_a_lost_one_refuses(tmp_path: Path, upstream: Upstream) -> None:
    script = tmp_path / "mw.js"
    script.write_text(SCRIPT.replace("NAME", "mw"))
    hooks: list[Json] = [{"hook": "pre", "driver": "otto", "name": "mw", "path": str(script)}]
    conf: Json = {"enable_jsvm": True, "preforge": {"plugins": {"global_hooks": hooks}}}
    with running(tmp_path / "gateway", [api("a", "/a/", upstream.url)], conf) as gateway:
        assert by(gateway, "/a/x") == "mw:a"
        script.write_text(SCRIPT.replace("NAME", "mw").replace("'mw:'", "'edited:'"))
        gateway.reload()
        wait_for(lambda: by(gateway, "/a/x") == "edited:a", "the edited script")
        script.unlink()
        gateway.reload()
        wait_for(lambda: gateway.fetch("/a/x").status == 500, "the lost script")
        assert f"$.preforge.plugins.global_hooks[0].path: error: {script} does not exist" in gateway.log()


def test_a_global_script_sees_the_answer(tmp_path: Path, upstream: Upstream) -> None:
    script = tmp_path / "answers.js"
    script.write_text(ANSWERS)
    hooks: list[Json] = [{"hook": "response", "driver": "javascript", "name": "answers", "path": str(script)}]
    conf: Json = {"enable_jsvm": True, "preforge": {"plugins": {"global_hooks": hooks}}}
    with running(tmp_path / "gateway", [api("a", "/a/", upstream.url)], conf) as gateway:
        assert gateway.fetch("/a/x").get("X-Answered") == "js"


def test_a_killed_server_fails_closed_and_heals_by_itself(tmp_path: Path, upstream: Upstream) -> None:
    with plugin_server(tmp_path / "plugin", NAMED.replace("NAME", "it")) as server:
        apis = [plugged("api", upstream.url, pre="named"), api("open", "/open/", upstream.url)]
        with running(tmp_path / "gateway", apis, grpc_conf(server)) as gateway:
            seen: list[tuple[int, str]] = []
            stop = threading.Event()

            def load() -> None:
                with gateway.connect() as client:
                    for number in itertools.count():
                        if stop.is_set():
                            return
                        client.send(f"GET /api/{number} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
                        answer = client.read()
                        passed = json.loads(answer.body)
                        named = [value for name, value in passed.get("headers", []) if name == "X-By"]
                        seen.append((answer.status, named[0] if named else ""))

            threads = [threading.Thread(target=load) for _ in range(4)]
            for thread in threads:
                thread.start()
            try:
                wait_for(lambda: len(seen) > 50, "requests")
                server.kill()
                wait_for(lambda: seen[-1][0] == 500, "refusals")
                assert gateway.fetch("/open/x").status == 200
                server.start()
                wait_for(lambda: seen[-1][0] == 200, "healing", timeout=10)
            finally:
                stop.set()
                for thread in threads:
                    thread.join()
            assert set(seen) == {(200, "it"), (500, "")}
            wait_for(lambda: gateway.metrics()["preforge_plugin_restarts_total"] >= 1, "the count of lost connections")


def test_a_server_that_starts_late_is_found(tmp_path: Path, upstream: Upstream) -> None:
    server = PluginServer(tmp_path / "plugin", NAMED.replace("NAME", "late"))
    with running(tmp_path / "gateway", [plugged("api", upstream.url, pre="named")], grpc_conf(server)) as gateway:
        assert gateway.fetch("/api/x").status == 500
        try:
            server.start()
            wait_for(lambda: gateway.fetch("/api/x").status == 200, "the server")
        finally:
            server.kill()


def test_a_reload_calls_the_new_server_and_leaves_no_request_behind(tmp_path: Path, upstream: Upstream) -> None:
    slow = "import time\ndef named(o):\n    time.sleep(0.3)\n    o.request.set_headers['X-By'] = 'NAME'\n"
    with contextlib.ExitStack() as stack:
        old = stack.enter_context(plugin_server(tmp_path / "old", slow.replace("NAME", "old")))
        new = stack.enter_context(plugin_server(tmp_path / "new", slow.replace("NAME", "new")))
        apis = [plugged("api", upstream.url, pre="named")]
        gateway = stack.enter_context(running(tmp_path / "gateway", apis, grpc_conf(old)))
        with gateway.connect() as client:
            client.send(b"GET /api/x HTTP/1.1\r\nHost: h\r\n\r\n")
            wait_for(lambda: old.seen("named"), "the call")
            gateway.conf_path.write_text(json.dumps(merge(gateway.conf, grpc_conf(new))))
            gateway.reload()
            assert ["X-By", "old"] in json.loads(client.read().body)["headers"]
        wait_for(lambda: by(gateway, "/api/x") == "new", "the new server")
        before = len(old.seen("named"))
        assert by(gateway, "/api/x") == "new"
        assert len(old.seen("named")) == before


def test_without_enable_coprocess_hooks_are_passed_over_but_not_those_of_responses(tmp_path: Path, upstream: Upstream) -> None:
    conf: Json = {"coprocess_options": {"coprocess_grpc_server": "tcp://127.0.0.1:9"}}
    handler = {"handler_name": "cp_dynamic_handler", "handler_meta": {"name": "h"}}
    events: Json = {"event_handlers": {"events": {"AuthFailure": [handler]}}}
    apis = [
        plugged("pre", upstream.url, pre="named", post="named", definition=events),
        plugged("response", upstream.url, response="named"),
        plugged("auth", upstream.url, auth_check="named", definition={"use_keyless": False, "enable_coprocess_auth": True}),
    ]
    with running(tmp_path / "gateway", apis, conf) as gateway:
        assert gateway.fetch("/pre/x").status == 200
        assert gateway.fetch("/response/x").status == 500
        assert gateway.fetch("/auth/x").status == 401
        log = gateway.log()
        assert "$.custom_middleware.pre[0]: error: enable_coprocess is off" in log
        assert "$.custom_middleware.auth_check: error: enable_coprocess is off" in log
        assert "$.event_handlers.events['AuthFailure'][0].handler_name: error: enable_coprocess is off" in log


def test_without_a_server_every_hook_is_an_internal_error(tmp_path: Path, upstream: Upstream) -> None:
    apis = [
        plugged("grpc", upstream.url, pre="named"),
        plugged("rpc", upstream.url, driver="jsonrpc", pre="named"),
        plugged("python", upstream.url, driver="python", response="named"),
    ]
    with running(tmp_path / "gateway", apis, {"coprocess_options": {"enable_coprocess": True}}) as gateway:
        for name in ("grpc", "rpc", "python"):
            answer = gateway.fetch(f"/{name}/x")
            assert (answer.status, json.loads(answer.body)) == (500, {"error": "Internal Server Error"})
        assert "coprocess_grpc_server in coprocess_options" in gateway.log()
        assert "custom_middleware_bundle" in gateway.log()


def test_a_traced_request_calls_the_plugins_of_its_definition(site: Site, tmp_path: Path) -> None:
    with plugin_server(tmp_path / "plugin", NAMED.replace("NAME", "traced")) as server:
        gateway = site.gateway(**grpc_conf(server))
        traced = plugged("traced", site.upstream.url, pre="named")
        sent = {"spec": traced, "request": {"method": "GET", "path": "/traced/x"}}
        answer = manage(gateway, "POST", "/tyk/debug", sent)
        assert answer.status == 200, answer.body
        assert "X-By" in json.loads(answer.body)["response"]
        assert [said.spec["APIID"] for said in server.seen("named")] == ["traced"]


def test_every_version_of_an_api_has_its_hooks(tmp_path: Path, upstream: Upstream) -> None:
    versions: Json = {
        "definition": {"location": "header", "key": "X-Version"},
        "version_data": {"not_versioned": False, "versions": {name: {"name": name} for name in ("one", "two")}},
    }
    with plugin_server(tmp_path / "plugin", NAMED.replace("NAME", "it")) as server:
        apis = [plugged("api", upstream.url, pre="named", response="answered", definition=versions)]
        apis[0]["version_data"]["versions"].pop("Default")
        with running(tmp_path / "gateway", apis, grpc_conf(server)) as gateway:
            for name in ("one", "two"):
                answer = gateway.fetch("/api/x", f"X-Version: {name}")
                assert (answer.status, answer.get("X-By")) == (200, "it")
            assert gateway.fetch("/api/x").status == 403
        assert len(server.seen("named")) == 2
