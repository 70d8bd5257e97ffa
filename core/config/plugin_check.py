"""What can be said of plugin servers and bundles by looking at the files that their settings name; for lint."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from coprocess.bundles import BundleError
from coprocess.bundles.address import locate
from coprocess.bundles.manifest import NAME
from coprocess.bundles.verify import public_key
from core.config.plugins import DEFAULTS, PluginServer, plugin_options
from core.findings import Finding, Severity

MAIN = "middleware.py"      # what runs of a directory without a manifest (coprocess.python)


def check_plugins(config: Any, file: str) -> list[Finding]:
    """Files and programs that are not there. A gateway starts without them, and answers their hooks with 500."""
    options = plugin_options(config)
    servers = {} if not options.enabled else options.servers
    return [
        Finding("error", file, f"$.preforge.plugins.servers[{key!r}].{field}", message)
        for key, server in servers.items()
        if key not in DEFAULTS.values()
        for field, message in _problems(server)
    ]


def _problems(server: PluginServer) -> Iterator[tuple[str, str]]:
    """(field, what is wrong)"""
    checks = {"grpc": _grpc, "jsonrpc": _jsonrpc, "python": _python}
    yield from checks[server.driver](server)


def _grpc(server: PluginServer) -> Iterator[tuple[str, str]]:
    # Loaded here: most configurations have no such server.
    from coprocess.grpc.settings import SettingsError  # noqa: PLC0415
    from coprocess.grpc.tls import client_context  # noqa: PLC0415

    try:
        client_context(server.settings)
    except SettingsError as error:
        yield error.field, error.problem


def _jsonrpc(server: PluginServer) -> Iterator[tuple[str, str]]:
    child = server.settings.child(0)
    if child.cwd and not Path(child.cwd).is_dir():
        yield "cwd", f"{child.cwd} is not a directory"
        return
    try:
        program = Path(child.cwd, child.program())
    except FileNotFoundError:
        yield "command", f"there is no program {child.argv[0]} in PATH"
        return
    if not program.is_file():
        yield "command", f"there is no program {program}"
    elif not os.access(program, os.X_OK):
        yield "command", f"{program} is not executable"


def _python(server: PluginServer) -> Iterator[tuple[str, str]]:
    settings = server.settings
    if shutil.which(settings.interpreter) is None:
        yield "interpreter", f"there is no program {settings.interpreter}"
    for path in settings.python_path:
        if not Path(path).is_dir():
            yield "python_path", f"{path} is not a directory"
    if not server.bundled and not Path(settings.bundle).is_dir():
        yield "bundle", f"{settings.bundle} is not a directory"
    elif not server.bundled and not any(Path(settings.bundle, name).is_file() for name in (NAME, MAIN)):
        yield "bundle", f"there is no {NAME} and no {MAIN} in {settings.bundle}"


def check_bundles(config: Any, file: str) -> list[Finding]:
    """What keeps every plugin bundle from being used. A gateway starts with it, and refuses the requests of their APIs."""
    found: list[Finding] = []

    def note(severity: Severity, field: str, message: str, hint: str = "") -> None:
        found.append(Finding(severity, file, f"$.{field}", message, hint))

    if config.public_key_path:
        try:
            public_key(config.public_key_path)
        except BundleError as error:
            note("error", "public_key_path", str(error).removeprefix("public_key_path: "))
    base = config.bundle_base_url
    if not base:
        if config.enable_bundle_downloader:
            note("warning", "bundle_base_url", "it is empty, so no bundle is loaded although enable_bundle_downloader is on")
        return found
    try:
        place = locate(base, "")
    except BundleError as error:
        note("error", "bundle_base_url", str(error).removeprefix("bundle_base_url: "))
        return found
    if isinstance(place, str) and config.enable_bundle_downloader and not Path(place).is_dir():
        note("error", "bundle_base_url", f"{place.rstrip('/')} is not a directory")
    if not isinstance(place, str) and place.scheme == "https" and config.bundle_insecure_skip_verify:
        message = "the server's certificate is not verified: anybody on the way can give the gateway code to run"
        note("warning", "bundle_insecure_skip_verify", message, "Sign the bundles and set public_key_path, or verify.")
    return found
