"""Reading the scripts that definitions name, and those in their folders (tyk-jsvm 3.3, 3.5).

This runs in the loader only. Texts are known by their digest, so that one text is kept and sent once however many
APIs use it, and an edited file is noticed although the definition that names it is unchanged.
"""

from __future__ import annotations

import hashlib
import os
import posixpath
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from core.apidef import modules
from core.apidef.files import is_racy, read_regular
from core.findings import Severity

FOLDERS = ("pre", "auth", "post_auth", "post")
MAX_SCRIPT_BYTES = 4 * 1024 * 1024
MAX_MODULES = 500
MAX_WARNINGS = 100


class Remark(NamedTuple):
    """What was noticed about a script. script: the path as the definition writes it."""

    severity: Severity
    script: str
    message: str


@dataclass(frozen=True, slots=True)
class ScriptFile:
    """One file. name: where it was found, for a module its name; requires: (specifier, name of a module);
    problem: why it could not be read, ``digest`` is then empty."""

    name: str
    digest: str = ""
    requires: tuple[tuple[str, str], ...] = ()
    problem: str = ""


@dataclass(frozen=True, slots=True)
class ScriptSet:
    """The scripts of one API. files: by the path as the definition writes it; found: folder -> paths of the scripts that
    lie in the API's own folders, in order, which ``files`` has as well."""

    files: Mapping[str, ScriptFile] = field(default_factory=dict)
    found: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    modules: tuple[ScriptFile, ...] = ()
    remarks: tuple[Remark, ...] = ()

    def named(self) -> tuple[str, ...]:
        """The paths that the definition itself names."""
        lying = {path for paths in self.found.values() for path in paths}
        return tuple(path for path in self.files if path not in lying)

    def digests(self) -> set[str]:
        """The digests of all texts."""
        return {file.digest for file in (*self.files.values(), *self.modules) if file.digest}


EMPTY = ScriptSet()


class FileState(NamedTuple):
    """What is known of a file that was read. stamp: how it looked, None if it may have changed since unseen."""

    stamp: tuple[int, int, int] | None
    digest: str
    size: int
    specifiers: tuple[str, ...]
    remarks: tuple[tuple[Severity, str], ...]


@dataclass(frozen=True, slots=True)
class ScriptLimits:
    """Where scripts are looked for and how much of them. conf_dir: directory of tyk.conf."""

    conf_dir: str = ""
    max_bytes: int = MAX_SCRIPT_BYTES
    max_modules: int = MAX_MODULES


def is_script(path: str) -> bool:
    """Say whether a hook's path is that of a script: its extension has ".js" in it (tyk-jsvm 3.3)."""
    name = path[path.rfind("/") + 1 :]
    return ".js" in name[max(name.rfind("."), 0) :]


def locate(path: str, conf_dir: str) -> str:
    """Return where a relative path is found: from the working directory as in Tyk, else beside tyk.conf."""
    if not posixpath.isabs(path) and conf_dir and not os.path.lexists(path):
        beside = posixpath.join(conf_dir, path)
        if os.path.lexists(beside):
            return os.path.normpath(beside)
    return os.path.normpath(path)


def discover(middleware_path: str, conf_dir: str) -> dict[str, dict[str, tuple[str, ...]]]:
    """Return the scripts that run by themselves: api id -> folder -> paths in the order of their names."""
    if not middleware_path:
        return {}
    root = locate(middleware_path, conf_dir)
    result: dict[str, dict[str, tuple[str, ...]]] = {}
    for api_id in _names(root):
        found = {}
        for folder in FOLDERS:
            place = posixpath.join(root, api_id, folder)
            scripts = [posixpath.join(place, name) for name in _names(place) if name.endswith(".js") and name[0] != "."]
            if scripts:
                found[folder] = tuple(scripts)
        if found:
            result[api_id] = found
    return result


def _names(folder: str) -> list[str]:
    try:
        return sorted(path.name for path in Path(folder).iterdir())
    except OSError:
        return []


