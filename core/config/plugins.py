"""Plugins as tyk.conf asks for them: coprocess_options, and the servers and hooks of preforge.plugins."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from core.config.plugin_settings import DRIVERS, read_settings
from core.findings import Finding

KINDS = ("pre", "post_key_auth", "post", "response")
JS_DRIVERS = ("otto", "javascript")
DEFAULTS = {"grpc": "(grpc)", "python": "(python)"}
"""Driver -> the key of the server that coprocess_options describes; no name of preforge.plugins.servers looks like that."""
OWN_BUNDLE = "."
_DEFAULT_FIELDS = {
    "target": "coprocess_grpc_server", "authority": "grpc_authority", "round_robin": "grpc_round_robin_load_balancing",
    "recv_max_size": "grpc_recv_max_size", "send_max_size": "grpc_send_max_size",
}  # fmt: skip
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,59}")
_SERVERS = "$.preforge.plugins.servers"
_HOOKS = "$.preforge.plugins.global_hooks"
_DEADLINE = "$.preforge.plugins.deadline"
LONGEST_DEADLINE = 3600.0

Position = Literal["before", "after"]


@dataclass(frozen=True, slots=True)
class PluginServer:
    """A server, command or directory that hooks can name. settings: what its driver takes; bundled: it runs the code of the
    bundle of each API that names it, and settings.bundle says nothing."""

    name: str
    driver: str
    settings: Any
    bundled: bool = False


@dataclass(frozen=True, slots=True)
class GlobalHook:
    """A hook that is added to all APIs, or to those with one of `tags`. kind: see KINDS; server: key of a PluginServer;
    deadline: seconds; position: among the hooks of its kind, in front of the API's own or behind them."""

    kind: str
    server: str
    name: str
    raw_body_only: bool
    deadline: float
    tags: tuple[str, ...]
    position: Position


@dataclass(frozen=True, slots=True)
class PluginOptions:
    """What the compile step knows of plugins. enabled: coprocess_options.enable_coprocess; servers: by name, DEFAULTS
    among them; unusable: name -> why a server cannot be used; deadline: seconds for one call."""

    enabled: bool = False
    servers: Mapping[str, PluginServer] = field(default_factory=dict)
    unusable: Mapping[str, str] = field(default_factory=dict)
    deadline: float = 5.0
    hooks: tuple[GlobalHook, ...] = ()

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
        for name, values in self._object(self._ours.servers, _SERVERS).items():
            self._server(name, values)
        hooks = tuple(hook for at, one in enumerate(self._list(self._ours.global_hooks)) for hook in self._hook(one, at))
        return PluginOptions(self._coprocess.enable_coprocess, self._servers, self._unusable, deadline, hooks)

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

        settings = read_settings("grpc", values, {"name": "coprocess_grpc_server"}, note)
        if settings is not None:
            self._servers[DEFAULTS["grpc"]] = PluginServer("coprocess_grpc_server", "grpc", settings)

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
        self._servers[DEFAULTS["python"]] = PluginServer("python", "python", settings, bundled=True)

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

    def _hook(self, value: Any, at: int) -> list[GlobalHook]:
        place = f"{_HOOKS}[{at}]"
        before = len(self.findings)
        hook = self._object(value, place)
        for key in sorted(set(hook) - {"hook", "driver", "server", "name", "raw_body_only", "deadline", "tags", "position"}):
            self._error(f"{place}.{key}", "unknown key, expected hook, driver, server, name, raw_body_only, deadline, tags, "
                        "position")  # fmt: skip
        kind, name = hook.get("hook"), hook.get("name")
        if kind not in KINDS:
            self._error(f"{place}.hook", f"expected one of {', '.join(KINDS)}, got {kind!r:.40}")
        if not isinstance(name, str) or not name:
            self._error(f"{place}.name", "expected the name of a function of the plugin")
        raw, position = hook.get("raw_body_only", False), hook.get("position", "before")
        if not isinstance(raw, bool):
            self._error(f"{place}.raw_body_only", f"expected true or false, got {raw!r:.40}")
        if position not in ("before", "after"):
            self._error(f"{place}.position", f"expected before or after, got {position!r:.40}")
        tags = hook.get("tags") or []
        if not isinstance(tags, list) or not all(isinstance(tag, str) and tag for tag in tags):
            self._error(f"{place}.tags", "expected a list of tags; without it the hook is added to all APIs")
            tags = []
        deadline = hook.get("deadline", self._ours.deadline)
        if type(deadline) not in (int, float) or not 0 < deadline <= LONGEST_DEADLINE:
            self._error(f"{place}.deadline", f"expected more than 0 and at most {LONGEST_DEADLINE:g} seconds")
        server = self._server_of(hook, place)
        if server is None or len(self.findings) > before:
            return []
        assert isinstance(name, str)
        return [GlobalHook(str(kind), server, name, raw, float(deadline), tuple(tags), position)]

    def _server_of(self, hook: dict[str, Any], place: str) -> str | None:
        server, driver = hook.get("server"), hook.get("driver")
        if server is not None:
            if not isinstance(server, str) or server not in self._servers:
                names = ", ".join(sorted(set(self._servers) - set(DEFAULTS.values()))) or "none"
                self._error(f"{place}.server", f"no such server in preforge.plugins.servers, which has {names}")
            elif driver not in (None, self._servers[server].driver):
                self._error(f"{place}.driver", f"the server {server!r} has the driver {self._servers[server].driver}")
            elif self._servers[server].bundled:
                self._error(f"{place}.server", f"expected the server {server!r} to have a bundle of its own: its directory")
            else:
                return server
            return None
        if driver in JS_DRIVERS:
            self._error(f"{place}.driver", "JavaScript is not supported in global hooks by this build")
        elif driver not in DRIVERS:
            self._error(f"{place}.driver", f"expected one of {', '.join(DRIVERS)}, or the name of a server in server")
        else:
            found = PluginOptions(servers=self._servers).default(driver)
            if found in self._servers and not self._servers[found].bundled:
                return found
            self._error(f"{place}.server", f"expected the name of a server of the driver {driver}")
        return None

    def _object(self, value: Any, place: str) -> dict[str, Any]:
        if value is None:
            return {}
        if not isinstance(value, dict):
            self._error(place, f"expected an object, got {value!r:.40}")
            return {}
        return value

    def _list(self, value: Any) -> list[Any]:
        if value is None:
            return []
        if not isinstance(value, list):
            self._error(_HOOKS, f"expected a list of hooks, got {value!r:.40}")
            return []
        return value

    def _error(self, place: str, message: str, hint: str = "") -> None:
        self.findings.append(Finding("error", self._file, place, message, hint))
