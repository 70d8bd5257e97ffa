"""Bundles on disk: ``<middleware_path>/bundles/<md5 of the name>``, fetched once and verified at every load."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import stat
import tempfile
import time
from pathlib import Path

from coprocess.bundles import manifest as manifests
from coprocess.bundles.address import locate
from coprocess.bundles.fetch import Budget, fetch
from coprocess.bundles.names import bundle_names, folder_name
from coprocess.bundles.sections import Part, located, merged
from coprocess.bundles.settings import BundleError, BundleSettings, LoadedBundle, NotFetched
from coprocess.bundles.unpack import unpack
from coprocess.bundles.verify import read_manifest, verify

FOLDER = "bundles"
_UNFINISHED = ".unfinished-"
_ABANDONED_SECONDS = 900.0  # a load that takes so long has been ended by the master


def load(name: str, settings: BundleSettings) -> LoadedBundle:
    """Load what ``custom_middleware_bundle`` names: one bundle, or several separated by commas. Raises BundleError."""
    return Library(settings).load(name)


class Library:
    """The bundles of one load of all definitions: each name is loaded once, all downloads share one time budget."""

    def __init__(self, settings: BundleSettings, *, fetching: bool = True) -> None:
        """``fetching``: False changes nothing on disk; a bundle that is not there raises NotFetched."""
        self._settings = settings
        self._fetching = fetching
        self._root = Path(os.path.normpath(settings.middleware_path or "middleware"), FOLDER)
        self._budget: Budget | None = None
        self._known: dict[str, LoadedBundle | BundleError] = {}

    def load(self, name: str) -> LoadedBundle:
        """Load one value of ``custom_middleware_bundle``. Raises BundleError, the same one for the same name."""
        if name not in self._known:
            try:
                self._known[name] = self._load(name)
            except BundleError as error:
                self._known[name] = error
            except OSError as error:
                self._known[name] = BundleError(f"{name}: {_explain(error, self._root)}")
        found = self._known[name]
        if isinstance(found, BundleError):
            raise type(found)(str(found))
        return found

    def _load(self, name: str) -> LoadedBundle:
        settings = self._settings
        try:
            names = bundle_names(name)
        except ValueError as error:
            raise BundleError(f"{name!r:.80}: {error}") from None
        if not names:
            raise BundleError(f"{name!r:.80}: no bundle is named")
        folders = [""] if len(names) == 1 else [folder_name(one) for one in names]
        if len(set(folders)) != len(folders):
            raise BundleError(f"{name}: two of the bundles have the same name without extension")
        if not settings.base_url:
            raise BundleError(f"{name}: bundle_base_url is not set, so no bundle is loaded")
        digest = hashlib.md5(name.encode(), usedforsecurity=False).hexdigest()
        directory = self._root / digest
        remarks: list[str] = []
        fetched = False
        if not os.path.lexists(directory):
            fetched = self._install(names, folders, directory, name, remarks)
        if not stat.S_ISDIR(directory.lstat().st_mode):
            raise BundleError(f"{name}: {directory}: expected a directory")
        trusted = settings.skip_verify_existing and not fetched
        parts: list[Part] = []
        files: dict[str, str] = {}
        for one, folder in zip(names, folders, strict=True):
            inside = str(directory / folder)
            part, digests = self._open(one, inside, trusted=trusted, hint="" if fetched else _hint(directory))
            parts.append(part)
            files.update((f"{inside}/{file}", value) for file, value in digests.items())
            if part.manifest.problem:
                remarks.append(f"{one}: {manifests.NAME}: {part.manifest.problem}")
            if unlisted := len(digests) - len(part.manifest.files):
                remarks.append(f"{one}: {_files(unlisted)} not in $.file_list, so no checksum covers what a plugin uses of it")
        if trusted:
            remarks.append(f"{name} was not verified: skip_verify_existing_plugin_bundle is on")
        section = located(parts[0]) if len(parts) == 1 else merged(parts)
        return LoadedBundle(name, str(directory), digest, section, files, parts[0].manifest.files, tuple(remarks))

    def _open(self, name: str, directory: str, *, trusted: bool, hint: str) -> tuple[Part, dict[str, str]]:
        """One bundle on disk. Raises BundleError."""
        settings = self._settings
        try:
            where = f"{name}: {manifests.NAME}"
            raw = read_manifest(directory, where, manifests.MAX_BYTES)
            manifest = manifests.decode(raw, where, settings.max_files)
            return Part(name, directory, manifest), verify(directory, manifest, settings, name, trusted=trusted)
        except BundleError as error:
            raise BundleError(f"{error}{hint}") from None

    def _install(self, names: list[str], folders: list[str], directory: Path, name: str, remarks: list[str]) -> bool:
        """Fetch, unpack and verify beside the final place, then put it there in one step.

        Adds to the remarks. Returns False when another loader was faster: what it put there is verified like everything found
        on disk.
        """
        if not self._settings.enable_downloader:
            place = f"and there is no {directory}"
            raise BundleError(f"{name}: the bundle downloader is disabled (enable_bundle_downloader), {place}")
        addresses = [locate(self._settings.base_url, one) for one in names]
        if not self._fetching:
            raise NotFetched(f"{name}: it has not been fetched yet: there is no {directory}")
        self._root.mkdir(mode=0o755, parents=True, exist_ok=True)
        _sweep(self._root)
        if self._budget is None:
            self._budget = Budget(self._settings.load_timeout)
        unfinished = tempfile.mkdtemp(prefix=_UNFINISHED, dir=self._root)
        try:
            for one, folder, address in zip(names, folders, addresses, strict=True):
                place = str(Path(unfinished, folder))
                Path(place).mkdir(mode=0o700, exist_ok=True)
                with fetch(address, self._settings, self._budget) as archive:
                    manifest, left_out = unpack(archive, place, self._settings, one)
                if left_out and manifest.driver == "python":
                    why = "the signature that public_key_path asks for does not cover them"
                    remarks.append(f"{one}: {_files(left_out)} not in $.file_list and stayed in the archive: {why}")
                verify(place, manifest, self._settings, one, trusted=False)
            return _put(unfinished, directory)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)


def _put(unfinished: str, directory: Path) -> bool:
    try:
        Path(unfinished).rename(directory)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            return False
        raise
    handle = os.open(directory.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
    return True


def _sweep(root: Path) -> None:
    """Remove what loaders left that were ended in the middle."""
    oldest = time.time() - _ABANDONED_SECONDS
    for path in root.glob(f"{_UNFINISHED}*"):
        with contextlib.suppress(OSError):
            if path.lstat().st_mtime < oldest:
                shutil.rmtree(path, ignore_errors=True)


def _files(count: int) -> str:
    return f"{count} file is" if count == 1 else f"{count} files are"


def _hint(directory: Path) -> str:
    return f"; it is in {directory} since an earlier load: remove that directory to have it fetched again"


def _explain(error: OSError, root: Path) -> str:
    return f"{error.filename or root}: {error.strerror or error}"
