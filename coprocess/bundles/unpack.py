"""Taking a bundle's files out of its archive: every member is judged before the first byte is written."""

from __future__ import annotations

import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from coprocess.bundles import manifest as manifests
from coprocess.bundles import unlisted
from coprocess.bundles.manifest import Manifest
from coprocess.bundles.names import MAX_NAME_BYTES, safe_name
from coprocess.bundles.settings import MIB, BundleError, BundleSettings

# APPNOTE 4.3.16 (end of central directory record), 4.3.15 (zip64 locator), 4.4.4 (flags), 4.4.5 (methods).
_END = struct.Struct("<4s4H2LH")
_END_SIGNATURE, _ZIP64_LOCATOR = b"PK\x05\x06", b"PK\x06\x07"
_ZIP64_LOCATOR_BYTES = 20
_MAX_COMMENT = 65535
_ENCRYPTED = 0x0001 | 0x0040 | 0x2000
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_RATIO_FREE_BYTES = MIB
_CHUNK = 1 << 16
# What zipfile raises for damaged archives: ValueError for offsets before the beginning, RuntimeError for odd flags.
_UNSOUND = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError, OverflowError, struct.error)


def unpack(archive: IO[bytes], directory: str, settings: BundleSettings, where: str) -> tuple[Manifest, int]:
    """Write the manifest and the files that it lists into an empty directory, others only where they count (see unlisted).

    Returns the manifest, and how many files stayed in the archive.
    Raises BundleError for an archive that is damaged, hostile or over a limit, OSError when writing fails.
    """
    _check_end(archive, settings, where)
    try:
        with zipfile.ZipFile(archive) as opened:
            members = dict(_members(opened, settings, where))
            info = members.get(manifests.NAME)
            if info is None:
                raise BundleError(f"{where}: there is no {manifests.NAME} in the archive")
            if info.file_size > manifests.MAX_BYTES:
                raise BundleError(f"{where}: {manifests.NAME}: larger than {manifests.MAX_BYTES} bytes")
            raw = b"".join(_contents(opened, info, where))
            found = manifests.decode(raw, f"{where}: {manifests.NAME}", settings.max_files)
            _write(directory, manifests.NAME, iter((raw,)))
            for index, name in enumerate(found.files):
                if name not in members:
                    place = f"{where}: {manifests.NAME}: $.file_list[{index}]"
                    raise BundleError(f"{place}: {name!r} is not in the archive")
                _write(directory, name, _contents(opened, members[name], where))
            others = list(unlisted.among(members, found))
            if not unlisted.taken(found, settings):
                return found, len(others)
            for name in others:
                _write(directory, name, _contents(opened, members[name], where))
            return found, 0
    except _UNSOUND as error:
        raise BundleError(f"{where}: not a sound zip archive: {error}") from None


def _check_end(archive: IO[bytes], settings: BundleSettings, where: str) -> None:
    """Bound the directory of the archive before a parser builds objects from it."""
    size = archive.seek(0, os.SEEK_END)
    tail_bytes = min(size, _MAX_COMMENT + _END.size + _ZIP64_LOCATOR_BYTES)
    archive.seek(size - tail_bytes)
    tail = archive.read(tail_bytes)
    at = len(tail) - _END.size
    if at < 0 or tail[at : at + 4] != _END_SIGNATURE or tail[-2:] != b"\0\0":
        at = tail.rfind(_END_SIGNATURE)
    if at < 0 or len(tail) - at < _END.size:
        raise BundleError(f"{where}: not a sound zip archive: it has no directory")
    _, _, _, _, count, length, offset, _ = _END.unpack_from(tail, at)
    if tail[max(0, at - _ZIP64_LOCATOR_BYTES) : at].startswith(_ZIP64_LOCATOR) or 0xFFFFFFFF in (length, offset):
        raise BundleError(f"{where}: zip64 archives are not taken")
    if count > settings.max_files or length > settings.max_files * (MAX_NAME_BYTES + 256):
        raise BundleError(f"{where}: more than {settings.max_files} members (preforge.bundles.max_files)")


