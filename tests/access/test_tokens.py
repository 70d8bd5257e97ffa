"""A request must carry a key that opens exactly this: anything else is refused, never let through."""

from __future__ import annotations

import base64
import json
import time

import pytest

from core.sessions.murmur import digest
from core.sessions.notifications import CHANNEL
from tests.support.gateway import wait_for
from tests.support.keys import ORG, call, keyed, session
from tests.support.site import Site

DISALLOWED = "Access to this API has been disallowed"


def error(body: bytes) -> str:
    return str(json.loads(body)["error"])


def test_only_a_key_that_exists_passes(site: Site) -> None:
    gateway = site.gateway(keyed("a", site.upstream.url))
    site.put(f"{ORG}good", session("a"))
    answer = call(gateway, "/a/x")
    assert (answer.status, error(answer.body)) == (401, "Authorization field missing")
    answer = call(gateway, "/a/x", f"{ORG}nope")
    assert (answer.status, error(answer.body)) == (403, DISALLOWED)
    for form in (f"{ORG}good", "good", "Bearer good", f"bearer {ORG}good"):
        assert call(gateway, "/a/x", form).status == 200, form
    assert len(site.upstream.seen("/x")) == 4
    assert site.upstream.seen("/x")[0].get("Authorization") == f"{ORG}good"


def test_parameter_beats_header_and_cookie_beats_both(site: Site) -> None:
    auth = {"auth_header_name": "X-Key", "use_param": True, "param_name": "k", "use_cookie": True, "cookie_name": "c"}
    gateway = site.gateway(keyed("a", site.upstream.url, auth=auth))
    site.put(f"{ORG}good", session("a"))
    assert gateway.fetch("/a/x", "X-Key: good").status == 200
    assert gateway.fetch("/a/x?k=good").status == 200
    assert gateway.fetch("/a/x?k=b%61d", "X-Key: good").status == 403
    assert gateway.fetch("/a/x?k=g%6Fod").status == 200
    assert gateway.fetch("/a/x?k=", "X-Key: good").status == 200
    assert gateway.fetch("/a/x?k=good", "Cookie: a=1; c=bad").status == 403
    assert gateway.fetch("/a/x?k=bad", "Cookie: a=1; c=good").status == 200


def test_credentials_do_not_reach_the_upstream_when_they_are_to_be_removed(site: Site) -> None:
    auth = {"auth_header_name": "X-Key", "use_param": True, "param_name": "k", "use_cookie": True, "cookie_name": "c"}
    gateway = site.gateway(keyed("a", site.upstream.url, auth=auth, strip_auth_data=True))
    site.put(f"{ORG}good", session("a"))
    assert gateway.fetch("/a/x?b=2&k=good&a=1", "X-Key: good", "Cookie: a=1; c=good; z=2").status == 200
    seen = site.upstream.requests[-1]
    assert seen.target == "/x?a=1&b=2"
    assert (seen.get("X-Key"), seen.get("Cookie")) == (None, "a=1; z=2")


@pytest.mark.parametrize(
    ("change", "status", "text"),
    [
        ({"is_inactive": True}, 403, "Key is inactive, please renew"),
        ({"expires": 1}, 401, "Key has expired, please renew"),
        ({"expires": int(time.time()) + 3600}, 200, ""),
        ({"expires": -1}, 200, ""),
        ({"access_rights": {"other": {"api_id": "other", "versions": ["Default"]}}}, 403, DISALLOWED),
        ({"access_rights": {}}, 200, ""),
        ({"access_rights": None}, 200, ""),
        ({"apply_policies": ["unknown"]}, 403, DISALLOWED),
        ({"rate": "fast"}, 403, DISALLOWED),
    ],
    ids=["inactive", "expired", "later", "never", "other-api", "master", "null-rights", "no-such-policy", "broken"],
)
def test_session_decides(site: Site, change: dict[str, object], status: int, text: str) -> None:
    gateway = site.gateway(keyed("a", site.upstream.url))
    site.put(f"{ORG}mykey", session("a", **change))
    answer = call(gateway, "/a/x", "mykey")
    assert answer.status == status
    assert status == 200 or error(answer.body) == text


