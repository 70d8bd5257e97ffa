"""What tyk.conf says about stores is judged before the gateway starts: file, field and expectation are named."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from core.config import load
from core.findings import Finding
from core.store.check import check, describe
from tests.support.gateway import ROOT
from tests.support.tls import Authority

GOOD: dict[str, Any] = {"listen_port": 8080, "app_path": "apps", "secret": "s"}


def checked(tmp_path: Path, **more: Any) -> list[Finding]:
    """The findings about the stores of a tyk.conf with these members."""
    path = tmp_path / "tyk.conf"
    path.write_text(json.dumps(GOOD | more))
    return check(load(str(path), {}).config, str(path))


@pytest.mark.parametrize(
    ("storage", "place", "text"),
    [
        ({}, "$.storage", "no server is named"),
        ({"addrs": ["good:1", "bad"], "enable_cluster": True}, "$.storage.addrs[1]", "expected host:port, got 'bad'"),
        ({"addrs": ["bad:0"]}, "$.storage.addrs[0]", "expected host:port"),
        ({"addrs": ["redis://h:1"]}, "$.storage.addrs[0]", "expected host:port"),
        ({"hosts": {"h": "many"}}, "$.storage.hosts", "expected host:port"),
        ({"host": "h:6379"}, "$.storage.host", "without a port"),
        ({"host": "h", "iam_auth": {"enabled": True}}, "$.storage.iam_auth.enabled", "not supported"),
        ({"addrs": ["h:1"], "enable_cluster": True, "database": 2}, "$.storage.database", "expected 0"),
        ({"addrs": ["h:1"], "sentinel_password": "x"}, "$.storage.master_name", "expected the name of the master"),
        ({"host": "h", "use_ssl": True, "ca_file": "/nowhere"}, "$.storage.ca_file", "expected a PEM file"),
        ({"host": "h", "use_ssl": True, "cert_file": "/nowhere"}, "$.storage.cert_file", "'/nowhere'"),
        (
            {"host": "h", "use_ssl": True, "tls_min_version": "1.3", "tls_max_version": "1.2"},
            "$.storage.tls_min_version", "above tls_max_version",
        ),
    ],
    ids=[
        "nothing", "address", "port", "url", "hosts", "host-with-port", "iam", "cluster-database", "no-master-name", "ca",
        "certificate", "versions",
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_an_error_at_its_place(tmp_path: Path, storage: dict[str, Any], place: str, text: str) -> None:
    (found,) = checked(tmp_path, storage={"type": "redis", **storage})
    assert (found.severity, found.file, found.path) == ("error", str(tmp_path / "tyk.conf"), place)
    assert text in found.message


def test_a_file_that_is_no_certificate_is_an_error(tmp_path: Path) -> None:
    bad = tmp_path / "ca.pem"
    bad.write_text("hello")
    (found,) = checked(tmp_path, storage={"type": "redis", "host": "h", "use_ssl": True, "ca_file": str(bad)})
    assert (found.severity, found.path) == ("error", "$.storage.ca_file")


def test_all_errors_of_all_sections_in_use_are_told_at_once(tmp_path: Path) -> None:
    storage = {"type": "redis", "addrs": ["bad"], "use_ssl": True, "ca_file": "/nowhere"}
    unused = {"cache_storage": {"type": "redis", "addrs": ["bad"]}}
    used = {"analytics_storage": {"type": "redis"}, "enable_separate_analytics_store": True}
    found = checked(tmp_path, storage=storage, **unused, **used)
    assert [one.path for one in found] == ["$.storage.addrs[0]", "$.storage.ca_file", "$.analytics_storage"]


@pytest.mark.parametrize(
    ("storage", "place"),
    [
        ({"type": "embedded", "host": "h"}, "$.storage"),
        ({"type": "redis", "addrs": ["h:1", "h:2"]}, "$.storage.addrs"),
        ({"type": "redis", "hosts": {"h": "1", "i": "1"}}, "$.storage.hosts"),
        ({"type": "redis", "addrs": ["h:1"], "enable_cluster": True, "master_name": "m"}, "$.storage.enable_cluster"),
        ({"type": "redis", "host": "h", "ca_file": "/nowhere"}, "$.storage.ca_file"),
        (
            {"type": "redis", "host": "h", "use_ssl": True, "ssl_insecure_skip_verify": True},
            "$.storage.ssl_insecure_skip_verify",
        ),
    ],
    ids=["embedded-and-host", "one-server-only", "one-host-only", "cluster-and-sentinels", "tls-off", "not-verified"],
)
def test_what_has_no_effect_or_is_risky_is_a_warning(tmp_path: Path, storage: dict[str, Any], place: str) -> None:
    (found,) = checked(tmp_path, storage=storage)
    assert (found.severity, found.path) == ("warning", place)


def test_what_can_be_used_has_no_findings(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "tls")
    certificate, key = authority.files("gateway")
    files = {"ca_file": str(authority.bundle), "cert_file": str(certificate), "key_file": str(key)}
    good: list[dict[str, Any]] = [
        {}, {"type": "embedded"}, {"host": "h"}, {"host": "::1", "port": 7}, {"hosts": {"h": "1"}},
        {"addrs": ["h:1", "[::1]:2"], "enable_cluster": True}, {"addrs": ["h:1"], "master_name": "m", "sentinel_password": "p"},
        {"host": "h", "use_ssl": True, **files}, {"host": "h", "username": "u", "password": "p", "database": 3},
    ]  # fmt: skip
    for storage in good:
        kind = {} if not storage or "type" in storage else {"type": "redis"}
        assert checked(tmp_path, storage=kind | storage) == [], storage


def test_a_program_of_the_embedded_server_that_is_missing_is_an_error(tmp_path: Path) -> None:
    (found,) = checked(tmp_path, preforge={"storage": {"server": "/nowhere/valkey-server"}})
    assert (found.severity, found.path) == ("error", "$.preforge.storage.server")


def test_the_store_is_described_without_its_secrets(tmp_path: Path) -> None:
    def described(**storage: Any) -> tuple[str, str]:
        path = tmp_path / "tyk.conf"
        path.write_text(json.dumps({**GOOD, "storage": {"type": "redis", "password": "secret", **storage}}))
        return describe(load(str(path), {}).config)

    assert described(host="h") == ("redis", "h:6379")
    assert described(addrs=["a:1", "b:2"]) == ("redis", "a:1")
    assert described(addrs=["a:1", "b:2"], enable_cluster=True) == ("redis cluster", "a:1, b:2")
    assert described(addrs=["a:1"], master_name="main") == ("redis behind sentinels", "main (a:1)")
    assert described(type="embedded")[0] == "embedded"


@pytest.mark.parametrize("verb", ["start", "lint"])
def test_start_and_lint_refuse_a_store_that_cannot_be_used(tmp_path: Path, verb: str) -> None:
    (tmp_path / "apps").mkdir()
    path = tmp_path / "tyk.conf"
    path.write_text(json.dumps({**GOOD, "app_path": str(tmp_path / "apps"), "storage": {"type": "redis", "addrs": ["bad"]}}))
    main = "import sys; from core.cli import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", main, verb, "--conf", str(path)],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 1
    assert f"{path}: $.storage.addrs[0]: error: expected host:port, got 'bad'." in done.stdout + done.stderr
