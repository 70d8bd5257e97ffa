"""The JavaScript of one API as data: what runs where, and in which program (tyk-jsvm 2, 3, 4)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.apidef.edits import Notes
from core.apidef.event_scripts import event_script_paths
from core.apidef.features import REFUSED, authenticates_by_script, runs_javascript
from core.apidef.options import CompileOptions
from core.apidef.script_files import FOLDERS, is_script
from core.apidef.script_program import Origin, ProgramBuilder, name_problem
from core.apidef.snapshot import Scripts
from core.apidef.versions import Version, unsupported, versions
from core.config.global_hooks import HookPosition
from core.config.gojson import join_path
from jsvm_pool.program import Program

ISOLATIONS = ("", "request", "shared")
HOOKS = ("pre", "auth_check", "post_key_auth", "post", "response")
_KINDS = {"pre": "pre", "auth": "auth_check", "post_auth": "post_key_auth", "post": "post"}
_AUTH = "$.custom_middleware.auth_check"
_OFF = "enable_jsvm is off in tyk.conf"


@dataclass(frozen=True, slots=True)
class HookSpec:
    """One script of the chain. kind: "pre", "auth_check", "post_key_auth", "post" or "response"; entry: index in
    ``Program.entries``; problem: why it cannot run, every request is then answered with 500; position: "own" for the
    API's, else that of a global hook, whose index in the list ``at`` is."""

    kind: str
    name: str
    entry: int
    require_session: bool
    problem: str = ""
    position: HookPosition = "own"
    at: int = 0


@dataclass(frozen=True, slots=True)
class VirtualSpec:
    """The data of a virtual endpoint. entry: index in ``Program.entries``; problem: why its function cannot run, which
    counts as a failure of the script."""

    function: str
    entry: int
    use_session: bool
    proxy_on_error: bool
    problem: str = ""


@dataclass(frozen=True, slots=True)
class ScriptSpec:
    """The scripts of one API, or the global ones that it gets.

    program: None when no script can run, ``problem`` says why; hooks: by kind in the order of the chain; config: JSON
    text of the third argument of every script, {"APIID", "OrgID", "config_data"}.
    """

    program: Program | None
    hooks: tuple[HookSpec, ...]
    config: bytes
    problem: str = ""

    def of(self, kind: str, position: HookPosition = "own") -> tuple[HookSpec, ...]:
        """The hooks of one kind and position."""
        return tuple(hook for hook in self.hooks if hook.kind == kind and hook.position == position)


@dataclass(slots=True)
class _Hook:
    """A hook as it was asked for. place: of its MiddlewareDefinition; discovered: it lies in a folder of the API."""

    kind: str
    place: str
    name: str
    path: str
    code: str = ""
    require_session: bool = False
    discovered: bool = False
    origin: Origin | None = None
    problem: str = ""

    def at(self, field: str) -> str:
        """The place of a field, for findings."""
        return "$.api_id" if self.discovered else f"{self.place}.{field}"


