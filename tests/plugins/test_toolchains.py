"""What makes the servers in other languages: a test that skips for the wrong reason checks nothing."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import toolchains
from tests.support.toolchains import SOURCES, go_server, node_server

Server = Callable[[], tuple[str, ...]]


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Copies of the sources, to be made anew without what caches have; the registries do not answer."""
    copied = tmp_path / "servers"
    shutil.copytree(SOURCES, copied)
    monkeypatch.setattr(toolchains, "SOURCES", copied)
    monkeypatch.setattr(toolchains, "BUILT", tmp_path / "built")
    for name, value in {
        "npm_config_registry": "http://127.0.0.1:9/", "npm_config_cache": str(tmp_path / "npm"),
        "GOPROXY": "http://127.0.0.1:9/", "GOMODCACHE": str(tmp_path / "modules"), "GOSUMDB": "off",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    return copied


def absent(tool: str) -> bool:
    return shutil.which(tool) is None


@pytest.mark.parametrize(
    ("server", "tool", "what"),
    [
        pytest.param(node_server, "npm", "npm ci --ignore-scripts", marks=pytest.mark.skipif(absent("npm"), reason="no npm")),
        pytest.param(go_server, "go", "go mod download", marks=pytest.mark.skipif(absent("go"), reason="no go")),
    ],
)
def test_without_its_registry_a_server_is_skipped_with_the_reason(sources: Path, server: Server, tool: str, what: str) -> None:
    with pytest.raises(pytest.skip.Exception, match=f"{what}: its registry does not deliver the packages: .*127.0.0.1:9"):
        server.__wrapped__()  # type: ignore[attr-defined]
    assert list((sources.parent / "built").glob("*-*")) == []


@pytest.mark.skipif(absent("npm"), reason="no npm")
def test_a_package_that_cannot_be_read_fails_the_test(sources: Path) -> None:
    (sources / "node" / "package.json").write_text("{")
    with pytest.raises(AssertionError, match=r"npm ci .* failed"):
        node_server.__wrapped__()


@pytest.mark.skipif(absent("go"), reason="no go")
def test_modules_that_go_mod_does_not_describe_fail_the_test(sources: Path) -> None:
    (sources / "go" / "go.mod").write_text("module preforge.test/plugin\n\ngo 1.20\n\nrequire broken\n")
    with pytest.raises(AssertionError, match=r"go mod download failed"):
        go_server.__wrapped__()


@pytest.mark.parametrize(("server", "tools"), [(node_server, {"node"}), (node_server, {"npm"}), (go_server, {"go"})])
def test_without_its_tool_a_server_is_skipped_with_the_reason(
    monkeypatch: pytest.MonkeyPatch, server: Server, tools: set[str]
) -> None:
    real = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name, path=None: None if name in tools else real(name, path=path) or name)
    with pytest.raises(pytest.skip.Exception, match="is not installed"):
        server.__wrapped__()  # type: ignore[attr-defined]


def test_a_tool_that_is_too_old_is_named_with_what_is_needed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, says in (("node", "v12.1.0"), ("npm", "6"), ("go", "go version go1.21.3 linux/amd64")):
        tool = tmp_path / name
        tool.write_text(f"#!/bin/sh\necho {says}\n")
        tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    for server, reason in ((node_server, "node is older than 18"), (go_server, r"go is older than 1\.\d+")):
        with pytest.raises(pytest.skip.Exception, match=reason):
            server.__wrapped__()


def test_the_lock_names_no_registry() -> None:
    assert "resolved" not in (SOURCES / "node" / "package-lock.json").read_text()
    assert "://" not in (SOURCES / "node" / "package.json").read_text()
