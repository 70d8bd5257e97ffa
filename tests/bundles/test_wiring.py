"""Bundles through the reader and through a running gateway: verified at every load, refused when that fails."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
from pathlib import Path
from typing import Any

import pytest

from coprocess.bundles import BundleSettings
from core.apidef import CompileOptions, ReadOptions, Snapshot, lint, plan_specs, read_directory
from core.apidef.read import ReadResult
from core.apidef.specs import PlanSpec
from tests.bundles.archives import FILES, SECTION, bundle
from tests.bundles.server import BundleServer, reply
from tests.conftest import Start
from tests.support.gateway import Gateway, api, wait_for
from tests.support.upstream import Upstream

JSVM = CompileOptions(enable_jsvm=True)


class Folder:
    """A directory of definitions with one API that names a bundle, and a shelf of bundles."""

    def __init__(self, directory: Path) -> None:
        self.apps, self.shelf = directory / "apps", directory / "shelf"
        self.apps.mkdir()
        self.shelf.mkdir()
        settings = BundleSettings(str(self.shelf), str(directory / "mw"), enable_downloader=True)
        self.options = ReadOptions(compile=JSVM, environ={}, bundles=settings)
        self.bundle = directory / "mw" / "bundles" / hashlib.md5(b"a.zip").hexdigest()
        self.snapshot: Snapshot | None = None

    def write(self, **more: Any) -> None:
        definition = api("a", "/a/", "http://up/", **{"custom_middleware_bundle": "a.zip", **more})
        (self.apps / "a.json").write_text(json.dumps(definition))
        os.utime(self.apps / "a.json", (1, 1))

    def load(self) -> tuple[PlanSpec, ReadResult]:
        """One reload; the spec as a worker makes it, which has no files."""
        result = read_directory(str(self.apps), self.options, self.snapshot)
        delta = pickle.loads(pickle.dumps(result.snapshot.diff(self.snapshot or Snapshot())))
        worker = (self.snapshot or Snapshot()).apply(delta)
        self.snapshot = result.snapshot
        (spec,) = plan_specs(worker, JSVM)
        return spec, result


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def sources(spec: PlanSpec) -> list[str]:
    assert spec.scripts is not None
    assert spec.scripts.program is not None
    return [source.text for source in spec.scripts.program.sources]


def test_the_scripts_of_a_bundle_are_those_of_the_api(folder: Folder) -> None:
    (folder.shelf / "a.zip").write_bytes(bundle())
    folder.write(custom_middleware={"driver": "otto", "pre": [{"name": "own", "path": "own.js"}]})
    spec, result = folder.load()
    assert not spec.refuse
    assert spec.scripts is not None
    assert [hook.name for hook in spec.scripts.hooks] == ["mw"]
    assert sources(spec) == [FILES["mw.js"].decode()]
    assert [finding.severity for finding in result.findings] == ["info"]


def test_a_bundle_changed_on_disk_is_refused_although_no_definition_changed(folder: Folder) -> None:
    (folder.shelf / "a.zip").write_bytes(bundle())
    folder.write()
    assert not folder.load()[0].refuse
    assert not folder.load()[0].refuse
    (folder.bundle / "mw.js").write_bytes(b"evil()")
    for _ in range(2):
        spec, result = folder.load()
        assert spec.refuse
        assert ["$.checksum" in finding.message for finding in result.findings] == [True]
    (folder.bundle / "mw.js").write_bytes(FILES["mw.js"])
    spec, result = folder.load()
    assert not spec.refuse
    assert sources(spec) == [FILES["mw.js"].decode()]
    assert not result.findings


def test_a_definition_that_breaks_keeps_its_api_but_not_a_changed_bundle(folder: Folder) -> None:
    (folder.shelf / "a.zip").write_bytes(bundle())
    folder.write()
    assert not folder.load()[0].refuse
    (folder.apps / "a.json").write_text("{")
    assert not folder.load()[0].refuse
    (folder.bundle / "mw.js").write_bytes(b"evil()")
    assert folder.load()[0].refuse


def test_a_bundle_that_comes_later_is_found_by_a_reload(folder: Folder) -> None:
    folder.write()
    spec, result = folder.load()
    assert spec.refuse
    assert "cannot be used" in result.findings[0].message
    (folder.shelf / "a.zip").write_bytes(bundle())
    assert not folder.load()[0].refuse


def test_a_module_that_the_manifest_does_not_list_is_not_loaded(folder: Folder) -> None:
    script = b"var mw = require('./helper.js');\n"
    (folder.shelf / "a.zip").write_bytes(bundle({"mw.js": script, "helper.js": b"exports.x = 1;"}, SECTION))
    folder.write()
    spec, _ = folder.load()
    assert spec.scripts is not None
    assert spec.scripts.program is not None
    assert [module.text for module in spec.scripts.program.modules] == ["exports.x = 1;"]
    (folder.bundle / "helper.js").rename(folder.bundle / "other.js")
    manifest = json.loads((folder.bundle / "manifest.json").read_bytes())
    manifest |= {"file_list": ["mw.js"], "checksum": hashlib.md5(script).hexdigest()}
    (folder.bundle / "manifest.json").write_text(json.dumps(manifest))
    (folder.bundle / "helper.js").write_bytes(b"evil()")
    spec, result = folder.load()
    assert spec.scripts is not None
    assert spec.scripts.program is not None
    assert spec.scripts.program.modules == ()
    assert any("manifest lists" in finding.message for finding in result.findings)


def test_lint_fetches_nothing(folder: Folder) -> None:
    (folder.shelf / "a.zip").write_bytes(bundle())
    folder.write()
    findings = lint(str(folder.apps), folder.options)
    assert any("not been fetched yet" in finding.message for finding in findings)
    assert not folder.bundle.exists()


def test_a_gateway_refuses_until_the_bundle_verifies_and_again_when_it_is_changed(start: Start, upstream: Upstream) -> None:
    raw = bundle(section={"driver": "otto"})
    with BundleServer() as server:
        conf = {"bundle_base_url": server.url, "enable_bundle_downloader": True}
        definition = api("a", "/a/", f"http://127.0.0.1:{upstream.port}/", custom_middleware_bundle="a.zip")
        gateway = start([definition], conf)
        assert gateway.fetch("/a/x").status == 500
        server.put("/a.zip", reply(raw))
        reload(gateway, 200)
        assert server.paths() == ["/a.zip", "/a.zip"]
        place = gateway.directory / "middleware" / "bundles" / hashlib.md5(b"a.zip").hexdigest()
        (place / "mw.js").write_bytes(b"evil()")
        reload(gateway, 500)
        assert "invalid checksum" in gateway.log_path.read_text()
        (place / "mw.js").write_bytes(FILES["mw.js"])
        reload(gateway, 200)
        assert len(server.requests) == 2


def reload(gateway: Gateway, status: int) -> None:
    """Reload, and wait for this answer."""
    gateway.reload()
    wait_for(lambda: gateway.fetch("/a/x").status == status, f"status {status}")


def test_a_file_address_in_the_configuration_is_no_reference(start: Start, upstream: Upstream, tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(bundle(section={"driver": "otto"}))
    conf = {"bundle_base_url": f"file://{tmp_path}", "enable_bundle_downloader": True}
    definition = api("a", "/a/", f"http://127.0.0.1:{upstream.port}/", custom_middleware_bundle="a.zip")
    assert start([definition], conf).fetch("/a/x").status == 200
