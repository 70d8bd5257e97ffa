"""Scripts in whole gateways: their place in the chain, keys and meta data, responses."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.gateway import Gateway, Json, api, merge, wait_for
from tests.support.keys import ORG, keyed, session
from tests.support.site import Site, manage, open_site
from tests.support.upstream import head, reply
from tests.support.wire import Client, Response, get

BINARY = bytes(range(256)) * 40
START = "var mw = new TykJS.TykMiddleware.NewMiddleware({});\n"


def request_hook(code: str, result: str = "mw.ReturnData(request, session.meta_data)") -> str:
    """A file with one middleware, `mw`."""
    return f"{START}mw.NewProcessRequest(function(request, session, config, extra) {{\n{code}\nreturn {result};\n}});\n"


def response_hook(code: str) -> str:
    """The same for responses."""
    head = f"{START}mw.NewProcessResponse(function(response, request, session, config, extra) {{\n"
    return f"{head}{code}\nreturn mw.ReturnResponseData(response, session.meta_data);\n}});\n"


def virtual(name: str, code: str, path: str, method: str = "GET", **more: Any) -> Json:
    """The entries of a virtual endpoint."""
    source = base64.b64encode(f"function {name}(request, session, config, extra) {{ {code} }}".encode()).decode()
    entry = {
        "response_function_name": name, "function_source_type": "blob", "function_source_uri": source, "path": path,
        "method": method, **more,
    }  # fmt: skip
    return {"version": {"use_extended_paths": True, "extended_paths": {"virtual": [entry]}}}


class Scripts:
    """Definitions whose scripts lie in one folder."""

    def __init__(self, folder: Path, target: str) -> None:
        folder.mkdir()
        self._folder = folder
        self._target = target
        self.apis: list[Json] = []

    def hook(self, place: str, text: str, name: str, **more: Any) -> Json:
        path = self._folder / f"{place}{len(list(self._folder.iterdir()))}.js"
        path.write_text(text)
        return {"name": name, "path": str(path), **more}

    def open(self, api_id: str, **more: Any) -> None:
        """An API without keys; pre, post, response: texts of hooks."""
        self.apis.append(self._with_hooks(api(api_id, f"/{api_id}/", self._target, **more.pop("definition", {})), more))

    def keyed(self, api_id: str, **more: Any) -> None:
        """An API with keys."""
        self.apis.append(self._with_hooks(keyed(api_id, self._target, **more.pop("definition", {})), more))

    def _with_hooks(self, base: Json, hooks: Json) -> Json:
        wants = hooks.pop("wants", False)
        section: Json = {"driver": "otto"}
        for place, text in hooks.items():
            name = f"mw_{place}"    # all files of an API share their globals
            hook = self.hook(place, re.sub(r"\bmw\b", name, text), name, require_session=wants)
            section[place] = hook if place == "auth_check" else [hook]
        return merge(base, {"custom_middleware": section})


AUTH = request_hook(
    """
    var token = (request.Headers["X-Js"] || [""])[0];
    if (!token) { request.ReturnOverrides.ResponseCode = 401; request.ReturnOverrides.ResponseError = "not you"; }
    """,
    '{Request: request, Session: {rate: 0, quota_max: token === "few" ? 2 : -1, quota_renewal_rate: 60,'
    ' alias: "js", meta_data: {who: "js"}}, AuthValue: token}',
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with open_site(tmp_path_factory.mktemp("site")) as found:
        yield found


@pytest.fixture(scope="module")
def gateway(site: Site) -> Gateway:
    scripts = Scripts(site.directory / "scripts", site.upstream.url)
    edit = 'request.SetHeaders["X-Told"] = JSON.stringify([extra, request.URL]);'
    scripts.open("told", pre=request_hook(edit), definition={"proxy": {"listen_path": "/told/{region}/"}})
    scripts.open("body", pre=request_hook('request.SetHeaders["X-Length"] = "" + request.Body.length;'))
    scripts.open("append", pre=request_hook('request.Body = request.Body + "!";'))
    scripts.keyed("auth", auth_check=AUTH, definition={"custom_plugin_auth_enabled": True})
    fresh = request_hook("var s = {meta_data: {at: extra.RequestID}, quota_max: -1, alias: extra.RequestID};"
                         "s[config.APIID === 'rates' ? 'rate' : 'quota_max'] = 2; s.per = s.quota_renewal_rate = 60;",
                         "{Request: request, Session: s, AuthValue: config.APIID}")  # fmt: skip
    for api_id in ("rates", "quotas"):
        scripts.keyed(api_id, auth_check=fresh, definition={"custom_plugin_auth_enabled": True})
    both = {"custom_plugin_auth_enabled": True, "use_standard_auth": True}
    seen = request_hook('request.SetHeaders["X-Who"] = session.meta_data.who || "";')
    for who in ("custom_auth", "auth_token"):
        more = {**both, "base_identity_provided_by": who}
        scripts.keyed(f"both_{who}", auth_check=AUTH, post=seen, wants=True, definition=more)
    count = 'session.meta_data.hits = "" + (1 + parseInt(session.meta_data.hits || "0"));'
    scripts.keyed("hits", post=request_hook(count), wants=True)
    scripts.keyed("after", post_key_auth=request_hook('request.SetHeaders["X-Alias"] = session.alias;'), wants=True)
    scripts.open("same", response=response_hook('response.SetHeaders["X-Code"] = "" + response.StatusCode;'))
    change = 'response.Body = response.Body.toUpperCase(); response.StatusCode = 203; response.DeleteHeaders.push("X-Up");'
    scripts.open("changed", response=response_hook(change + 'response.SetHeaders["Set-Cookie"] = ["a=1", "b=2"];'))
    scripts.open("broken", response=response_hook('throw new Error("boom");'))
    answer = "return TykJsResponse({Code: 203, Body: JSON.stringify([request, extra.PathParams])}, {});"
    scripts.open("virtual", definition=virtual("v", answer, "/item/{id}$", "POST"))
    binary = 'return TykJsResponse({Body: b64dec("/wD+"), Headers: {"Content-Type": "a/b"}}, {});'
    scripts.open("binary", definition=virtual("v", binary, "/v"), response=response_hook(""))
    meta = "session.meta_data.n = {deep: [1]}; return TykJsResponse({Body: session.alias}, session.meta_data);"
    scripts.keyed("write", definition=virtual("v", meta, "/v", use_session=True))
    loose = 'request.ReturnOverrides.response_code = 418; request.ReturnOverrides.response_error = "short";'
    scripts.open("guide", pre=request_hook(loose))
    conf = {"enable_jsvm": True, "jsvm_timeout": 2, "preforge": {"workers": 2}}
    return site.gateway(*scripts.apis, **conf)


def echoed(answer: Response) -> dict[str, str]:
    """The headers that the upstream saw."""
    assert answer.status == 200, (answer.status, answer.body)
    return {name.lower(): value for name, value in json.loads(answer.body)["headers"]}


def test_scripts_are_told_where_the_request_is(gateway: Gateway) -> None:
    told, url = json.loads(echoed(gateway.fetch("/told/eu%20west/x?a=1"))["x-told"])
    assert url == "/told/eu%20west/x?a=1"
    assert told.pop("RequestID")
    assert told == {
        "RemoteAddr": "127.0.0.1", "ClientAddr": "127.0.0.1", "APIID": "told", "APIName": "told", "Version": "", "Path": "",
        "PathParams": {"region": "eu west"}, "Hook": "pre",
    }  # fmt: skip


@pytest.mark.parametrize("api_id", ["body", "append"])
def test_bytes_of_a_body_survive_a_script(gateway: Gateway, api_id: str) -> None:
    answer = gateway.fetch(f"/{api_id}/x", method="POST", body=BINARY)
    assert json.loads(answer.body)["body"].encode("latin-1") == BINARY + (b"!" if api_id == "append" else b"")


def test_names_of_the_guide_work(gateway: Gateway) -> None:
    answer = gateway.fetch("/guide/x")
    assert (answer.status, json.loads(answer.body)) == (418, {"error": "short"})


def test_a_script_decides_who_comes_in_and_its_session_counts(gateway: Gateway, site: Site) -> None:
    assert gateway.fetch("/auth/x").status == 401
    assert [gateway.fetch("/auth/x", "X-Js: few").status for _ in range(4)] == [200, 200, 403, 403]
    stored = json.loads(site.store.ask("GET", "apikey-few"))
    assert (stored["alias"], stored["meta_data"]) == ("js", {"who": "js"})
    assert manage(gateway, "DELETE", "/tyk/keys/few").status == 200


@pytest.mark.parametrize(("api_id", "status"), [("rates", 429), ("quotas", 403)])
def test_limits_hold_although_the_script_makes_another_session_each_time(gateway: Gateway, api_id: str, status: int) -> None:
    with Client(gateway.address) as client:     # one worker: rates are counted on each of them alone
        statuses = []
        for _ in range(5):
            client.send(get(f"/{api_id}/x"))
            statuses.append(client.read().status)
    assert statuses == [200, 200, status, status, status]


@pytest.mark.parametrize(("who", "seen"), [("custom_auth", "js"), ("auth_token", "token")])
def test_with_two_methods_both_must_pass_and_one_is_the_identity(gateway: Gateway, site: Site, who: str, seen: str) -> None:
    path = f"/both_{who}/x"
    site.put("tok" + who, session(f"both_{who}", meta_data={"who": "token"}))
    assert gateway.fetch(path, "X-Js: a").status == 401
    assert gateway.fetch(path, f"Authorization: tok{who}").status == 401
    answer = gateway.fetch(path, "X-Js: a", f"Authorization: tok{who}")
    assert echoed(answer)["x-who"] == seen


def test_meta_data_count_up_over_workers(gateway: Gateway, site: Site) -> None:
    created = manage(gateway, "POST", "/tyk/keys/hits", session("hits", meta_data={"first": "1"}))
    assert created.status == 200
    for _ in range(5):
        assert gateway.fetch("/hits/x", f"Authorization: {ORG}hits").status == 200

    def stored() -> Any:
        return json.loads(manage(gateway, "GET", f"/tyk/keys/{ORG}hits").body)["meta_data"]

    assert stored()["first"] == "1"
    assert 1 <= int(stored()["hits"]) <= 5      # workers that have not heard of each other yet count from the same number
    before = int(stored()["hits"])

    def counts() -> bool:
        echoed(gateway.fetch("/hits/x", f"Authorization: {ORG}hits"))
        return int(stored()["hits"]) > before + 2

    wait_for(counts, "it counts up")


def test_a_hook_behind_authentication_sees_the_key(gateway: Gateway, site: Site) -> None:
    site.put("after", session("after", alias="Al"))
    assert gateway.fetch("/after/x").status == 401
    assert echoed(gateway.fetch("/after/x", "Authorization: after"))["x-alias"] == "Al"


def test_a_response_that_a_script_only_looks_at_keeps_its_bytes(gateway: Gateway, site: Site) -> None:
    site.upstream.on("/bytes", reply(head("201 Made", f"Content-Length: {len(BINARY)}", "Content-Type: a/b"), BINARY))
    answer = gateway.fetch("/same/bytes")
    assert (answer.status, answer.body, answer.get("X-Code")) == (201, BINARY, "201")


def test_a_script_changes_a_response(gateway: Gateway, site: Site) -> None:
    lines = ("Content-Length: 4", "X-Up: 1", "Content-Type: text/plain")
    site.upstream.on("/lower", reply(head("200 OK", *lines), b"body"))
    answer = gateway.fetch("/changed/lower")
    assert (answer.status, answer.body, answer.get("X-Up"), answer.all("Set-Cookie")) == (203, b"BODY", None, ["a=1", "b=2"])


def test_a_response_hook_that_throws_says_where_in_the_log(gateway: Gateway) -> None:
    answer = gateway.fetch("/broken/x")
    assert (answer.status, json.loads(answer.body)) == (500, {"error": "Middleware error"})
    wait_for(lambda: "API broken: response hook mw_response: " in gateway.log(), "it is logged")
    line = next(line for line in gateway.log().splitlines() if "API broken: response hook mw_response: " in line)
    assert "boom" in line
    assert ".js:3" in line


def test_a_virtual_endpoint_answers(gateway: Gateway) -> None:
    kind = "Content-Type: application/x-www-form-urlencoded"
    answer = gateway.fetch("/virtual/item/7?a=1", kind, method="POST", body=b"b=2")
    given, params = json.loads(answer.body)
    assert (answer.status, params, sorted(given)) == (203, {"id": "7"}, ["Body", "Headers", "Params", "Scheme", "URL"])
    assert (given["Params"], given["Body"]) == ({"a": ["1"], "b": ["2"]}, "b=2")


def test_a_virtual_endpoint_answers_with_any_bytes_through_response_hooks(gateway: Gateway) -> None:
    answer = gateway.fetch("/binary/v")
    assert (answer.status, answer.body, answer.get("Content-Type")) == (200, b"\xff\x00\xfe", "a/b")


def test_a_virtual_endpoint_writes_meta_data(gateway: Gateway, site: Site) -> None:
    site.put("write", session("write", alias="Al", meta_data={"first": "1"}))
    answer = gateway.fetch("/write/v", "Authorization: write")
    assert (answer.status, answer.body) == (200, b"Al")
    stored = json.loads(site.store.ask("GET", "apikey-write"))
    assert stored["meta_data"] == {"first": "1", "n": {"deep": [1]}}
