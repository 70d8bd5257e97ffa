# ruff: noqa: PTH113, PTH118, PTH119 - pathlib would make each start longer
"""Which file of a bundle is run, and under which name (tyk-plugins 5.2)."""

from __future__ import annotations

import json
import os
import sys
from types import ModuleType

from coprocess.python.host.sources import Directory


class BundleFault(Exception):
    """The bundle cannot run as it is; the text names the file and what was expected."""


def listed_files(root: str) -> list[str] | None:
    """`file_list` of the manifest, None without a manifest. Raises BundleFault."""
    path = os.path.join(root, "manifest.json")
    try:
        with open(path, encoding="utf-8") as file:
            manifest = json.load(file)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise BundleFault(f"{path}: {error}") from None
    listed = manifest.get("file_list", []) if isinstance(manifest, dict) else None
    if not isinstance(listed, list) or not all(isinstance(name, str) for name in listed):
        raise BundleFault(f"{path}: $.file_list: expected a list of file names")
    return [os.path.normpath(name).replace(os.sep, "/") for name in listed]


def entry_of(root: str, listed: list[str] | None) -> str:
    """The entry file, relative to `root`. Raises BundleFault."""
    if listed is None:
        listed = [name for name in ("middleware.py",) if os.path.isfile(os.path.join(root, name))]
    entry = "middleware.py" if "middleware.py" in listed else listed[0] if len(listed) == 1 else ""
    if not entry:
        raise BundleFault(
            f"{root}: $.file_list of manifest.json has no middleware.py and {len(listed)} files; "
            "expected middleware.py, or one file alone"
        )
    if not os.path.isfile(os.path.join(root, entry)):
        raise BundleFault(f"{os.path.join(root, entry)}: no such file, though the manifest lists it")
    return entry


def load(directory: str, verified: dict[str, str] | None, listed: list[str] | None) -> ModuleType:
    """Run the bundle's entry file. verified: hex SHA-256 by relative path of all that may be imported; None: anything, as it
    is. listed: the manifest's `file_list`; None: read it. Raises BundleFault, and whatever the file raises."""
    root = os.path.realpath(directory)
    entry = entry_of(root, listed_files(root) if listed is None else listed)
    importable = Directory(root, verified)
    importable.install()
    name = os.path.basename(root)
    return importable.run(entry, name if name not in sys.modules else f"bundle_{name}")
