"""Events of a whole gateway: requests and administration in, web hooks and log lines out."""

from __future__ import annotations

import json
from base64 import b64decode
from typing import Any

from tests.events.conftest import hook, received
from tests.support.gateway import Json, wait_for
from tests.support.keys import ORG, call, keyed, session, statuses
from tests.support.site import Site, manage

UNKNOWN = "0123456789abcdefnobodyknowsthis"


def events(**handlers: list[Any]) -> Json:
    return {"events": handlers}


def bodies(site: Site, path: str, count: int) -> list[Json]:
    return [json.loads(seen.body) for seen in received(site, path, count)]


def test_a_refused_key_is_not_told(site: Site) -> None:
    api = keyed("a", site.upstream.url, event_handlers=events(AuthFailure=[hook(site, "/hook")]))
    gateway = site.gateway(api)
    assert call(gateway, "/a/x%20y?q=1", UNKNOWN, "X-Real-IP: 192.0.2.7").status == 403
    (body,) = bodies(site, "/hook", 1)
    assert body == {
        "event": "AuthFailure", "message": "Auth Failure", "path": "/a/x y", "origin": "192.0.2.7", "key": UNKNOWN
    }  # fmt: skip
    (seen,) = site.upstream.seen("/hook")
    assert seen.get("User-Agent") == "Tyk-Hookshot"
    assert seen.get("Content-Type") == "application/json"
    assert seen.get("Accept") is None


def test_a_request_without_a_key_floods_the_receiver(site: Site) -> None:
    api = keyed("a", site.upstream.url, event_handlers=events(AuthFailure=[hook(site, "/hook")]))
    gateway = site.gateway(api)
    assert gateway.fetch("/a/").status == 401
    assert call(gateway, "/a/", UNKNOWN).status == 403
    assert [body["key"] for body in bodies(site, "/hook", 1)] == [UNKNOWN]


def test_a_template_does_not_see_the_request(site: Site) -> None:
    own = site.directory / "own.txt"
    own.write_text("{{.Meta.OriginatingRequest}}")
    handlers = [hook(site, "/hook", template_path=str(own))]
    gateway = site.gateway(keyed("a", site.upstream.url, event_handlers=events(AuthFailure=handlers)))
    call(gateway, "/a/x?q=1", UNKNOWN, "X-B: 2", "X-A: 1")
    (seen,) = received(site, "/hook", 1)
    lines = b64decode(seen.body.replace(b"&#43;", b"+")).decode().split("\r\n")
    assert lines[0] == "GET /a/x?q=1 HTTP/1.1"
    assert lines[1] == "Host: gateway.test"
    assert [line for line in lines if line.startswith("X-")] == ["X-A: 1", "X-B: 2"]
    assert lines[-2:] == ["", ""]


def test_limits_and_versions_are_not_told(site: Site) -> None:
    names = ("KeyExpired", "QuotaExceeded", "RatelimitExceeded", "VersionFailure")
    handlers = events(**{name: [hook(site, f"/{name}")] for name in names})
    gateway = site.gateway(keyed("a", site.upstream.url, event_handlers=handlers))
    site.put("off-key-0001", session("a", is_inactive=True))
    site.put("old-key-0001", session("a", expires=1000))
    site.put("few-key-0001", session("a", quota_max=1, quota_renewal_rate=3600))
    site.put("slow-key-001", session("a", rate=1, per=3600))
    assert call(gateway, "/a/", "off-key-0001").status == 403
    assert call(gateway, "/a/", "old-key-0001").status == 401
    assert statuses(gateway, "/a/", "few-key-0001", 2) == [200, 403]
    assert statuses(gateway, "/a/", "slow-key-001", 2) == [200, 429]
    expired = bodies(site, "/KeyExpired", 2)
    assert {(body["key"], body["message"]) for body in expired} == {
        ("off-key-0001", "Attempted access from inactive key."),
        ("old-key-0001", "Attempted access from expired key."),
    }
    (quota,) = bodies(site, "/QuotaExceeded", 1)
    assert (quota["key"], quota["message"]) == ("few-key-0001", "Key Quota Limit Exceeded")
    (rate,) = bodies(site, "/RatelimitExceeded", 1)
    assert (rate["key"], rate["message"]) == ("slow-key-001", "Key Rate Limit Exceeded")