class ScriptReader:
    """Reads for one load; what it knows afterwards (``states``, ``texts``) makes the next one cheap."""

    def __init__(self, limits: ScriptLimits, states: Mapping[str, FileState], texts: Mapping[str, str]) -> None:
        """states, texts: what earlier loads knew."""
        self._limits = limits
        self._known = states
        self.texts = dict(texts)
        self.states: dict[str, FileState] = {}

    def read(
        self,
        named: Iterable[str],
        found: Mapping[str, tuple[str, ...]],
        check: modules.Check = modules.unchecked,
        root: str = "",
    ) -> ScriptSet:
        """Read all scripts of one API and what they require. Never raises: problems stand in the result.

        check: says which files may be used; root: scripts below this directory may require all that lies in it, not only
        what lies in their own folder.
        """
        return _Gathering(self, self._limits, check, root).all(dict.fromkeys(named), found)

    def state(self, path: str, limit: int, *, follow: bool = True) -> FileState:
        """Return what a file holds; its text is in ``texts``. Raises OSError, ValueError when it cannot be read."""
        seen = self.states.get(path)
        old = seen or self._known.get(path)
        if old is not None and (seen is not None or (old.stamp is not None and old.digest in self.texts)):
            state = Path(path).stat(follow_symlinks=follow)
            if seen is not None or old.stamp == _stamp(state):
                if old.size > limit:
                    raise ValueError(f"the file is too large: at most {limit} bytes are read")
                self.states[path] = old
                return old
        raw, state = read_regular(path, limit, follow=follow)
        digest = hashlib.sha256(raw).hexdigest()
        remarks: list[tuple[Severity, str]] = []
        try:
            text = raw.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            text = raw.decode("utf-8-sig", "replace")
            remarks.append(("warning", f"byte {error.start} of the file is not UTF-8; U+FFFD stands in its place"))
        specifiers: tuple[str, ...] = ()
        if not path.endswith(".json"):
            specifiers = modules.specifiers(text)
            line = modules.module_syntax(text)
            if line:
                message = f"line {line} is ES module syntax: CommonJS is expected, require() and module.exports"
                remarks.append(("error", message))
        self.texts[digest] = text
        stamp = None if is_racy(state) else _stamp(state)
        self.states[path] = FileState(stamp, digest, len(raw), specifiers, tuple(remarks))
        return self.states[path]


def _stamp(state: os.stat_result) -> tuple[int, int, int]:
    return (state.st_mtime_ns, state.st_size, state.st_ino)


