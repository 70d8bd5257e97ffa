"""Ways in which the API under test can be given a hook: what the configuration needs for it, and what has to run besides.

A row of a benchmark names one of these functions; each is called with a directory of the row's own and the CPUs of what is
not under test, and raises Absent if something is missing that it needs.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench import gateway
from bench.processes import Child, free_port

HOOK = "benchPre"
_HERE = Path(__file__).resolve().parent
_GRPC = ("coprocess.grpc.http2", "coprocess.grpc.hpack")
_LONGEST_SOCKET = 107       # bytes of a unix socket's path


class Absent(Exception):
    """A row cannot be measured here; the text says what is missing."""


@dataclass(frozen=True, slots=True)
class Setup:
    """api: fields of the definition under test; options: of tyk.conf; server: a process of the benchmark that the gateway
    calls, whose end is the caller's business; children: plugins run as processes below the gateway's workers."""

    api: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    server: Child | None = None
    children: bool = False


Make = Callable[[Path, set[int]], Setup]


def javascript(_folder: Path, _cpus: set[int]) -> Setup:
    """In the worker: hooks/pre.js."""
    _need("jsvm_pool.v8", "py_mini_racer")
    return Setup(gateway.javascript_hook(), {"enable_jsvm": True})


def grpc_tcp(folder: Path, cpus: set[int]) -> Setup:
    """A server on a port."""
    port = free_port()
    server = _grpc_server(folder, cpus, str(port))
    return _wait(server, lambda: server.wait_port(port), f"tcp://127.0.0.1:{port}")


def grpc_unix(folder: Path, cpus: set[int]) -> Setup:
    """The same server on a unix socket."""
    path = folder / "plugin.sock"
    if len(str(path)) > _LONGEST_SOCKET:
        raise Absent(f"{path} is longer than the path of a unix socket may be ({_LONGEST_SOCKET} bytes): set TMPDIR")
    server = _grpc_server(folder, cpus, str(path))
    return _wait(server, lambda: server.wait_socket(path), f"unix://{path}")


def jsonrpc(_folder: Path, _cpus: set[int], hook: str = HOOK) -> Setup:
    """One child per worker, over pipes."""
    _need("coprocess.jsonrpc.envelope", "coprocess.children.spawn")
    server = {"driver": "jsonrpc", "command": [sys.executable, str(_HERE / "jsonrpc_plugin.py")]}
    options = {"coprocess_options": {"enable_coprocess": True}, "preforge": {"plugins": {"servers": {"bench": server}}}}
    return Setup(hooked("jsonrpc", hook), options, children=True)


def python(folder: Path, _cpus: set[int], hook: str = HOOK) -> Setup:
    """A bundle, in one host process per worker."""
    _need("coprocess.children.spawn", "google.protobuf")
    code = (_HERE / "middleware.py").read_bytes()
    manifest = {
        "file_list": ["middleware.py"], "checksum": hashlib.md5(code, usedforsecurity=False).hexdigest(), "signature": "",
        **hooked("python", hook),
    }  # fmt: skip
    with zipfile.ZipFile(folder / "bench.zip", "w") as archive:
        archive.writestr("manifest.json", json.dumps(manifest))
        archive.writestr("middleware.py", code)
    options = {
        "coprocess_options": {"enable_coprocess": True}, "enable_bundle_downloader": True,
        "bundle_base_url": f"file://{folder}", "middleware_path": str(folder / "middleware"),
    }  # fmt: skip
    return Setup({"custom_middleware_bundle": "bench.zip"}, options, children=True)


def hooked(driver: str, name: str = HOOK) -> dict[str, Any]:
    """What gives a definition a pre hook."""
    return {"custom_middleware": {"driver": driver, "pre": [{"name": name}]}}


def grpc_command(address: str) -> list[str]:
    """Of the server. address: a port of 127.0.0.1, or the path of a socket. Raises Absent."""
    _need(*_GRPC, "google.protobuf", "coprocess.proto.coprocess_object_pb2")
    return [sys.executable, str(_HERE / "grpc_server.py"), address]


def grpc_options(target: str) -> dict[str, Any]:
    """What tells tyk.conf of the server."""
    return {"coprocess_options": {"enable_coprocess": True, "coprocess_grpc_server": target}}


def _need(*modules: str) -> None:
    for name in modules:
        try:
            found = importlib.util.find_spec(name)
        except ImportError:
            found = None
        if found is None:
            raise Absent(f"there is no module {name}")


def _grpc_server(folder: Path, cpus: set[int], address: str) -> Child:
    return Child("grpc-plugin", grpc_command(address), folder, cpus)


def _wait(server: Child, served: Callable[[], None], target: str) -> Setup:
    try:
        served()
    except BaseException:
        server.end()
        raise
    return Setup(hooked("grpc"), grpc_options(target), server)
