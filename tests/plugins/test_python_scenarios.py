"""What Tyk's own tests ask of Python bundles (tyk-plugins 10: P, B, G11, CI), in a whole gateway."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.plugins.python_support import bundle, conf_of
from tests.support.gateway import Gateway, Json, api, merge, wait_for
from tests.support.keys import ORG, call, keyed, session
from tests.support.site import Site, manage, open_site
from tests.support.wire import Response

HEAD = """
import json
import time
from tyk.decorators import *
from gateway import TykGateway as tyk
"""
AUTH = """
@Hook
def MyAuth(request, session, metadata, spec):
    given = request.get_header("Authorization")
    if given is not None and given.startswith("valid"):
        session.rate = 1000.0
        session.per = 1.0
        session.quota_max = 1
        session.quota_renewal_rate = 60
        metadata["token"] = given
    return request, session, metadata
"""
POLICY = """
@Hook
def WithPolicy(request, session, metadata, spec):
    session.rate = 1000.0
    session.per = 1.0
    session.apply_policies.append(request.get_header("X-Policy"))
    metadata["token"] = request.get_header("Authorization")
    return request, session, metadata
"""
EXTRACTED = """
asked = {}

@Hook
def Once(request, session, metadata, spec):
    given = request.get_header("Authorization") or request.object.body.partition("=")[2]
    asked[given] = asked.get(given, 0) + 1
    if asked[given] < 2:
        session.rate = 1000.0
        session.per = 1.0
        session.id_extractor_deadline = int(time.time()) + 60
        metadata["token"] = given
    return request, session, metadata
"""
POST = """
@Hook
def Post(request, session, spec):
    nested = json.loads(session.metadata["nested"])
    if nested != {"a": 1} or session.metadata["text"] != "plain":
        request.object.return_overrides.response_code = 400
        request.object.return_overrides.response_error = "metadata"
    return request, session

@Hook
def Loops(request, session, spec):
    if request.object.url == "/test2" and request.object.method == "POST":
        request.object.url = "tyk://looped/newpath"
        request.object.method = "GET"
    return request, session

@Hook
def Foo(request, session, metadata, spec):
    request.add_header("Foo", "Bar")
    return request, session, metadata
"""
PRE = """
@Hook
def Bodies(request, session, metadata, spec):
    seen = request.object
    request.add_header("X-Bodies", "%d %d %s" % (len(seen.body), len(seen.raw_body), seen.headers.get("Content-Type")))
    return request, session, metadata

@Hook
def Config(request, response, session, metadata, spec):
    there = str("config_data" in spec).lower()
    response.headers["X-Config-Data"] = there
    del response.multivalue_headers[:]
    return response

@Hook
def NewBody(request, response, session, metadata, spec):
    response.raw_body = b"newbody"
    return response
"""
OVERRIDES = """
@Hook
def Override(request, session, spec):
    params = request.object.params
    overrides = request.object.return_overrides
    overrides.headers["X-Foo"] = "Bar"
    overrides.response_code = int(params["status"])
    if params.get("override", None):
        overrides.override_error = True
    if params.get("response_body", None):
        overrides.response_body = "foobar"
    else:
        overrides.response_error = "custom error message"
    return request, session
"""
EVENTS = """
@Event
def OnFailure(event, spec):
    said = event.message
    tyk.store_data("failure", " ".join((said["Type"], said["Meta"]["Key"], spec["APIID"], event.handler_name)), 60)

@Hook
def Fires(request, session, spec):
    tyk.trigger_event("Happened", "told by " + spec["APIID"])
    return request, session
