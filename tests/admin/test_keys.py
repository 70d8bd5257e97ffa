"""Keys over the REST API: what was answered is true on every worker and node, and a deleted key never comes back."""

from __future__ import annotations

import base64
import contextlib
import json
import re
import threading
import time

import pytest

from core.sessions.murmur import digest
from tests.admin.answers import create, error, json_of
from tests.admin.everywhere import statuses
from tests.support.gateway import Gateway, Json, wait_for
from tests.support.keys import ORG, call, keyed, limits_of, session
from tests.support.site import Site, manage
from tests.support.wire import get

OTHER_ORG = "0ddba11000ddba11000ddba1"
POLICIES: Json = {
    "gold": {
        "org_id": ORG,
        "rate": 100,
        "per": 1,
        "quota_max": 7,
        "quota_renewal_rate": 3600,
        "tags": ["shiny"],
        "access_rights": {"a": {"api_id": "a", "api_name": "a", "versions": ["Default"]}},
    },
    "foreign": {"org_id": OTHER_ORG, "access_rights": {"a": {"api_id": "a", "versions": ["Default"]}}},
    "trial": {"org_id": ORG, "key_expires_in": 3600, "access_rights": {"a": {"api_id": "a", "versions": ["Default"]}}},
}


@pytest.fixture(scope="module")
def nodes(shared_site: Site) -> list[Gateway]:
    """Two nodes with one store: one of two workers, one of one. Keys are not hashed."""
    record = shared_site.directory / "policies.json"
    record.write_text(json.dumps(POLICIES))
    apis = [keyed(name, shared_site.upstream.url) for name in ("a", "b")]
    apis.append(keyed("other", shared_site.upstream.url, org_id=OTHER_ORG))
    conf: Json = {"policies": {"policy_source": "file", "policy_record_name": str(record)}}
    return [shared_site.gateway(*apis, preforge={"workers": workers}, **conf) for workers in (2, 1)]


@pytest.fixture(scope="module")
def gateway(nodes: list[Gateway]) -> Gateway:
    return nodes[0]


@pytest.fixture(scope="module")
def hashed(shared_site: Site, nodes: list[Gateway]) -> Gateway:
    """A node that hashes keys."""
    apis = [keyed("a", shared_site.upstream.url), keyed("other", shared_site.upstream.url, org_id=OTHER_ORG)]
    return shared_site.gateway(
        *apis,
        hash_keys=True,
        hash_key_function="murmur64",
        enable_hashed_keys_listing=True,
        policies=nodes[0].conf["policies"],
    )


def wait_for_status(nodes: list[Gateway], key: str, status: int) -> None:
    """Every worker of every node answers requests with this key so, within the 2 s that a change may take."""
    wait_for(lambda: all(statuses(node, "/a/x", key) == {status} for node in nodes), f"{status} everywhere", 2.0)


# -- everywhere and at once ----------------------------------------------------------------


def test_a_created_key_works_at_once_on_every_worker_of_every_node(nodes: list[Gateway]) -> None:
    for maker in nodes:
        key = create(maker, "a")
        assert re.fullmatch(ORG + "[0-9a-f]{32}", key)
        for node in nodes:
            assert statuses(node, "/a/x", key) == {200}
            assert statuses(node, "/b/x", key) == {403}


def test_a_deleted_key_stops_on_all_nodes_within_two_seconds(nodes: list[Gateway]) -> None:
    for killer in nodes:
        key = create(nodes[0], "a")
        for node in nodes:
            assert statuses(node, "/a/x", key) == {200}
        assert json_of(manage(killer, "DELETE", f"/tyk/keys/{key}")) == {"key": key, "status": "ok", "action": "deleted"}
        wait_for_status(nodes, key, 403)
        for node in nodes:
            assert error(manage(node, "GET", f"/tyk/keys/{key}")) == (404, "Key not found")


def test_a_key_without_rights_to_an_api_loses_it_on_all_nodes(nodes: list[Gateway]) -> None:
    key = create(nodes[0], "a", "b")
    assert all(statuses(node, "/b/x", key) == {200} for node in nodes)
    assert json_of(manage(nodes[1], "PUT", f"/tyk/keys/{key}", session("a")))["action"] == "modified"
    wait_for(lambda: all(statuses(node, "/b/x", key) == {403} for node in nodes), "the end of the right", 2.0)
    assert all(statuses(node, "/a/x", key) == {200} for node in nodes)


