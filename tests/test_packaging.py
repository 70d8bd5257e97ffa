"""What is in the archives that the gateway is installed from."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from setuptools.command.egg_info import FileList

from tests.support.gateway import ROOT

PACKAGES = ("accel", "bench", "core", "coprocess", "jsvm_pool")
MADE = (".c", ".so", ".pyc", ".desc")
GENERATED = "_pb2"


def files_of_packages() -> Iterator[str]:
    """Paths of all files that belong to the packages and are not made by a build."""
    for package in PACKAGES:
        for directory, _, names in os.walk(ROOT / package):
            for name in names:
                if not name.endswith(MADE) and GENERATED not in name:
                    yield str((Path(directory) / name).relative_to(ROOT))


def test_the_source_archive_lacks_a_file_that_a_build_or_a_plugin_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    needed = {path for path in files_of_packages() if not path.endswith(".py")}
    assert any(path.endswith(".pyx") for path in needed)
    listed = FileList(warn=lambda *_: None, debug_print=lambda *_: None)
    listed.allfiles = sorted({*needed, *(path.name for path in ROOT.iterdir() if path.is_file())})
    for line in (ROOT / "MANIFEST.in").read_text().splitlines():
        listed.process_template_line(line)
    assert needed <= set(listed.files)
    assert {"CHANGELOG.md", "requirements.lock", "tyk.conf.example"} <= set(listed.files)


def test_a_wheel_takes_what_the_manifest_lists() -> None:
    """Without this, the plugins' messages, the runtime of scripts and the documentation would stay behind."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    assert settings["include-package-data"] is True
