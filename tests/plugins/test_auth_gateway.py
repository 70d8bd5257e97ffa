"""Custom authentication in whole gateways: by a plugin server over gRPC, and by JavaScript."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.plugins.plugin_site import PluginServer, grpc_conf, plugged, plugin_server
from tests.support.gateway import Json, merge, wait_for
from tests.support.keys import ORG, call, keyed, limits_of, session
from tests.support.site import Site, manage, open_site
from tests.support.wire import Response

HOOKS = """
    import time

    def let_in(said, **more):
        given = said.request.headers.get("Authorization", "")
        if not given.startswith("good"):
            said.request.return_overrides.response_code = 401
            said.request.return_overrides.response_error = "who are you"
            return
        said.session.rate, said.session.per = 100, 1
        for name, value in more.items():
            setattr(said.session, name, value)
        said.session.metadata["token"] = given

    def Plain(said):
        let_in(said, alias="of a plugin")

    def Quota(said):
        let_in(said, quota_max=1, quota_renewal_rate=3600)

    def Kept(said):
        if "X-Block" in said.request.headers:
            raise ValueError("asked again")
        let_in(said, id_extractor_deadline=int(time.time()) + 600)

    def Policy(said):
        let_in(said)
        said.session.apply_policies.append(said.request.headers.get("X-Policy", ""))

    def NoToken(said):
        said.session.rate = 5
