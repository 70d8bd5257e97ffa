"""What is read from event_handlers and monitor, and what is said of what cannot be used."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.events.event import KEY_EVENTS
from core.events.handlers import HandlerReader, LogHandler, system_events
from core.events.monitor import reached, read_monitor
from core.events.settings import EventSettings
from core.events.webhook import WebHook

JSONISH = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def reader() -> HandlerReader:
    return HandlerReader(EventSettings(blocked=(ipaddress.ip_network("169.254.0.0/16"),)))


def web(**meta: Any) -> dict[str, Any]:
    return {"handler_name": "eh_web_hook_handler", "handler_meta": {"method": "POST", "target_path": "http://h/", **meta}}


def read(*entries: Any) -> tuple[list[Any], list[str]]:
    """Handlers of AuthFailure, and the findings as they are printed."""
    mine = reader()
    found = mine.read({"AuthFailure": list(entries)}, "a.json", "$.e", fired=KEY_EVENTS)
    return list(found.get("AuthFailure", ())), [finding.render() for finding in mine.findings]


def test_handlers_lose_a_field() -> None:
    entry = web(method="put", header_map={"X-A": "b"}, event_timeout=7, id="i", name="n", disabled=False)
    handlers, findings = read(entry, {"handler_name": "eh_log_handler", "handler_meta": {"prefix": "p"}})
    assert not findings
    hook, log = handlers
    assert log == LogHandler("p")
    assert isinstance(hook, WebHook)
    assert (hook.method, hook.target, hook.cooldown, dict(hook.headers)["X-A"]) == ("PUT", "http://h/", 7, "b")


def test_a_disabled_hook_is_sent() -> None:
    assert read(web(disabled=True)) == ([], [])


@pytest.mark.parametrize(
    ("entry", "place", "said"),
    [
        ({"handler_name": "eh_made_up"}, "handler_name", "eh_made_up"),
        ({"handler_name": "eh_dynamic_handler"}, "handler_name", "not supported here, as in Tyk (Handler not found)"),
        ({"handler_name": "cp_dynamic_handler"}, "handler_name", "not supported"),
        ({"handler_name": "eh_log_handler", "handler_meta": 3}, "handler_meta", "an object"),
        (web(target_path="/relative"), "handler_meta.target_path", "absolute"),
        (web(target_path="ftp://h/"), "handler_meta.target_path", "absolute"),
        (web(target_path="http://h:99999/"), "handler_meta.target_path", "absolute"),
        (web(target_path="http://h/ x"), "handler_meta.target_path", "absolute"),
        (web(target_path="http://h/\r\nX: y"), "handler_meta.target_path", "absolute"),
        (web(target_path="http://169.254.169.254/latest"), "handler_meta.target_path", "blocked_networks"),
        (web(target_path="http://[::ffff:169.254.169.254]/"), "handler_meta.target_path", "blocked_networks"),
        (web(target_path="http://2852039166/"), "handler_meta.target_path", "blocked_networks"),
        (web(target_path=None), "handler_meta.target_path", "absolute"),
        (web(method=3), "handler_meta.method", "a text"),
        (web(header_map={"X": "a\r\nY: b"}), "handler_meta.header_map['X']", "header can carry"),
        (web(header_map={"X Y": "a"}), "handler_meta.header_map['X Y']", "cannot be set"),
        (web(header_map={"content-length": "3"}), "handler_meta.header_map['content-length']", "cannot be set"),
        (web(header_map=["x"]), "handler_meta.header_map", "an object"),
        ("text", "", "an object"),
    ],
)
def test_what_cannot_be_used_is_used_or_not_reported(entry: Any, place: str, said: str) -> None:
    handlers, findings = read(entry)
    assert len(findings) == 1
    dotted = f".{place}" if place else ""
    assert findings[0].startswith(f"a.json: $.e['AuthFailure'][0]{dotted}: error: ")
    assert said in findings[0]
    assert handlers in ([], [LogHandler("")])


def test_a_field_of_the_wrong_type_turns_a_hook_off() -> None:
    handlers, findings = read(web(event_timeout="soon"), web(method="BREW"))
    assert [handler.cooldown for handler in handlers] == [0, 0]
    assert handlers[1].method == "GET"
    assert "number of seconds" in findings[0]
    assert "BREW" in findings[1]


def test_an_event_that_never_comes_is_not_mentioned() -> None:
    mine = reader()
    mine.read({"AuthFailures": [web()]}, "a.json", "$.e", fired=KEY_EVENTS)
    (finding,) = mine.findings
    assert finding.severity == "warning"
    assert finding.path == "$.e['AuthFailures']"
    assert "AuthFailure," in finding.message


def test_the_old_form_of_the_gateways_handlers_is_lost() -> None:
    mine = reader()
    old = {"TokenCreated": [{"handler": "eh_log_handler", "handler_meta": {"prefix": "x"}}]}
    assert system_events(mine, {}, old, "tyk.conf") == {"TokenCreated": (LogHandler("x"),)}
    new = {"events": {"TokenDeleted": [{"handler_name": "eh_log_handler"}]}}
    assert system_events(mine, new, old, "tyk.conf") == {"TokenDeleted": (LogHandler(""),)}
    assert not mine.findings


@given(JSONISH)
def test_a_strange_configuration_raises(raw: Any) -> None:
    mine = reader()
    mine.read(raw, "a.json", "$.e", fired=KEY_EVENTS)
    mine.read({"AuthFailure": raw}, "a.json", "$.e", fired=KEY_EVENTS)
    mine.read({"AuthFailure": [{"handler_name": raw, "handler_meta": raw}]}, "a.json", "$.e", fired=KEY_EVENTS)
    for name in ("target_path", "header_map", "event_timeout", "disabled", "template_path", "method"):
        mine.web_hook({"target_path": "http://h/", name: raw}, "a.json", "$.e")
    read_monitor(raw, mine, "tyk.conf")
    read_monitor({"enable_trigger_monitors": True, "configuration": raw, "global_trigger_limit": raw}, mine, "tyk.conf")
    assert all(finding.file and finding.path for finding in mine.findings)


def monitor(**more: Any) -> dict[str, Any]:
    hook = {"method": "POST", "target_path": "http://h/"}
    return {"enable_trigger_monitors": True, "configuration": hook, "monitor_user_keys": True, **more}


def test_a_monitor_is_on_without_all_that_it_needs() -> None:
    mine = reader()
    on = read_monitor(monitor(global_trigger_limit=80.5), mine, "tyk.conf")
    assert (on.keys, on.global_limit) == (True, 80.5)
    assert on.hook is not None
    assert not read_monitor(monitor(enable_trigger_monitors=False), mine, "tyk.conf").keys
    assert not read_monitor(monitor(monitor_user_keys=False), mine, "tyk.conf").keys
    assert not mine.findings
    assert not read_monitor(monitor(configuration={"target_path": "no"}), mine, "tyk.conf").keys
    assert [finding.path for finding in mine.findings] == ["$.monitor.configuration.target_path"]


def test_quotas_of_organisations_can_be_watched_alone() -> None:
    mine = reader()
    found = read_monitor(monitor(monitor_org_keys=True, monitor_user_keys=False), mine, "tyk.conf")
    assert (found.keys, found.orgs, mine.findings) == (False, True, [])


@pytest.mark.parametrize(
    ("most", "used", "limit", "own", "expected"),
    [
        (10, 7, 80, [], None),
        (10, 8, 80, [], (80, 80.0)),
        (10, 10, 80, [50], (80, 100.0)),
        (10, 6, 80, [50], (50, 60.0)),
        (10, 6, 80, [90, 60, 50], (60, 60.0)),
        (10, 6, 0, [], None),
        (10, 9, 90, [90], (90, 90.0)),
        (0, 5, 50, [50], None),
        (-1, 5, 50, [50], None),
        (10, 30, 50, [], (50, 100.0)),
    ],
)
def test_the_wrong_limit_of_a_quota_is_reached(most: int, used: int, limit: float, own: list[float], expected: Any) -> None:
    assert reached(most, used, limit, own) == expected


@given(
    st.integers(1, 10**9), st.integers(0, 10**9), st.floats(0, 100), st.lists(st.floats(0, 100), max_size=5)
)
def test_a_limit_is_reported_below_its_usage(most: int, used: int, limit: float, own: list[float]) -> None:
    found = reached(most, used, limit, own)
    usage = 100.0 * min(used, most) / most
    due = [one for one in ([limit] if limit else []) + own if one <= usage and (one == limit) <= bool(limit)]
    if found is None:
        assert not due
    else:
        assert found == (limit if limit and limit <= usage else due[0], usage)