def test_a_deleted_key_stops_on_nodes_that_hear_nothing_too(site: Site) -> None:
    apis = [keyed("a", site.upstream.url)]
    nodes = [site.gateway(*apis, suppress_redis_signal_reload=True, preforge={"workers": workers}) for workers in (2, 1)]
    key = create(nodes[0], "a")
    assert statuses(nodes[0], "/a/x", key) == statuses(nodes[1], "/a/x", key) == {200}
    assert manage(nodes[0], "DELETE", f"/tyk/keys/{key}").status == 200
    wait_for_status(nodes, key, 403)


def test_another_quota_counts_at_once_and_begins_anew(nodes: list[Gateway]) -> None:
    key = create(nodes[0], "a", quota_max=2, quota_renewal_rate=3600)
    assert [call(nodes[1], "/a/x", key).status for _ in range(3)] == [200, 200, 403]
    wider = session("a", quota_max=5, quota_renewal_rate=3600)
    assert manage(nodes[0], "PUT", f"/tyk/keys/{key}", wider).status == 200
    wait_for(lambda: call(nodes[1], "/a/x", key).status == 200, "the wider quota", 2.0)
    assert [call(nodes[0], "/a/x", key).status for _ in range(5)] == [200, 200, 200, 200, 403]


def test_another_rate_counts_at_once(nodes: list[Gateway]) -> None:
    key = create(nodes[0], "a", rate=1, per=600)
    assert [call(nodes[1], "/a/x", key).status for _ in range(2)] == [200, 429]
    assert manage(nodes[0], "PUT", f"/tyk/keys/{key}", session("a", rate=500, per=600)).status == 200
    wait_for(lambda: [call(nodes[1], "/a/x", key).status for _ in range(3)] == [200] * 3, "the higher rate", 2.0)
    assert manage(nodes[1], "PUT", f"/tyk/keys/{key}", session("a", is_inactive=True)).status == 200
    wait_for_status(nodes, key, 403)


def test_suppress_reset_lets_the_counters_go_on(gateway: Gateway) -> None:
    key = create(gateway, "a", quota_max=3, quota_renewal_rate=3600)
    body = session("a", quota_max=3, quota_renewal_rate=3600)
    assert [call(gateway, "/a/x", key).status for _ in range(2)] == [200, 200]
    renews = json_of(manage(gateway, "GET", f"/tyk/keys/{key}"))["quota_renews"]
    assert manage(gateway, "PUT", f"/tyk/keys/{key}?suppress_reset=1", body).status == 200
    after = json_of(manage(gateway, "GET", f"/tyk/keys/{key}"))
    assert (after["quota_remaining"], after["quota_renews"]) == (1, renews)
    assert limits_of(call(gateway, "/a/x", key)) == (3, 0)
    assert call(gateway, "/a/x", key).status == 403
    assert manage(gateway, "PUT", f"/tyk/keys/{key}", body).status == 200
    assert limits_of(call(gateway, "/a/x", key)) == (3, 2)


# -- never back again ------------------------------------------------------------------------


def test_a_deleted_key_is_not_brought_back_by_changes_that_were_on_their_way(nodes: list[Gateway], shared_site: Site) -> None:
    for turn in range(12):
        key = create(nodes[0], "a")
        answers: list[int] = []
        go = threading.Barrier(4)

        def change(node: Gateway, key: str = key, answers: list[int] = answers, go: threading.Barrier = go) -> None:
            go.wait()
            for _ in range(4):
                answers.append(manage(node, "PUT", f"/tyk/keys/{key}", session("a", alias="again")).status)
                manage(node, "POST", f"/tyk/keys/policy/{key}", {"policy": "gold"})

        threads = [threading.Thread(target=change, args=(nodes[i % 2],)) for i in range(3)]
        for thread in threads:
            thread.start()
        go.wait()
        assert manage(nodes[turn % 2], "DELETE", f"/tyk/keys/{key}").status == 200
        for thread in threads:
            thread.join()
        assert set(answers) <= {200, 404}
        assert shared_site.store.ask("EXISTS", f"apikey-{key}") == 0, "the key is back"
        assert statuses(nodes[0], "/a/x", key) == statuses(nodes[1], "/a/x", key) == {403}


def test_changing_what_is_not_there_creates_nothing(gateway: Gateway, shared_site: Site) -> None:
    assert error(manage(gateway, "PUT", "/tyk/keys/absent", session("a"))) == (404, "Key is not found")
    assert error(manage(gateway, "DELETE", "/tyk/keys/absent")) == (404, "There is no such key found")
    assert error(manage(gateway, "POST", "/tyk/keys/policy/absent", {"policy": "gold"})) == (404, "Key not found")
    assert shared_site.store.ask("KEYS", "*absent*") == []


