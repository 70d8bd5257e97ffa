"""Definitions that name bundles: the bundle's section or no request at all."""

from __future__ import annotations

import hashlib
import json
import pickle
from pathlib import Path
from typing import Any

import pytest

from coprocess.bundles import BundleSettings, Library
from core.apidef.bundles import bundle_of, bundle_settings, load_bundle, with_bundle
from core.apidef.compile import compile_definition
from core.apidef.decode import decode
from core.apidef.options import CompileOptions
from core.config import load as load_config
from core.findings import Finding
from tests.bundles.archives import FILES, SECTION, bundle
from tests.support.gateway import api

JSON = dict[str, Any]


def applied_to(given: JSON, settings: BundleSettings) -> tuple[JSON, list[Finding]]:
    """The definition that is compiled, and what was said about its bundle."""
    applied, findings = load_bundle(given, Library(settings), "a.json")
    return with_bundle(given, applied), findings


@pytest.fixture
def settings(tmp_path: Path) -> BundleSettings:
    (tmp_path / "good.zip").write_bytes(bundle(section={**SECTION, "unknown": 1}))
    (tmp_path / "bad.zip").write_bytes(bundle(checksum="0" * 32))
    return BundleSettings(str(tmp_path), str(tmp_path / "mw"), enable_downloader=True)


def definition(name: str, **more: Any) -> JSON:
    """A definition as the reader decodes it."""
    raw = json.dumps(api("a", "/a/", "http://up/", **{"custom_middleware_bundle": name, **more})).encode()
    found, findings = decode(raw, "a.json")
    assert found is not None
    assert not findings
    return found


def test_the_section_of_the_bundle_replaces_that_of_the_definition(settings: BundleSettings, tmp_path: Path) -> None:
    given = definition("good.zip", custom_middleware={"driver": "grpc", "post": [{"name": "own"}]})
    found, findings = applied_to(given, settings)
    folder = tmp_path / "mw" / "bundles" / hashlib.md5(b"good.zip").hexdigest()
    assert found["custom_middleware"] == {"driver": "otto", "pre": [{"name": "mw", "path": f"{folder}/mw.js"}]}
    assert "custom_middleware_bundle" not in found
    assert [(finding.severity, finding.path) for finding in findings] == [("info", "$.custom_middleware")]
    assert given["custom_middleware"]["driver"] == "grpc"
    assert given["custom_middleware_bundle"] == "good.zip"


@pytest.mark.parametrize("name", ["bad.zip", "gone.zip", "../x.zip", "good.zip,bad.zip"])
def test_a_bundle_that_cannot_be_used_refuses_every_request(settings: BundleSettings, name: str) -> None:
    own = {"driver": "otto", "pre": [{"name": "own", "path": "own.js"}]}
    found, findings = applied_to(definition(name, custom_middleware=own), settings)
    assert [finding.severity for finding in findings] == ["error"]
    text = findings[0].render()
    assert text.startswith("a.json: $.custom_middleware_bundle: error: the plugin bundle cannot be used, so every request")
    assert name.rpartition(",")[2] in text
    spec, _ = compile_definition(found, "a.json", CompileOptions())
    assert spec is not None
    assert spec.refuse


@pytest.mark.parametrize("more", [{"custom_middleware_bundle_disabled": True}, {"custom_middleware_bundle": " , "}])
def test_without_a_bundle_the_own_section_stays(settings: BundleSettings, more: JSON) -> None:
    given = definition("gone.zip", custom_middleware={"driver": "otto"}, **more)
    found, findings = applied_to(given, settings)
    assert not findings
    assert bundle_of(given) == ""
    assert found["custom_middleware"] == {"driver": "otto"}
    spec, _ = compile_definition(found, "a.json", CompileOptions())
    assert spec is not None
    assert not spec.refuse