class ScriptCompiler:
    """Compiles the scripts of one definition."""

    def __init__(
        self, definition: dict[str, Any], found: list[Version], options: CompileOptions, scripts: Scripts | None, notes: Notes
    ) -> None:
        """scripts: what was read, None when nothing was (then nothing is said about files either)."""
        self._definition = definition
        self._section = definition.get("custom_middleware", {})
        self._options = options
        self._found = scripts.own.found if scripts is not None else {}
        self._notes = notes
        self._builder = ProgramBuilder(scripts, options, notes)
        self._virtuals = _virtual_entries(found)
        self.owner = self._owner()
        """Whose state programs of the API keep, "" if they keep none."""

    def compile(self) -> ScriptSpec | None:
        """Return the scripts, None if the API has none."""
        asked = self._asked()
        hooks = self._chain(asked)
        if not self._options.enable_jsvm:
            if not hooks:
                return None
            message = f"{_OFF}, so every request is answered with 500"
            self._notes.flaw("$.custom_middleware", message, "Set it to true.")
            off = tuple(HookSpec(hook.kind, hook.name, 0, hook.require_session, _OFF) for hook in hooks)
            return ScriptSpec(None, off, config_text(self._definition), _OFF)
        if not hooks and not self._virtuals:
            return None
        self._virtual_sources()
        self._hook_sources(asked)
        specs = tuple(self._spec(hook) for hook in hooks)
        return ScriptSpec(self._builder.program(self.owner), specs, config_text(self._definition))

    def virtual(self, entry: dict[str, Any], place: str, notes: Notes) -> tuple[VirtualSpec | None, bool]:
        """The data of one virtual endpoint, for ``endpoints()``; without enable_jsvm it is out of force (tyk-jsvm 1)."""
        if not self._options.enable_jsvm:
            notes.warn(place, f"{_OFF}, so requests to this virtual endpoint go to the upstream", "Set it to true.")
            return None, False
        name = entry.get("response_function_name", "")
        problem = name_problem(name)
        number = 0 if problem else self._builder.entry(name)
        use_session, proxy = entry.get("use_session", False), entry.get("proxy_on_error", False)
        return VirtualSpec(name, number, use_session, proxy, problem), True

    # -- what was asked for ----------------------------------------------------------

    def _asked(self) -> list[_Hook]:
        """All enabled hooks in the order in which their scripts are loaded (tyk-jsvm 3.3)."""
        if not runs_javascript(self._definition):
            if self._found:
                message = f"scripts in the folder of the API do not run with the driver {self._section['driver']!r:.40}"
                self._notes.reject("$.custom_middleware.driver", f"{message}: {REFUSED}", unsupported("scripts"))
            return []
        auth = self._section.get("auth_check", {})
        return [
            *([self._one("auth_check", _AUTH, auth)] if auth.get("name") and not auth.get("disabled") else ()),
            *self._configured("pre"),
            *self._configured("post"),
            *(self._discovered(_KINDS[folder], path) for folder in FOLDERS for path in self._found.get(folder, ())),
            *self._configured("post_key_auth"),
            *self._configured("response"),
        ]

    def _configured(self, kind: str) -> list[_Hook]:
        return [
            self._one(kind, f"$.custom_middleware.{kind}[{index}]", hook)
            for index, hook in enumerate(self._section.get(kind, []))
            if not hook.get("disabled")
        ]

    def _one(self, kind: str, place: str, hook: dict[str, Any]) -> _Hook:
        asks = hook.get("require_session", False)
        return _Hook(kind, place, hook.get("name", ""), hook.get("path", ""), hook.get("code", ""), asks)

    def _discovered(self, kind: str, path: str) -> _Hook:
        name = Path(path).name.partition(".")[0]
        asks = name.endswith("_with_session")
        if asks and kind in ("pre", "auth_check"):
            self._notes.warn("$.api_id", f"{path}: there is no session yet where {kind} scripts run")
        return _Hook(kind, path, name, path, require_session=asks, discovered=True)

    def _chain(self, asked: list[_Hook]) -> list[_Hook]:
        """The hooks that run. The order of loading is that of running, but post_auth folders come before all others."""
        result: list[_Hook] = []
        for kind in HOOKS:
            of_kind = [hook for hook in asked if hook.kind == kind]
            if kind == "auth_check":
                of_kind = self._auth(of_kind)
            elif kind == "post_key_auth" and of_kind and self._definition.get("use_keyless"):
                self._notes.warn("$.custom_middleware.post_key_auth", "it never runs: the API is keyless (use_keyless)")
                of_kind = []
            result += of_kind
        return result

    def _auth(self, asked: list[_Hook]) -> list[_Hook]:
        if not authenticates_by_script(self._definition):
            if asked:
                why = "the API is keyless" if self._definition.get("use_keyless") else "custom_plugin_auth_enabled is off"
                self._notes.warn(_AUTH, f"it never runs: {why}")
            return []
        if len(asked) > 1:
            self._notes.warn(_AUTH, f"only the last one runs, {asked[-1].path}")
        if asked:
            return asked[-1:]
        given = self._section.get("auth_check", {})
        state = "it is disabled" if given.get("disabled") else "it has no name"
        problem = f"{state} although custom_plugin_auth_enabled or enable_coprocess_auth is on"
        self._notes.flaw(_AUTH, f"{problem}: every request is refused")
        return [_Hook("auth_check", _AUTH, given.get("name", ""), "", problem=f"auth_check: {problem}")]

    # -- sources -----------------------------------------------------------------------

    def _virtual_sources(self) -> None:
        for place, entry in self._virtuals:
            kind, source = entry.get("function_source_type", ""), entry.get("function_source_uri", "")
            uri = f"{place}.function_source_uri"
            if kind == "file":
                self._builder.file(source, uri, any_name=True)
            elif kind != "blob":
                message = f'{kind!r:.40} is not a type of source, expected "file" or "blob"; nothing is loaded'
                self._notes.flaw(f"{place}.function_source_type", message)
            elif self._options.disable_virtual_path_blobs:
                self._notes.flaw(uri, "disable_virtual_path_blobs is on in tyk.conf, so the source is not loaded")
            else:
                self._builder.encoded(source, uri, f"virtual endpoint {entry['method']} {entry.get('path', '')}")
            name = entry.get("response_function_name", "")
            problem = name_problem(name)
            if problem:
                self._notes.flaw(f"{place}.response_function_name", f"{problem}, so the endpoint always fails")
            else:
                self._builder.expect(name, f"{place}.response_function_name")
                self._builder.entry(name)

    def _hook_sources(self, asked: list[_Hook]) -> None:
        """Load the scripts of all hooks, also of those that never run: others may use what they define."""
        own_files = self._section.get("driver") == "javascript"
        for hook in asked:
            if hook.code:
                label = f"{hook.place.removeprefix('$.')}.code"
                hook.origin, hook.problem = self._builder.encoded(hook.code, hook.at("code"), label)
            elif hook.path:
                hook.origin, problem = self._builder.file(hook.path, hook.at("path"))
                # These speak of their own file; otherwise any file may have the name.
                hook.problem = problem if own_files or hook.discovered else ""
        if own_files:
            self._builder.separate([(hook.name, hook.origin) for hook in asked if hook.origin is not None])

    # -- results -------------------------------------------------------------------

    def _spec(self, hook: _Hook) -> HookSpec:
        problem = hook.problem
        if not problem:
            problem = name_problem(hook.name)
            if problem:
                self._notes.flaw(hook.at("name"), f"{problem}, so every request is answered with 500")
        if problem:
            return HookSpec(hook.kind, hook.name, 0, hook.require_session, problem)
        self._builder.expect(hook.name, hook.at("name"))
        return HookSpec(hook.kind, hook.name, self._builder.entry(hook.name, hook.origin), hook.require_session)

    def _owner(self) -> str:
        isolation = self._definition.get("preforge", {}).get("jsvm", {}).get("isolation", "")
        if isolation not in ISOLATIONS:
            message = f'{isolation!r:.40} is not an isolation, expected "request" or "shared"'
            self._notes.error("$.preforge.jsvm.isolation", message)
        # Two definitions may have one id, or none.
        get = self._definition.get
        return f"{get('api_id', '')} {get('proxy', {}).get('listen_path', '')}" if isolation == "shared" else ""


