"""Sessions of organisations over the REST API."""

from __future__ import annotations

import json

import pytest

from tests.admin.answers import error, json_of
from tests.support.gateway import Gateway, wait_for
from tests.support.keys import ORG, keyed
from tests.support.site import Site, manage

SESSION = {"org_id": ORG, "rate": 5, "per": 1, "quota_max": 10, "quota_renewal_rate": 60}


@pytest.fixture(scope="module")
def nodes(shared_site: Site) -> list[Gateway]:
    return [shared_site.gateway(keyed("a", shared_site.upstream.url)) for _ in range(2)]


def test_an_organisation_is_seen_by_all_nodes_from_its_first_to_its_last_moment(
    nodes: list[Gateway], shared_site: Site
) -> None:
    first, second = nodes
    target = f"/tyk/org/keys/{ORG}"
    assert error(manage(first, "GET", target)) == (404, "Org not found")
    assert json_of(manage(first, "POST", target, SESSION)) == {"key": ORG, "status": "ok", "action": "added"}
    stored = json.loads(shared_site.store.ask("GET", f"orgkey.{ORG}"))
    assert (stored["rate"], stored["quota_max"], stored["access_rights"]) == (5, 10, {})
    assert json_of(manage(second, "GET", target))["quota_max"] == 10
    assert json_of(manage(second, "GET", "/tyk/org/keys")) == {"keys": [ORG]}
    assert json_of(manage(second, "GET", f"/tyk/org/keys?filter={ORG[:5]}")) == {"keys": [ORG]}
    assert json_of(manage(second, "GET", "/tyk/org/keys?filter=zzz")) == {"keys": []}
    assert json_of(manage(second, "GET", "/tyk/org/keys?filter=*")) == {"keys": []}, "a filter is no pattern"
    assert json_of(manage(second, "PUT", target, {**SESSION, "is_inactive": True}))["action"] == "modified"
    assert json_of(manage(first, "GET", target))["is_inactive"] is True
    assert json_of(manage(first, "DELETE", target))["action"] == "deleted"
    assert error(manage(second, "GET", target)) == (404, "Org not found")
    assert manage(second, "DELETE", target).status == 400
    assert shared_site.store.ask("EXISTS", f"orgkey.{ORG}") == 0


def test_a_reset_starts_the_quota_anew_and_a_change_without_one_does_not(nodes: list[Gateway], shared_site: Site) -> None:
    target = f"/tyk/org/keys/{ORG}"
    shared_site.store.ask("SET", f"quota-{ORG}", "7")
    manage(nodes[0], "POST", target, SESSION)
    assert shared_site.store.ask("GET", f"quota-{ORG}") == b"7"
    assert json_of(manage(nodes[0], "GET", target))["quota_renews"] == 0
    manage(nodes[0], "PUT", f"{target}?reset_quota=1", SESSION)
    assert shared_site.store.ask("GET", f"quota-{ORG}") is None
    assert json_of(manage(nodes[0], "GET", target))["quota_renews"] > 0
    manage(nodes[0], "DELETE", target)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'{"rate": "x"}', b'{"expires": 1.5}'])
def test_bodies_that_are_no_session_are_refused_and_what_is_there_stays(
    nodes: list[Gateway], shared_site: Site, body: bytes
) -> None:
    target = f"/tyk/org/keys/{ORG}"
    manage(nodes[0], "POST", target, SESSION)
    before = shared_site.store.ask("GET", f"orgkey.{ORG}")
    for method in ("POST", "PUT"):
        assert error(manage(nodes[0], method, target, body)) == (400, "Request malformed")
    assert shared_site.store.ask("GET", f"orgkey.{ORG}") == before
    manage(nodes[0], "DELETE", target)


def test_an_unreadable_session_is_an_error_that_says_so(nodes: list[Gateway], shared_site: Site) -> None:
    shared_site.store.ask("SET", "orgkey.broken", "{")
    status, message = error(manage(nodes[0], "GET", "/tyk/org/keys/broken"))
    assert status == 500
    assert message.startswith("The session of this organisation cannot be read")
    shared_site.store.ask("DEL", "orgkey.broken")


def test_without_any_api_there_is_no_organisation(site: Site) -> None:
    gateway = site.gateway(suppress_default_org_store=True)
    for method in ("GET", "DELETE"):
        assert error(manage(gateway, method, f"/tyk/org/keys/{ORG}")) == (404, "Org not found")
    no_store = "No such organisation found in Active API list"
    assert error(manage(gateway, "POST", f"/tyk/org/keys/{ORG}", SESSION)) == (404, no_store)
    assert site.store.ask("EXISTS", f"orgkey.{ORG}") == 0


def test_with_the_store_away_every_operation_says_so(site: Site) -> None:
    gateway = site.gateway(keyed("a", site.upstream.url))
    assert manage(gateway, "POST", f"/tyk/org/keys/{ORG}", SESSION).status == 200
    site.store.kill()
    target = f"/tyk/org/keys/{ORG}"
    for method, path in (("GET", "/tyk/org/keys"), ("GET", target), ("POST", target), ("PUT", target), ("DELETE", target)):
        status, message = error(manage(gateway, method, path, SESSION))
        assert status == 503, (method, path)
        assert message.startswith("The store of keys cannot be reached")
    site.store.start()
    wait_for(lambda: manage(gateway, "GET", "/tyk/org/keys").status == 200, "the store's return")
    assert json_of(manage(gateway, "PUT", target, SESSION))["action"] == "modified"
