"""`preforge preflight`: what a running gateway reads, and what people do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from core.cli.main import main
from core.process.upgrade import FORMAT
from tests.support.gateway import api


def test_what_is_wrong_is_said_beside_what_a_running_gateway_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "apps").mkdir()
    definition = api("a", "/a/", "http://127.0.0.1:9/", custom_middleware_bundle="gone.zip")
    (tmp_path / "apps" / "a.json").write_text(json.dumps(definition))
    conf = {"listen_port": 8080, "app_path": "apps", "bundle_base_url": str(tmp_path), "enable_bundle_downloader": True}
    (tmp_path / "tyk.conf").write_text(json.dumps(conf))
    assert main(["preflight", "--conf", "tyk.conf"]) == 0
    said = capsys.readouterr()
    assert said.out == f"format {FORMAT}\n"
    assert "a.json: $.custom_middleware_bundle: error: " in said.err
    assert "gone.zip" in said.err


def test_a_configuration_that_cannot_be_used_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "tyk.conf"
    path.write_text('{"listen_port": "x"}')
    assert main(["preflight", "--conf", str(path)]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert "listen_port" in said.err
