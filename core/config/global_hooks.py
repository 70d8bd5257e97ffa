"""preforge.plugins.global_hooks of tyk.conf: hooks that are added to all APIs, or to those with a tag."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from core.config.plugin_settings import DRIVERS
from core.findings import Finding

KINDS = ("pre", "post_key_auth", "post", "response")
JS_DRIVERS = ("otto", "javascript")
PLACE = "$.preforge.plugins.global_hooks"
LONGEST_DEADLINE = 3600.0
_COMMON = ("hook", "driver", "name", "tags", "position")
_RICH = ("server", "raw_body_only", "deadline")
_SCRIPT = ("path", "require_session")

Position = Literal["before", "after"]
HookPosition = Literal["before", "own", "after"]
"""Where a hook stands among those of its kind: the API's own, or a global one around those."""
Find = Callable[[str], "str | None"]


@dataclass(frozen=True, slots=True)
class Added:
    """What all global hooks have. kind: see KINDS; position: in front of the API's own hooks of its kind or behind them;
    at: its index in the list, which is the order of those in one position."""

    kind: str
    name: str
    tags: tuple[str, ...]
    position: Position
    at: int

    @property
    def place(self) -> str:
        """Where it stands in tyk.conf."""
        return f"{PLACE}[{self.at}]"

    def goes_to(self, definition: Mapping[str, Any]) -> bool:
        """Whether an API gets it. What stands behind authentication never runs where there is none."""
        if self.kind == "post_key_auth" and definition.get("use_keyless"):
            return False
        return not self.tags or not set(self.tags).isdisjoint(definition.get("tags") or ())


@dataclass(frozen=True, slots=True)
class GlobalHook(Added):
    """A hook of a plugin. server: key of a PluginServer; deadline: seconds."""

    server: str
    raw_body_only: bool
    deadline: float


@dataclass(frozen=True, slots=True)
class GlobalScript(Added):
    """A middleware object in JavaScript. path: of its file."""

    path: str
    require_session: bool


@dataclass(frozen=True, slots=True)
class Switches:
    """What tyk.conf turns on. rich: enable_coprocess; scripts: enable_jsvm."""

    rich: bool
    scripts: bool


