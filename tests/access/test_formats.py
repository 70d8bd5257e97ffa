"""A store that another gateway has filled serves as it is, and what we write can be read by others (tyk-core 5.1-5.4)."""

from __future__ import annotations

import base64
import json
import re
from typing import Any

import pytest

from tests.support.gateway import Gateway, Json, merge
from tests.support.keys import ORG, call, keyed, limits_of, statuses
from tests.support.site import Site
from tests.support.wire import Response

# tyk-core 10.2: this token was seen on a live gateway, with these hashes.
SEEN = "eyJvcmciOiJkZWZhdWx0IiwiaWQiOiJlMDA2ODU1NzI1ZWE0ODAwOTQ3ZGE5YzZjNWUxNzA4NiIsImgiOiJtdXJtdXI2NCJ9"
SEEN_HASH = "4f374f43db21f904"
HEX = "0123456789abcdef0123456789abcdef"

# All fields with null maps, as 3.0.8 writes a session; only the fields that say something, as later ones do.
FULL: Json = {
    "last_check": 0, "allowance": 1000, "rate": 1000, "per": 60, "throttle_interval": -1, "throttle_retry_limit": -1,
    "max_query_depth": -1, "date_created": "2020-11-02T10:11:12.123456789Z", "expires": 0, "quota_max": 5,
    "quota_renews": 1604311872, "quota_remaining": 5, "quota_renewal_rate": 3600,
    "access_rights": {"a": {
        "api_name": "a", "api_id": "a", "versions": ["Default"], "allowed_urls": None, "restricted_types": None,
        "limit": {"rate": 0, "per": 0, "throttle_interval": 0, "throttle_retry_limit": 0, "max_query_depth": 0,
                  "quota_max": 0, "quota_renews": 0, "quota_remaining": 0, "quota_renewal_rate": 0},
        "allowance_scope": "",
    }},
    "org_id": ORG, "oauth_client_id": "", "oauth_keys": None, "certificate": "",
    "basic_auth_data": {"password": "", "hash_type": ""}, "jwt_data": {"secret": ""}, "hmac_enabled": False,
    "enable_http_signature_validation": False, "hmac_string": "", "rsa_certificate_id": "", "is_inactive": False,
    "apply_policy_id": "", "apply_policies": None, "data_expires": 0, "monitor": {"trigger_limits": None},
    "enable_detail_recording": False, "enable_detailed_recording": False, "meta_data": None, "tags": None, "alias": "",
    "last_updated": "1604311872", "id_extractor_deadline": 0, "session_lifetime": 0, "key_id": "",
}  # fmt: skip
SHORT: Json = {"org_id": ORG, "quota_max": 5, "quota_renewal_rate": 3600, "access_rights": {"a": {"api_id": "a"}}}
OLD: Json = {
    "allowance": 5, "rate": 1000, "per": 60, "expires": -1, "quota_max": 5, "quota_renewal_rate": 3600, "org_id": ORG,
    "access_rights": {"a": {"api_id": "a", "api_name": "a", "versions": ["Default"]}}, "hmac_enabled": False,
    "oauth_keys": {}, "last_check": 1420070400, "unheard_of": {"x": [1]},
}  # fmt: skip


def token(org: str, key_id: str, algorithm: str) -> str:
    """A token as JSON in base64, made apart from the code under test."""
    return base64.b64encode(f'{{"org":"{org}","id":"{key_id}","h":"{algorithm}"}}'.encode()).decode()


def admin(gateway: Gateway, method: str, path: str, body: Any = None) -> Response:
    raw = None if body is None else json.dumps(body).encode()
    return gateway.fetch(path, "X-Tyk-Authorization: test-secret", method=method, body=raw)


@pytest.mark.parametrize("stored", [FULL, SHORT, OLD], ids=["all-fields", "few-fields", "old"])
def test_sessions_of_every_age_open_and_count(site: Site, stored: Json) -> None:
    gateway = site.gateway(keyed("a", site.upstream.url))
    site.put(ORG + HEX, stored)
    found = [call(gateway, "/a/x", ORG + HEX) for _ in range(6)]
    assert [answer.status for answer in found] == [200] * 5 + [403]
    assert [limits_of(answer) for answer in found[:5]] == [(5, left) for left in (4, 3, 2, 1, 0)]


@pytest.mark.parametrize(
    ("name", "shown", "org"),
    [
        (ORG + HEX, ORG + HEX, ORG),
        (ORG + HEX, HEX, ORG),
        (ORG + "my-key", "my-key", ORG),
        (token(ORG, "my-key", "murmur64"), token(ORG, "my-key", "murmur64"), ORG),
        (token(ORG, "my-key", "sha256"), token(ORG, "my-key", "sha256"), ORG),
        (SEEN, SEEN, "default"),
        ("bare-key-without-organisation", "bare-key-without-organisation", ORG),
    ],
    ids=["legacy", "legacy-by-id", "custom-by-id", "base64", "base64-other-algorithm", "seen", "bare"],
)
def test_plain_keys_of_every_form_open(site: Site, name: str, shown: str, org: str) -> None:
    gateway = site.gateway(keyed("a", site.upstream.url, org_id=org))
    site.put(name, merge(FULL, {"org_id": org}))
    assert call(gateway, "/a/x", shown).status == 200
    assert call(gateway, "/a/x", shown[:-5] + "wrong").status == 403
    assert site.store.ask("EXISTS", f"quota-{name}") == 1


