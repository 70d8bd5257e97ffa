"""Finding what ``require()`` means, as Node does for CommonJS, but never outside the folder of the script.

Simple forms only: relative files and directories, packages in ``node_modules`` on the way up to the folder, "main" and
"exports" of package.json with strings, conditions and subpaths.
"""

from __future__ import annotations

import hashlib
import json
import os
import posixpath
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.apidef.files import read_regular

MAX_PACKAGE_BYTES = 1024 * 1024
CONDITIONS = ("require", "node", "default")
_REQUIRE = re.compile(r"""(?<![\w$.])require\s*\(\s*(["'])((?:(?!\1)[^\\\n]){1,500})\1\s*\)""")
_COMMENT_LINE = re.compile(r"\s*(?://|/\*|\*(?!\s*[\w$\[]+\s*\())")
_MODULE_SYNTAX = re.compile(
    r"""^[ \t]*(?:import[ \t]*(?:["']|\{[^}]{0,9999}\}\s*from\b|\*[ \t]*as\b"""
    r"""|[\w$]+[ \t]*(?:,[^;'"]{0,9999})?\bfrom[ \t]*["'])"""
    r"""|export[ \t]*(?:\{|\*|default\b|const\b|let\b|var\b|async\b|function\b|class\b))""",
    re.MULTILINE,
)


# (path, hex SHA-256 of the file's bytes) -> why the file must not be used, "" when it may be
Check = Callable[[str, str], str]


def unchecked(_path: str, _digest: str) -> str:
    """Let every file be used."""
    return ""


class ResolveError(Exception):
    """There is no such module."""


class EscapeError(ResolveError):
    """The module lies outside the folder, or must not be used."""


@dataclass(frozen=True, slots=True)
class Found:
    """One module. name: the folder's own path and the one inside it; real: without symbolic links; base: its directory
    inside the folder."""

    name: str
    real: str
    base: str


def specifiers(text: str) -> tuple[str, ...]:
    """Return what a script requires by name, each once. Lines that are a comment are left out, but not all dead code."""
    found: dict[str, None] = {}
    for match in _REQUIRE.finditer(text):
        line = text[text.rfind("\n", 0, match.start()) + 1 : match.start()]
        if not _COMMENT_LINE.match(line):
            found[match[2]] = None
    return tuple(found)


def module_syntax(text: str) -> int:
    """Return the number of the first line with an import or export statement, 0 if there is none."""
    if "import" not in text and "export" not in text:
        return 0
    bare = _without_block_comments(text)
    match = _MODULE_SYNTAX.search(bare)
    return bare.count("\n", 0, match.start()) + 1 if match is not None else 0


def _without_block_comments(text: str) -> str:
    """Return the text with its line breaks only where comments are; "/*" in a string counts as one."""
    parts: list[str] = []
    at = 0
    while (start := text.find("/*", at)) >= 0 and (end := text.find("*/", start + 2)) >= 0:
        parts += (text[at:start], "\n" * text.count("\n", start, end))
        at = end + 2
    return "".join((*parts, text[at:]))


