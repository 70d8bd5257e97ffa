"""The rich plugins of one API as data: which hook is called where, on which server (tyk-plugins 3.1, 3.7)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from core.apidef.bundles import AppliedBundle
from core.apidef.edits import Notes
from core.apidef.features import RICH_DRIVERS, asks_for_plugin_auth, plugin_driver
from core.config.global_hooks import LONGEST_DEADLINE, GlobalHook, HookPosition, Position
from core.config.plugins import DEFAULTS, PluginOptions
from core.sessions.encoding import dumps

HANDLER = "cp_dynamic_handler"
EVENTS = "$.event_handlers.events"
LISTS = ("pre", "post_key_auth", "post", "response")
_SECTION = "$.custom_middleware"
_OFF = "enable_coprocess is off in coprocess_options of tyk.conf"


@dataclass(frozen=True, slots=True)
class PluginHookSpec:
    """One hook. kind: "pre", "auth_check", "post_key_auth", "post" or "response"; server: key of a PluginServer, see
    core.config.plugins; deadline: seconds; position: "own" for the API's, else that of a global hook, whose index in the list
    ``at`` is; problem: why it cannot be called, every request is then answered with 500."""

    kind: str
    name: str
    driver: str
    server: str
    raw_body_only: bool
    deadline: float
    position: HookPosition = "own"
    at: int = 0
    problem: str = ""


@dataclass(frozen=True, slots=True)
class PluginEventSpec:
    """A handler of events that is a plugin. event: the name under which it stands; position: in the list of that event;
    name: of the handler."""

    event: str
    position: int
    name: str
    driver: str
    server: str


@dataclass(frozen=True, slots=True)
class BundleCode:
    """The code of a plugin bundle, as it was verified. Equal digests mean equal code.

    digest: over the contents and the section with the hooks; files: hex SHA-256 of what may be used, by path in the directory;
    listed: `file_list` of the manifest.
    """

    directory: str = ""
    digest: str = ""
    files: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)
    listed: tuple[str, ...] = field(default=(), repr=False, compare=False)


NO_CODE = BundleCode()
"""Of an API without a bundle."""


@dataclass(frozen=True, slots=True)
class PluginSpec:
    """The plugins of one API.

    hooks: by kind, global ones among them, in the order of the chain; about: the map `spec` that every hook is given
    (tyk-plugins 3.3); bundle: the API's plugin bundle.
    """

    hooks: tuple[PluginHookSpec, ...]
    events: tuple[PluginEventSpec, ...]
    about: tuple[tuple[str, str], ...]
    bundle: BundleCode = NO_CODE

    def of(self, kind: str, position: HookPosition = "own") -> tuple[PluginHookSpec, ...]:
        """The hooks of one kind and position."""
        return tuple(hook for hook in self.hooks if hook.kind == kind and hook.position == position)


@dataclass(frozen=True, slots=True)
class _Server:
    """Where a hook goes. problem: why it cannot."""

    driver: str
    key: str
    deadline: float
    problem: str = ""


class PluginCompiler:
    """Compiles the plugins of one definition."""

    def __init__(
        self, definition: dict[str, Any], options: PluginOptions, bundle: AppliedBundle | None, notes: Notes
    ) -> None:
        self._definition = definition
        self._section = definition.get("custom_middleware", {})
        self._driver = plugin_driver(definition)
        self._api = definition.get("preforge", {}).get("plugins", {})
        self._options = options
        self._bundle = bundle
        self._notes = notes

    def compile(self) -> PluginSpec | None:
        """Return the plugins, None if the API has none."""
        hooks = (*self._global("before"), *self._auth(), *self._own(), *self._global("after"))
        events = tuple(self._events())
        if not hooks and not events:
            return None
        return PluginSpec(hooks, events, self._about(), self._code())

    # -- hooks -----------------------------------------------------------------------

    def _own(self) -> Iterator[PluginHookSpec]:
        if self._driver not in RICH_DRIVERS:
            return
        for kind in LISTS:
            for index, hook in enumerate(self._section.get(kind, [])):
                place = f"{_SECTION}.{kind}[{index}]"
                if hook.get("disabled") or not self._runs(kind, place):
                    continue
                self._no_path(hook, place)
                yield self._hook(kind, hook, place)

    def _runs(self, kind: str, place: str) -> bool:
        if kind == "post_key_auth" and self._definition.get("use_keyless"):
            self._notes.warn(place, "it never runs: the API is keyless (use_keyless)")
            return False
        if not self._options.enabled and kind != "response":
            # As in every version of Tyk (tyk-plugins 3.7); who turns plugins off is told for each hook.
            self._notes.flaw(place, f"{_OFF}, so this hook is passed over", "Set it to true.")
            return False
        return True

    def _hook(self, kind: str, hook: dict[str, Any], place: str) -> PluginHookSpec:
        server = self._server(hook, place)
        name = hook.get("name", "")
        problem = server.problem
        if not problem and not name:
            problem = "it has no name"
            self._notes.flaw(f"{place}.name", "expected the name of a hook of the plugin; every request is answered with 500")
        raw = hook.get("raw_body_only", False)
        return PluginHookSpec(kind, name, server.driver, server.key, raw, server.deadline, problem=problem)

    def _auth(self) -> Iterator[PluginHookSpec]:
        """The auth hook; whoever asks for one that cannot be called is refused."""
        place = f"{_SECTION}.auth_check"
        if self._driver not in RICH_DRIVERS:
            return
        if not asks_for_plugin_auth(self._definition):
            self._idle_auth(place)
            return
        if not self._options.enabled:
            self._notes.flaw(place, f"{_OFF}, so that auth tokens are asked for in its place", "Set it to true.")
            return
        hook = self._section.get("auth_check", {})
        self._no_path(hook, place)
        if not hook.get("disabled"):
            yield self._hook("auth_check", hook, place)
            return
        problem = "auth_check is disabled although custom_plugin_auth_enabled or enable_coprocess_auth is on"
        self._notes.flaw(f"{place}.disabled", f"{problem}; every request is answered with 500")
        yield PluginHookSpec("auth_check", hook.get("name", ""), self._driver, "", False, 0.0, problem=problem)

    def _idle_auth(self, place: str) -> None:
        hook = self._section.get("auth_check", {})
        if hook.get("name") and not hook.get("disabled"):
            keyless = self._definition.get("use_keyless")
            why = "the API is keyless (use_keyless)" if keyless else "custom_plugin_auth_enabled is off"
            self._notes.warn(place, f"it never runs: {why}")

    def _no_path(self, hook: dict[str, Any], place: str) -> None:
        """Scripts do not mix with hooks of another driver; bundles may name files for their own use."""
        if self._bundle is None and hook.get("path"):
            message = f"it has no effect: a plugin of the driver {self._driver} is called by the name of the hook alone"
            self._notes.warn(f"{place}.path", message)

    def _global(self, position: Position) -> Iterator[PluginHookSpec]:
        for hook in self._options.hooks:
            if hook.position == position and hook.goes_to(self._definition):
                yield self._added(hook)

    def _added(self, hook: GlobalHook) -> PluginHookSpec:
        server = self._options.servers[hook.server]
        return PluginHookSpec(
            hook.kind, hook.name, server.driver, hook.server, hook.raw_body_only, hook.deadline, hook.position, hook.at
        )

    # -- servers ---------------------------------------------------------------------

    def _server(self, hook: dict[str, Any], place: str) -> _Server:
        """The server of a hook: its own, else that of its API, else the one of its driver."""
        own = hook.get("preforge", {}).get("plugins", {})
        deadline = self._deadline(own, f"{place}.preforge.plugins") or self._deadline(self._api, "$.preforge.plugins")
        deadline = deadline or self._options.deadline
        for found, where in ((own, f"{place}.preforge.plugins.server"), (self._api, "$.preforge.plugins.server")):
            if found.get("server"):
                server = self._named(found["server"], where, deadline)
                if found is self._api and server.driver != self._driver and self._driver in RICH_DRIVERS:
                    message = f"the server has the driver {server.driver}, and gets the hooks of the driver {self._driver} too"
                    self._notes.warn(f"{_SECTION}.driver", message)
                return server
        key = self._options.default(self._driver)
        if not self._options.enabled:
            return _Server(self._driver, "", deadline, _OFF)
        if key is None:
            return self._nowhere(place, deadline)
        problem = self._options.unusable.get(key, "")
        if problem:
            what = f"the driver {self._driver} of coprocess_options cannot be used ({problem})"
            self._notes.flaw(place, f"{what}; every request is answered with 500")
            return _Server(self._driver, key, deadline, problem)
        return self._checked(key, place, deadline)

    def _named(self, name: str, where: str, deadline: float) -> _Server:
        server = self._options.servers.get(name)
        if not self._options.enabled:
            return _Server(self._driver, "", deadline, _OFF)
        if server is None:
            names = ", ".join(sorted(set(self._options.servers) - set(DEFAULTS.values()))) or "none"
            message = f"no server {name!r:.60} in preforge.plugins.servers of tyk.conf, which has {names}"
            self._notes.flaw(where, f"{message}; every request is answered with 500")
            return _Server(self._driver, "", deadline, f"there is no plugin server {name!r:.60}")
        return self._checked(name, where, deadline)

    def _checked(self, key: str, place: str, deadline: float) -> _Server:
        """A server that runs the code of the API's bundle needs one."""
        server = self._options.servers[key]
        problem = ""
        if server.bundled and self._bundle is None:
            problem = f"the driver {server.driver} needs a plugin bundle, and the API has none"
            self._notes.flaw(place, f"{problem} (custom_middleware_bundle); every request is answered with 500")
        return _Server(server.driver, key, deadline, problem)

    def _nowhere(self, place: str, deadline: float) -> _Server:
        """A hook of a driver without a server."""
        expected = f"one server of the driver {self._driver} in preforge.plugins.servers"
        if self._driver == "grpc":
            expected = "coprocess_grpc_server in coprocess_options"
        message = f"there is no server for the driver {self._driver}, expected {expected} or a name in preforge.plugins.server"
        self._notes.flaw(place, f"{message}; every request is answered with 500")
        return _Server(self._driver, "", deadline, f"there is no server for the driver {self._driver}")

    def _deadline(self, value: dict[str, Any], where: str) -> float:
        found: float = value.get("deadline", 0.0)
        if not 0 <= found <= LONGEST_DEADLINE:
            message = f"expected more than 0 and at most {LONGEST_DEADLINE:g} seconds, got {found:g}"
            self._notes.error(f"{where}.deadline", message)
            return 0.0
        return found

    # -- the rest --------------------------------------------------------------------

    def _events(self) -> Iterator[PluginEventSpec]:
        events = self._definition.get("event_handlers", {}).get("events") or {}
        for event, entries in events.items():
            for position, entry in enumerate(entries or ()):
                if not entry or entry.get("handler_name") != HANDLER:
                    continue
                place = f"{EVENTS}[{event!r}][{position}]"
                meta = entry.get("handler_meta") or {}
                if meta.get("disabled") is True:
                    continue
                found = self._event(meta, place)
                if found is not None:
                    yield PluginEventSpec(event, position, meta["name"], found.driver, found.key)

    def _event(self, meta: dict[str, Any], place: str) -> _Server | None:
        if not isinstance(meta.get("name"), str) or not meta["name"]:
            self._notes.flaw(f"{place}.handler_meta.name", "expected the name of a handler; it is not called")
            return None
        if not self._options.enabled:
            self._notes.flaw(f"{place}.handler_name", f"{_OFF}, so this handler is not called", "Set it to true.")
            return None
        if self._driver not in RICH_DRIVERS and not self._api.get("server"):
            message = f"no plugin driver is available: expected {_SECTION}.driver to be one of {', '.join(RICH_DRIVERS)}"
            self._notes.flaw(f"{place}.handler_name", f"{message}; this handler is not called")
            return None
        server = self._server({}, place)
        return None if server.problem else server

    def _about(self) -> tuple[tuple[str, str], ...]:
        get = self._definition.get
        name = hashlib.md5(get("custom_middleware_bundle", "").encode(), usedforsecurity=False)
        digest = self._bundle.digest if self._bundle is not None else name.hexdigest()
        found = [("OrgID", get("org_id", "")), ("APIID", get("api_id", "")), ("bundle_hash", digest)]
        if get("config_data") and not get("config_data_disabled"):
            found.append(("config_data", dumps(get("config_data"))))
        return tuple(found)

    def _code(self) -> BundleCode:
        found = self._bundle
        if found is None:
            return NO_CODE
        digest = hashlib.sha256(repr(sorted(found.files.items())).encode() + found.section)
        files = {path.removeprefix(f"{found.directory}/"): sum_ for path, sum_ in found.files.items()}
        return BundleCode(found.directory, digest.hexdigest(), files, found.listed)