def legacy_hash(data: bytes) -> str:
    """Tyk's murmur32 from its description in tyk-core 5.3: whole blocks only, no tail, no finalisation."""
    state = 0
    for place in range(0, len(data) - 3, 4):
        block = int.from_bytes(data[place : place + 4], "little") * 0xCC9E2D51 & 0xFFFFFFFF
        block = (block << 15 | block >> 17) * 0x1B873593 & 0xFFFFFFFF
        state ^= block
        state = ((state << 13 | state >> 19) * 5 + 0xE6546B64) & 0xFFFFFFFF
    return f"{state:08x}"


@pytest.mark.parametrize(
    ("shown", "function", "stored_as"),
    [
        (f"default{HEX}", "", legacy_hash(f"default{HEX}".encode())),
        (HEX, "", legacy_hash(f"default{HEX}".encode())),
        (SEEN, "murmur64", SEEN_HASH),
        (SEEN, "sha256", SEEN_HASH),
        ("e006855725ea4800947da9c6c5e17086", "murmur64", SEEN_HASH),
    ],
    ids=["legacy", "legacy-by-id", "seen", "seen-while-new-keys-use-another-hash", "seen-by-id"],
)
def test_hashed_keys_open_by_what_stands_in_the_store(site: Site, shown: str, function: str, stored_as: str) -> None:
    gateway = site.gateway(keyed("a", site.upstream.url, org_id="default"), hash_keys=True, hash_key_function=function)
    site.put(stored_as, merge(FULL, {"org_id": "default"}))
    assert call(gateway, "/a/x", shown).status == 200
    assert site.store.ask("EXISTS", f"quota-{stored_as}") == 1


def test_a_quota_that_another_gateway_began_is_continued(site: Site) -> None:
    gateway = site.gateway(keyed("a", site.upstream.url))
    site.put(ORG + HEX, FULL)
    site.store.ask("SET", f"quota-{ORG}{HEX}", 3, "EX", 1000)
    assert statuses(gateway, "/a/x", ORG + HEX, 3) == [200, 200, 403]
    assert 900 < site.store.ask("TTL", f"quota-{ORG}{HEX}") <= 1000


def test_what_we_write_is_what_others_expect(site: Site) -> None:
    gateway = site.gateway(keyed("a", site.upstream.url))
    rights = {"a": {"api_id": "a", "api_name": "a", "versions": ["Default"]}}
    body = {"org_id": ORG, "rate": 10, "per": 60, "quota_max": -1, "access_rights": rights, "meta_data": {"plan": "gold"}}
    made = json.loads(admin(gateway, "POST", "/tyk/keys/create", body).body)
    assert re.fullmatch(ORG + r"[0-9a-f]{32}", made["key"])
    raw = site.store.ask("GET", f"apikey-{made['key']}")
    stored = json.loads(raw)
    assert {name: stored[name] for name in body if name != "access_rights"} == {
        name: value for name, value in body.items() if name != "access_rights"
    }
    assert stored["access_rights"]["a"]["versions"] == ["Default"]
    assert set(FULL) - {"key_id"} <= set(stored)
    assert site.store.ask("TTL", f"apikey-{made['key']}") == -1
    # What an older reader would choke on: fractions where it has integers, missing nested objects.
    assert isinstance(stored["quota_max"], int)
    assert set(stored["monitor"]) == {"trigger_limits"}
    assert b'"rate":10,' in raw


def test_hashed_keys_are_written_under_their_hash(site: Site) -> None:
    options = {"hash_keys": True, "hash_key_function": "murmur64"}
    gateway = site.gateway(keyed("a", site.upstream.url), **options)
    body = {"org_id": ORG, "quota_max": 5, "quota_renewal_rate": 60, "access_rights": {"a": {"api_id": "a"}}}
    made = json.loads(admin(gateway, "POST", "/tyk/keys/my-key", body).body)
    assert made["key"] == token(ORG, "my-key", "murmur64")
    assert json.loads(site.store.ask("GET", f"apikey-{made['key_hash']}"))["org_id"] == ORG
    assert call(gateway, "/a/x", "my-key").status == 200
    assert sorted(site.store.ask("KEYS", "*-*" + made["key_hash"])) == [
        f"{prefix}-{made['key_hash']}".encode() for prefix in ("apikey", "quota")
    ]


def test_a_session_lifetime_becomes_the_time_to_live(site: Site) -> None:
    gateway = site.gateway(keyed("a", site.upstream.url, session_lifetime=500))
    body = {"org_id": ORG, "access_rights": {"a": {"api_id": "a"}}}
    made = json.loads(admin(gateway, "POST", "/tyk/keys/create", body).body)
    assert 400 < site.store.ask("TTL", f"apikey-{made['key']}") <= 500


def test_organisations_are_found_under_their_name(site: Site) -> None:
    gateway = site.gateway(keyed("a", site.upstream.url), hash_keys=True, enforce_org_quotas=True)
    site.store.ask("SET", f"orgkey.{ORG}", json.dumps({**FULL, "quota_max": 77}))
    found = json.loads(admin(gateway, "GET", f"/tyk/org/keys/{ORG}").body)
    assert found["quota_max"] == 77
    assert admin(gateway, "PUT", f"/tyk/org/keys/{ORG}", {**FULL, "quota_max": 78}).status == 200
    assert json.loads(site.store.ask("GET", f"orgkey.{ORG}"))["quota_max"] == 78