"""
POLICIES = {
    "limited": {"id": "limited", "org_id": ORG, "active": True, "rate": 1000, "per": 1, "quota_max": 1,
                "quota_renewal_rate": 3600, "access_rights": {
                    "policy": {"api_id": "policy", "api_name": "policy", "versions": ["Default"]}}},
}  # fmt: skip


def extractor(place: str, kind: str, **config: Any) -> Json:
    return {"extract_from": place, "extract_with": kind, "extractor_config": config}


class World:
    """A site with a bundle for each API, and a gateway."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self._served = site.directory / "served"
        url = site.upstream.url
        post = {"post": [{"name": "Post"}]}
        apis = [
            self._auth("auth", AUTH, "MyAuth", enable_coprocess_auth=True),
            self._auth("auth2", AUTH, "MyAuth", custom_plugin_auth_enabled=True),
            self._auth("policy", POLICY, "WithPolicy"),
            self._auth("xheader", EXTRACTED, "Once", extractor("header", "value", header_name="Authorization")),
            self._auth("xform", EXTRACTED, "Once", extractor("form", "value", param_name="auth")),
            self._auth("xregex", EXTRACTED, "Once", extractor(
                "header", "regex", header_name="Authorization", regex_expression="[0-9]+", regex_match_index=0)),
            keyed("post", url, custom_middleware_bundle=self._bundle("post", POST, **post)),
            self._open("loops", POST, post=[{"name": "Loops"}], version={"use_extended_paths": True, "extended_paths": {
                "url_rewrites": [{"path": "/test1", "method": "GET", "match_pattern": "/test1", "rewrite_to": "/test2"}],
                "method_transforms": [{"path": "/test1", "method": "GET", "to_method": "POST"}]}}),
            api("looped", "/looped/", url),
            self._open("ci", POST, post=[{"name": "Foo"}]),
            self._open("bodies", PRE, pre=[{"name": "Bodies"}]),
            self._open("newbody", PRE, response=[{"name": "NewBody"}]),
            self._open("config", PRE, response=[{"name": "Config"}], config_data={"k": 1}),
            self._open("noconfig", PRE, response=[{"name": "Config"}], config_data={"k": 1}, config_data_disabled=True),
            keyed("events", url, custom_middleware_bundle=self._bundle("events", EVENTS, pre=[{"name": "Fires"}]),
                  event_handlers={"events": {"AuthFailure": [
                      {"handler_name": "cp_dynamic_handler", "handler_meta": {"name": "OnFailure"}}]}}),
            self._open("overrides", OVERRIDES, pre=[{"name": "Override"}]),
        ]  # fmt: skip
        policies = site.directory / "policies.json"
        policies.write_text(json.dumps(POLICIES))
        log = {"handler_name": "eh_log_handler", "handler_meta": {"prefix": "PYTHON-EVENT"}}
        more = {"policies": {"policy_source": "file", "policy_record_name": str(policies)},
                "event_handlers": {"events": {"Happened": [log]}}}  # fmt: skip
        self.gateway: Gateway = site.gateway(*apis, **conf_of(site.directory, **more))
        wait_for(self._ready, "all bundles")

    def _ready(self) -> bool:
        details = json.loads(self.gateway.fetch("/hello").body)["details"]
        states = [one["status"] for one in details.values() if one["componentType"] == "plugin:python"]
        return len(states) == 15 and set(states) == {"pass"}

    def _bundle(self, name: str, code: str, **section: Any) -> str:
        bundle(self._served, f"{name}.zip", HEAD + code, **section)
        return f"{name}.zip"

    def _auth(self, name: str, code: str, hook: str, extract: Json | None = None, **more: Any) -> Json:
        section: Json = {"auth_check": {"name": hook}, **({"id_extractor": extract} if extract else {})}
        more = more or {"enable_coprocess_auth": True}
        return keyed(name, self.site.upstream.url, custom_middleware_bundle=self._bundle(name, code, **section), **more)

    def _open(self, name: str, code: str, version: Json | None = None, **more: Any) -> Json:
        hooks = {kind: more.pop(kind) for kind in ("pre", "post", "response") if kind in more}
        named = self._bundle(name, code, **hooks)
        made = api(name, f"/{name}/", self.site.upstream.url, custom_middleware_bundle=named, **more)
        return merge(made, {"version_data": {"versions": {"Default": version or {}}}})


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with open_site(tmp_path_factory.mktemp("site")) as site:
        yield World(site)


def echoed(answer: Response) -> Any:
    assert answer.status == 200, answer.body
    return json.loads(answer.body)


def test_keys_that_a_hook_lets_in_have_their_quota_until_they_are_deleted(world: World) -> None:
    """P1, with either name of the switch."""
    for name in ("auth", "auth2"):
        key = f"valid-{name}"
        assert [call(world.gateway, f"/{name}/x", one).status for one in (key, "invalid", key)] == [200, 403, 403]
        assert manage(world.gateway, "DELETE", f"/tyk/keys/{key}").status == 200
        wait_for(lambda name=name, key=key: call(world.gateway, f"/{name}/x", key).status == 200, "it begins anew")  # type: ignore[misc]


def test_a_policy_that_a_hook_names_holds(world: World) -> None:
    """P2"""
    assert [call(world.gateway, "/policy/x", "valid-p", "X-Policy: limited").status for _ in range(2)] == [200, 403]


@pytest.mark.parametrize(
    ("name", "first", "other"),
    [("xheader", "valid-1", "valid-2"), ("xform", "valid-1", "valid-2"), ("xregex", "valid-77-x", "valid-78-x")],
)
def test_a_client_that_an_extractor_knows_is_not_asked_about_again(world: World, name: str, first: str, other: str) -> None:
    """P7: the second call of the hook for one client would refuse it."""

    def ask(key: str) -> int:
        if name != "xform":
            return call(world.gateway, f"/{name}/x", key).status
        form = "Content-Type: application/x-www-form-urlencoded"
        return world.gateway.fetch(f"/{name}/x", form, method="POST", body=f"auth={key}".encode()).status

    assert [ask(first), ask(first)] == [200, 200]
    if name == "xregex":
        assert call(world.gateway, f"/{name}/x", "other-77").status == 200     # the same number: the same client
    assert ask(other) == 200