def _members(opened: zipfile.ZipFile, settings: BundleSettings, where: str) -> Iterator[tuple[str, zipfile.ZipInfo]]:
    """Yield the files by safe name, after all members have passed."""
    infos = opened.infolist()
    if len(infos) > settings.max_files:
        raise BundleError(f"{where}: more than {settings.max_files} members (preforge.bundles.max_files)")
    files: dict[str, zipfile.ZipInfo] = {}
    folders: set[str] = set()
    total = 0
    for info in infos:
        name, folder = _judge(info, settings, where)
        if name in files or name in folders:
            raise BundleError(f"{where}: {name}: stands twice in the archive")
        total += info.file_size
        if total > settings.max_unpacked_bytes:
            limit = f"{settings.max_unpacked_bytes} bytes (preforge.bundles.max_unpacked_bytes)"
            raise BundleError(f"{where}: unpacks to more than {limit}")
        if folder:
            folders.add(name)
        else:
            files[name] = info
    for name in (*files, *folders):
        parts = name.split("/")
        above = {"/".join(parts[:depth]) for depth in range(1, len(parts))}
        if not above.isdisjoint(files):
            raise BundleError(f"{where}: {name}: a file and a directory have the same name")
    packed = sum(info.compress_size for info in infos)
    _check_ratio(total, packed, settings, where)
    yield from files.items()


def _judge(info: zipfile.ZipInfo, settings: BundleSettings, where: str) -> tuple[str, bool]:
    """Return (safe name, whether it is a directory)."""
    # zipfile cuts names at a NUL; the archive's own spelling is the one to judge.
    given = info.orig_filename
    folder = given.endswith("/")
    try:
        name = safe_name(given[:-1] if folder else given)
    except ValueError as error:
        raise BundleError(f"{where}: {given!r:.80}: {error}") from None
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFDIR if folder else stat.S_IFREG):
        raise BundleError(f"{where}: {name}: expected a regular file or a directory, no link and no device")
    if info.flag_bits & _ENCRYPTED:
        raise BundleError(f"{where}: {name}: encrypted members are not taken")
    if info.compress_type not in _METHODS:
        raise BundleError(f"{where}: {name}: compression method {info.compress_type}; expected stored or deflated")
    if folder and info.file_size:
        raise BundleError(f"{where}: {name}: a directory with contents")
    if info.file_size > settings.max_file_bytes:
        limit = f"{settings.max_file_bytes} bytes (preforge.bundles.max_file_bytes)"
        raise BundleError(f"{where}: {name}: unpacks to more than {limit}")
    _check_ratio(info.file_size, info.compress_size, settings, f"{where}: {name}")
    return name, folder


def _check_ratio(unpacked: int, packed: int, settings: BundleSettings, where: str) -> None:
    if unpacked > _RATIO_FREE_BYTES and unpacked > packed * settings.max_ratio:
        raise BundleError(f"{where}: unpacks to more than {settings.max_ratio} times its size (preforge.bundles.max_ratio)")


def _contents(opened: zipfile.ZipFile, info: zipfile.ZipInfo, where: str) -> Iterator[bytes]:
    """Yield a member's bytes: as many as its header says, whatever the compressed data would give."""
    size = 0
    with opened.open(info) as stream:
        while chunk := stream.read(_CHUNK):
            size += len(chunk)
            yield chunk
    if size != info.file_size:
        raise BundleError(f"{where}: {info.filename}: {size} bytes instead of {info.file_size}")


def _write(directory: str, name: str, chunks: Iterator[bytes]) -> None:
    path = Path(directory, name)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with open(os.open(path, flags, 0o600), "wb") as stream:
        for chunk in chunks:
            stream.write(chunk)
        stream.flush()
        os.fsync(stream.fileno())