def config_text(definition: Mapping[str, Any]) -> bytes:
    """The third argument of every script as JSON text: {"APIID", "OrgID", "config_data"}."""
    get = definition.get
    config = {"APIID": get("api_id", ""), "OrgID": get("org_id", "")}
    if not get("config_data_disabled"):
        config["config_data"] = get("config_data")
    return json.dumps(config, separators=(",", ":"), sort_keys=True).encode()


def script_paths(definition: dict[str, Any]) -> list[str]:
    """Return the paths of all scripts that a definition names, as it writes them."""
    named = event_script_paths(definition)
    if runs_javascript(definition):
        section = definition.get("custom_middleware", {})
        lists = (section.get(kind, []) for kind in HOOKS if kind != "auth_check")
        hooks = [section.get("auth_check", {}), *(hook for hooks in lists for hook in hooks)]
        named += [
            hook["path"]
            for hook in hooks
            if not hook.get("disabled") and not hook.get("code") and is_script(hook.get("path", ""))
        ]
    named += [
        entry["function_source_uri"]
        for _, entry in _virtual_entries(versions(definition))
        if entry.get("function_source_type") == "file" and entry.get("function_source_uri")
    ]
    return named


def _virtual_entries(found: list[Version]) -> list[tuple[str, dict[str, Any]]]:
    """The virtual endpoints in force of all versions, which share one scope (tyk-jsvm 3.5), and where they stand."""
    return [
        (f"{join_path('$.version_data.versions', version.key)}.extended_paths.virtual[{index}]", entry)
        for version in found
        if version.info.get("use_extended_paths")
        for index, entry in enumerate(version.info.get("extended_paths", {}).get("virtual", []))
        if not entry.get("disabled") and entry.get("method")
    ]
