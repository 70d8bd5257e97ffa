# ruff: noqa: PTH113, PTH118, PTH119, PTH120, PTH122 - pathlib would make each start longer
"""Imports from a bundle's directory: only what the gateway has seen when it loaded the bundle, and only from source.

Bytecode is never read: a `__pycache__` beside the files would be code that nobody verified.
"""

from __future__ import annotations

import hashlib
import os
import sys
from importlib.machinery import (
    EXTENSION_SUFFIXES,
    SOURCE_SUFFIXES,
    ExtensionFileLoader,
    FileFinder,
    SourceFileLoader,
)
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from types import CodeType, ModuleType
from typing import Any


class Source(SourceFileLoader):
    """Compiles at each start, what has the expected sum."""

    def __init__(self, name: str, path: str, expected: str) -> None:
        """expected: hex SHA-256; "" if there is none."""
        super().__init__(name, path)
        self._expected = expected

    def get_code(self, fullname: str) -> CodeType:
        source = self.get_data(self.path)
        check_sum(fullname, self.path, source, self._expected)
        return self.source_to_code(source, self.path)


def check_sum(name: str, path: str, content: bytes, expected: str) -> None:
    """Raise ImportError for a file that has changed since it was verified."""
    if expected and hashlib.sha256(content).hexdigest() != expected:
        raise ImportError(f"{path}: not what was verified when the bundle was loaded", name=name)


class Directory:
    """The importable part of one bundle."""

    def __init__(self, root: str, sums: dict[str, str] | None) -> None:
        """root: real path. sums: hex SHA-256 of what may be imported, by path relative to it; None: everything."""
        self.root = root
        self._sums = sums

    def install(self) -> None:
        """Put the bundle last on the import path, as Tyk's finder stands after the interpreter's own (tyk-plugins 5.2)."""
        sys.path_hooks.insert(0, self._finder)
        sys.path.append(self.root)

    def _finder(self, path: str) -> FileFinder:
        real = os.path.realpath(path)
        if real != self.root and not real.startswith(self.root + os.sep):
            raise ImportError(f"{path}: not part of the bundle")
        archive = self._archive(real)
        if archive and (self._sums is None or self._is_whole(archive)):
            raise ImportError(f"{path}: left to zipimport")
        return FileFinder(path, (self._extension, EXTENSION_SUFFIXES), (self._source, SOURCE_SUFFIXES))  # type: ignore[arg-type]

    def _archive(self, real: str) -> str:
        """The file that a path of the bundle leads into, as into a zip archive; "" if it leads to a directory."""
        while len(real) > len(self.root) and not os.path.isfile(real):
            real = os.path.dirname(real)
        return real if len(real) > len(self.root) else ""

    def _is_whole(self, path: str) -> bool:
        """Whether an archive is as it was verified."""
        with open(path, "rb") as file:
            try:
                check_sum("", path, file.read(), self._expected("", path))
            except ImportError:
                return False
        return True

    def _source(self, name: str, path: str) -> Any:
        return Source(name, path, self._expected(name, path))

    def _extension(self, name: str, path: str) -> Any:
        expected = self._expected(name, path)
        with open(path, "rb") as file:
            check_sum(name, path, file.read(), expected)
        return ExtensionFileLoader(name, path)

    def _expected(self, name: str, path: str) -> str:
        if self._sums is None:
            return ""
        relative = os.path.relpath(os.path.realpath(path), self.root).replace(os.sep, "/")
        try:
            return self._sums[relative]
        except KeyError:
            reason = "not part of the bundle as it was verified (is it in $.file_list of manifest.json?)"
            raise ImportError(f"{path}: {reason}", name=name) from None

    def run(self, entry: str, name: str) -> ModuleType:
        """Import the entry file under the bundle's name; the file's own name means the same module to its siblings."""
        path = os.path.join(self.root, entry)
        spec = spec_from_file_location(name, path, loader=self._source(name, path))
        assert spec is not None
        assert spec.loader is not None
        module = module_from_spec(spec)
        sys.modules[name] = module
        stem = os.path.splitext(os.path.basename(entry))[0]
        known = find_spec(stem) if stem.isidentifier() and stem not in sys.modules else None
        if known is not None and known.origin == path:
            sys.modules[stem] = module
        spec.loader.exec_module(module)
        return module