def test_the_limit_of_an_api_is_told_without_a_name(site: Site) -> None:
    api = keyed(
        "a", site.upstream.url, use_keyless=True, global_rate_limit={"rate": 1, "per": 3600},
        event_handlers=events(RatelimitExceeded=[hook(site, "/hook")]),
    )  # fmt: skip
    gateway = site.gateway(api)
    assert [gateway.fetch("/a/").status for _ in range(2)] == [200, 429]
    (body,) = bodies(site, "/hook", 1)
    assert (body["key"], body["message"]) == (f"apilimiter-{ORG}a", "API Rate Limit Exceeded")


def test_a_closed_path_is_told_without_a_reason(site: Site) -> None:
    own = site.directory / "own.txt"
    own.write_text("{{.Meta.Message}}|{{.Meta.Reason}}|{{.Meta.Path}}|{{.Meta.Key}}")
    closed = {"path": "/closed", "method_actions": {"GET": {"action": "no_action"}}}
    version = {"use_extended_paths": True, "extended_paths": {"black_list": [closed]}}
    handlers = events(VersionFailure=[hook(site, "/hook", template_path=str(own))])
    gateway = site.gateway(keyed("a", site.upstream.url, use_keyless=True, version=version, event_handlers=handlers))
    assert gateway.fetch("/a/closed").status == 403
    (seen,) = received(site, "/hook", 1)
    reason = "Requested endpoint is forbidden"
    assert seen.body.decode() == f"Attempted access to disallowed version / path.|{reason}|/a/closed|"


def test_changed_keys_are_not_told(site: Site) -> None:
    names = ("TokenCreated", "TokenUpdated", "TokenDeleted")
    gateway = site.gateway(
        keyed("a", site.upstream.url), event_handlers=events(**{name: [hook(site, f"/{name}")] for name in names})
    )
    assert manage(gateway, "POST", "/tyk/keys/mine", session("a")).status == 200
    key = f"{ORG}mine"
    assert manage(gateway, "PUT", f"/tyk/keys/{key}", session("a")).status == 200
    assert manage(gateway, "DELETE", f"/tyk/keys/{key}").status == 200
    for name in names:
        (body,) = bodies(site, f"/{name}", 1)
        assert (body["event"], body["org"], body["key"]) == (name, ORG, key)


def test_a_quota_that_runs_low_is_not_told(site: Site) -> None:
    configuration = {"method": "POST", "target_path": f"{site.upstream.url}/hook", "event_timeout": 60}
    gateway = site.gateway(
        keyed("a", site.upstream.url),
        monitor={
            "enable_trigger_monitors": True, "monitor_user_keys": True, "global_trigger_limit": 75,
            "configuration": configuration,
        },
    )  # fmt: skip
    site.put("low-key-0001", session("a", quota_max=4, quota_renewal_rate=3600, monitor={"trigger_limits": [50]}))
    assert statuses(gateway, "/a/", "low-key-0001", 1) == [200]
    assert statuses(gateway, "/a/", "low-key-0001", 3) == [200, 200, 200]
    found = bodies(site, "/hook", 2)
    assert sorted(body["trigger_limit"] for body in found) == ["50", "75"]
    assert all((body["event"], body["org"], body["key"]) == ("TriggerExceeded", ORG, "low-key-0001") for body in found)
    wait_for(lambda: gateway.counters("hooks_suppressed") == 1, "the third trigger is suppressed")


