"""What can be said of plugin servers by looking at the files that their settings name; for lint."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from core.config.plugins import DEFAULTS, PluginServer, plugin_options
from core.findings import Finding

_FILES = ("ca_file", "cert_file", "key_file")


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


def _program(settings: Any) -> Iterator[str]:
    """What keeps the program of a command line from being run. A path with a slash begins at `cwd`, as for exec."""
    program = settings.child(0).argv[0]
    if "/" not in program:
        if shutil.which(program, path=settings.env.get("PATH")) is None:
            yield f"there is no program {program} in PATH"
        return
    path = Path(settings.cwd, program)
    if not path.is_file():
        yield f"there is no program {path}"
    elif not os.access(path, os.X_OK):
        yield f"{path} is not executable"


def _problems(server: PluginServer) -> Iterator[tuple[str, str]]:
    """(field, what is wrong)"""
    settings = server.settings
    if server.driver == "grpc":
        for field in _FILES:
            path = getattr(settings, field)
            if path and not os.access(path, os.R_OK):
                yield field, f"{path} is not a file that can be read"
    elif server.driver == "jsonrpc":
        if settings.cwd and not Path(settings.cwd).is_dir():
            yield "cwd", f"{settings.cwd} is not a directory"
            return
        yield from (("command", problem) for problem in _program(settings))
    else:
        if shutil.which(settings.interpreter) is None:
            yield "interpreter", f"there is no program {settings.interpreter}"
        if not server.bundled and not Path(settings.bundle).is_dir():
            yield "bundle", f"{settings.bundle} is not a directory"
