"""Putting the scripts of one API together into one program."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Mapping

from core.apidef.edits import Notes
from core.apidef.modules import module_syntax, specifiers
from core.apidef.options import CompileOptions
from core.apidef.script_files import EMPTY, ScriptFile, is_script
from core.apidef.snapshot import Scripts
from jsvm_pool.program import Module, Program, Source

Origin = int  # index of a source
_NAME = re.compile(r"[^\W\d][\w$]*|\$[\w$]*")
_EXPRESSION = re.compile(r"""(?:[^\W\d]|\$)[\w$]*(?:\.(?:[^\W\d]|\$)[\w$]*|\[(?:\d+|"[^"\\\n]*"|'[^'\\\n]*')\])*\Z""")
_RESERVED = frozenset(
    [
        "await", "break", "case", "catch", "class", "const", "continue", "debugger", "default", "delete", "do", "else",
        "enum", "export", "extends", "false", "finally", "for", "function", "if", "import", "in", "instanceof", "let",
        "new", "null", "return", "static", "super", "switch", "throw", "true", "try", "typeof", "var", "void", "while",
        "with", "yield",
    ]
)  # fmt: skip
_FIRST_NAME = re.compile(r"[\w$]+")


class ProgramBuilder:
    """Collects sources and entries. scripts: None when no file was read; then all files are taken to be empty."""

    def __init__(
        self, scripts: Scripts | None, options: CompileOptions, notes: Notes, place: str = "$.custom_middleware"
    ) -> None:
        """place: of the section that asks for the scripts, for what is wrong with several of them together."""
        self._files = scripts.own.files if scripts else {}
        self._own = scripts.own if scripts else EMPTY
        self._library = scripts.library if scripts else EMPTY
        self._texts = scripts.texts if scripts else {}
        self._read = scripts is not None
        self._options = options
        self._notes = notes
        self._place = place
        self._sources: list[Source] = []
        self._requires: list[tuple[tuple[str, str], ...]] = []
        self._origins: dict[str, Origin] = {}
        self._exports: dict[Origin, dict[str, str]] = {}
        self._entries: dict[str, int] = {}
        self._expected: dict[str, str] = {}
        self._reported: set[str] = set()
        self._bytes = sum(len(self._texts[digest]) for digest in self._own.digests())

    def file(self, path: str, place: str, *, any_name: bool = False) -> tuple[Origin | None, str]:
        """Load a script file, once. Return its source, or None and why there is none. any_name: whatever its extension."""
        if not any_name and not is_script(path):
            problem = f"{path!r:.200} is not a script: its name must end with .js"
            self._notes.flaw(place, f"{problem}; it is not loaded")
            return None, problem
        if not self._read:
            return self._add(path, ""), ""
        file = self._files.get(path)
        if file is None or file.problem:
            problem = file.problem if file else f"{path!r:.200} was not read" if path else "no path is given"
            self._notes.flaw(place, problem)
            return None, problem
        if path not in self._reported:
            self._reported.add(path)
            self._remarks(path, place)
        return self._add(file.name, self._texts[file.digest], file.requires), ""

    def _remarks(self, script: str, place: str) -> None:
        for remark in self._own.remarks:
            if remark.script == script:
                note = self._notes.flaw if remark.severity == "error" else self._notes.warn
                note(place, remark.message)

    def encoded(self, code: str, place: str, name: str) -> tuple[Origin | None, str]:
        """Load a script in standard base64. Return its source, or None and why there is none."""
        try:
            # Go's decoder skips line breaks and nothing else.
            raw = base64.b64decode(code.replace("\r", "").replace("\n", ""), validate=True)
            text = raw.decode("utf-8-sig", "replace")
        except (binascii.Error, ValueError) as error:
            problem = f"it is not standard base64: {error}"
            self._notes.flaw(place, problem)
            return None, problem
        if self._bytes + len(raw) > self._options.max_script_bytes:
            problem = f"the scripts of the API are larger than preforge.jsvm.max_script_bytes, {self._options.max_script_bytes}"
            self._notes.flaw(place, problem)
            return None, problem
        self._bytes += len(raw)
        line = module_syntax(text)
        if line:
            self._notes.flaw(place, f"line {line} is ES module syntax: CommonJS is expected")
        for specifier in specifiers(text):
            message = f"require({specifier!r:.120}) throws when it is reached: only scripts in files have a folder for modules"
            self._notes.warn(place, message)
        return self._add(name, text), ""

    def _add(self, name: str, text: str, requires: tuple[tuple[str, str], ...] = ()) -> Origin:
        key = f"{name}\0{text}"
        if key not in self._origins:
            self._origins[key] = len(self._sources)
            self._sources.append(Source(name, text))
            self._requires.append(requires)
        return self._origins[key]

    def separate(self, named: Iterable[tuple[str, Origin]]) -> None:
        """Give each of several sources that are asked for the same name a scope of its own (tyk-jsvm 3.3)."""
        by_name: dict[str, set[Origin]] = {}
        wanted: dict[Origin, list[str]] = {}
        for name, origin in named:
            by_name.setdefault(name, set()).add(origin)
            wanted.setdefault(origin, []).append(name)
        alone = {origin for origins in by_name.values() if len(origins) > 1 for origin in origins}
        for origin in sorted(alone):
            names = dict.fromkeys(wanted[origin])
            self._exports[origin] = {name: f"__preforge_{origin}_{index}" for index, name in enumerate(names)}

    def expect(self, name: str, place: str) -> None:
        """Note that a name is called, to report it if no script has it."""
        self._expected.setdefault(name, place)

    def entry(self, name: str, origin: Origin | None = None) -> int:
        """Return the number of a callable. origin: the source that the name is meant to come from."""
        exports = self._exports.get(origin, {}) if origin is not None else {}
        return self._entries.setdefault(exports.get(name, name), len(self._entries))

    def program(self, owner: str) -> Program:
        """Return the program, with the entries that were asked for. owner: whose state it keeps, "" if it keeps none."""
        library = next((self._source(file) for file in self._library.files.values() if file.digest), None)
        modules = {file.name: self._module(file) for file in (*self._library.modules, *self._own.modules)}
        reached = self._reached(modules)
        sources = tuple(
            Source(source.name, source.text, *self._scope(origin)) for origin, source in enumerate(self._sources)
        )
        self._unknown_names([library.text if library else "", *(source.text for source in sources)])
        used = tuple(module for name, module in modules.items() if name in reached)
        return Program(sources, tuple(self._entries), library, used, self._required(), bool(owner), owner)

    def _reached(self, modules: Mapping[str, Module]) -> set[str]:
        """The names of the modules that the sources of this program can require; others are those of another one."""
        files = (file.requires for file in self._library.files.values())
        waiting = [name for requires in (*files, *self._requires) for _, name in requires]
        found: set[str] = set()
        while waiting:
            name = waiting.pop()
            if name not in found and name in modules:
                found.add(name)
                waiting += [required for _, required in modules[name].requires]
        return found

    def _scope(self, origin: Origin) -> tuple[tuple[tuple[str, str], ...], tuple[tuple[str, str], ...]]:
        exports = self._exports.get(origin)
        return (tuple(exports.items()), self._requires[origin]) if exports else ((), ())

    def _source(self, file: ScriptFile) -> Source:
        return Source(file.name, self._texts[file.digest])

    def _module(self, file: ScriptFile) -> Module:
        return Module(file.name, self._texts[file.digest], file.requires)

    def _required(self) -> tuple[tuple[str, str], ...]:
        """What require() means in the scope that most scripts share. A name with two meanings has none: it throws."""
        meanings: dict[str, dict[str, str]] = {}
        for file in self._library.files.values():
            for specifier, module in file.requires:
                meanings.setdefault(specifier, {})[module] = file.name
        for origin, requires in enumerate(self._requires):
            if origin not in self._exports:
                for specifier, module in requires:
                    meanings.setdefault(specifier, {})[module] = self._sources[origin].name
        for specifier, modules in meanings.items():
            if len(modules) > 1:
                said = ", ".join(f"{module} in {script}" for module, script in modules.items())
                message = f"require({specifier!r:.120}) means {said}: it throws, because these scripts share one scope"
                self._notes.flaw(self._place, message, "Give the modules different names.")
        return tuple((specifier, *modules) for specifier, modules in meanings.items() if len(modules) == 1)  # type: ignore[misc]

    def _unknown_names(self, texts: list[str]) -> None:
        if not self._read:
            return
        for name, place in self._expected.items():
            first = _FIRST_NAME.match(name)
            word = first[0] if first else name
            if word not in ("this", "globalThis") and not any(_has_word(text, word) for text in texts):
                self._notes.warn(place, f"{word} occurs in none of the scripts that are loaded, so calls of it fail")


def _has_word(text: str, word: str) -> bool:
    return word in text and re.search(rf"(?<![\w$]){re.escape(word)}(?![\w$])", text) is not None


def name_problem(name: str) -> str:
    """Say why a text does not name an object or function of a script, "" if it does."""
    if not name:
        return "no name is given"
    if not _EXPRESSION.match(name):
        return f"{name!r:.80} does not name an object, expected a name such as mw or a.mw"
    first = _NAME.match(name)
    return f"{name!r:.80} is a word of the language" if first is not None and first[0] in _RESERVED else ""
