"""Custom authentication by plugins (tyk-plugins 4.1, 4.2): nobody comes in without a key, and each with their own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from accel.http1 import Exchange, PyStep, Step
from coprocess.driver import Format, Reply, Ticket
from coprocess.proto.coprocess_object_pb2 import Object
from core.access.custom_keys import carried
from core.access.state import keep_identity
from core.sessions.model import from_value
from tests.plugins.auth_support import AuthSite, Plugin, accepts, auth_site, options, policies
from tests.support.datapath import DataPath
from tests.support.gateway import wait_for
from tests.support.keys import ORG, session
from tests.support.upstream import Upstream
from tests.support.valkey import Valkey, valkey

NO_KEY = (403, "Forbidden")
AWAY = (503, "The key store cannot be reached, please try again")


@pytest.fixture
def site(path: DataPath, redis: Valkey) -> Iterator[AuthSite]:
    with auth_site(path, redis) as found:
        yield found


def changed(change: Any, plugin: Plugin | None = None) -> Plugin:
    """A plugin that lets everybody in, and then changes its answer."""

    def run(given: Object) -> Any:
        (plugin or accepts())(given)
        return change(given)

    return run


def test_a_client_gets_the_key_that_the_plugin_names(site: AuthSite) -> None:
    site.serve(accepts(alias="Al", rate=5.0, per=1.0, metadata={"tier": "gold"}))
    assert site.get("alice").status == 200
    ((token, seen),) = site.seen
    assert (token, seen["alias"], seen["rate"]) == ("alice", "Al", 5.0)
    assert seen["meta_data"] == {"tier": "gold", "token": "alice"}
    stored = site.stored("alice")
    assert (stored["alias"], stored["meta_data"]) == ("Al", {"tier": "gold", "token": "alice"})
    assert site.events == []


def test_the_plugin_is_asked_without_a_session(site: AuthSite) -> None:
    site.serve(accepts())
    site.get()
    (given,) = site.call.calls
    assert (given.hook_type, given.hook_name, given.HasField("session"), dict(given.metadata)) == (4, "Auth", False, {})


def test_a_driver_that_speaks_json_is_understood_as_well(site: AuthSite) -> None:
    class JsonCall:
        format: Format = "json"

        def __call__(self, message: bytes, done: Callable[[Reply], None], /) -> Ticket:
            given = json.loads(message)
            given["session"] = {"alias": "Al", "rate": 5.0, "per": 1.0, "metadata": {"tier": "gold"}}
            given["metadata"] = {"token": given["request"]["headers"]["Authorization"]}
            return asyncio.get_running_loop().call_soon(done, Reply("ok", json.dumps(given).encode()))

    site.call = JsonCall()
    site.serve(accepts())
    assert [site.get(name).status for name in ("alice", "bob")] == [200, 200]
    assert [token for token, _ in site.seen] == ["alice", "bob"]
    assert site.seen[0][1]["meta_data"] == {"tier": "gold", "token": "alice"}


def test_versions_of_an_api_share_the_keys_that_they_have_found(site: AuthSite) -> None:
    for _ in range(2):
        site.serve(accepts())
        site.get()
        site.settle()
    for _ in range(3):
        site.serve(accepts())
        site.get()
    assert site.keys[-1] is site.keys[-2] is site.keys[-3]


def test_the_organisation_is_that_of_the_api(site: AuthSite) -> None:
    site.serve(accepts(org_id="dead00beef00dead00beef00"))
    assert site.get().status == 200
    assert (site.seen[0][1]["org_id"], site.stored("alice")["org_id"]) == (ORG, ORG)


def test_the_token_may_be_in_the_sessions_own_metadata(site: AuthSite) -> None:
    site.serve(changed(lambda given: given.metadata.clear(), accepts(metadata={"token": "mine"})))
    assert site.get().status == 200
    assert site.seen[0][0] == "mine"


def test_the_metadata_of_the_answer_go_before_those_of_the_session(site: AuthSite) -> None:
    site.serve(accepts({"token": "other"}, token="mine"))
    assert site.get().status == 200
    assert (site.seen[0][0], site.stored("other")) == ("mine", None)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda given: given.ClearField("session"), id="a token but no session"),
        pytest.param(lambda given: given.metadata.clear(), id="a session but no token"),
        pytest.param(lambda given: given.metadata.update({"token": ""}), id="an empty token"),
        pytest.param(lambda given: (given.ClearField("session"), given.metadata.clear(), None)[2], id="nothing"),
    ],
)
def test_without_a_session_and_a_token_nobody_comes_in(site: AuthSite, upstream: Upstream, change: Any) -> None:
    site.serve(changed(change))
    assert site.refused(site.get("mallory", "/api/nokey")) == NO_KEY
    assert site.events == [("AuthFailure", "mallory")]
    assert site.store.ask("KEYS", "*") == []
    assert not upstream.seen("/nokey")


def test_an_override_refuses_and_leaves_no_key(site: AuthSite) -> None:
    def refuse(given: Object) -> None:
        given.request.return_overrides.response_code = 401
        given.request.return_overrides.response_error = "who are you"

    site.serve(changed(refuse))
    assert site.refused(site.get("mallory")) == (401, "who are you")
    assert site.events == [("AuthFailure", "mallory")]
    assert (site.store.ask("KEYS", "*"), site.seen) == ([], [])


@pytest.mark.parametrize("outcome", ["error", "timeout", "away", "too_large"])
def test_a_plugin_that_fails_refuses(site: AuthSite, outcome: Any) -> None:
    site.serve(lambda given: Reply(outcome, detail="boom"))
    assert site.refused(site.get()) == (403, "Key not authorised")
    assert (site.seen, site.events) == ([], [])


def test_a_reply_that_is_none_refuses(site: AuthSite) -> None:
    site.serve(lambda given: Reply("ok", b"\xff\xff\xff"))
    assert site.refused(site.get()) == (403, "Key not authorised")


@pytest.mark.parametrize(
    ("more", "status", "text"),
    [
        ({"is_inactive": True}, 403, "Key is inactive, please renew"),
        ({"expires": 1}, 401, "Key has expired, please renew"),
        ({"access_rights": {"b": {"api_id": "b", "versions": ["Default"]}}}, 403, "Access to this API has been disallowed"),
    ],
)
def test_what_a_key_may_is_checked_behind_the_plugin(site: AuthSite, more: Any, status: int, text: str) -> None:
    site.serve(accepts(**more))
    assert site.refused(site.get()) == (status, text)


def test_rates_and_quotas_are_those_of_the_key(site: AuthSite) -> None:
    site.serve(accepts(quota_max=2, quota_renewal_rate=3600))
    assert [site.get("alice").status for _ in range(4)] == [200, 200, 403, 403]
    assert [site.get("bob").status for _ in range(3)] == [200, 200, 403]
    site.serve(accepts(rate=2.0, per=60.0))
    assert [site.get("carol").status for _ in range(3)] == [200, 200, 429]


@pytest.mark.parametrize(
    ("limit", "status"), [({"quota_max": 3, "quota_renewal_rate": 3600}, 403), ({"rate": 3.0, "per": 60.0}, 429)]
)
def test_limits_hold_though_the_plugin_returns_another_session_each_time(site: AuthSite, limit: Any, status: int) -> None:
    def plugin(given: Object) -> Any:
        return accepts(alias=str(len(site.call.calls)), **limit)(given)

    site.serve(plugin)
    with ExitStack() as open_ones:
        clients = [open_ones.enter_context(site.path.connect()) for _ in range(8)]
        for client in clients:
            client.send(b"GET /api/x HTTP/1.1\r\nHost: g\r\nAuthorization: alice\r\n\r\n")
        assert sorted(client.read().status for client in clients) == [200] * 3 + [status] * 5
    assert site.get().status == status
    assert len(site.call.calls) == 9


def test_a_deleted_key_begins_anew(site: AuthSite) -> None:
    site.serve(accepts(quota_max=1, quota_renewal_rate=3600))
    assert [site.get().status for _ in range(2)] == [200, 403]
    assert site.path.wait(site.keyspace.delete("alice"))
    site.settle()
    assert site.get().status == 200
    assert site.stored("alice") is not None


def test_a_session_is_written_when_it_is_another_one(site: AuthSite) -> None:
    site.serve(accepts(alias="one"))
    for _ in range(3):
        site.get()
    site.settle()
    site.get()
    site.store.ask("CONFIG", "RESETSTAT")
    for _ in range(3):
        site.get()
    assert "cmdstat_set" not in site.store.ask("INFO", "commandstats").decode()
    site.call.plugin = accepts(alias="two")
    site.get()
    assert (site.stored("alice")["alias"], site.seen[-1][1]["alias"]) == ("two", "two")


def test_one_clients_session_never_is_anothers(site: AuthSite) -> None:
    def plugin(given: Object) -> Any:
        return accepts(alias=f"of {given.request.headers['Authorization']}")(given)

    site.serve(plugin)
    for name in ("alice", "bob", "alice", "carol", "bob"):
        assert site.get(name).status == 200
    assert all(seen["alias"] == f"of {token}" for token, seen in site.seen)
    assert len(site.seen) == 5


def test_what_a_stored_session_has_counted_stays(site: AuthSite) -> None:
    limit = {"quota_max": 10, "quota_renews": 77, "quota_remaining": 6}
    rights = {"api": {"api_id": "api", "versions": ["Default"], "limit": limit}}
    before = session("api", quota_max=10, quota_renewal_rate=60, quota_renews=1234, quota_remaining=7, access_rights=rights)
    site.store.ask("SET", "apikey-alice", json.dumps(before))
    site.serve(accepts(quota_max=20, quota_renewal_rate=60, quota_remaining=20, alias="new"))
    assert site.get().status == 200
    stored = site.stored("alice")
    assert [stored[key] for key in ("alias", "quota_max", "quota_renews", "quota_remaining")] == ["new", 20, 1234, 7]
    assert site.seen[0][1]["quota_renews"] == 1234


def test_limits_of_an_api_keep_their_counts_where_both_sessions_have_them() -> None:
    def given(api: str, **limit: Any) -> Any:
        return from_value({"access_rights": {api: {"api_id": api, "limit": limit}}})

    stored = given("a", quota_max=5, quota_renews=9, quota_remaining=3)
    assert carried(given("a", quota_max=8), stored)["access_rights"]["a"]["limit"]["quota_renews"] == 9
    assert carried(given("a"), stored)["access_rights"]["a"]["limit"]["quota_renews"] == 0
    assert carried(given("b", quota_max=8), stored)["access_rights"]["b"]["limit"]["quota_renews"] == 0


def test_a_stored_session_that_cannot_be_read_is_written_anew(site: AuthSite) -> None:
    site.store.ask("SET", "apikey-alice", "no session")
    site.serve(accepts(alias="Al"))
    assert site.get().status == 200
    assert site.stored("alice")["alias"] == "Al"


# -- policies -----------------------------------------------------------------------------------------------------


def test_policies_are_applied_and_the_store_has_what_the_plugin_said(site: AuthSite) -> None:
    site.apply(policies({"id": "p", "rate": 44, "per": 60, "quota_max": 1, "quota_renewal_rate": 60,
                         "access_rights": {"api": {"api_id": "api", "versions": ["Default"]}}}))  # fmt: skip
    site.serve(accepts(apply_policies=["p"], rate=5.0))
    assert [site.get().status for _ in range(2)] == [200, 403]
    assert (site.seen[0][1]["rate"], site.stored("alice")["rate"]) == (44, 5)


@pytest.mark.parametrize(
    ("named", "rate"),
    [
        ({"apply_policy_id": "one"}, 1),
        ({"apply_policies": ["two"]}, 2),
        ({"apply_policy_id": "one", "apply_policies": ["two"]}, 2),
    ],
)
def test_the_list_of_policies_goes_before_the_single_one(site: AuthSite, named: Any, rate: int) -> None:
    opened = {"access_rights": {"api": {"api_id": "api", "versions": ["Default"]}}, "per": 60}
    site.apply(policies({"id": "one", "rate": 1, **opened}, {"id": "two", "rate": 2, **opened}))
    site.serve(accepts(**named))
    assert site.get().status == 200
    assert site.seen[0][1]["rate"] == rate


def test_a_policy_that_closes_the_api_closes_it(site: AuthSite) -> None:
    site.apply(policies({"id": "p", "access_rights": {"b": {"api_id": "b", "versions": ["Default"]}}}))
    site.serve(accepts(apply_policies=["p"]))
    assert site.refused(site.get()) == (403, "Access to this API has been disallowed")


@pytest.mark.parametrize("names", [["gone"], ["off"], ["foreign"]])
def test_a_policy_that_cannot_be_applied_refuses(site: AuthSite, names: list[str]) -> None:
    foreign = {"id": "foreign", "org_id": "other", "access_rights": {"api": {"api_id": "api"}}}
    site.apply(policies({"id": "off", "active": False}, foreign))
    site.serve(accepts(apply_policies=names))
    for base in (True, False):
        site.serve(accepts(apply_policies=names), base=base)
        assert site.refused(site.get("mallory")) == NO_KEY
    assert site.events == [("AuthFailure", "mallory")] * 2
    assert (site.seen, site.store.ask("KEYS", "*")) == ([], [])


def test_other_policies_count_from_the_next_request_on(site: AuthSite) -> None:
    opened = {"access_rights": {"api": {"api_id": "api", "versions": ["Default"]}}}
    site.apply(policies({"id": "p", **opened}))
    site.serve(accepts(apply_policies=["p"]))
    assert site.get().status == 200
    site.apply(policies({"id": "p", "is_inactive": True, **opened}))
    assert site.refused(site.get()) == (403, "Key is inactive, please renew")
    site.apply(policies())
    assert site.refused(site.get()) == NO_KEY


def test_hashed_keys_are_stored_under_their_hash(path: DataPath, redis: Valkey) -> None:
    with auth_site(path, redis, options(hash_keys=True)) as site:
        site.serve(accepts(alias="Al"))
        assert site.get().status == 200
        (name,) = redis.ask("KEYS", "*")
        assert name == b"apikey-" + site.keyspace.name_of("alice").encode()
        assert b"alice" not in name


# -- the store is away -----------------------------------------------------------------------------------------------


def test_a_key_that_cannot_be_stored_opens_nothing_and_the_next_request_tries_again(path: DataPath, tmp_path: Any) -> None:
    with valkey(tmp_path / "store") as store, auth_site(path, store) as site:
        site.serve(accepts())
        store.stop()
        assert site.refused(site.get()) == AWAY
        assert (site.seen, len(site.cache)) == ([], 0)
        store.start()
        wait_for(lambda: site.get().status == 200, "the gateway reaches the store again")
        assert site.stored("alice") is not None


# -- several methods ---------------------------------------------------------------------------------------------------


def token_step(site: AuthSite) -> Step:
    """Stands for token auth behind the hook: it has found a key of its own."""

    def find(x: Exchange) -> Any:
        async def load() -> None:
            x.key = await site.sessions.find(ORG, b"token-key")
            x.grant = None

        return load()

    return PyStep(find)


def test_the_plugins_key_is_the_clients_if_it_is_the_base_identity(site: AuthSite) -> None:
    site.store.ask("SET", "apikey-token-key", json.dumps(session("api", alias="token", rate=200, per=1)))
    site.serve(accepts(alias="plugin", rate=100.0, per=1.0), None, token_step(site), PyStep(keep_identity))
    assert site.get().status == 200
    assert (site.seen[0][1]["alias"], site.stored("alice")["rate"]) == ("plugin", 100)


def test_the_plugins_key_is_not_kept_if_another_method_is_the_base_identity(site: AuthSite) -> None:
    site.store.ask("SET", "apikey-token-key", json.dumps(session("api", alias="token")))
    site.serve(accepts(alias="plugin"), None, token_step(site), base=False)
    assert site.get().status == 200
    assert (site.seen[0][1]["alias"], site.stored("alice")) == ("token", None)


def test_a_plugin_that_is_not_the_base_identity_refuses_all_the_same(site: AuthSite) -> None:
    site.serve(changed(lambda given: given.ClearField("session")), None, token_step(site), base=False)
    assert site.refused(site.get()) == NO_KEY


def test_a_key_of_another_method_is_gone_when_the_plugin_refuses(site: AuthSite) -> None:
    site.serve(changed(lambda given: given.ClearField("session")), before=(token_step(site),))
    assert site.refused(site.get()) == NO_KEY
    assert site.seen == []


# -- several at once --------------------------------------------------------------------------------------------------


def test_requests_that_bring_one_key_at_once_write_it_once(site: AuthSite) -> None:
    site.serve(accepts(alias="Al"))
    site.store.ask("CONFIG", "RESETSTAT")
    with ExitStack() as open_ones:
        clients = [open_ones.enter_context(site.path.connect()) for _ in range(8)]
        site.store.ask("CLIENT", "PAUSE", "200", "ALL")
        for client in clients:
            client.send(b"GET /api/x HTTP/1.1\r\nHost: g\r\nAuthorization: alice\r\n\r\n")
        assert [client.read().status for client in clients] == [200] * 8
    assert site.stored("alice")["alias"] == "Al"
    assert site.store.ask("INFO", "commandstats").decode().count("cmdstat_set:calls=1,") == 1
    assert {id(key) for key in site.keys} == {id(site.keys[0])}


def test_nobody_passes_with_a_session_that_is_on_its_way_to_the_store(site: AuthSite, monkeypatch: pytest.MonkeyPatch) -> None:
    site.store.ask("SET", "apikey-alice", json.dumps(session("api", quota_renews=1234, quota_remaining=7)))
    site.serve(accepts(alias="new"))
    save = site.keyspace.save
    began = asyncio.Event()
    written = asyncio.Event()

    async def slowly(*given: Any) -> bool:
        began.set()
        await written.wait()
        return await save(*given)

    monkeypatch.setattr(site.keyspace, "save", slowly)
    with site.path.connect() as one, site.path.connect() as two:
        request = b"GET /api/x HTTP/1.1\r\nHost: g\r\nAuthorization: alice\r\n\r\n"
        one.send(request)
        wait_for(began.is_set, "the session is being written")
        two.send(request)
        wait_for(lambda: len(site.call.calls) == 2, "the plugin has answered again")
        for _ in range(20):
            site.path.call(lambda: None)
        assert site.keys == []
        site.path.call(written.set)
        assert [one.read().status, two.read().status] == [200, 200]
    assert site.keys[0] is site.keys[1]
    assert site.stored("alice")["quota_renews"] == 1234


def test_the_keys_of_plugins_are_bounded(site: AuthSite) -> None:
    site.serve(accepts())
    for _ in range(2):      # the notifications of the first time empty the cache again
        for number in range(110):
            assert site.get(f"key{number}").status == 200
        site.settle()
    assert len(site.cache) == 100
    assert site.cache.evicted >= 10