"""
SCRIPT = """
var mw = new TykJS.TykMiddleware.NewMiddleware({});
mw.NewProcessRequest(function(request, session, config) {
  var given = (request.Headers["Authorization"] || [""])[0];
  if (given.indexOf("good") !== 0 || request.Headers["X-Block"]) {
    request.ReturnOverrides = {ResponseCode: 401, ResponseError: "who are you"};
    return mw.ReturnData(request, {});
  }
  var found = {rate: 100, per: 1, alias: "of a script", apply_policies: request.Headers["X-Policy"] || [],
               id_extractor_deadline: Math.floor(Date.now() / 1000) + 600};
  return {Request: request, Session: found, AuthValue: given};
});
"""
EXTRACTOR = {"extract_from": "header", "extract_with": "value", "extractor_config": {"header_name": "Authorization"}}
POLICIES = {
    name: {"id": name, "org_id": ORG, "active": True, "rate": 44, "per": 60, "quota_max": 44, "quota_renewal_rate": 3600,
           "access_rights": {name: {"api_id": name, "api_name": name, "versions": ["Default"]}}}
    for name in ("policy", "script")
}  # fmt: skip
FREE = {"version": {"use_extended_paths": True, "extended_paths": {"ignored": [{"path": "/free"}]}}}


class World:
    """A site with a plugin server and a gateway that uses it."""

    def __init__(self, site: Site, server: PluginServer) -> None:
        self.site = site
        self.server = server
        (site.directory / "auth.js").write_text(SCRIPT)
        policies = site.directory / "policies.json"
        policies.write_text(json.dumps(POLICIES))
        options = {"enable_jsvm": True, "policies": {"policy_source": "file", "policy_record_name": str(policies)}}
        self.gateway = site.gateway(*self._apis(), **grpc_conf(server, **options))

    def _apis(self) -> Iterator[Json]:
        target = self.site.upstream.url
        for name in ("Plain", "Quota", "Kept", "Policy", "NoToken"):
            yield self._api(name.lower(), name)
        yield self._api("lived", "Plain", session_lifetime=90)
        yield self._api("half", "Kept", section={"id_extractor": EXTRACTOR}, **FREE)
        for name, base in (("first", "custom_auth"), ("second", "auth_token")):
            yield self._api(name, "Plain", use_standard_auth=True, base_identity_provided_by=base)
        yield self._api("extracted", "Kept", section={"id_extractor": EXTRACTOR})
        broken = {**EXTRACTOR, "extract_with": "xpath"}
        yield self._api("broken", "Kept", section={"id_extractor": broken})
        script = {"driver": "otto", "auth_check": {"name": "mw", "path": str(self.site.directory / "auth.js")}}
        more: Json = {"custom_plugin_auth_enabled": True, "session_lifetime": 90, "custom_middleware": script}
        yield keyed("script", target, **more)
        yield keyed("scripted", target, **merge(more, {"custom_middleware": {"id_extractor": EXTRACTOR}}))

    def _api(self, api_id: str, hook: str, section: Json | None = None, **more: Any) -> Json:
        definition = merge({"use_keyless": False, "org_id": ORG, "enable_coprocess_auth": True}, more)
        version = definition.pop("version", {})
        made = plugged(api_id, self.site.upstream.url, definition=definition, auth_check=hook)
        made["version_data"]["versions"]["Default"].update(version)
        return merge(made, {"custom_middleware": section or {}})

    def ask(self, api_id: str, key: str = "good", *lines: str) -> Response:
        return call(self.gateway, f"/{api_id}/x", key, *lines)

    def stored(self, name: str) -> Any:
        raw = self.site.store.ask("GET", f"apikey-{name}")
        return None if raw is None else json.loads(raw)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with ExitStack() as stack:
        site = stack.enter_context(open_site(tmp_path_factory.mktemp("site")))
        server = stack.enter_context(plugin_server(tmp_path_factory.mktemp("plugin") / "run", HOOKS))
        yield World(site, server)


def text(answer: Response) -> tuple[int, str]:
    return answer.status, json.loads(answer.body)["error"]


def extracted(value: str) -> str:
    return ORG + hashlib.md5(value.encode()).hexdigest()


def test_a_plugin_lets_clients_in_and_keeps_their_keys(world: World) -> None:
    assert world.ask("plain", "good-1").status == 200
    assert text(world.ask("plain", "bad")) == (401, "who are you")
    found = json.loads(manage(world.gateway, "GET", "/tyk/keys/good-1").body)
    assert (found["alias"], found["rate"], found["org_id"]) == ("of a plugin", 100, ORG)
    assert found["meta_data"] == {"token": "good-1"}
    assert world.site.store.ask("TTL", "apikey-good-1") == -1


def test_a_plugins_quota_holds_and_deleting_the_key_restores_it(world: World) -> None:
    assert [world.ask("quota", "good-q").status for _ in range(3)] == [200, 403, 403]
    assert manage(world.gateway, "DELETE", "/tyk/keys/good-q").status == 200
    wait_for(lambda: world.ask("quota", "good-q").status == 200, "the quota begins anew")


def test_the_lifetime_of_the_api_holds_for_plugins_and_scripts(world: World) -> None:
    for api in ("lived", "script"):
        assert world.ask(api, f"good-{api}").status == 200
        assert 60 <= int(world.site.store.ask("TTL", f"apikey-good-{api}")) <= 90


def test_policies_hold_for_plugins_and_scripts(world: World) -> None:
    for api in ("policy", "script"):
        answer = world.ask(api, f"good-p-{api}", f"X-Policy: {api}")
        assert (answer.status, limits_of(answer)) == (200, (44, 43))
        assert text(world.ask(api, f"good-p2-{api}", "X-Policy: gone")) == (403, "Forbidden")
        assert world.stored(f"good-p2-{api}") is None


def test_a_session_without_a_token_opens_nothing(world: World) -> None:
    assert text(world.ask("notoken")) == (403, "Forbidden")


@pytest.mark.parametrize("api", ["extracted", "scripted"])
def test_an_extractor_spares_the_plugin_for_the_client_that_it_knows(world: World, api: str) -> None:
    key = f"good-{api}"
    assert world.ask(api, key).status == 200
    assert [world.ask(api, key, "X-Block: 1").status for _ in range(3)] == [200] * 3
    assert world.ask(api, f"{key}2", "X-Block: 1").status in (401, 403)
    assert text(call(world.gateway, f"/{api}/x")) == (400, "Authorization field missing")
    assert manage(world.gateway, "GET", f"/tyk/keys/{extracted(key)}").status == 200
    assert world.stored(key) is None
    assert manage(world.gateway, "DELETE", f"/tyk/keys/{extracted(key)}").status == 200
    wait_for(lambda: world.ask(api, key, "X-Block: 1").status != 200, "the session has ended")


def test_an_ignored_path_needs_no_key_and_asks_nobody(world: World) -> None:
    before = len(world.server.seen("Kept"))
    assert call(world.gateway, "/half/free").status == 200
    assert len(world.server.seen("Kept")) == before
    assert text(call(world.gateway, "/half/x")) == (400, "Authorization field missing")


def test_an_extractor_that_cannot_work_is_reported_and_opens_nothing(world: World) -> None:
    assert text(world.ask("broken")) == (400, "Authorization field missing")
    log = world.gateway.log_path.read_text()
    assert "$.custom_middleware.id_extractor.extractor_config.xpath_expression" in log


def test_of_two_methods_both_have_to_let_in_and_the_base_identity_counts(world: World) -> None:
    keys = {api: f"good-{api}" for api in ("first", "second")}
    assert world.ask("second", keys["second"]).status == 403      # the plugin lets it in, but no such token is known
    for api, key in keys.items():
        world.site.put(ORG + key, session(api, rate=200, per=1, alias="of a token"))
        assert text(world.ask(api, "bad")) == (401, "who are you")
        assert wait_for(lambda api=api, key=key: world.ask(api, key).status == 200, "both let it in")  # type: ignore[misc]
    assert world.stored(keys["first"])["alias"] == "of a plugin"
    assert world.stored(keys["second"]) is None


def test_a_plugin_server_that_is_away_opens_nothing_but_what_it_has_said(world: World, tmp_path_factory: Any) -> None:
    with plugin_server(tmp_path_factory.mktemp("other") / "run", HOOKS) as server, ExitStack() as stack:
        site = stack.enter_context(open_site(tmp_path_factory.mktemp("site")))
        own = World(site, server)
        assert [own.ask(api, "good").status for api in ("plain", "extracted")] == [200, 200]
        server.kill()
        assert text(own.ask("plain", "good")) == (403, "Key not authorised")
        assert own.ask("extracted", "good").status == 200
        assert text(own.ask("extracted", "good-other")) == (403, "Key not authorised")
        server.start()
        assert wait_for(lambda: own.ask("plain", "good").status == 200, "it heals")
