"""Modules of plugin bundles: anything in the bundle may be required, and only what was verified."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from coprocess.bundles import BundleSettings
from jsvm_pool.program import Program
from tests.apidef.script_site import ScriptSite, check_only, said
from tests.bundles.archives import bundle

SECTION = {"driver": "otto", "pre": [{"name": "mw", "path": "mw/mw.js"}]}
FILES = {
    "mw/mw.js": b"var mw = require('../lib/u'), p = require('pkg')",
    "lib/u.js": b"require('../../outside')",
    "node_modules/pkg/package.json": b'{"main": "./a.js"}',
    "node_modules/pkg/a.js": b"1",
    "node_modules/pkg/b.js": b"2",
}


def opened(site: ScriptSite) -> Path:
    """Serve an API with the bundle; returns where the bundle lies."""
    site.file("shelf/a.zip", bundle(FILES, SECTION))
    site.reading(bundles=BundleSettings(str(site.folder / "shelf"), "middleware", enable_downloader=True))
    site.api(custom_middleware_bundle="a.zip")
    return Path("middleware/bundles", hashlib.md5(b"a.zip").hexdigest())


def program(site: ScriptSite) -> Program:
    found = site.scripts().program
    assert found is not None
    return found


def required(site: ScriptSite, folder: Path) -> dict[str, str]:
    return {specifier: str(Path(module).relative_to(folder)) for specifier, module in program(site).requires}


def manifest(folder: Path, **more: Any) -> None:
    path = folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_bytes()), **more}))


def test_scripts_of_a_bundle_require_what_lies_anywhere_in_it_and_nothing_else(scripted: ScriptSite) -> None:
    folder = opened(scripted)
    scripted.file("middleware/bundles/outside.js", "secret")
    check_only(scripted.load(), "$.custom_middleware.pre[0].path", "it leads out of")
    assert required(scripted, folder) == {"../lib/u": "lib/u.js", "pkg": "node_modules/pkg/a.js"}
    assert "secret" not in [module.text for module in program(scripted).modules]


def test_package_description_that_was_not_verified_is_not_used(scripted: ScriptSite) -> None:
    folder = opened(scripted)
    scripted.load()
    listed = [name for name in FILES if not name.endswith("package.json")]
    checksum = hashlib.md5(b"".join(FILES[name] for name in listed)).hexdigest()
    manifest(folder, file_list=listed, checksum=checksum)
    (folder / "node_modules/pkg/package.json").write_text('{"main": "./b.js"}')
    messages = [message for _, _, message in said(scripted.load())]
    assert any("package.json is not a file that the bundle's manifest lists" in message for message in messages), messages
    assert required(scripted, folder) == {"../lib/u": "lib/u.js"}
