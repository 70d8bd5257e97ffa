"""Event scripts of a whole gateway: requests in, calls of scripts out."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

from tests.events.conftest import received
from tests.support.gateway import Json, wait_for
from tests.support.keys import call, keyed, session
from tests.support.site import Site

UNKNOWN = "0123456789abcdefnobodyknowsthis"
MADE = "var h = new TykJS.TykEventHandlers.NewEventHandler({});\n"


def script(site: Site, body: str, name: str = "h.js") -> Path:
    """A file with a handler `h`. body: of its function of event and context; tell(value) posts JSON to /told."""
    place = site.directory / name
    tell = (
        "function tell(value) { TykMakeHttpRequest(JSON.stringify({Method: 'POST', Domain: '%s', Resource: '/told',"
        " Body: JSON.stringify(value)})); }\n"
    )
    place.write_text(f"{MADE}{tell % site.upstream.url}var n = 0;\nh.NewHandler(function(event, context) {{ {body}\n}});\n")
    return place


def handled(place: Path, name: str = "h", event: str = "AuthFailure", **more: Any) -> Json:
    meta = {"name": name, "path": str(place), **more}
    return {"events": {event: [{"handler_name": "eh_dynamic_handler", "handler_meta": meta}]}}


def told(site: Site, count: int) -> list[Any]:
    return [json.loads(seen.body) for seen in received(site, "/told", count)]


def test_a_script_does_not_see_the_event(site: Site) -> None:
    place = script(site, "tell([event, context]);")
    gateway = site.gateway(keyed("a", site.upstream.url, event_handlers=handled(place)), enable_jsvm=True)
    before = time.time()
    assert call(gateway, "/a/x%20y?q=1", UNKNOWN, "X-Real-IP: 192.0.2.7").status == 403
    ((event, context),) = told(site, 1)
    assert context == {"APIID": "a", "OrgID": keyed("a", "")["org_id"]}
    assert event["Type"] == "AuthFailure"
    meta = event["Meta"]
    assert (meta["Message"], meta["Path"], meta["Origin"], meta["Key"]) == ("Auth Failure", "/a/x y", "192.0.2.7", UNKNOWN)
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d{1,9})? [+-]\d{4} \S+", event["TimeStamp"])
    assert event["TimeStamp"][:10] in (time.strftime("%Y-%m-%d", time.localtime(t)) for t in (before, time.time()))


def test_state_leaks_from_event_to_event(site: Site) -> None:
    place = script(site, "n += 1; leaked = (this.leaked || 0) + 1; tell([context.APIID, n]);")
    apart = keyed("apart", site.upstream.url, event_handlers=handled(place))
    shared = keyed("shared", site.upstream.url, event_handlers=handled(place), preforge={"jsvm": {"isolation": "shared"}})
    gateway = site.gateway(apart, shared, enable_jsvm=True, preforge={"workers": 1})
    for _ in range(3):
        assert call(gateway, "/apart/", UNKNOWN).status == 403
        assert call(gateway, "/shared/", UNKNOWN).status == 403
    found = told(site, 6)
    assert [n for api_id, n in found if api_id == "apart"] == [1, 1, 1]
    assert sorted(n for api_id, n in found if api_id == "shared") == [1, 2, 3]


def test_two_apis_with_one_script_share_its_state(site: Site) -> None:
    place = script(site, "n += 1; tell([context.APIID, n]);")
    more: Json = {"event_handlers": handled(place), "preforge": {"jsvm": {"isolation": "shared"}}}
    apis = [keyed(api_id, site.upstream.url, **more) for api_id in ("one", "two")]
    gateway = site.gateway(*apis, enable_jsvm=True, preforge={"workers": 1})
    assert call(gateway, "/one/", UNKNOWN).status == 403
    assert call(gateway, "/two/", UNKNOWN).status == 403
    assert sorted(told(site, 2)) == [["one", 1], ["two", 1]]


def test_calls_are_not_counted(site: Site) -> None:
    place = script(site, "if (event.Meta.Path === '/a/bad') throw new Error('bad'); tell(1);")
    gateway = site.gateway(keyed("a", site.upstream.url, event_handlers=handled(place)), enable_jsvm=True)
    for target in ("/a/", "/a/", "/a/bad"):
        assert call(gateway, target, UNKNOWN).status == 403
    labels = 'api_id="a",hook="event",name="h"'

    def counts() -> dict[str, float]:
        found = {name: value for name, value in gateway.metrics().items() if labels in name and "outcome=" in name}
        return {name.partition('outcome="')[2].partition('"')[0]: value for name, value in found.items() if value}

    wait_for(lambda: counts() == {"ok": 2, "error": 1}, "the calls in the metrics")


def test_host_functions_are_missing(site: Site) -> None:
    body = (
        "var key = JSON.parse(TykGetKeyData(event.Meta.Key, context.APIID)); key.alias = event.Type;"
        " TykSetKeyData(event.Meta.Key, JSON.stringify(key), '1');"
        " tell([b64dec(b64enc('x')), JSON.parse(TykGetKeyData(event.Meta.Key, context.APIID)).alias]);"
    )
    site_handlers = handled(script(site, body), event="KeyExpired")
    gateway = site.gateway(keyed("a", site.upstream.url, event_handlers=site_handlers), enable_jsvm=True)
    site.put("old-key-0001", session("a", expires=1000))
    assert call(gateway, "/a/", "old-key-0001").status == 401
    assert told(site, 1) == [["x", "KeyExpired"]]


def test_a_script_without_end_holds_requests_or_is_not_ended(site: Site) -> None:
    place = script(site, "tell(1); for (;;) {}")
    gateway = site.gateway(
        keyed("a", site.upstream.url, event_handlers=handled(place)),
        enable_jsvm=True, jsvm_timeout=1, preforge={"workers": 1},
    )  # fmt: skip
    site.put("good-key-001", session("a"))
    assert call(gateway, "/a/", UNKNOWN).status == 403
    assert told(site, 1) == [1]
    assert call(gateway, "/a/", "good-key-001").status == 200
    said = "event handler h failed on AuthFailure (1 failed): timed out after 1s"
    wait_for(lambda: said in gateway.log(), "the line in the log")


def test_a_failure_is_not_logged_with_its_place(site: Site) -> None:
    place = script(site, "nothing.there();")
    gateway = site.gateway(keyed("a", site.upstream.url, event_handlers=handled(place)), enable_jsvm=True)
    assert call(gateway, "/a/", UNKNOWN).status == 403
    wait_for(lambda: f"ReferenceError: nothing is not defined ({place}:4:" in gateway.log(), "the line in the log")


def test_a_script_that_does_not_load_is_not_reported(site: Site) -> None:
    place = site.directory / "bad.js"
    place.write_text("var h = ;")
    gateway = site.gateway(keyed("a", site.upstream.url, event_handlers=handled(place)), enable_jsvm=True)
    said = f"a.json: $.event_handlers.events: error: Failed to load JS event handlers: {place}: SyntaxError"
    wait_for(lambda: said in gateway.log(), "the finding")
    assert call(gateway, "/a/", UNKNOWN).status == 403


def test_scripts_run_without_enable_jsvm(site: Site) -> None:
    place = script(site, "tell(1);")
    gateway = site.gateway(keyed("a", site.upstream.url, event_handlers=handled(place)))
    assert call(gateway, "/a/", UNKNOWN).status == 403
    field = "$.event_handlers.events['AuthFailure'][0].handler_name"
    assert f"a.json: {field}: error: enable_jsvm is off in tyk.conf, so this handler is not called" in gateway.log()
    assert site.upstream.seen("/told") == []


def test_an_edited_script_counts_only_after_a_restart(site: Site) -> None:
    place = script(site, "tell('old');")
    gateway = site.gateway(keyed("a", site.upstream.url, event_handlers=handled(place)), enable_jsvm=True)
    call(gateway, "/a/", UNKNOWN)
    assert told(site, 1) == ["old"]
    script(site, "tell('new');")
    gateway.reload()

    def renewed() -> bool:
        call(gateway, "/a/", UNKNOWN)
        return any(json.loads(seen.body) == "new" for seen in site.upstream.seen("/told") if seen.complete)

    wait_for(renewed, "the edited script")


def test_hooks_and_event_scripts_share_globals(site: Site) -> None:
    place = script(site, "tell([typeof mw, typeof h]);")
    pre = site.directory / "mw.js"
    pre.write_text(
        "var mw = new TykJS.TykMiddleware.NewMiddleware({});\n"
        "mw.NewProcessRequest(function(r, s) { r.SetHeaders['X-H'] = typeof h; return mw.ReturnData(r, s.meta_data); });\n"
    )
    middleware = {"driver": "otto", "pre": [{"name": "mw", "path": str(pre)}]}
    gateway = site.gateway(
        keyed("a", site.upstream.url, event_handlers=handled(place), custom_middleware=middleware), enable_jsvm=True
    )
    site.put("good-key-001", session("a"))
    assert call(gateway, "/a/x", "good-key-001").status == 200
    (seen,) = site.upstream.seen("/x")
    assert seen.get("X-H") == "undefined"
    assert call(gateway, "/a/", UNKNOWN).status == 403
    assert told(site, 1) == [["undefined", "object"]]


def test_dropped_events_are_not_counted(site: Site) -> None:
    place = script(site, "for (;;) {}")
    gateway = site.gateway(
        keyed("a", site.upstream.url, event_handlers=handled(place)), enable_jsvm=True, jsvm_timeout=30,
        preforge={"workers": 1, "events": {"max_queued_scripts": 4, "max_concurrent_scripts": 2}},
    )  # fmt: skip
    for _ in range(10):
        assert call(gateway, "/a/", UNKNOWN).status == 403
    wait_for(lambda: gateway.counters('limit="event_scripts"') == 7, "seven dropped")
    assert "API a: 1 events for scripts were dropped" in gateway.log()


def test_an_event_at_the_end_is_lost(site: Site) -> None:
    place = script(site, "tell(1);")
    gateway = site.gateway(keyed("a", site.upstream.url, event_handlers=handled(place)), enable_jsvm=True)
    for _ in range(20):
        call(gateway, "/a/", UNKNOWN)
    gateway.stop()
    assert told(site, 20) == [1] * 20
