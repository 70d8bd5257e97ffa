"""Sessions that come over the REST API: what is wrong is refused, what is stored is what Tyk reads."""

from __future__ import annotations

import json
import re
import time

import pytest

from tests.admin.answers import create, error, json_of
from tests.support.gateway import Gateway, Json, wait_for
from tests.support.keys import ORG, call, keyed, session
from tests.support.site import Site, manage


@pytest.fixture(scope="module")
def gateway(shared_site: Site) -> Gateway:
    record = shared_site.directory / "policies.json"
    rights = {"a": {"api_id": "a", "api_name": "a", "versions": ["Default"]}}
    record.write_text(json.dumps({"gold": {"org_id": ORG, "last_updated": "1700000000", "access_rights": rights}}))
    policies = {"policy_source": "file", "policy_record_name": str(record)}
    return shared_site.gateway(keyed("a", shared_site.upstream.url), policies=policies)


def test_keys_that_open_nothing_or_everything_are_not_made_by_mistake(gateway: Gateway, shared_site: Site) -> None:
    before = shared_site.store.ask("DBSIZE")
    rights = "Failed to create key, keys must have at least one Access Rights record set."
    insecure = "Failed to create key, ensure security settings are correct."
    for body in (session(), {}, {"access_rights": None}):
        assert error(manage(gateway, "POST", "/tyk/keys/create", body)) == (400, rights)
        assert error(manage(gateway, "POST", "/tyk/keys/named", body)) == (500, insecure)
    assert error(manage(gateway, "POST", "/tyk/keys/named", session("unknown"))) == (500, insecure)
    assert shared_site.store.ask("DBSIZE") == before


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'"text"',
        b"{",
        b'{"org_id": 5}',
        b'{"expires": 1.5}',
        b'{"expires": 9223372036854775808}',
        b'{"quota_max": "5"}',
        b'{"access_rights": []}',
        b'{"access_rights": {"a": 5}}',
        b'{"rate": 1e999}',
        b'{"rate": NaN}',
        b'{"access_rights": {"a": {}}, "meta_data": {"x": 1e999}}',
        b'{"access_rights": {"a": {}}, "meta_data": {"x": ' + b"9" * 400 + b"}}",
        b'{"meta_data": ' + b"[" * 3000 + b"]" * 3000 + b"}",
        b'{"meta_data": ' * 250 + b"1" + b"}" * 250,
    ],
    ids=lambda body: str(body[:40]),
)
def test_bodies_that_are_no_session_are_refused_and_nothing_is_stored(
    gateway: Gateway, shared_site: Site, body: bytes
) -> None:
    before = shared_site.store.ask("DBSIZE")
    for target, status in (("/tyk/keys/create", 500), ("/tyk/keys/named", 400), ("/tyk/keys", 400)):
        answer = manage(gateway, "POST", target, body)
        assert (answer.status, json.loads(answer.body)["status"]) == (status, "error"), target
    assert shared_site.store.ask("DBSIZE") == before


HUGE = 2**62


@pytest.mark.parametrize(
    "more",
    [
        {"quota_max": 5, "quota_renewal_rate": HUGE},
        {"quota_max": 5, "quota_renewal_rate": 2**63 - 1},
        {"quota_max": 2**63 - 1, "quota_renewal_rate": 60},
        {"session_lifetime": HUGE},
        {"expires": 2**63 - 1, "post_expiry_action": "retain", "post_expiry_grace_period": 2**63 - 1},
        {"rate": 1e15, "per": 1},
        {"quota_max": -7, "quota_renewal_rate": -60, "rate": -5, "per": -1},
    ],
    ids=str,
)
def test_numbers_beyond_reason_make_keys_that_work(gateway: Gateway, more: Json) -> None:
    key = create(gateway, "a", **more)
    assert [call(gateway, "/a/x", key).status for _ in range(2)] == [200, 200]
    shown = json_of(manage(gateway, "GET", f"/tyk/keys/{key}"))
    assert {name: shown[name] for name in more} == more
    assert manage(gateway, "PUT", f"/tyk/keys/{key}", shown).status == 200