class _Gathering:
    """The reading of one API's scripts, within its bounds."""

    def __init__(self, reader: ScriptReader, limits: ScriptLimits, check: modules.Check, root: str) -> None:
        self._reader = reader
        self._check = check
        self._root = root
        self._limits = limits
        self._left = limits.max_bytes
        self._modules: dict[str, ScriptFile] = {}
        self._remarks: dict[Remark, None] = {}
        self._waiting: deque[tuple[modules.Folder, modules.Found, str, str]] = deque()

    def all(self, named: Iterable[str], found: Mapping[str, tuple[str, ...]]) -> ScriptSet:
        files: dict[str, ScriptFile] = {}
        paths = {path: locate(path, self._limits.conf_dir) for path in named}
        by_place: dict[str, ScriptFile] = {}
        kept: dict[str, tuple[str, ...]] = {}
        most = self._limits.max_modules
        for folder, scripts in found.items():
            # One too many stays, as a script that cannot be read: what it would have refused must not pass.
            kept[folder] = scripts[: most + 1]
            paths.update((path, path) for path in kept[folder])
            for path in kept[folder][most:]:
                problem = f"{posixpath.dirname(path)} holds {len(scripts)} scripts, at most preforge.jsvm.max_modules, {most}"
                by_place[path] = ScriptFile(path, problem=f"{problem}, are read")
        for path, place in paths.items():
            if place not in by_place:
                by_place[place] = self._script(path, place)
            files[path] = by_place[place]
        read = {path: self._with_known(file) for path, file in files.items()}
        return ScriptSet(read, kept, tuple(map(self._with_known, self._modules.values())), tuple(self._remarks))

    def _script(self, path: str, place: str) -> ScriptFile:
        try:
            state = self._take(place, follow=True)
        except FileNotFoundError:
            beside = f" and from {self._limits.conf_dir}" if self._limits.conf_dir else ""
            looked = "" if posixpath.isabs(path) else f"; it was looked up from the working directory, {Path.cwd()},{beside}"
            return ScriptFile(place, problem=f"{path} does not exist{looked.rstrip(',')}")
        except (OSError, ValueError) as error:
            return ScriptFile(place, problem=f"{path} cannot be read: {_reason(error)}")
        problem = self._check(place, state.digest)
        if problem:
            return ScriptFile(place, problem=problem)
        for severity, message in state.remarks:
            self._remark(severity, path, f"{path}: {message}")
        root, base = posixpath.dirname(place), ""
        if self._root and f"{root}/".startswith(f"{self._root}/"):
            root, base = self._root, root[len(self._root) + 1 :]
        requires = self._resolve(modules.Folder(root, self._check), base, state.specifiers, path, path)
        self._read_modules()
        return ScriptFile(place, state.digest, requires)

    def _take(self, place: str, *, follow: bool) -> FileState:
        state = self._reader.state(place, self._limits.max_bytes, follow=follow)
        if state.size > self._left:
            bound = f"preforge.jsvm.max_script_bytes, {self._limits.max_bytes}"
            raise ValueError(f"the scripts of the API together are larger than {bound}")
        self._left -= state.size
        return state

    def _resolve(
        self, folder: modules.Folder, base: str, specifiers: tuple[str, ...], script: str, asker: str
    ) -> tuple[tuple[str, str], ...]:
        """Find what one file requires; new modules are read later. base: the file's directory inside the folder."""
        result = []
        for specifier in specifiers:
            asked = f"{asker}: require({specifier!r:.120})"
            try:
                found = folder.resolve(specifier, base)
            except modules.EscapeError as error:
                self._remark("error", script, f"{asked} is refused: {error}")
            except modules.ResolveError as error:
                self._remark("warning", script, f"{asked} throws when it is reached: {error}")
            else:
                result.append((specifier, found.name))
                self._waiting.append((folder, found, script, asked))
        return tuple(result)

    def _read_modules(self) -> None:
        while self._waiting:
            folder, found, script, asked = self._waiting.popleft()
            if found.name in self._modules:
                continue
            if len(self._modules) >= self._limits.max_modules:
                message = f"{asked}: there are more modules than preforge.jsvm.max_modules, {self._limits.max_modules}"
                self._remark("error", script, message)
                self._waiting.clear()
                return
            try:
                state = self._take(found.real, follow=False)
            except (OSError, ValueError) as error:
                self._remark("error", script, f"{asked}: {found.name} cannot be read: {_reason(error)}")
                continue
            problem = self._check(found.name, state.digest)
            if problem:
                self._remark("error", script, f"{asked}: {problem}")
                continue
            for severity, text in state.remarks:
                self._remark(severity, script, f"{found.name}: {text}")
            requires = self._resolve(folder, found.base, state.specifiers, script, found.name)
            self._modules[found.name] = ScriptFile(found.name, state.digest, requires)

    def _with_known(self, file: ScriptFile) -> ScriptFile:
        """The file without requirements of modules that could not be read: those throw when they are reached."""
        known = tuple((specifier, name) for specifier, name in file.requires if name in self._modules)
        return file if known == file.requires else replace(file, requires=known)

    def _remark(self, severity: Severity, script: str, message: str) -> None:
        """Note something. Packages may warn of much that is never reached, so that warnings are bounded."""
        if severity == "error" or len(self._remarks) < MAX_WARNINGS:
            self._remarks[Remark(severity, script, message)] = None


def _reason(error: OSError | ValueError) -> str:
    return str(error.strerror) if isinstance(error, OSError) else str(error)
