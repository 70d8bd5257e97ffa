"""Policies and access rights on the wire: what a key may do is decided for every request, with the policies of now."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.gateway import Gateway, Json, wait_for
from tests.support.keys import ORG, call, keyed, limits_of, session, statuses
from tests.support.site import Site

DISALLOWED = "Access to this API has been disallowed"
RESOURCE = "Access to this resource has been disallowed"


def policy(policy_id: str, *apis: str, **more: Any) -> Json:
    rights = {api: {"api_id": api, "api_name": api, "versions": ["Default"]} for api in apis}
    return {"id": policy_id, "org_id": ORG, "active": True, "quota_max": -1, "access_rights": rights, **more}


def with_policies(site: Site, apis: list[Json], *policies: Json, **conf: Any) -> Gateway:
    """A gateway that reads these policies from a directory."""
    place = site.directory / "policies"
    place.mkdir(exist_ok=True)
    for one in policies:
        write(site, one)
    return site.gateway(*apis, policies={"policy_source": "file", "policy_path": str(place)}, **conf)


def write(site: Site, document: Json) -> Path:
    file = site.directory / "policies" / f"{document['id']}.json"
    file.write_text(json.dumps(document))
    return file


def reloaded(gateway: Gateway) -> None:
    """Reload, and return when every worker has the new configuration."""
    found = gateway.fetch("/tyk/reload?block=true", "X-Tyk-Authorization: test-secret")
    assert found.status == 200


def check_refused(answer: Any, text: str = DISALLOWED) -> None:
    assert (answer.status, json.loads(answer.body)["error"]) == (403, text)


def two(site: Site) -> list[Json]:
    return [keyed(name, site.upstream.url) for name in ("a", "b")]


# -- policies ----------------------------------------------------------------------------------


def test_policy_decides_what_a_key_opens(site: Site) -> None:
    gateway = with_policies(site, two(site), policy("p", "a"))
    site.put(f"{ORG}mykey", session("b", apply_policies=["p"]))
    assert call(gateway, "/a/x", "mykey").status == 200
    check_refused(call(gateway, "/b/x", "mykey"))


def test_policies_are_read_from_one_file_too(site: Site) -> None:
    file = site.directory / "all.json"
    file.write_text(json.dumps({"p": policy("ignored", "a")}))
    gateway = site.gateway(*two(site), policies={"policy_source": "file", "policy_record_name": str(file)})
    site.put(f"{ORG}mykey", session(apply_policies=["p"]))
    site.put(f"{ORG}other", session(apply_policies=["ignored"]))
    assert call(gateway, "/a/x", "mykey").status == 200
    check_refused(call(gateway, "/a/x", "other"))


def test_changed_policy_counts_after_a_reload_for_keys_in_use(site: Site) -> None:
    gateway = with_policies(site, two(site), policy("p", "a"), preforge={"workers": 2})
    site.put(f"{ORG}mykey", session(apply_policies=["p"]))
    assert statuses(gateway, "/a/x", "mykey", 8) == [200] * 8
    write(site, policy("p", "b", rate=2, per=600))
    assert statuses(gateway, "/a/x", "mykey", 4) == [200] * 4, "nothing changes before the reload"
    reloaded(gateway)
    assert statuses(gateway, "/a/x", "mykey", 8) == [403] * 8
    assert statuses(gateway, "/b/x", "mykey", 4) == [200, 200, 429, 429]


def test_removed_policy_refuses_after_a_reload(site: Site) -> None:
    gateway = with_policies(site, two(site), policy("p", "a"))
    site.put(f"{ORG}mykey", session("a", apply_policies=["p"]))
    assert call(gateway, "/a/x", "mykey").status == 200
    (site.directory / "policies" / "p.json").unlink()
    reloaded(gateway)
    check_refused(call(gateway, "/a/x", "mykey"))


def test_policy_that_breaks_stays_what_it_was_and_is_named(site: Site) -> None:
    gateway = with_policies(site, two(site), policy("p", "a"))
    site.put(f"{ORG}mykey", session(apply_policies=["p"]))
    file = write(site, policy("p", "a"))
    file.write_text('{"id": "p", "rate": "fast"}')
    reloaded(gateway)
    assert call(gateway, "/a/x", "mykey").status == 200
    assert wait_for(lambda: f"{file}: $.rate" in gateway.log(), "the file and the field in the log")


@pytest.mark.parametrize(
    "change",
    [
        {"apply_policies": ["gone"]},
        {"apply_policies": ["gone", "away"]},
        {"apply_policy_id": "gone"},
        {"apply_policies": ["foreign"]},
        {"apply_policies": ["p", "foreign"]},
        {"apply_policies": ["off"]},
        {"apply_policies": ["limits"], "access_rights": {}},
        {"apply_policies": ["per_api", "part"]},
        {"meta_data": {"policies": [{"id": "own", "rate": "fast"}]}},
    ],
    ids=["missing", "all-missing", "old-field", "foreign", "one-foreign", "inactive", "no-rights", "mixed", "own-broken"],
)
def test_key_whose_policies_cannot_be_applied_is_refused(site: Site, change: Json) -> None:
    gateway = with_policies(
        site,
        two(site),
        policy("p", "a"),
        policy("foreign", "a", org_id="dead00beef00dead00beef00"),
        policy("off", "a", active=False),
        policy("limits", rate=100, per=1),
        policy("per_api", "a", partitions={"per_api": True}),
        policy("part", "a", partitions={"acl": True}),
    )
    site.put(f"{ORG}mykey", session("a", **change))
    check_refused(call(gateway, "/a/x", "mykey"))
    assert site.upstream.requests == []


def test_policies_of_a_dashboard_are_refused_with_a_clear_line(site: Site) -> None:
    gateway = site.gateway(*two(site), policies={"policy_source": "service"})
    site.put(f"{ORG}mykey", session("a", apply_policies=["p"]))
    check_refused(call(gateway, "/a/x", "mykey"))
    assert "$.policies.policy_source" in gateway.log()


def test_inactive_policy_stops_its_keys(site: Site) -> None:
    gateway = with_policies(site, two(site), policy("p", "a"), policy("q", "a", is_inactive=True))
    site.put(f"{ORG}mykey", session(apply_policies=["p", "q"]))
    check_refused(call(gateway, "/a/x", "mykey"), "Key is inactive, please renew")


def test_limits_of_a_policy_go_before_those_of_the_key(site: Site) -> None:
    gateway = with_policies(site, two(site), policy("p", "a", rate=2, per=600, quota_max=50, quota_renewal_rate=600))
    site.put(f"{ORG}mykey", session("a", rate=1000, per=1, apply_policies=["p"]))
    answer = call(gateway, "/a/x", "mykey")
    assert (answer.status, *limits_of(answer)) == (200, 50, 49)
    assert statuses(gateway, "/a/x", "mykey", 2) == [200, 429]


def test_keys_of_one_policy_count_apart(site: Site) -> None:
    gateway = with_policies(site, two(site), policy("p", "a", rate=1, per=600))
    for name in ("first", "second"):
        site.put(f"{ORG}{name}", session(apply_policies=["p"]))
        assert statuses(gateway, "/a/x", name, 2) == [200, 429]


def test_two_policies_open_their_apis_with_their_own_limits(site: Site) -> None:
    gateway = with_policies(site, two(site), policy("p", "a", rate=1, per=600), policy("q", "b", rate=2, per=600))
    site.put(f"{ORG}mykey", session(apply_policies=["p", "q"]))
    assert statuses(gateway, "/a/x", "mykey", 2) == [200, 429]
    assert statuses(gateway, "/b/x", "mykey", 3) == [200, 200, 429]


def test_one_policy_counts_its_apis_together_unless_it_is_per_api(site: Site) -> None:
    shared = {"quota_max": 3, "quota_renewal_rate": 600}
    own = policy("own", partitions={"per_api": True})
    own["access_rights"] = {api: {"api_id": api, "versions": ["Default"], "limit": shared} for api in ("a", "b")}
    gateway = with_policies(site, two(site), policy("p", "a", "b", **shared), own)
    site.put(f"{ORG}together", session(apply_policies=["p"]))
    site.put(f"{ORG}apart", session(apply_policies=["own"]))
    assert statuses(gateway, "/a/x", "together", 2) + statuses(gateway, "/b/x", "together", 2) == [200, 200, 200, 403]
    assert statuses(gateway, "/a/x", "apart", 4) + statuses(gateway, "/b/x", "apart", 4) == [200, 200, 200, 403] * 2
    assert int(site.store.ask("GET", f"quota-a-{ORG}apart")) >= 3


def test_partition_for_access_leaves_the_rate_of_the_key(site: Site) -> None:
    gateway = with_policies(site, two(site), policy("p", "a", rate=100, per=1, partitions={"acl": True}))
    site.put(f"{ORG}mykey", session("b", rate=1, per=600, apply_policies=["p"]))
    assert statuses(gateway, "/a/x", "mykey", 2) == [200, 429]
    check_refused(call(gateway, "/b/x", "mykey"))


def test_partition_for_the_rate_leaves_the_access_of_the_key(site: Site) -> None:
    gateway = with_policies(site, two(site), policy("p", "a", rate=2, per=600, partitions={"rate_limit": True}))
    site.put(f"{ORG}mykey", session("a", rate=100, per=1, apply_policies=["p"]))
    assert statuses(gateway, "/a/x", "mykey", 3) == [200, 200, 429]
    check_refused(call(gateway, "/b/x", "mykey"))
    site.put(f"{ORG}other", session("b", apply_policies=["p"]))
    check_refused(call(gateway, "/a/x", "other"))


def test_partition_for_the_quota_leaves_the_rate_of_the_key(site: Site) -> None:
    quota = {"quota_max": 1, "quota_renewal_rate": 600, "partitions": {"quota": True}}
    gateway = with_policies(site, two(site), policy("p", "a", **quota))
    site.put(f"{ORG}mykey", session("a", quota_max=-1, apply_policies=["p"]))
    assert statuses(gateway, "/a/x", "mykey", 2) == [200, 403]


def test_meta_data_of_a_policy_reaches_the_upstream(site: Site) -> None:
    version = {"global_headers": {"X-Both": "$tyk_meta.both", "X-Own": "$tyk_meta.own"}}
    gateway = with_policies(
        site, [keyed("a", site.upstream.url, version=version)], policy("p", "a", meta_data={"both": "policy"})
    )
    site.put(f"{ORG}mykey", session(apply_policies=["p"], meta_data={"both": "key", "own": "k"}))
    assert call(gateway, "/a/x", "mykey").status == 200
    seen = site.upstream.requests[-1]
    assert (seen.get("X-Both"), seen.get("X-Own")) == ("policy", "k")


# -- access rights -----------------------------------------------------------------------------


def test_urls_of_a_policy_are_checked_by_path_and_method(site: Site) -> None:
    limited = policy("p")
    urls = [{"url": "^/a/open", "methods": ["GET"]}, {"url": "/w/[0-9]+$", "methods": ["PUT", "GET"]}]
    limited["access_rights"] = {"a": {"api_id": "a", "versions": ["Default"], "allowed_urls": urls}}
    gateway = with_policies(site, two(site), limited)
    site.put(f"{ORG}mykey", session(apply_policies=["p"]))
    expected = {
        ("GET", "/open"): 200,
        ("POST", "/open"): 403,
        ("PUT", "/w/1"): 200,
        ("GET", "/w/x"): 403,
        ("GET", "/w%2f1"): 200,
        ("GET", "/"): 403,
    }
    for (method, path), status in expected.items():
        assert gateway.fetch(f"/a{path}", "Authorization: mykey", method=method, body=b"").status == status, (method, path)
    check_refused(gateway.fetch("/a/shut", "Authorization: mykey"), RESOURCE)


def test_rights_are_for_versions(site: Site) -> None:
    versions = {name: {"name": name, "use_extended_paths": True} for name in ("v1", "v2")}
    definition = keyed("a", site.upstream.url, definition={"location": "header", "key": "X-Version"})
    definition["version_data"] = {"not_versioned": False, "default_version": "v1", "versions": versions}
    one = policy("p")
    one["access_rights"] = {"a": {"api_id": "a", "versions": ["v2"]}}
    gateway = with_policies(site, [definition], one)
    site.put(f"{ORG}mykey", session(apply_policies=["p"]))
    site.put(f"{ORG}first", session(access_rights={"a": {"api_id": "a", "versions": ["v1"]}}))
    assert call(gateway, "/a/x", "mykey", "X-Version: v2").status == 200
    check_refused(call(gateway, "/a/x", "first", "X-Version: v2"))
    assert call(gateway, "/a/x", "first", "X-Version: v1").status == 200


def test_endpoint_of_a_right_has_its_own_rate(site: Site) -> None:
    own = policy("p")
    endpoints = [{"path": "/slow", "methods": [{"name": "GET", "limit": {"rate": 1, "per": 600}}]}]
    own["access_rights"] = {"a": {"api_id": "a", "versions": ["Default"], "endpoints": endpoints}}
    gateway = with_policies(site, two(site), {**own, "rate": 100, "per": 1})
    site.put(f"{ORG}mykey", session(apply_policies=["p"]))
    assert statuses(gateway, "/a/slow", "mykey", 2) == [200, 429]
    assert statuses(gateway, "/a/fast", "mykey", 3) == [200] * 3


def test_keys_with_one_pattern_share_their_limits(site: Site) -> None:
    gateway = site.gateway(*two(site))
    for name in ("first", "second"):
        meta_data = {"rate_limit_pattern": "team-$tyk_meta.team", "team": "red"}
        limits = {"rate": 3, "per": 600, "quota_max": 100, "quota_renewal_rate": 600}
        site.put(f"{ORG}{name}", session("a", **limits, meta_data=meta_data, last_updated=str(len(name))))
    assert statuses(gateway, "/a/x", "first", 2) + statuses(gateway, "/a/x", "second", 2) == [200, 200, 200, 429]
    by_request = {"rate_limit_pattern": "$tyk_context.remote_addr"}
    site.put(f"{ORG}third", session("a", meta_data=by_request))
    check_refused(call(gateway, "/a/x", "third"))


def test_key_ends_when_it_expires_while_it_is_in_use(site: Site) -> None:
    gateway = site.gateway(*two(site))
    site.put(f"{ORG}mykey", session("a", expires=int(time.time()) + 5))
    assert call(gateway, "/a/x", "mykey").status == 200
    answer = wait_for(lambda: found if (found := call(gateway, "/a/x", "mykey")).status != 200 else None, "the key expires")
    assert (answer.status, json.loads(answer.body)["error"]) == (401, "Key has expired, please renew")


# -- where the credential stands ---------------------------------------------------------------


def test_several_auth_configs_of_one_api(site: Site) -> None:
    """The one for tokens counts; others belong to other ways to authenticate."""
    configs = {"authToken": {"auth_header_name": "X-Token", "use_param": True, "param_name": "t"},
               "jwt": {"auth_header_name": "X-Jwt"}}  # fmt: skip
    gateway = site.gateway(keyed("a", site.upstream.url, auth_configs=configs))
    site.put(f"{ORG}mykey", session("a"))
    assert gateway.fetch("/a/x", "X-Token: mykey").status == 200
    assert gateway.fetch("/a/x?t=mykey").status == 200
    assert gateway.fetch("/a/x", "X-Jwt: mykey").status == 401
    assert gateway.fetch("/a/x", "Authorization: mykey").status == 401


@pytest.mark.parametrize("place", ["header", "query", "cookie"])
@pytest.mark.parametrize("strip", [False, True])
def test_credential_is_removed_from_where_it_stood(site: Site, place: str, strip: bool) -> None:
    auth = {"auth_header_name": "X-Key", "use_param": True, "param_name": "k", "use_cookie": True, "cookie_name": "c"}
    gateway = site.gateway(keyed("a", site.upstream.url, auth=auth, strip_auth_data=strip))
    site.put(f"{ORG}mykey", session("a"))
    target = "/a/x?one=1&k=mykey" if place == "query" else "/a/x?one=1"
    lines = {"header": ["X-Key: mykey"], "cookie": ["Cookie: a=1; c=mykey"], "query": []}[place]
    assert gateway.fetch(target, *lines).status == 200
    seen = site.upstream.requests[-1]
    text = f"{seen.target} {seen.get('X-Key')} {seen.get('Cookie')}"
    assert ("mykey" in text) is not strip
    assert "one=1" in text


@pytest.mark.parametrize("hashed", [False, True])
@pytest.mark.parametrize("function", ["murmur32", "murmur64", "murmur128", "sha256"])
def test_key_that_the_gateway_makes_opens_it(site: Site, function: str, hashed: bool) -> None:
    """A base64 token from the REST API, as a client sends it back, on both workers."""
    gateway = site.gateway(keyed("a", site.upstream.url), hash_keys=hashed, hash_key_function=function, preforge={"workers": 2})
    body = json.dumps(session("a")).encode()
    answer = gateway.fetch("/tyk/keys/create", "X-Tyk-Authorization: test-secret", method="POST", body=body)
    assert answer.status == 200
    token = json.loads(answer.body)["key"]
    assert statuses(gateway, "/a/x", token, 6) == [200] * 6
    names = site.store.ask("KEYS", "apikey-*")
    assert len(names) == 1
    assert (token.encode() in names[0]) is not hashed
    assert call(gateway, "/a/x", f"x{token}").status == 403


def test_way_of_hashing_can_change_at_a_reload(site: Site) -> None:
    gateway = site.gateway(keyed("a", site.upstream.url), hash_keys=True, hash_key_function="murmur64")
    body = json.dumps(session("a")).encode()
    made = gateway.fetch("/tyk/keys/mykey", "X-Tyk-Authorization: test-secret", method="POST", body=body)
    token = json.loads(made.body)["key"]
    assert call(gateway, "/a/x", "mykey").status == 200
    conf = json.loads(gateway.conf_path.read_text())
    gateway.conf_path.write_text(json.dumps({**conf, "hash_key_function": "sha256"}))
    reloaded(gateway)
    assert call(gateway, "/a/x", "mykey").status == 403, "the id alone stands for a key of the new function"
    assert call(gateway, "/a/x", token).status == 200, "a token says itself how it is hashed"
    both = {"hash_key_function": "sha256", "hash_key_function_fallback": ["murmur64"]}
    gateway.conf_path.write_text(json.dumps({**conf, **both}))
    reloaded(gateway)
    assert call(gateway, "/a/x", "mykey").status == 200
