"""Plugin servers in Node and Go, made from the packages of their registries.

What is made goes to build/test-servers, keyed by what it is made from, once for all processes of the suite. A test skips only
when a tool is absent or too old, or its packages cannot be had; every other failure to build fails the test.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.gateway import ROOT

SOURCES = ROOT / "tests" / "plugins" / "servers"
PROTO = ROOT / "coprocess" / "proto"
BUILT = ROOT / "build" / "test-servers"
OLDEST_NODE = (18,)
FETCH_SECONDS, BUILD_SECONDS = 90, 240
GO_PACKAGE = "preforge.test/plugin"
GO_TOOLS = ("google.golang.org/protobuf/cmd/protoc-gen-go", "google.golang.org/grpc/cmd/protoc-gen-go-grpc")
UNREACHABLE = re.compile(
    r"ENOTFOUND|ECONNREFUSED|ECONNRESET|ETIMEDOUT|EAI_AGAIN|ENETUNREACH|EHOSTUNREACH|ENOTCACHED|ERR_SOCKET_TIMEOUT"
    r"|no such host|dial tcp|i/o timeout|network is unreachable|connection refused|module lookup disabled|TLS handshake timeout"
    r"|E(?:403|404|50[0234])\b|(?:403 Forbidden|404 Not Found|410 Gone|50[0234] [A-Z][a-z]+)"
)
"""What npm and go say when a registry does not answer, or does not have the package."""


@functools.cache
def node_server() -> tuple[str, ...]:
    """The command of the server on @grpc/grpc-js, but for its arguments; skips the test if there can be none."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("node or npm is not installed")
    version = tuple(int(part) for part in _run([node, "--version"]).stdout.strip().removeprefix("v").split("."))
    if version < OLDEST_NODE:
        pytest.skip(f"node is older than {OLDEST_NODE[0]}: {version}")
    source = SOURCES / "node"

    def install(folder: Path) -> None:
        for name in ("package.json", "package-lock.json"):
            shutil.copy(source / name, folder)
        bounds = ("--loglevel=error", "--fetch-retries=1", "--fetch-retry-mintimeout=1000", "--fetch-timeout=30000")
        _fetch([npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", *bounds], folder)

    made = _made("node", [source / "package.json", source / "package-lock.json"], install)
    return ("/usr/bin/env", f"NODE_PATH={made / 'node_modules'}", node, str(source / "server.js"))


@functools.cache
def go_server() -> tuple[str, ...]:
    """The command of the server on grpc-go, but for its arguments; skips the test if there can be none."""
    go = shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")
    if go is None:
        pytest.skip("go is not installed")
    source = SOURCES / "go"
    needed = re.search(r"^go (\S+)$", (source / "go.mod").read_text(), re.MULTILINE)
    version = re.search(r"\bgo([\d.]+)", _run([go, "version"]).stdout)
    assert needed, "go.mod names no version of Go"
    if version is None or _numbers(version[1]) < _numbers(needed[1]):
        pytest.skip(f"go is older than {needed[1]}, which its gRPC module needs: {version and version[1]}")
    sources = [source / "go.mod", source / "go.sum", *sorted(source.glob("*.go"))]
    protos = sorted(PROTO.glob("*.proto"))
    made = _made("go", [*sources, *protos], lambda folder: _build(go, folder, sources, protos))
    return (str(made / "server"),)


def _build(go: str, folder: Path, sources: list[Path], protos: list[Path]) -> None:
    """Generate code from our messages with the plugins that go.mod names, and build the server with it."""
    for path in sources:
        shutil.copy(path, folder)
    _fetch([go, "mod", "download"], folder)
    tools = folder / "tools"
    _must([go, "build", "-o", f"{tools}/", *GO_TOOLS], folder)
    options = [f"--{kind}_opt=M{path.name}={GO_PACKAGE}/coprocess" for kind in ("go", "go-grpc") for path in protos]
    options += [f"--{kind}_opt=module={GO_PACKAGE}" for kind in ("go", "go-grpc")]
    plugins = [f"--plugin={tools / Path(name).name}" for name in GO_TOOLS]
    _must(
        [sys.executable, "-m", "grpc_tools.protoc", f"-I{PROTO}", *plugins, *options, "--go_out=.", "--go-grpc_out=.",
         *(str(path) for path in protos)],
        folder,
    )  # fmt: skip
    _must([go, "build", "-o", "server", "."], folder)


def _made(name: str, sources: list[Path], make: Callable[[Path], None]) -> Path:
    """The folder made from these sources. `make` is called with a new one, unless this has been done; others wait for it."""
    key = hashlib.sha256(b"\0".join(path.read_bytes() for path in sources)).hexdigest()[:16]
    BUILT.mkdir(parents=True, exist_ok=True)
    done = BUILT / f"{name}-{key}"
    with _locked(BUILT / f"{name}.lock"):
        if not done.is_dir():
            for old in BUILT.glob(f"{name}-*"):
                shutil.rmtree(old)
            with tempfile.TemporaryDirectory(prefix=f"{name}-", dir=BUILT, ignore_cleanup_errors=True) as scratch:
                folder = Path(scratch, "made")
                folder.mkdir()
                make(folder)
                folder.rename(done)
    return done


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _run(command: list[str], folder: Path | None = None, seconds: float = 30) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "GOTOOLCHAIN": "local", "GOFLAGS": "-buildvcs=false", "GOWORK": "off", "CGO_ENABLED": "0"}
    return subprocess.run(
        command, cwd=folder, env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=seconds
    )


def _fetch(command: list[str], folder: Path) -> None:
    """Run what needs a registry."""
    what = " ".join([Path(command[0]).name, *command[1:3]])
    try:
        done = _run(command, folder, FETCH_SECONDS)
    except subprocess.TimeoutExpired:
        pytest.skip(f"{what}: its registry did not deliver the packages within {FETCH_SECONDS} s")
    said = done.stdout + done.stderr
    if done.returncode and (found := UNREACHABLE.search(said)):
        reason = " ".join(said[max(0, found.start() - 100) :].split())
        pytest.skip(f"{what}: its registry does not deliver the packages: {reason[:300]}")
    assert done.returncode == 0, f"{what} failed:\n{said}"


def _must(command: list[str], folder: Path) -> None:
    done = _run(command, folder, BUILD_SECONDS)
    assert done.returncode == 0, f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}"


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