class Folder:
    """A directory that modules may come from. Paths inside it have forward slashes and no ".."."""

    def __init__(self, path: str, check: Check = unchecked) -> None:
        """check: says which package.json may be used."""
        self._check = check
        self._path = path or "."
        self._real = os.path.realpath(self._path)
        self._names: dict[str, Found] = {}

    def resolve(self, specifier: str, base: str) -> Found:
        """Find what a file in the directory ``base`` means. Raises ResolveError, EscapeError."""
        if specifier in (".", "..") or specifier.startswith(("./", "../")):
            found = self._file_or_directory(self._inside(base, specifier), directory=specifier.endswith("/"))
        elif specifier.startswith("/"):
            raise EscapeError(f"a path must be relative, and stay in {self._path}")
        elif specifier.startswith("#") or ":" in specifier or "\\" in specifier or "\0" in specifier:
            raise ResolveError("there are no built-in modules and no import maps")
        else:
            found = self._package(specifier, base)
        if found is None:
            raise ResolveError(f"there is no such module in {self._path}")
        return self._found(found)

    def _inside(self, base: str, path: str) -> str:
        joined = posixpath.normpath(posixpath.join(base, path))
        if joined == ".." or joined.startswith(("../", "/")):
            raise EscapeError(f"it leads out of {self._path}")
        return "" if joined == "." else joined

    def _found(self, inside: str) -> Found:
        real = self._checked(inside)
        known = self._names.get(real)
        if known is None:
            name = posixpath.normpath(posixpath.join(self._path, inside))
            known = self._names[real] = Found(name, real, posixpath.dirname(inside))
        return known

    def _checked(self, inside: str) -> str:
        real = os.path.realpath(posixpath.join(self._real, inside))
        if os.path.commonpath([real, self._real]) != self._real:
            raise EscapeError(f"a symbolic link leads out of {self._path}")
        return real

    def _is_file(self, inside: str) -> bool:
        return Path(self._real, inside).is_file()

    def _file_or_directory(self, inside: str, *, directory: bool = False) -> str | None:
        found = None if directory or not inside else self._file(inside)
        return found or self._directory(inside)

    def _file(self, inside: str) -> str | None:
        return next((inside + end for end in ("", ".js", ".json") if self._is_file(inside + end)), None)

    def _directory(self, inside: str) -> str | None:
        main = self._description(inside).get("main")
        if isinstance(main, str) and main:
            target = self._inside(inside, main)
            found = self._file(target) or self._index(target)
            if found:
                return found
        return self._index(inside)

    def _index(self, inside: str) -> str | None:
        return next((path for name in ("index.js", "index.json") if self._is_file(path := posixpath.join(inside, name))), None)

    def _description(self, inside: str) -> dict[str, Any]:
        path = posixpath.join(inside, "package.json")
        if not self._is_file(path):
            return {}
        try:
            raw = read_regular(self._checked(path), MAX_PACKAGE_BYTES)[0]
            value = json.loads(raw)
        except (OSError, ValueError, RecursionError) as error:
            raise ResolveError(f"{path} cannot be used: {error}") from None
        problem = self._check(posixpath.join(self._path, path), hashlib.sha256(raw).hexdigest())
        if problem:
            raise EscapeError(problem)
        return value if isinstance(value, dict) else {}

    def _package(self, specifier: str, base: str) -> str | None:
        parts = specifier.split("/")
        length = 2 if specifier.startswith("@") else 1
        name, sub = "/".join(parts[:length]), "/".join(parts[length:])
        if any(part in ("", ".", "..") for part in parts[:length]):
            raise ResolveError("that is not the name of a package")
        at = base
        while True:
            place = posixpath.join(at, "node_modules", name)
            if Path(self._real, place).is_dir():
                exports = self._description(place).get("exports")
                if exports is not None:
                    return self._exported(place, exports, f"./{sub}" if sub else ".")
                found = self._file_or_directory(self._inside(place, sub)) if sub else self._directory(place)
                if found:
                    return found
            elif not sub and (single := self._file(place)):
                return single
            if not at:
                return None
            at = posixpath.dirname(at)

    def _exported(self, place: str, exports: Any, wanted: str) -> str | None:
        by_path = isinstance(exports, dict) and any(key.startswith(".") for key in exports)
        target = _condition(_subpath(exports, wanted) if by_path else exports if wanted == "." else None)
        if target is None or not target.startswith("./"):
            raise ResolveError(f'"exports" in {place}/package.json does not offer {wanted} to require()')
        inside = self._inside(place, target)
        return inside if self._is_file(inside) else None


def _subpath(exports: dict[str, Any], wanted: str) -> Any:
    if wanted in exports:
        return exports[wanted]
    for key, value in sorted(exports.items(), key=lambda item: -len(item[0])):
        start, star, end = key.partition("*")
        middle = wanted[len(start) : len(wanted) - len(end)]
        if star and wanted.startswith(start) and wanted.endswith(end) and middle:
            target = _condition(value)
            return None if target is None else target.replace("*", middle)
    return None


def _condition(value: Any) -> str | None:
    """Return the file that a target of "exports" names for require(): the first condition that holds."""
    if isinstance(value, list):
        return next((found for one in value if (found := _condition(one))), None)
    if isinstance(value, dict):
        return next((found for key, one in value.items() if key in CONDITIONS and (found := _condition(one))), None)
    return value if isinstance(value, str) else None
