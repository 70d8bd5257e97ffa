"""Policies over the REST API: written whole or not at all, in the place that is read, and none lost."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.admin.answers import error, json_of, reload
from tests.admin.everywhere import managed
from tests.support.gateway import Gateway, Json
from tests.support.keys import ORG, call, keyed, session
from tests.support.site import Site, manage

BAD_ID = "Invalid Policy ID: Allowed characters: a-z, A-Z, 0-9, ., _, -, ~"


def policy(policy_id: str, **more: Any) -> Json:
    return {"id": policy_id, "org_id": ORG, "access_rights": {"a": {"api_id": "a", "versions": ["Default"]}}, **more}


@pytest.fixture(scope="module")
def gateway(shared_site: Site) -> Gateway:
    """A gateway with one file for each policy."""
    folder = shared_site.directory / "policies"
    folder.mkdir()
    conf: Json = {"policies": {"policy_source": "file", "policy_path": str(folder)}}
    return shared_site.gateway(keyed("a", shared_site.upstream.url), preforge={"workers": 2}, **conf)


@pytest.fixture(scope="module")
def recorded(shared_site: Site) -> Gateway:
    """A gateway with one file for all policies."""
    record = shared_site.directory / "record.json"
    conf: Json = {"policies": {"policy_source": "file", "policy_record_name": str(record)}}
    return shared_site.gateway(keyed("a", shared_site.upstream.url), **conf)


def folder(gateway: Gateway) -> Path:
    return Path(gateway.conf["policies"]["policy_path"])


@pytest.mark.parametrize("kind", ["gateway", "recorded"])
def test_a_policy_counts_from_the_reload_on_until_the_reload_after_its_end(
    request: pytest.FixtureRequest, kind: str
) -> None:
    gateway: Gateway = request.getfixturevalue(kind)
    made = json_of(manage(gateway, "POST", "/tyk/policies", policy("gold", quota_max=5, quota_renewal_rate=600)))
    assert made == {"key": "gold", "status": "ok", "action": "added"}
    assert error(manage(gateway, "GET", "/tyk/policies/gold")) == (404, "Policy not found")
    assert manage(gateway, "POST", "/tyk/keys/create", session(apply_policies=["gold"])).status == 500
    reload(gateway)
    for answer in managed(gateway, "/tyk/policies/gold"):
        assert json_of(answer)["quota_max"] == 5
    key = json_of(manage(gateway, "POST", "/tyk/keys/create", session(apply_policies=["gold"])))["key"]
    assert call(gateway, "/a/x", key).get("X-Ratelimit-Limit") == "5"

    assert json_of(manage(gateway, "PUT", "/tyk/policies/gold", policy("gold", quota_max=9)))["action"] == "modified"
    assert json_of(manage(gateway, "GET", "/tyk/policies/gold"))["quota_max"] == 5
    reload(gateway)
    assert json_of(manage(gateway, "GET", "/tyk/policies/gold"))["quota_max"] == 9
    assert call(gateway, "/a/x", key).get("X-Ratelimit-Limit") == "9"

    assert json_of(manage(gateway, "DELETE", "/tyk/policies/gold"))["action"] == "deleted"
    assert call(gateway, "/a/x", key).status == 200
    reload(gateway)
    assert call(gateway, "/a/x", key).status == 403
    assert json_of(manage(gateway, "GET", "/tyk/policies")) == []
    assert error(manage(gateway, "DELETE", "/tyk/policies/gold")) == (500, "Delete failed")


def test_ids_come_from_the_body_the_object_id_or_the_path(gateway: Gateway) -> None:
    oid = "5f0c1d2e3a4b5c6d7e8f9a0b"
    assert json_of(manage(gateway, "POST", "/tyk/policies", policy("", _id={"$oid": oid})))["key"] == oid
    assert error(manage(gateway, "POST", "/tyk/policies", policy(""))) == (400, "Unable to create policy without id.")
    assert json_of(manage(gateway, "PUT", "/tyk/policies/named", policy("")))["key"] == "named"
    mismatch = "Request ID does not match that in policy! For Update operations these must match."
    assert error(manage(gateway, "PUT", "/tyk/policies/named", policy("other"))) == (400, mismatch)
    assert error(manage(gateway, "PUT", "/tyk/policies")) == (400, "Must specify an apiID to update")
    assert error(manage(gateway, "DELETE", "/tyk/policies")) == (400, "Must specify an apiID to delete")
    reload(gateway)
    assert json_of(manage(gateway, "GET", f"/tyk/policies/{oid}"))["_id"] == oid
    assert json_of(manage(gateway, "GET", "/tyk/policies/named"))["id"] == "named"
    for name in (oid, "named"):
        assert manage(gateway, "DELETE", f"/tyk/policies/{name}").status == 200
    reload(gateway)


@pytest.mark.parametrize("name", ["../up", "a/b", ".hidden", "..", "a b", "a\0b", "é", "n" * 201, "a\n"])
@pytest.mark.parametrize("kind", ["gateway", "recorded"])
def test_ids_that_are_no_plain_file_names_are_refused(request: pytest.FixtureRequest, kind: str, name: str) -> None:
    gateway: Gateway = request.getfixturevalue(kind)
    before = sorted(path.name for path in gateway.directory.parent.rglob("*"))
    assert error(manage(gateway, "POST", "/tyk/policies", policy(name))) == (400, BAD_ID)
    assert sorted(path.name for path in gateway.directory.parent.rglob("*")) == before


def test_paths_reach_no_file_outside_the_policies(gateway: Gateway) -> None:
    victim = folder(gateway).parent / "victim.json"
    victim.write_text('{"id": "victim"}')
    for name in ("..%2fvictim", "%2e%2e%2fvictim", "..", "%00", ".victim"):
        for method in ("DELETE", "PUT"):
            assert manage(gateway, method, f"/tyk/policies/{name}", policy("")).status in (301, 400, 404), name
    assert victim.read_text() == '{"id": "victim"}'


def test_no_policy_takes_the_file_of_another(gateway: Gateway) -> None:
    place = folder(gateway) / "plain.json"
    place.write_text(json.dumps(policy("inside")))
    before = place.read_bytes()
    answer = manage(gateway, "POST", "/tyk/policies", policy("plain"))
    assert error(answer) == (400, "Invalid Policy ID")
    assert "'inside'" in json.loads(answer.body)["details"][0]
    assert manage(gateway, "DELETE", "/tyk/policies/plain").status == 400
    assert place.read_bytes() == before
    assert manage(gateway, "PUT", "/tyk/policies/inside", policy("inside", name="changed where it lies")).status == 200
    assert json.loads(place.read_bytes())["name"] == "changed where it lies"
    assert manage(gateway, "DELETE", "/tyk/policies/inside").status == 200
    assert list(folder(gateway).iterdir()) == []


def test_odd_files_in_the_directory_hold_up_nobody(gateway: Gateway) -> None:
    (folder(gateway) / "broken.json").write_text("{")
    (folder(gateway) / "list.json").write_text("[]")
    (folder(gateway) / "folder.json").mkdir()
    os.mkfifo(folder(gateway) / "pipe.json")
    assert manage(gateway, "POST", "/tyk/policies", policy("good")).status == 200
    assert error(manage(gateway, "POST", "/tyk/policies", policy("pipe"))) == (500, "Failed to create file!")
    assert error(manage(gateway, "POST", "/tyk/policies", policy("folder"))) == (500, "Failed to create file!")
    for name in ("pipe", "broken", "list"):
        (folder(gateway) / f"{name}.json").unlink()
    (folder(gateway) / "folder.json").rmdir()
    assert manage(gateway, "DELETE", "/tyk/policies/good").status == 200


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"id": 5}',
        b'{"id": "p", "rate": "x"}',
        b'{"id": "p", "access_rights": []}',
        b'{"id": "p", "partitions": {"acl": 1}}',
        b'{"id": "p", "active": "no"}',
        b'{"id": "p", "smoothing": 5}',
        b'{"id": "p", "access_rights": {"a": {"limit": {"smoothing": []}}}}',
        b'{"id": "p", "meta_data": {"x": 1e999}}',
        b'{"id": "p", "meta_data": ' + b"[" * 300 + b"]" * 300 + b"}",
    ],
    ids=lambda body: str(body[:50]),
)
def test_bodies_that_are_no_policy_are_refused_and_the_file_stays(gateway: Gateway, body: bytes) -> None:
    place = folder(gateway) / "p.json"
    place.write_text('{"id": "p"}')
    for method, target in (("POST", "/tyk/policies"), ("PUT", "/tyk/policies/p")):
        assert error(manage(gateway, method, target, body)) == (400, "Request malformed")
    assert place.read_text() == '{"id": "p"}'
    place.unlink()


def test_what_get_shows_may_be_sent_back_and_changes_nothing(gateway: Gateway) -> None:
    full = policy(
        "whole", rate=10, per=1.5, quota_max=-1, tags=["x"], meta_data={"a": [1, None]}, partitions={"acl": True},
        key_expires_in=60, active=True, throttle_interval=-1,
    )  # fmt: skip
    assert manage(gateway, "POST", "/tyk/policies", full).status == 200
    reload(gateway)
    shown = json_of(manage(gateway, "GET", "/tyk/policies/whole"))
    assert {key: shown[key] for key in full if key != "access_rights"} == {
        key: value for key, value in full.items() if key not in ("access_rights", "partitions")
    } | {"partitions": {"quota": False, "rate_limit": False, "complexity": False, "acl": True, "per_api": False}}
    assert manage(gateway, "PUT", "/tyk/policies/whole", shown).status == 200
    reload(gateway)
    assert json_of(manage(gateway, "GET", "/tyk/policies/whole")) == shown
    assert manage(gateway, "DELETE", "/tyk/policies/whole").status == 200


def test_many_writers_of_one_file_lose_no_policy(recorded: Gateway, shared_site: Site) -> None:
    other = shared_site.gateway(keyed("a", shared_site.upstream.url), policies=recorded.conf["policies"])
    bad: list[int] = []

    def write(node: Gateway, side: str) -> None:
        for turn in range(10):
            status = manage(node, "POST", "/tyk/policies", policy(f"{side}{turn}")).status
            if status != 200:
                bad.append(status)

    threads = [threading.Thread(target=write, args=(node, side)) for node, side in ((recorded, "l"), (other, "r"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert bad == []
    record = Path(recorded.conf["policies"]["policy_record_name"])
    assert set(json.loads(record.read_bytes())) == {f"{side}{turn}" for side in "lr" for turn in range(10)}


def test_a_broken_file_of_all_policies_is_not_written_over(recorded: Gateway) -> None:
    record = Path(recorded.conf["policies"]["policy_record_name"])
    good = record.read_bytes()
    for broken in (good[:-20], b"", b"[]"):
        record.write_bytes(broken)
        for method, target in (("POST", "/tyk/policies"), ("DELETE", "/tyk/policies/l1")):
            status, message = error(manage(recorded, method, target, policy("more")))
            assert status == 500
            assert str(record) in message
        assert record.read_bytes() == broken
    record.write_bytes(good)


def test_policies_without_a_place_or_from_a_service_are_not_written(site: Site) -> None:
    gateway = site.gateway(keyed("a", site.upstream.url))
    status, message = error(manage(gateway, "POST", "/tyk/policies", policy("p")))
    assert status == 500
    assert "policy_path" in message
    assert error(manage(gateway, "DELETE", "/tyk/policies/p")) == (500, message)
    assert json_of(manage(gateway, "GET", "/tyk/policies")) == []
