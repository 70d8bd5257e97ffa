"""What the analytics options mean, and what is said about those that have no effect."""

from __future__ import annotations

import ipaddress
import json
from pathlib import Path
from typing import Any

import pytest

from core.analytics.address import client_address
from core.analytics.settings import RecordSettings, findings
from core.apidef.recording import RecordingSpec, recording
from core.config import load


def config(folder: Path, **options: Any) -> Any:
    path = folder / "tyk.conf"
    path.write_text(json.dumps({"secret": "x", "listen_port": 8080, "app_path": str(folder), **options}))
    return load(str(path), {}).config


@pytest.mark.parametrize(("given", "expected"), [(0, 60), (300, 300), (-1, 0)])
def test_lifetime_of_a_list_is_read_as_tyk_reads_it(tmp_path: Path, given: int, expected: int) -> None:
    found = RecordSettings.from_config(config(tmp_path, analytics_config={"storage_expiration_time": given}))
    assert found.expiration == expected


def test_equal_settings_are_equal_so_that_plans_are_kept(tmp_path: Path) -> None:
    options = {"analytics_config": {"normalise_urls": {"enabled": True, "normalise_uuids": True, "custom_patterns": ["a+"]}}}
    first = RecordSettings.from_config(config(tmp_path, **options))
    assert first == RecordSettings.from_config(config(tmp_path, **options))
    options["analytics_config"]["normalise_urls"]["custom_patterns"] = ["b+"]
    assert first != RecordSettings.from_config(config(tmp_path, **options))


def test_what_cannot_be_had_is_said_with_its_place(tmp_path: Path) -> None:
    options = {"enable_geo_ip": True, "serializer_type": "protobuf", "normalise_urls": {"custom_patterns": ["ok", "("]}}
    found = findings(config(tmp_path, analytics_config=options), "tyk.conf")
    assert [(finding.severity, finding.path) for finding in found] == [
        ("error", "$.analytics_config.normalise_urls.custom_patterns[1]"),
        ("warning", "$.analytics_config.enable_geo_ip"),
        ("warning", "$.analytics_config.serializer_type"),
    ]


def test_a_broken_pattern_does_not_disturb_the_others(tmp_path: Path) -> None:
    urls = {"enabled": True, "custom_patterns": ["(", "b+"]}
    found = RecordSettings.from_config(config(tmp_path, analytics_config={"normalise_urls": urls}))
    assert [pattern.pattern for pattern, _ in found.rules] == [b"b+"]


def test_sane_options_have_no_findings(tmp_path: Path) -> None:
    assert findings(config(tmp_path, enable_analytics=True), "tyk.conf") == []


def test_definitions_that_say_nothing_are_recorded_as_usual() -> None:
    assert recording({"tags": [], "enable_detailed_recording": False}) is None


def test_disabled_tags_are_left_out_of_records() -> None:
    assert recording({"tags": ["a"], "tags_disabled": True}) is None
    assert recording({"tags": ["a"], "do_not_track": True}) == RecordingSpec(off=True, tags=("a",))


# -- addresses ---------------------------------------------------------------------------------

TRUSTED = (ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("fd00::/8"))


@pytest.mark.parametrize(
    ("peer", "real", "forwarded", "depth", "expected"),
    [
        (b"192.0.2.1", b"203.0.113.1", b"203.0.113.2", 0, b"192.0.2.1"),
        (b"10.1.1.1", b"203.0.113.1", b"203.0.113.2", 0, b"203.0.113.1"),
        (b"fd00::1", b"2001:db8::1", None, 0, b"2001:db8::1"),
        (b"10.1.1.1", b"nonsense", b"203.0.113.2, 10.2.2.2", 0, b"203.0.113.2"),
        (b"10.1.1.1", None, b"203.0.113.2, 10.2.2.2", 1, b"10.2.2.2"),
        (b"10.1.1.1", None, b"203.0.113.2, 10.2.2.2", 2, b"203.0.113.2"),
        (b"10.1.1.1", None, b"203.0.113.2", 2, b""),
        (b"10.1.1.1", None, b"203.0.113.2", -1, b""),
        (b"10.1.1.1", None, b"nonsense", 0, b"10.1.1.1"),
        (b"10.1.1.1", None, None, 0, b"10.1.1.1"),
    ],
)
def test_address_of_a_client_behind_proxies(
    peer: bytes, real: bytes | None, forwarded: bytes | None, depth: int, expected: bytes
) -> None:
    address_of = client_address(TRUSTED, depth)
    assert address_of is not None
    assert address_of(peer, real, forwarded) == expected


def test_without_trusted_proxies_nothing_is_looked_at() -> None:
    assert client_address((), 0) is None