def test_workers_apply_what_the_loader_verified_without_reading_files(settings: BundleSettings, tmp_path: Path) -> None:
    given = definition("good.zip")
    applied, _ = load_bundle(given, Library(settings), "a.json")
    assert applied is not None
    sent = pickle.loads(pickle.dumps(applied))
    assert sent == applied
    (Path(applied.directory) / "mw.js").unlink()
    assert with_bundle(given, sent) == with_bundle(given, applied)
    assert with_bundle(given, sent)["custom_middleware"]["driver"] == "otto"


def test_a_definition_whose_bundle_was_not_applied_keeps_naming_it(settings: BundleSettings) -> None:
    """What compiles it then refuses every request, whoever forgot to load the bundle."""
    given = definition("good.zip")
    assert with_bundle(given, None) == given
    spec, _ = compile_definition(with_bundle(given, None), "a.json", CompileOptions())
    assert spec is not None
    assert spec.refuse


def test_files_that_are_not_the_verified_ones_are_told_apart(settings: BundleSettings) -> None:
    applied, _ = load_bundle(definition("good.zip"), Library(settings), "a.json")
    assert applied is not None
    right = hashlib.sha256(FILES["mw.js"]).hexdigest()
    path = f"{applied.directory}/mw.js"
    assert applied.problem(path, right) == ""
    assert "has changed" in applied.problem(path, hashlib.sha256(b"evil()").hexdigest())
    assert "manifest lists" in applied.problem(f"{applied.directory}/other.js", right)
    assert "manifest lists" in applied.problem(f"{applied.directory}/manifest.json", right)
    assert applied.problem("middleware/virtual.js", right) == ""


def test_a_check_that_changes_nothing_fetches_nothing(settings: BundleSettings, tmp_path: Path) -> None:
    library = Library(settings, fetching=False)
    applied, findings = load_bundle(definition("good.zip"), library, "a.json")
    assert applied is None
    assert findings[0].severity == "warning"
    assert "not been fetched yet" in findings[0].message
    assert not (tmp_path / "mw").exists()
    applied_to(definition("good.zip"), settings)
    applied, findings = load_bundle(definition("good.zip"), Library(settings, fetching=False), "a.json")
    assert applied is not None
    assert not findings


def test_remarks_about_a_bundle_are_reported(settings: BundleSettings, tmp_path: Path) -> None:
    applied_to(definition("good.zip"), settings)
    trusting = BundleSettings(str(tmp_path), str(tmp_path / "mw"), skip_verify_existing=True)
    _, findings = applied_to(definition("good.zip"), trusting)
    assert [finding.severity for finding in findings] == ["warning"]
    assert "skip_verify_existing_plugin_bundle" in findings[0].message


def test_settings_come_from_the_configuration(tmp_path: Path) -> None:
    conf = {
        "listen_port": 8080,
        "secret": "s",
        "node_secret": "n",
        "app_path": str(tmp_path),
        "bundle_base_url": "https://bundles.example/",
        "enable_bundle_downloader": True,
        "bundle_insecure_skip_verify": True,
        "public_key_path": "key.pem",
        "skip_verify_existing_plugin_bundle": True,
        "middleware_path": "mw",
        "preforge": {"bundles": {"timeout": 1, "load_timeout": 2, "retries": 3, "max_bytes": 4, "max_files": 5,
                                 "max_file_bytes": 6, "max_unpacked_bytes": 7, "max_ratio": 8}},
    }  # fmt: skip
    (tmp_path / "tyk.conf").write_text(json.dumps(conf))
    config = load_config(str(tmp_path / "tyk.conf"), {}).config
    expected = BundleSettings("https://bundles.example/", "mw", True, True, "key.pem", True, 1, 2, 3, 4, 5, 6, 7, 8)
    assert bundle_settings(config) == expected
    (tmp_path / "tyk.conf").write_text(json.dumps({key: conf[key] for key in ("listen_port", "secret", "app_path")}))
    assert bundle_settings(load_config(str(tmp_path / "tyk.conf"), {}).config, "middleware") == BundleSettings()