@pytest.mark.parametrize("how", ["killed", "paused"])
def test_without_the_store_nothing_is_said_to_be_done(site: Site, how: str) -> None:
    gateway = site.gateway(keyed("a", site.upstream.url), preforge={"storage": {"command_timeout": 0.3}})
    key = create(gateway, "a")
    assert call(gateway, "/a/x", key).status == 200
    if how == "killed":
        site.store.kill()
    else:
        site.store.pause()
    calls = [
        ("GET", "/tyk/keys"),
        ("GET", f"/tyk/keys/{key}"),
        ("POST", "/tyk/keys/create"),
        ("POST", "/tyk/keys/named"),
        ("PUT", f"/tyk/keys/{key}"),
        ("POST", f"/tyk/keys/policy/{key}"),
    ]
    for method, target in calls:
        status, message = error(manage(gateway, method, target, session("a")))
        assert status == 503, (method, target)
        assert message.startswith("The store of keys cannot be reached"), message
    assert error(manage(gateway, "POST", "/tyk/keys/preview", session("a", alias=5)))[0] == 500
    assert manage(gateway, "POST", "/tyk/keys/preview", session("a")).status == 200
    if how == "killed":
        site.store.start()
    else:
        site.store.resume()
    wait_for(lambda: manage(gateway, "GET", "/tyk/keys").status == 200, "the store's return")
    again = create(gateway, "a")
    assert call(gateway, "/a/x", again).status == 200
    assert manage(gateway, "DELETE", f"/tyk/keys/{again}").status == 200
    assert call(gateway, "/a/x", again).status == 403


# -- names --------------------------------------------------------------------------------------


NAMES = ["mykey", "with-dash_and.dot~", "caf%C3%A9", "of%20two%20words", "%22quoted%22", "a%3Cb%3E&c"]


@pytest.mark.parametrize("key_id", NAMES)
def test_custom_names_work_for_clients_and_for_the_api(gateway: Gateway, key_id: str) -> None:
    made = json_of(manage(gateway, "POST", f"/tyk/keys/{key_id}", session("a")))
    assert made["action"] == "added"
    assert "key_hash" not in made
    assert made["key"].startswith(ORG)
    if made["key"].isascii():
        for name in (made["key"], made["key"].removeprefix(ORG)):
            assert call(gateway, "/a/x", name).status == 200, name
    shown = json_of(manage(gateway, "GET", f"/tyk/keys/{ORG}{key_id}"))
    assert shown["access_rights"]["a"]["api_id"] == "a"
    # The organisation in front is not put there twice.
    again = json_of(manage(gateway, "POST", f"/tyk/keys/{ORG}{key_id}", session("a")))
    assert again["key"] == made["key"]
    assert json_of(manage(gateway, "DELETE", f"/tyk/keys/{key_id}?org_id={ORG}"))["action"] == "deleted"


def test_names_that_no_client_could_use_are_refused(gateway: Gateway) -> None:
    answer = manage(gateway, "POST", "/tyk/keys/x", session("a", org_id=""))
    assert answer.status == 400
    assert json.loads(answer.body)["message"].startswith("custom key ID length")
    assert manage(gateway, "POST", "/tyk/keys/xxxx", session("a", org_id="")).status == 200
    assert call(gateway, "/a/x", "xxxx").status == 200


def test_a_key_may_be_created_without_saying_a_name(gateway: Gateway) -> None:
    made = json_of(manage(gateway, "POST", "/tyk/keys", session("a")))
    assert made["action"] == "added"
    assert call(gateway, "/a/x", made["key"]).status == 200


def test_keys_of_users_are_found_by_their_names(gateway: Gateway) -> None:
    body = session("a", basic_auth_data={"password": "hunter2"})
    made = json_of(manage(gateway, "POST", "/tyk/keys/anna", body))
    assert made["key"] == f"{ORG}anna"
    shown = json_of(manage(gateway, "GET", f"/tyk/keys/anna?username=true&org_id={ORG}"))
    assert (shown["basic_auth_data"]["password"], shown["basic_auth_data"]["hash_type"]) == ("", "bcrypt")
    target = f"/tyk/keys/anna?username=true&org_id={ORG}"
    assert json_of(manage(gateway, "PUT", target, session("a", alias="new")))["action"] == "modified"
    assert json_of(manage(gateway, "DELETE", target))["action"] == "deleted"
    assert manage(gateway, "GET", target).status == 404