def test_url_rights_are_checked_by_path_and_method(site: Site) -> None:
    gateway = site.gateway(keyed("a", site.upstream.url))
    rights = {"a": {"api_id": "a", "versions": ["Default"], "allowed_urls": [{"url": "/open/[0-9]+$", "methods": ["GET"]}]}}
    site.put(f"{ORG}mykey", session(access_rights=rights))
    assert call(gateway, "/a/open/12", "mykey").status == 200
    assert call(gateway, "/a/open/x", "mykey").status == 403
    assert gateway.fetch("/a/open/12", "Authorization: key", method="POST", body=b"").status == 403


def test_url_right_that_does_not_compile_refuses(site: Site) -> None:
    gateway = site.gateway(keyed("a", site.upstream.url))
    rights = {"a": {"api_id": "a", "versions": ["Default"], "allowed_urls": [{"url": "/(", "methods": ["GET"]}]}}
    site.put(f"{ORG}mykey", session(access_rights=rights))
    assert call(gateway, "/a/x", "mykey").status == 403


@pytest.mark.parametrize("function", ["", "murmur32", "murmur64", "murmur128", "sha256"])
def test_hashed_keys_of_every_function_open(site: Site, function: str) -> None:
    gateway = site.gateway(keyed("a", site.upstream.url), hash_keys=True, hash_key_function=function)
    if function:
        token = base64.b64encode(json.dumps({"org": ORG, "id": "key1", "h": function}, separators=(",", ":")).encode()).decode()
    else:
        token = f"{ORG}key1"
    site.put(digest(function, token.encode()), session("a"))
    assert call(gateway, "/a/x", token).status == 200
    assert call(gateway, "/a/x", "key1").status == 200, "the id alone stands for the key of this organisation"
    assert call(gateway, "/a/x", "key2xyz").status == 403


def test_key_of_an_older_hash_function_is_found(site: Site) -> None:
    gateway = site.gateway(
        keyed("a", site.upstream.url), hash_keys=True, hash_key_function="sha256", hash_key_function_fallback=["murmur64"]
    )
    token = base64.b64encode(json.dumps({"org": ORG, "id": "key1", "h": "murmur64"}, separators=(",", ":")).encode()).decode()
    site.put(digest("murmur64", token.encode()), session("a"))
    assert call(gateway, "/a/x", "key1").status == 200


def test_key_that_is_deleted_ends_on_every_node_and_worker(site: Site) -> None:
    gateways = [site.gateway(keyed("a", site.upstream.url), preforge={"workers": 2}) for _ in range(2)]
    site.put(f"{ORG}mykey", session("a"))
    for gateway in gateways:
        assert [call(gateway, "/a/x", "mykey").status for _ in range(12)] == [200] * 12
    site.store.ask("DEL", f"apikey-{ORG}mykey")
    name = f"{ORG}mykey"
    notice = {"command": "KeySpaceUpdateNotification", "payload": name, "signature": signature(name), "algorithm": 5}
    message = json.dumps(notice)
    assert site.store.ask("PUBLISH", CHANNEL, message) == 4
    deadline = time.monotonic() + 2
    while any(call(g, "/a/x", "mykey").status == 200 for g in gateways):
        assert time.monotonic() < deadline, "a deleted key still opens after 2 s"
    for gateway in gateways:
        assert [call(gateway, "/a/x", "mykey").status for _ in range(12)] == [403] * 12


def signature(payload: str) -> str:
    import hashlib

    return hashlib.sha256(f"KeySpaceUpdateNotification{payload}test-secret".encode()).hexdigest()


def test_notification_with_a_wrong_signature_changes_nothing(site: Site) -> None:
    gateway = site.gateway(keyed("a", site.upstream.url), preforge={"workers": 1})
    site.put(f"{ORG}mykey", session("a"))
    wait_for(lambda: site.store.ask("PUBSUB", "NUMSUB", CHANNEL)[1] == 1, "the worker listens")
    time.sleep(0.2)
    assert call(gateway, "/a/x", "mykey").status == 200
    wait_for(lambda: gateway.metrics()["preforge_keys_loaded_total"] >= 1, "the load is counted")
    loaded = gateway.metrics()
    notice = {"command": "KeySpaceUpdateNotification", "payload": f"{ORG}mykey", "signature": "0" * 64, "algorithm": 5}
    message = json.dumps(notice)
    site.store.ask("PUBLISH", CHANNEL, message)
    wait_for(lambda: gateway.metrics()["preforge_notifications_refused_total"] >= 1, "the notification is refused")
    assert call(gateway, "/a/x", "mykey").status == 200
    time.sleep(1.2)
    after = gateway.metrics()
    assert after["preforge_keys_loaded_total"] == loaded["preforge_keys_loaded_total"]