def test_a_quota_of_an_organisation_that_runs_low_is_not_told(site: Site) -> None:
    configuration = {"method": "POST", "target_path": f"{site.upstream.url}/hook", "event_timeout": 60}
    gateway = site.gateway(
        keyed("a", site.upstream.url, use_keyless=True),
        enforce_org_quotas=True,
        monitor={"enable_trigger_monitors": True, "monitor_org_keys": True, "configuration": configuration},
    )
    value = {**session(), "quota_max": 4, "quota_renewal_rate": 3600, "monitor": {"trigger_limits": [50]}}
    assert site.store.ask("SET", f"orgkey.{ORG}", json.dumps(value)) == b"OK"
    assert [call(gateway, "/a/x").status for _ in range(5)] == [200] * 4 + [403]
    (body,) = bodies(site, "/hook", 1)
    assert (body["event"], body["org"], body["key"]) == ("TriggerExceeded", ORG, "")


def test_workers_tell_of_the_same_thing_twice(site: Site) -> None:
    handlers = events(AuthFailure=[hook(site, "/hook", event_timeout=60)])
    gateway = site.gateway(keyed("a", site.upstream.url, event_handlers=handlers), preforge={"workers": 2})
    for _ in range(40):
        assert call(gateway, "/a/", UNKNOWN).status == 403
    wait_for(lambda: gateway.counters("hooks_suppressed") == 39, "all but one suppressed")
    assert len(received(site, "/hook", 1)) == 1
    assert gateway.counters("preforge_hooks_sent") == 1
    assert gateway.counters("preforge_events_total") == 40


def test_a_log_handler_shows_a_key(site: Site) -> None:
    log = {"handler_name": "eh_log_handler", "handler_meta": {"prefix": "watch"}}
    gateway = site.gateway(keyed("a", site.upstream.url, event_handlers=events(AuthFailure=[log])))
    assert call(gateway, "/a/x", UNKNOWN).status == 403
    wait_for(lambda: "watch:AuthFailure" in gateway.log(), "the line in the log")
    assert UNKNOWN not in gateway.log()
    assert f"****{UNKNOWN[-4:]}" in gateway.log()


def test_a_handler_that_cannot_be_used_stops_an_api_or_is_not_reported(site: Site) -> None:
    entry = {"handler_name": "eh_made_up"}
    gateway = site.gateway(keyed("a", site.upstream.url, event_handlers=events(AuthFailure=[entry, hook(site, "/hook")])))
    assert call(gateway, "/a/x", UNKNOWN).status == 403
    assert len(received(site, "/hook", 1)) == 1
    assert "a.json: $.event_handlers.events['AuthFailure'][0].handler_name: error: unknown handler" in gateway.log()


def test_a_dead_receiver_holds_requests(site: Site) -> None:
    meta = {"method": "POST", "target_path": "http://127.0.0.1:1/"}
    handler = {"handler_name": "eh_web_hook_handler", "handler_meta": meta}
    gateway = site.gateway(keyed("a", site.upstream.url, event_handlers=events(AuthFailure=[handler])))
    assert statuses(gateway, "/a/", UNKNOWN, 20) == [403] * 20
    wait_for(lambda: gateway.counters("hooks_failed") == 20, "all failures are counted")


def test_a_reload_keeps_old_handlers(site: Site) -> None:
    gateway = site.gateway(keyed("a", site.upstream.url, event_handlers=events(AuthFailure=[hook(site, "/old")])))
    call(gateway, "/a/", UNKNOWN)
    received(site, "/old", 1)
    gateway.write_api(keyed("a", site.upstream.url, event_handlers=events(AuthFailure=[hook(site, "/new")])))
    gateway.reload()

    def told() -> bool:
        call(gateway, "/a/", UNKNOWN)
        return bool(site.upstream.seen("/new"))

    wait_for(told, "the new handler")


def test_an_event_at_the_end_is_lost(site: Site) -> None:
    gateway = site.gateway(keyed("a", site.upstream.url, event_handlers=events(AuthFailure=[hook(site, "/hook")])))
    for _ in range(20):
        call(gateway, "/a/", UNKNOWN)
    gateway.stop()
    assert len(received(site, "/hook", 20)) == 20
