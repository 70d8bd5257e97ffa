"""Plugins as tyk.conf asks for them: coprocess_options, and the servers and hooks of preforge.plugins."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from core.config.global_hooks import LONGEST_DEADLINE, GlobalHook, GlobalScript, HookReader, Switches
from core.config.plugin_settings import DRIVERS, read_settings
from core.findings import Finding

DEFAULTS = {"grpc": "(grpc)", "python": "(python)"}
"""Driver -> the key of the server that coprocess_options describes; no name of preforge.plugins.servers looks like that."""
SHOWN = {"(grpc)": "coprocess_grpc_server", "(python)": "python"}
"""Key of such a server -> its name in the log and in /hello."""
OWN_BUNDLE = "."
_DEFAULT_FIELDS = {
    "target": "coprocess_grpc_server", "authority": "grpc_authority", "round_robin": "grpc_round_robin_load_balancing",
    "recv_max_size": "grpc_recv_max_size", "send_max_size": "grpc_send_max_size",
}  # fmt: skip
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,59}")
_SERVERS = "$.preforge.plugins.servers"
_DEADLINE = "$.preforge.plugins.deadline"


@dataclass(frozen=True, slots=True)
class PluginServer:
    """A server, command or directory that hooks can name. settings: what its driver takes; bundled: it runs the code of the
    bundle of each API that names it, and settings.bundle says nothing."""

    name: str
    driver: str
    settings: Any
    bundled: bool = False


@dataclass(frozen=True, slots=True)
class PluginOptions:
    """What the compile step knows of plugins. enabled: coprocess_options.enable_coprocess; servers: by name, DEFAULTS
    among them; unusable: name -> why a server cannot be used; deadline: seconds for one call; hooks, scripts: the global
    ones, of plugins and in JavaScript."""

    enabled: bool = False
    servers: Mapping[str, PluginServer] = field(default_factory=dict)
    unusable: Mapping[str, str] = field(default_factory=dict)
    deadline: float = 5.0
    hooks: tuple[GlobalHook, ...] = ()
    scripts: tuple[GlobalScript, ...] = ()

    def default(self, driver: str) -> str | None:
        """The server of hooks that name none: the one of coprocess_options, else the only one that has the driver."""
        own = DEFAULTS.get(driver, "")
        found = [name for name, server in self.servers.items() if server.driver == driver and name != own]
        if own in self.servers or own in self.unusable:
            return found[0] if driver == "python" and len(found) == 1 else own
        return found[0] if len(found) == 1 else None


def plugin_options(config: Any) -> PluginOptions:
    """The plugins of a configuration; what cannot be used is left out."""
    return read_plugins(config, "")[0]


def read_plugins(config: Any, file: str) -> tuple[PluginOptions, list[Finding]]:
    """The plugins of a configuration, and what is wrong with them. file: for the findings."""
    reader = _Reader(config, file)
    return reader.options(), reader.findings


class _Reader:
    def __init__(self, config: Any, file: str) -> None:
        self.findings: list[Finding] = []
        self._coprocess = config.coprocess_options
        self._jsvm = config.enable_jsvm
        self._ours = config.preforge.plugins
        self._file = file
        self._servers: dict[str, PluginServer] = {}
        self._unusable: dict[str, str] = {}

    def options(self) -> PluginOptions:
        deadline = self._ours.deadline
        if not 0 < deadline <= LONGEST_DEADLINE:
            self._error(_DEADLINE, f"expected more than 0 and at most {LONGEST_DEADLINE:g} seconds, got {deadline:g}")
        self._default_grpc()
        self._default_python()
        named = self._object(self._ours.servers, _SERVERS)
        for name, values in named.items():
            self._server(name, values)
        options = PluginOptions(self._coprocess.enable_coprocess, self._servers, self._unusable, deadline)
        switches = Switches(options.enabled, self._jsvm)
        broken = named.keys() - self._servers.keys()
        reader = HookReader(switches, self._servers, DEFAULTS.values(), broken, options.default, deadline, self._file)
        hooks, scripts = reader.read(self._ours.global_hooks)
        self.findings += reader.findings
        return replace(options, hooks=hooks, scripts=scripts)

    def _default_grpc(self) -> None:
        """As in Tyk a server that cannot be used does not stop the gateway: its hooks answer 500."""
        if not self._coprocess.coprocess_grpc_server:
            return
        values = {ours: getattr(self._coprocess, theirs) for ours, theirs in _DEFAULT_FIELDS.items()}

        def note(field_name: str, message: str, hint: str) -> None:
            place = f"$.coprocess_options.{_DEFAULT_FIELDS.get(field_name, 'coprocess_grpc_server')}"
            self._unusable[DEFAULTS["grpc"]] = message
            message = f"{message}; hooks of the driver grpc are answered with 500"
            self.findings.append(Finding("warning", self._file, place, message, hint))

        settings = read_settings("grpc", values, {"name": SHOWN[DEFAULTS["grpc"]]}, note)
        if settings is not None:
            self._servers[DEFAULTS["grpc"]] = PluginServer(SHOWN[DEFAULTS["grpc"]], "grpc", settings)

    def _default_python(self) -> None:
        """Python hooks that name no server: of the interpreter that python_version asks for (tyk-plugins 5.1)."""
        if not self._coprocess.enable_coprocess:
            return
        version = self._coprocess.python_version
        interpreter = shutil.which(f"python{version}") if version else sys.executable
        if not interpreter:
            message = f"there is no python{version} on the PATH"
            self._unusable[DEFAULTS["python"]] = message
            place = "$.coprocess_options.python_version"
            message = f"{message}; hooks of the driver python are answered with 500"
            self.findings.append(Finding("warning", self._file, place, message, ""))
            return
        values = {"interpreter": interpreter, "bundle": OWN_BUNDLE}
        settings = read_settings("python", values, {}, lambda *said: self._error("$.coprocess_options", said[1]))
        self._servers[DEFAULTS["python"]] = PluginServer(SHOWN[DEFAULTS["python"]], "python", settings, bundled=True)

    def _server(self, name: str, values: Any) -> None:
        place = f"{_SERVERS}[{name!r}]"
        if not _NAME.fullmatch(name):
            self._error(place, "a name has letters, digits, dots, hyphens and underscores, at most 60, no mark in front")
            return
        if not isinstance(values, dict):
            self._error(place, "expected an object with driver and the settings of that driver")
            return
        driver = values.get("driver")
        if driver not in DRIVERS:
            self._error(f"{place}.driver", f"expected one of {', '.join(DRIVERS)}, got {driver!r:.40}")
            return

        def note(field_name: str, message: str, hint: str) -> None:
            self._error(f"{place}.{field_name}" if field_name else place, message, hint)

        rest = {key: value for key, value in values.items() if key != "driver"}
        settings = read_settings(driver, rest, {"name": name, "bundle": OWN_BUNDLE}, note)
        if settings is not None:
            self._servers[name] = PluginServer(name, driver, settings, driver == "python" and "bundle" not in rest)

    def _object(self, value: Any, place: str) -> dict[str, Any]:
        if value is None:
            return {}
        if not isinstance(value, dict):
            self._error(place, f"expected an object, got {value!r:.40}")
            return {}
        return value

    def _error(self, place: str, message: str, hint: str = "") -> None:
        self.findings.append(Finding("error", self._file, place, message, hint))