def test_passwords_are_stored_as_hashes_and_kept_by_changes_that_name_none(gateway: Gateway, shared_site: Site) -> None:
    key = json_of(manage(gateway, "POST", "/tyk/keys/bert", session("a", basic_auth_data={"password": "geheim"})))["key"]

    def stored() -> str:
        return str(json.loads(shared_site.store.ask("GET", f"apikey-{key}"))["basic_auth_data"]["password"])

    first = stored()
    assert first.startswith("$2")
    shown = json_of(manage(gateway, "GET", f"/tyk/keys/{key}"))
    assert manage(gateway, "PUT", f"/tyk/keys/{key}", {**shown, "alias": "x"}).status == 200
    assert stored() == first
    assert manage(gateway, "PUT", f"/tyk/keys/{key}", {**shown, "basic_auth_data": {"password": "other"}}).status == 200
    assert stored().startswith("$2")
    assert stored() != first
    too_long = session("a", basic_auth_data={"password": "x" * 73})
    assert manage(gateway, "POST", "/tyk/keys/bert", too_long).status == 400


# -- hashed keys ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "stored_by", "digits"),
    [
        ("", "murmur32", 8),
        ("murmur32", "murmur32", 8),
        ("murmur64", "murmur64", 16),
        ("murmur128", "murmur128", 32),
        ("sha256", "sha256", 64),
    ],
)
def test_every_hash_function_stores_and_finds_keys(site: Site, function: str, stored_by: str, digits: int) -> None:
    gateway = site.gateway(keyed("a", site.upstream.url), hash_keys=True, hash_key_function=function)
    made = json_of(manage(gateway, "POST", "/tyk/keys/custom", session("a")))
    token, hashed = made["key"], made["key_hash"]
    assert hashed == digest(stored_by, token.encode())
    assert len(hashed) == digits
    assert site.store.ask("KEYS", "apikey-*") == [f"apikey-{hashed}".encode()]
    if function:
        inside = json.loads(base64.b64decode(token))
        assert inside == {"org": ORG, "id": "custom", "h": function}
    for name in (token, "custom"):
        assert call(gateway, "/a/x", name).status == 200
    for target in (f"/tyk/keys/{token}", f"/tyk/keys/{hashed}?hashed=1", f"/tyk/keys/custom?org_id={ORG}"):
        assert json_of(manage(gateway, "GET", target))["org_id"] == ORG, target
    assert manage(gateway, "GET", f"/tyk/keys/{hashed}").status == 404, "a hash is no key"
    assert call(gateway, "/a/x", hashed).status == 403, "a hash opens nothing"
    changed = manage(gateway, "PUT", f"/tyk/keys/{hashed}?hashed=1", session("a", alias="by hash"))
    assert json_of(changed)["action"] == "modified"
    assert json_of(manage(gateway, "GET", f"/tyk/keys/{token}"))["alias"] == "by hash"
    answer = manage(gateway, "GET", "/tyk/keys")
    assert error(answer) == (404, "Hashed key listing is disabled in config (enable_hashed_keys_listing)")
    assert json_of(manage(gateway, "DELETE", f"/tyk/keys/{hashed}?hashed=1"))["action"] == "deleted"
    assert wait_for(lambda: call(gateway, "/a/x", token).status == 403, "the end of the key", 2.0)
    assert site.store.ask("KEYS", "apikey-*") == []


def test_tokens_of_users_are_not_shown_when_keys_are_hashed(hashed: Gateway) -> None:
    body = session("a", basic_auth_data={"password": "hunter2"})
    made = json_of(manage(hashed, "POST", "/tyk/keys/carl", body))
    assert made["key"] == ""
    assert json_of(manage(hashed, "GET", f"/tyk/keys/{made['key_hash']}?hashed=true"))["org_id"] == ORG


def test_hashed_keys_are_listed_by_hash_and_by_api(hashed: Gateway, shared_site: Site) -> None:
    one = json_of(manage(hashed, "POST", "/tyk/keys/create", session("a")))
    two = json_of(manage(hashed, "POST", "/tyk/keys/create", session("other", org_id=OTHER_ORG)))
    listed = json_of(manage(hashed, "GET", "/tyk/keys"))["keys"]
    assert {one["key_hash"], two["key_hash"]} <= set(listed)
    assert not {one["key"], two["key"]} & set(listed)
    opening = json_of(manage(hashed, "GET", "/tyk/keys?api_id=other"))["keys"]
    assert two["key_hash"] in opening
    assert one["key_hash"] not in opening


