"""What one web hook sends, and the templates of its body."""

from __future__ import annotations

import json
import time
from html import unescape
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.events.event import Event, go_time
from core.events.settings import EventSettings, obfuscated
from core.events.templates import BUILT_IN, HookTemplates
from core.events.webhook import WebHook, request_headers
from core.findings import Finding
from core.gotemplate import TemplateError

META = {"Message": "Auth Failure", "OriginatingRequest": "R0VU", "Path": "/a", "Origin": "192.0.2.1", "Key": "k"}
TOKEN = {"Message": "Key modified.", "OriginatingRequest": "", "Org": "o", "Key": "k"}
TRIGGER = {"Message": "m", "OriginatingRequest": "", "OrgID": "o", "Key": "k", "TriggerLimit": 80, "UsagePercentage": 81}

# (method, target, body, MD5 of what Go's Request.Write writes), recorded from Go 1.26.
SUMS = [
    ("POST", "http://127.0.0.1:8080/hook", '{"a":1}', "32ddc29dd41cbbaea36394ad6faafb8f"),
    ("POST", "http://127.0.0.1:8080/hook", "", "0108691192787ddddfc64cfb699b2abd"),
    ("GET", "https://example.com", "x", "2ebf2b2d6bbc03e2db7439276b2642dd"),
    ("GET", "https://example.com", "", "b0f5b09bbc8d489c9f3af03efc17dee5"),
    ("DELETE", "http://example.com/?", "gone", "5845b8fa87167fa3c15359e4679f853b"),
    ("PATCH", "http://example.com?q", "", "03391b31f47425cc5e9c88817a0e4771"),
    ("DELETE", "http://example.com/", "", "b2a7c5ca8cd4ab522c0320f0eac9bd6b"),
]


def templates(directory: Path | str = "") -> tuple[HookTemplates, list[Finding]]:
    findings: list[Finding] = []
    return HookTemplates(str(directory), findings), findings


@pytest.mark.parametrize(("method", "target", "body", "expected"), SUMS)
def test_a_cooldown_of_another_tyk_node_is_not_recognised(method: str, target: str, body: str, expected: str) -> None:
    hook = WebHook(method, target, templates()[0].get("", "f", "p"), (), 0)
    assert hook.checksum(body.encode()) == expected


def test_credentials_of_a_target_become_part_of_its_host() -> None:
    hook = WebHook("PUT", "http://user:pw@example.com:80/a/b?x=1&y=%20#frag", templates()[0].get("", "f", "p"), (), 0)
    assert hook.host == "http://example.com:80"
    assert hook.checksum("héllo".encode()) == "f51957eec9cacab26cafb45344862dc2"


def test_a_header_of_the_user_does_not_replace_ours() -> None:
    assert dict(request_headers(True, {})) == {"User-Agent": "Tyk-Hookshot", "Content-Type": "application/json"}
    assert dict(request_headers(False, {"X": "1"})) == {"User-Agent": "Tyk-Hookshot", "Content-Type": "", "X": "1"}
    assert dict(request_headers(True, {"content-type": "a", "user-agent": "b"})) == {"User-Agent": "b", "Content-Type": "a"}


@pytest.mark.parametrize(("name", "meta"), [("AuthFailure", META), ("TokenCreated", TOKEN), ("TriggerExceeded", TRIGGER)])
def test_the_default_template_has_no_body_for_an_event(name: str, meta: dict[str, object]) -> None:
    body = json.loads(templates()[0].get("", "f", "p").body(Event(name, meta, 0)))
    assert body["event"] == name
    assert body["message"] == meta["Message"]
    assert body["key"] == "k"


def test_the_path_of_a_template_that_others_ship_is_an_error() -> None:
    for name in BUILT_IN:
        reader, findings = templates()
        assert reader.get(f"templates/{name}", "f", "p").json
        assert not findings


@given(st.text(), st.text())
def test_a_value_ends_its_string_in_a_json_body(key: str, path: str) -> None:
    event = Event("AuthFailure", {**META, "Key": key, "Path": path}, 0)
    body = json.loads(templates()[0].get("", "f", "p").body(event))
    assert set(body) == {"event", "message", "path", "origin", "key"}
    assert not set("<>\"'") & set(body["key"] + body["path"])


def test_a_template_is_not_reported_or_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "broken.json").write_text('{"a": "{{.Type"}')
    (tmp_path / "big.json").write_text(" " * 70000)
    (tmp_path / "bytes.json").write_bytes(b"\xff")
    for name, said in (
        ("none.json", "cannot be read"),
        ("broken.json", "broken.json:1:15"),
        ("big.json", "larger than"),
        ("bytes.json", "not UTF-8"),
    ):
        reader, findings = templates()
        template = reader.get(str(tmp_path / name), "api.json", "$.x.template_path")
        assert json.loads(template.body(Event("AuthFailure", META, 0)))["event"] == "AuthFailure"
        (finding,) = findings
        assert finding.severity == "error"
        assert finding.render().startswith("api.json: $.x.template_path: error: ")
        assert said in finding.message


def test_a_default_template_of_the_user_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "default_webhook.json").write_text("{{.Type}} {{.TimeStamp}}")
    reader, findings = templates(tmp_path)
    text = reader.get("", "f", "p").body(Event("KeyExpired", META, 1763710735_500_000_000)).decode()
    assert unescape(text) == f"KeyExpired {go_time(1763710735_500_000_000)}"
    assert not findings


def test_a_field_that_an_event_does_not_have_becomes_empty(tmp_path: Path) -> None:
    (tmp_path / "own.txt").write_text("{{.Meta.Reason}}")
    template = templates()[0].get(str(tmp_path / "own.txt"), "f", "p")
    assert not template.json
    assert template.body(Event("VersionFailure", {**META, "Reason": "a<b"}, 0)) == b"a&lt;b"
    with pytest.raises(TemplateError, match=r"own\.txt:1:.*Reason"):
        template.body(Event("AuthFailure", META, 0))


@pytest.mark.parametrize(
    ("rest", "text"),
    [(500_000_000, "38:55.5 "), (0, "38:55 "), (123_456_000, "38:55.123456 "), (7, "38:55.000000007 ")],
)
def test_a_time_is_not_written_as_go_does(rest: int, text: str) -> None:
    assert text in go_time(1763710735_000_000_000 + rest)


@pytest.mark.parametrize(
    ("zone", "text"),
    [
        ("UTC", "2025-11-21 07:38:55.111157073 +0000 UTC"),
        ("EST5EDT", "2025-11-21 02:38:55.111157073 -0500 EST"),
        ("<+0530>-5:30", "2025-11-21 13:08:55.111157073 +0530 +0530"),
    ],
)
def test_a_time_is_not_that_of_the_local_zone(zone: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        assert go_time(1763710735_111_157_073) == text
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_key_is_shown_whole() -> None:
    assert obfuscated("0123456789abcdef", False) == "****cdef"
    assert obfuscated("short", False) == "--"
    assert obfuscated("", False) == ""
    assert obfuscated("0123456789abcdef", True) == "0123456789abcdef"


def test_a_blocked_address_is_reached_by_another_spelling() -> None:
    import ipaddress

    settings = EventSettings(blocked=(ipaddress.ip_network("169.254.0.0/16"), ipaddress.ip_network("fe80::/10")))
    assert settings.blocks("169.254.169.254")
    assert settings.blocks("::ffff:169.254.169.254")
    assert settings.blocks("fe80::1%eth0")
    assert settings.blocks("2852039166")
    assert not settings.blocks("127.0.0.1")