class HookReader:
    """Reads one list. What is wrong with an entry is noted, and it is left out."""

    def __init__(
        self,
        switches: Switches,
        servers: Mapping[str, Any],
        own: Collection[str],
        broken: Collection[str],
        find: Find,
        deadline: float,
        file: str,
    ) -> None:
        """servers: PluginServer by key; own: keys of those that coprocess_options describes; broken: names of others, of which
        it is said already why they cannot be used; find: the server of hooks that name none, by driver; deadline: seconds, for
        hooks that give none; file: for the findings."""
        self.findings: list[Finding] = []
        self._switches = switches
        self._servers = servers
        self._own = own
        self._broken = broken
        self._find = find
        self._deadline = deadline
        self._file = file

    def read(self, value: Any) -> tuple[tuple[GlobalHook, ...], tuple[GlobalScript, ...]]:
        """The hooks of plugins and those in JavaScript."""
        if value is not None and not isinstance(value, list):
            self._error(PLACE, f"expected a list of hooks, got {value!r:.40}")
            return (), ()
        hooks: list[GlobalHook] = []
        scripts: list[GlobalScript] = []
        for at, one in enumerate(value or ()):
            found = self._hook(one, at)
            if isinstance(found, GlobalHook):
                hooks.append(found)
            elif found is not None:
                scripts.append(found)
        return tuple(hooks), tuple(scripts)

    def _hook(self, hook: Any, at: int) -> GlobalHook | GlobalScript | None:
        place = f"{PLACE}[{at}]"
        before = len(self.findings)
        if not isinstance(hook, dict):
            self._error(place, f"expected an object, got {hook!r:.40}")
            return None
        in_script = hook.get("server") is None and hook.get("driver") in JS_DRIVERS
        self._keys(hook, place, (*_COMMON, *(_SCRIPT if in_script else _RICH)))
        kind, name, position = hook.get("hook"), hook.get("name"), hook.get("position", "before")
        if kind not in KINDS:
            self._error(f"{place}.hook", f"expected one of {', '.join(KINDS)}, got {kind!r:.40}")
        if not isinstance(name, str) or not name:
            what = "a middleware object of the script" if in_script else "a function of the plugin"
            self._error(f"{place}.name", f"expected the name of {what}")
        if position not in ("before", "after"):
            self._error(f"{place}.position", f"expected before or after, got {position!r:.40}")
        tags = hook.get("tags") or []
        if not isinstance(tags, list) or not all(isinstance(tag, str) and tag for tag in tags):
            self._error(f"{place}.tags", "expected a list of tags; without it the hook is added to all APIs")
            tags = []
        common = Added(str(kind), str(name), tuple(tags), position, at)
        made = self._script(hook, place, common) if in_script else self._rich(hook, place, common)
        return made if len(self.findings) == before else None

    def _keys(self, hook: dict[str, Any], place: str, known: tuple[str, ...]) -> None:
        for key in sorted(set(hook) - set(known)):
            self._error(f"{place}.{key}", f"unknown key, expected {', '.join(known)}")

    def _script(self, hook: dict[str, Any], place: str, common: Added) -> GlobalScript:
        path = hook.get("path")
        if not isinstance(path, str) or not path:
            self._error(f"{place}.path", "expected the path of a script")
        if not self._switches.scripts:
            self._error(f"{place}.driver", "expected enable_jsvm to be on, without it no script runs")
        return GlobalScript(*_values(common), str(path), self._flag(hook, place, "require_session"))

    def _rich(self, hook: dict[str, Any], place: str, common: Added) -> GlobalHook | None:
        deadline = hook.get("deadline", self._deadline)
        if type(deadline) not in (int, float) or not 0 < deadline <= LONGEST_DEADLINE:
            message = f"expected more than 0 and at most {LONGEST_DEADLINE:g} seconds, got {deadline!r:.40}"
            self._error(f"{place}.deadline", message)
            deadline = 0
        raw = self._flag(hook, place, "raw_body_only")
        if not self._switches.rich:
            message = "expected enable_coprocess in coprocess_options to be on, without it no plugin is called"
            self._error(place, message)
            return None
        server = self._server(hook, place)
        return None if server is None else GlobalHook(*_values(common), server, raw, float(deadline))

    def _flag(self, hook: dict[str, Any], place: str, name: str) -> bool:
        value = hook.get(name, False)
        if not isinstance(value, bool):
            self._error(f"{place}.{name}", f"expected true or false, got {value!r:.40}")
        return value is True

    def _server(self, hook: dict[str, Any], place: str) -> str | None:
        server, driver = hook.get("server"), hook.get("driver")
        if isinstance(server, str) and server in self._broken:
            return None
        if server is not None:
            if not isinstance(server, str) or server not in self._servers:
                names = ", ".join(sorted(set(self._servers) - set(self._own))) or "none"
                self._error(f"{place}.server", f"no such server in preforge.plugins.servers, which has {names}")
            elif driver not in (None, self._servers[server].driver):
                self._error(f"{place}.driver", f"the server {server!r} has the driver {self._servers[server].driver}")
            elif self._servers[server].bundled:
                message = "expected a server with a bundle of its own (its setting bundle, a directory)"
                self._error(f"{place}.server", f"{message}: {server} runs those of the APIs")
            else:
                return server
            return None
        if driver not in DRIVERS:
            names = ", ".join((*DRIVERS, *JS_DRIVERS))
            self._error(f"{place}.driver", f"expected one of {names}, or the name of a server in server")
            return None
        found = self._find(driver)
        if found is not None and found in self._servers and not self._servers[found].bundled:
            return found
        message = "expected the name of a server in preforge.plugins.servers"
        self._error(f"{place}.server", f"{message}: there is none that all hooks of the driver {driver} go to")
        return None

    def _error(self, place: str, message: str) -> None:
        self.findings.append(Finding("error", self._file, place, message, ""))


def _values(common: Added) -> tuple[str, str, tuple[str, ...], Position, int]:
    return common.kind, common.name, common.tags, common.position, common.at