def test_a_post_hook_sees_the_metadata_of_the_key(world: World) -> None:
    """P3, G4: what is not a string arrives as JSON text."""
    world.site.put(ORG + "post-key", session("post", meta_data={"nested": {"a": 1}, "text": "plain"}))
    wait_for(lambda: call(world.gateway, "/post/x", ORG + "post-key").status == 200, "the key")
    world.site.put(ORG + "post-other", session("post", meta_data={"nested": {"a": 2}, "text": "plain"}))
    answer = call(world.gateway, "/post/x", ORG + "post-other")
    assert (answer.status, json.loads(answer.body)) == (400, {"error": "metadata"})


def test_a_post_hook_behind_a_rewrite_leads_to_another_api(world: World) -> None:
    """P6"""
    found = echoed(world.gateway.fetch("/loops/test1"))
    assert (found["method"], found["target"]) == ("GET", "/newpath")
    assert echoed(world.gateway.fetch("/loops/other"))["target"] == "/other"


def test_bodies_arrive_as_text_and_bytes(world: World) -> None:
    """P5, G2, G3"""
    binary = b'--b\r\nContent-Disposition: form-data; name="f"; filename="f"\r\n\r\n\xff\xfe\x00\r\n--b--\r\n'
    for kind, body, text in (("multipart/form-data; boundary=b", binary, 0), ("application/json", b"{}", 2)):
        found = echoed(world.gateway.fetch("/bodies/x", f"Content-Type: {kind}", method="POST", body=body))
        assert ["X-Bodies", f"{text} {len(body)} {kind}"] in found["headers"]
        assert found["body"] == body.decode("latin-1")


def test_a_response_hook_replaces_the_body(world: World) -> None:
    """P4"""
    answer = world.gateway.fetch("/newbody/x")
    assert (answer.status, answer.body, answer.get("Content-Length")) == (200, b"newbody", "7")


def test_config_data_are_told_unless_they_are_disabled(world: World) -> None:
    """G11"""
    assert world.gateway.fetch("/config/x").get("X-Config-Data") == "true"
    assert world.gateway.fetch("/noconfig/x").get("X-Config-Data") == "false"


def test_events_reach_handlers_of_a_bundle_and_start_in_them(world: World) -> None:
    """cp_dynamic_handler calls @Event functions, which Tyk never does; trigger_event() fires handlers of tyk.conf."""
    assert call(world.gateway, "/events/x", "nobody").status == 403
    told = b"AuthFailure nobody events OnFailure"
    wait_for(lambda: world.site.store.ask("GET", "coprocess-data:failure") == told, "the event")
    wait_for(lambda: "told by events" in world.gateway.log_path.read_text(), "the event of the hook")
    assert "PYTHON-EVENT" in world.gateway.log_path.read_text()


@pytest.mark.parametrize(
    ("query", "status", "body"),
    [
        ("status=200", 200, b"custom error message"),
        ("status=200&response_body=true", 200, b"foobar"),
        ("status=400", 400, {"error": "custom error message"}),
        ("status=401", 401, {"error": "custom error message"}),
        ("status=400&response_body=true", 400, {"error": "foobar"}),
        ("status=400&override=true", 400, b"custom error message"),
        ("status=401&override=true", 401, b"custom error message"),
        ("status=401&override=true&response_body=true", 401, b"foobar"),
    ],
)
def test_overrides_answer_in_the_place_of_the_upstream(world: World, query: str, status: int, body: Any) -> None:
    """B"""
    answer = world.gateway.fetch(f"/overrides/x?{query}")
    assert (answer.status, answer.get("X-Foo")) == (status, "Bar")
    assert (answer.body if isinstance(body, bytes) else json.loads(answer.body)) == body


def test_a_bundle_of_the_command_line_works_as_it_is(world: World, tmp_path: Path) -> None:
    """CI: `bundle build -y` in a directory with manifest.json and middleware.py, served, one post hook with four parameters."""
    (tmp_path / "middleware.py").write_text(HEAD + POST)
    manifest = {"file_list": ["middleware.py"], "custom_middleware": {"driver": "python", "post": [{"name": "Foo"}]},
                "checksum": "", "signature": ""}  # fmt: skip
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    program = "import sys; from core.cli import main; sys.exit(main())"
    ran = subprocess.run(
        [sys.executable, "-c", program, "bundle", "build", "-y"], cwd=tmp_path, env={"PYTHONPATH": str(Path.cwd())},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (ran.returncode, ran.stderr) == (0, "")
    with zipfile.ZipFile(tmp_path / "bundle.zip") as archive:
        assert archive.namelist() == ["middleware.py", "manifest.json"]
    shutil.copy(tmp_path / "bundle.zip", world.site.directory / "served" / "built.zip")
    world.gateway.write_api(api("built", "/built/", world.site.upstream.url, custom_middleware_bundle="built.zip"))
    world.gateway.reload()
    wait_for(lambda: world.gateway.fetch("/built/x").status == 200, "the new bundle")
    assert ["Foo", "Bar"] in echoed(world.gateway.fetch("/built/x"))["headers"]
    assert ["Foo", "Bar"] in echoed(world.gateway.fetch("/ci/x"))["headers"]