def test_a_counter_that_is_no_number_hides_no_key_and_opens_nothing(gateway: Gateway, shared_site: Site) -> None:
    for broken in (("SET", "text"), ("LPUSH", "item")):
        key = create(gateway, "a", quota_max=5, quota_renewal_rate=60)
        assert shared_site.store.ask(broken[0], f"quota-{key}", broken[1]) in (b"OK", 1)
        assert json_of(manage(gateway, "GET", f"/tyk/keys/{key}"))["quota_max"] == 5
        assert call(gateway, "/a/x", key).status >= 400
        assert manage(gateway, "PUT", f"/tyk/keys/{key}", session("a", quota_max=5, quota_renewal_rate=60)).status == 200
        wait_for(lambda key=key: call(gateway, "/a/x", key).status == 200, "the fresh counter")  # type: ignore[misc]


def test_a_key_of_another_type_spoils_no_list(gateway: Gateway, shared_site: Site) -> None:
    key = create(gateway, "a")
    shared_site.store.ask("LPUSH", f"apikey-{ORG}list", "x")
    assert key in json_of(manage(gateway, "GET", f"/tyk/keys?filter={ORG}&api_id=a"))["keys"]
    assert manage(gateway, "GET", f"/tyk/keys/{ORG}list").status == 404
    assert call(gateway, "/a/x", f"{ORG}list").status == 403
    shared_site.store.ask("DEL", f"apikey-{ORG}list")


def test_a_time_of_change_that_is_no_number_is_replaced(gateway: Gateway) -> None:
    for text in ("abc", "", "12.5", "\u00b2", "-1"):
        body = session(apply_policies=["gold"], last_updated=text)
        made = json_of(manage(gateway, "POST", "/tyk/keys/dated?suppress_reset=1", body))
        assert re.fullmatch(r"\d{10}", json_of(manage(gateway, "GET", f"/tyk/keys/{made['key']}"))["last_updated"])
        assert call(gateway, "/a/x", made["key"]).status == 200


def test_wrong_fields_are_named(gateway: Gateway) -> None:
    body = session("a", quota_max="many", access_rights={"a": {"versions": "Default"}})
    answer = json_of(manage(gateway, "POST", "/tyk/keys/named", body), 400)
    assert answer["details"] == [
        '$.quota_max: expected an integer, got the string "many"',
        '$.access_rights.a.versions: expected an array, got the string "Default"',
    ]


def test_a_body_that_is_too_large_is_refused_and_the_gateway_goes_on(gateway: Gateway) -> None:
    body = json.dumps(session("a", meta_data={"x": "y" * (11 << 20)})).encode()
    assert manage(gateway, "POST", "/tyk/keys/create", body).status == 413
    large = create(gateway, "a", meta_data={"x": "y" * (1 << 20)})
    assert call(gateway, "/a/x", large).status == 200
    assert len(json_of(manage(gateway, "GET", f"/tyk/keys/{large}"))["meta_data"]["x"]) == 1 << 20
    assert manage(gateway, "DELETE", f"/tyk/keys/{large}").status == 200


def test_unknown_fields_odd_text_and_odd_spelling_do_no_harm(gateway: Gateway, shared_site: Site) -> None:
    base = json.dumps(session("a"))[:-1].encode()
    body = base + b', "ALIAS": "n\xff\xfe", "unheard_of": {"x": [1]}, "meta_data": {"s": "\\ud800", "n": 1.50, "z": null}}'
    key = json_of(manage(gateway, "POST", "/tyk/keys/create", body))["key"]
    stored = json.loads(shared_site.store.ask("GET", f"apikey-{key}"))
    assert stored["alias"] == "n\ufffd\ufffd"
    assert "unheard_of" not in stored
    assert stored["meta_data"] == {"s": "\ufffd", "n": 1.5, "z": None}
    assert call(gateway, "/a/x", key).status == 200
    assert json_of(manage(gateway, "GET", f"/tyk/keys/{key}"))["meta_data"] == stored["meta_data"]