def test_a_hash_is_asked_for_only_where_keys_are_hashed(gateway: Gateway) -> None:
    key = create(gateway, "a")
    for method in ("GET", "PUT", "DELETE"):
        answer = manage(gateway, method, f"/tyk/keys/{key}?hashed=1", session("a"))
        assert error(answer) == (400, "Key requested by hash but key hashing is not enabled")
    assert call(gateway, "/a/x", key).status == 200


# -- lists --------------------------------------------------------------------------------------------


def test_keys_are_listed_by_organisation_and_api(gateway: Gateway, hashed: Gateway) -> None:
    mine, both = create(gateway, "a"), create(gateway, "a", "b")
    other = create(gateway, "other", org_id=OTHER_ORG)
    everything = set(json_of(manage(gateway, "GET", "/tyk/keys"))["keys"])
    assert {mine, both, other} <= everything
    listed = json_of(manage(gateway, "GET", f"/tyk/keys?filter={ORG}"))["keys"]
    assert {mine, both} <= set(listed)
    assert other not in listed
    listed = json_of(manage(gateway, "GET", f"/tyk/keys?filter={ORG}&api_id=b"))["keys"]
    assert both in listed
    assert mine not in listed
    assert json_of(manage(gateway, "GET", "/tyk/keys?filter=*")) == {"keys": []}
    answer = manage(gateway, "GET", "/tyk/keys?api_id=b")
    assert error(answer)[0] == 400


def test_an_unreadable_session_spoils_no_list_and_opens_nothing(gateway: Gateway, shared_site: Site) -> None:
    good = create(gateway, "a")
    for name, raw in (("broken", b"{"), ("shape", b"[1]"), ("type", b'{"access_rights": 5}'), ("bytes", b"\xff\xfe")):
        shared_site.store.ask("SET", f"apikey-{ORG}{name}", raw)
        assert call(gateway, "/a/x", f"{ORG}{name}").status == 403, name
        answer = manage(gateway, "GET", f"/tyk/keys/{ORG}{name}")
        assert answer.status == 500, name
        assert json.loads(answer.body)["message"].startswith("The session of this key cannot be read"), name
    listed = json_of(manage(gateway, "GET", f"/tyk/keys?filter={ORG}&api_id=a"))["keys"]
    assert good in listed
    shared_site.store.ask("DEL", *(f"apikey-{ORG}{name}" for name in ("broken", "shape", "type", "bytes")))


# -- policies --------------------------------------------------------------------------------------------


def test_policies_are_applied_and_stay_what_they_are_in_the_file(gateway: Gateway, shared_site: Site) -> None:
    key = create(gateway, apply_policies=["gold"])
    shown = json_of(manage(gateway, "GET", f"/tyk/keys/{key}"))
    assert (shown["quota_max"], shown["tags"], list(shown["access_rights"])) == (7, ["shiny"], ["a"])
    assert shown["apply_policies"] == ["gold"]
    assert limits_of(call(gateway, "/a/x", key)) == (7, 6)
    assert json_of(manage(gateway, "GET", f"/tyk/keys/{key}"))["quota_remaining"] == 6


def test_policies_that_cannot_be_applied_make_no_key(gateway: Gateway, shared_site: Site) -> None:
    before = shared_site.store.ask("DBSIZE")
    for policies in (["nothing"], ["foreign"]):
        answer = manage(gateway, "POST", "/tyk/keys/create", session(apply_policies=policies))
        assert answer.status == 500
        assert json.loads(answer.body)["message"].startswith("Failed to create key - ")
        answer = manage(gateway, "POST", "/tyk/keys/some-name", session(apply_policies=policies))
        assert error(answer) == (500, "Failed to create key, ensure security settings are correct.")
    assert shared_site.store.ask("DBSIZE") == before


def test_a_change_that_is_refused_leaves_the_key_as_it_was(gateway: Gateway, shared_site: Site) -> None:
    key = create(gateway, "a", quota_max=5, quota_renewal_rate=3600)
    assert call(gateway, "/a/x", key).status == 200
    before = shared_site.store.ask("GET", f"apikey-{key}")
    for body in (session(apply_policies=["nothing"]), session("unknown"), session(), b"{", {"org_id": 5}):
        assert manage(gateway, "PUT", f"/tyk/keys/{key}", body).status in (400, 500)
    assert shared_site.store.ask("GET", f"apikey-{key}") == before
    assert limits_of(call(gateway, "/a/x", key)) == (5, 3)


