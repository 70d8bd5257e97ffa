"""Files of an archive that `file_list` does not name, which Python bundles may hold (tyk-plugins 7.1).

Tyk unpacks every member, and packages that a plugin brings along are added to the archive behind the back of
`tyk bundle build`, so that no checksum and no signature covers them. They are taken where no signature is asked for; hooks of
other drivers never come from them.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator

from coprocess.bundles.manifest import NAME, Manifest
from coprocess.bundles.names import safe_name
from coprocess.bundles.settings import BundleError, BundleSettings

_BYTECODE = "__pycache__"


def taken(manifest: Manifest, settings: BundleSettings) -> bool:
    """Whether such files count as part of the bundle."""
    return manifest.driver == "python" and not settings.public_key_path


def among(names: Iterable[str], manifest: Manifest) -> Iterator[str]:
    """The names that the manifest does not list. Bytecode is left out: nothing reads it."""
    listed = {NAME, *manifest.files}
    return (name for name in names if name not in listed and _BYTECODE not in name.split("/"))


def on_disk(directory: int, manifest: Manifest, settings: BundleSettings, where: str) -> list[str]:
    """The regular files below an open directory that the manifest does not list, sorted; no link is followed.

    Raises BundleError when there are more than an archive may have, OSError.
    """
    found: list[str] = []
    for name in among(_walk(directory), manifest):
        found.append(name)
        if len(found) > settings.max_files:
            raise BundleError(f"{where}: more than {settings.max_files} files (preforge.bundles.max_files)")
    return sorted(found)


def _walk(directory: int) -> Iterator[str]:
    for path, _, files, handle in os.fwalk(".", dir_fd=directory, follow_symlinks=False):
        for file in files:
            try:
                name = safe_name(f"{path}/{file}")
            except ValueError:
                continue  # no archive has put it there
            if stat.S_ISREG(os.stat(file, dir_fd=handle, follow_symlinks=False).st_mode):
                yield name
