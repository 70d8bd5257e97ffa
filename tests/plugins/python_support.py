"""Bundles with Python plugins, and gateways that take them."""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path
from typing import Any

from tests.support.gateway import Json


def bundle(folder: Path, name: str, code: str, added: dict[str, str] | None = None, **section: Any) -> None:
    """Write a bundle as `tyk bundle build` does. added: further files, which the manifest does not list."""
    manifest = {
        "file_list": ["middleware.py"], "custom_middleware": {"driver": "python", **section},
        "checksum": hashlib.md5(code.encode(), usedforsecurity=False).hexdigest(), "signature": "",
    }  # fmt: skip
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / name, "w") as archive:
        archive.writestr("middleware.py", code)
        archive.writestr("manifest.json", json.dumps(manifest))
        for path, text in (added or {}).items():
            archive.writestr(path, text)


def conf_of(tmp_path: Path, **more: Any) -> Json:
    """Bundles come from tmp_path / "served"."""
    return {
        "coprocess_options": {"enable_coprocess": True}, "enable_bundle_downloader": True,
        "bundle_base_url": f"file://{tmp_path / 'served'}", "middleware_path": str(tmp_path / "middleware"), **more,
    }  # fmt: skip