def test_what_is_stored_is_what_tyk_reads(gateway: Gateway, shared_site: Site) -> None:
    key = create(gateway, "a", rate=10, per=2.5, quota_max=100, quota_renewal_rate=60, meta_data={"html": "<&>"})
    raw = shared_site.store.ask("GET", f"apikey-{key}")
    assert b"\\u003c\\u0026\\u003e" in raw, "escaped as Go does"
    stored = json.loads(raw)
    kinds = {"rate": 10, "per": 2.5, "quota_max": 100, "quota_renewal_rate": 60, "expires": 0, "org_id": ORG}
    assert {name: stored[name] for name in kinds} == kinds
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", stored["date_created"])
    assert re.fullmatch(r"\d{10}", stored["last_updated"])
    assert abs(stored["quota_renews"] - time.time() - 60) < 30
    for name in ("last_check", "allowance", "throttle_interval", "throttle_retry_limit", "max_query_depth", "data_expires"):
        assert stored[name] == 0, name
    assert stored["access_rights"]["a"]["limit"]["rate"] == 0
    assert stored["basic_auth_data"] == {"password": "", "hash_type": ""}
    assert stored["monitor"] == {"trigger_limits": None}


def test_what_get_shows_may_be_sent_back_and_changes_nothing(gateway: Gateway, shared_site: Site) -> None:
    key = create(gateway, "a", quota_max=4, quota_renewal_rate=600, meta_data={"a": [1, {"b": None}]}, tags=["x"])
    before = json.loads(shared_site.store.ask("GET", f"apikey-{key}"))
    shown = json_of(manage(gateway, "GET", f"/tyk/keys/{key}"))
    assert manage(gateway, "PUT", f"/tyk/keys/{key}?suppress_reset=1", shown).status == 200
    after = json.loads(shared_site.store.ask("GET", f"apikey-{key}"))
    assert after == before


# -- life times -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "low", "high"),
    [
        ({}, -1, -1),
        ({"session_lifetime": 100}, 90, 100),
        ({"session_lifetime": -1}, -1, -1),
        ({"expires": "+50", "post_expiry_action": "delete"}, 40, 50),
        ({"expires": "+50", "post_expiry_action": "retain", "post_expiry_grace_period": 100}, 140, 150),
        ({"expires": "+50", "post_expiry_action": "retain", "post_expiry_grace_period": -1}, -1, -1),
    ],
)
def test_sessions_live_as_long_as_they_say(
    gateway: Gateway, shared_site: Site, more: Json, low: int, high: int
) -> None:
    if "expires" in more:
        more = {**more, "expires": int(time.time()) + int(more["expires"])}
    key = create(gateway, "a", **more)
    assert low <= shared_site.store.ask("TTL", f"apikey-{key}") <= high
    assert manage(gateway, "PUT", f"/tyk/keys/{key}", session("a", **more)).status == 200
    assert low <= shared_site.store.ask("TTL", f"apikey-{key}") <= high


def test_a_key_made_with_an_end_in_the_past_is_expired(gateway: Gateway) -> None:
    for target in ("/tyk/keys/create", "/tyk/keys/long-gone"):
        key = json_of(manage(gateway, "POST", target, session("a", expires=1_000_000_000)))["key"]
        assert call(gateway, "/a/x", key).status == 401
    living = create(gateway, "a", expires=int(time.time()) + 600)
    assert manage(gateway, "PUT", f"/tyk/keys/{living}", session("a", expires=1_000_000_000)).status == 200
    assert call(gateway, "/a/x", living).status == 200, "a change to the past keeps the end (tyk-core 4.5)"
