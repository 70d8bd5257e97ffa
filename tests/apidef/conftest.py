"""Fixtures for definitions with scripts."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.apidef.script_site import ScriptSite


@pytest.fixture
def scripted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ScriptSite:
    """A site whose relative paths start in its directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "apps").mkdir()
    return ScriptSite(tmp_path)