def test_trial_policies_end_keys_when_they_are_made_only(gateway: Gateway) -> None:
    begin = int(time.time())
    key = create(gateway, apply_policies=["trial"])
    ends = json_of(manage(gateway, "GET", f"/tyk/keys/{key}"))["expires"]
    assert begin + 3600 <= ends <= int(time.time()) + 3600
    assert manage(gateway, "PUT", f"/tyk/keys/{key}", session(apply_policies=["trial"], expires=ends + 5)).status == 200
    assert json_of(manage(gateway, "GET", f"/tyk/keys/{key}"))["expires"] == ends + 5


def test_a_preview_shows_what_would_be_and_stores_nothing(gateway: Gateway, shared_site: Site) -> None:
    before = sorted(shared_site.store.ask("KEYS", "apikey-*"))
    shown = json_of(manage(gateway, "POST", "/tyk/keys/preview", session(apply_policies=["gold"])))
    assert (shown["quota_max"], list(shown["access_rights"])) == (7, ["a"])
    assert error(manage(gateway, "POST", "/tyk/keys/preview", b"nonsense")) == (500, "Unmarshalling failed")
    assert manage(gateway, "POST", "/tyk/keys/preview", session(apply_policies=["nothing"])).status == 500
    assert sorted(shared_site.store.ask("KEYS", "apikey-*")) == before


def test_a_policy_is_given_to_a_key_by_its_name_in_the_store(nodes: list[Gateway], hashed: Gateway) -> None:
    key = create(nodes[0], "a", "b")
    assert statuses(nodes[1], "/b/x", key) == {200}
    made = json_of(manage(nodes[0], "POST", f"/tyk/keys/policy/{key}", {"policy": "gold", "apply_policies": ["gold"]}))
    assert made == {"key": key, "status": "ok", "action": "updated"}
    wait_for(lambda: all(statuses(node, "/b/x", key) == {403} for node in nodes), "the end of the right", 2.0)
    assert limits_of(call(nodes[1], "/a/x", key)) == (7, 6)
    for body in (b"{", b"[]", {"policy": 5}, {"apply_policies": ["nothing"]}):
        answer = manage(nodes[0], "POST", f"/tyk/keys/policy/{key}", body)
        assert answer.status == 400, body
        assert json.loads(answer.body)["message"].startswith("Couldn't decode instruction")
    by_hash = json_of(manage(hashed, "POST", "/tyk/keys/create", session("a")))
    assert manage(hashed, "POST", f"/tyk/keys/policy/{by_hash['key_hash']}", {"policy": "gold"}).status == 200
    assert limits_of(call(hashed, "/a/x", by_hash["key"])) == (7, 6)


def test_deletion_everywhere_answers_null(gateway: Gateway) -> None:
    key = create(gateway, "a")
    assert json_of(manage(gateway, "DELETE", f"/tyk/keys/{key}?api_id=-1")) is None
    assert manage(gateway, "GET", f"/tyk/keys/{key}").status == 404


def test_a_deleted_key_leaves_no_quota_for_the_next_of_its_name(gateway: Gateway, shared_site: Site) -> None:
    body = session("a", quota_max=2, quota_renewal_rate=3600)
    key = json_of(manage(gateway, "POST", "/tyk/keys/phoenix", body))["key"]
    assert [call(gateway, "/a/x", key).status for _ in range(3)] == [200, 200, 403]
    assert manage(gateway, "DELETE", f"/tyk/keys/{key}").status == 200
    assert shared_site.store.ask("KEYS", f"quota-*{key}") == []
    assert manage(gateway, "POST", "/tyk/keys/phoenix", body).status == 200
    assert limits_of(call(gateway, "/a/x", key)) == (2, 1)


def test_an_answered_change_of_a_key_holds_for_the_next_request_whichever_worker_has_it(site: Site) -> None:
    gateway = site.gateway(keyed("a", site.upstream.url), preforge={"workers": 2})
    site.put(f"{ORG}mykey", session("a"))
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(gateway.connect()) for _ in range(8)]
        request = get("/a/x", "gateway.test", f"Authorization: {ORG}mykey")
        for turn in range(60):
            inactive = turn % 2 == 1
            assert manage(gateway, "PUT", f"/tyk/keys/{ORG}mykey", session("a", is_inactive=inactive)).status == 200
            for client in clients:
                client.send(request)
            assert {client.read().status for client in clients} == {403 if inactive else 200}, turn
