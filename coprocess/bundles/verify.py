"""Checksums and signatures over the listed files, in the order of the list (tyk-plugins 7.1)."""

from __future__ import annotations

import base64
import binascii
import errno
import hashlib
import hmac
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from coprocess.bundles import unlisted
from coprocess.bundles.files import open_directory, open_inside, read_key
from coprocess.bundles.manifest import LISTS, NAME, Manifest
from coprocess.bundles.settings import BundleError, BundleSettings

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

_CHUNK = 1 << 20
NO_CRYPTOGRAPHY = "signatures need the package 'cryptography', which is not installed"


def read_manifest(directory: str, where: str, limit: int) -> bytes:
    """Return the text of a bundle's manifest, up to ``limit`` bytes and one more. Raises BundleError."""
    try:
        handle = open_directory(directory)
        try:
            with open(open_inside(handle, NAME), "rb") as stream:
                return stream.read(limit + 1)
        finally:
            os.close(handle)
    except (OSError, ValueError) as error:
        raise BundleError(f"{where}: {_text(error)} ({directory}/{NAME})") from None


def verify(directory: str, manifest: Manifest, settings: BundleSettings, where: str, *, trusted: bool) -> dict[str, str]:
    """Compare the files with the manifest; returns file name -> hex SHA-256, of all files that may be used.

    ``trusted`` (``skip_verify_existing_plugin_bundle``) only hashes. Raises BundleError that says which file or field.
    """
    md5, sha256 = hashlib.md5(usedforsecurity=False), hashlib.sha256()
    digests: dict[str, str] = {}
    handle = open_directory(directory)
    left = settings.max_unpacked_bytes
    try:
        for name in manifest.files:
            try:
                digests[name], left = _hash(handle, name, (md5, sha256), settings, left, where)
            except (OSError, ValueError) as error:
                raise BundleError(f"{where}: {name}: listed in $.file_list of {NAME}, but {_text(error)}") from None
        if unlisted.taken(manifest, settings):
            for name in unlisted.on_disk(handle, manifest, settings, where):
                digests[name], left = _hash(handle, name, (), settings, left, where)
    except (OSError, ValueError) as error:
        raise BundleError(f"{where}: {_text(error)}") from None
    finally:
        os.close(handle)
    if not trusted:
        _checksums(manifest, md5.hexdigest(), sha256.hexdigest(), where)
        _signature(manifest, sha256.digest(), settings.public_key_path, where)
    return digests


def _hash(directory: int, name: str, sums: tuple[Any, ...], settings: BundleSettings, left: int, where: str) -> tuple[str, int]:
    """The hex SHA-256 of a file, and how many of the ``left`` bytes it leaves. ``sums``: further hashes that it goes into.

    Raises BundleError, OSError, ValueError.
    """
    own = hashlib.sha256()
    size = 0
    with open(open_inside(directory, name), "rb") as stream:
        while chunk := stream.read(_CHUNK):
            size += len(chunk)
            if size > min(settings.max_file_bytes, left):
                raise BundleError(f"{where}: {name}: larger than the limits on bundles allow")
            for one in (own, *sums):
                one.update(chunk)
    return own.hexdigest(), left - size


def _checksums(manifest: Manifest, md5: str, sha256: str, where: str) -> None:
    if not hmac.compare_digest(manifest.checksum.lower().encode(), md5.encode()):
        raise BundleError(f"{where}: {NAME}: $.checksum: invalid checksum: the listed files have the MD5 sum {md5}")
    given = manifest.checksum_sha256
    if given and not hmac.compare_digest(given.lower().encode(), sha256.encode()):
        raise BundleError(
            f"{where}: {NAME}: $.checksum_sha256: invalid checksum: the listed files have the SHA-256 sum {sha256}"
        )


def _signature(manifest: Manifest, digest: bytes, key_path: str, where: str) -> None:
    """RSA, PKCS #1 v1.5 (RFC 8017, 8.2), over SHA-256. Code that stands in the manifest itself is not signed by it."""
    if not key_path:
        return
    for path, hook in _hooks(manifest):
        if hook.get("code"):
            message = "no signature covers code in the manifest; expected it in a file of $.file_list (public_key_path is set)"
            raise BundleError(f"{where}: {NAME}: {path}.code: {message}")
    place = f"{where}: {NAME}: $.signature"
    if not manifest.signature:
        raise BundleError(f"{place}: the bundle is not signed, and public_key_path asks for a signature")
    try:
        signature = base64.b64decode(manifest.signature, validate=True)
    except (binascii.Error, ValueError):
        raise BundleError(f"{place}: expected standard base64") from None
    key = public_key(key_path)
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415  # only signed bundles need it
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric.utils import Prehashed  # noqa: PLC0415
    from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415

    try:
        key.verify(signature, digest, PKCS1v15(), Prehashed(SHA256()))
    except InvalidSignature:
        raise BundleError(f"{place}: verification error: not a signature of the listed files by {key_path}") from None


def _hooks(manifest: Manifest) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each hook with its place in the manifest."""
    section = manifest.custom_middleware
    for name in LISTS:
        for index, hook in enumerate(section.get(name, [])):
            yield f"$.custom_middleware.{name}[{index}]", hook
    for name in ("auth_check", "traffic_logs"):
        if name in section:
            yield f"$.custom_middleware.{name}", section[name]


def public_key(path: str) -> RSAPublicKey:
    """Read the key of ``public_key_path``: PEM, "PUBLIC KEY" or "RSA PUBLIC KEY". Raises BundleError."""
    try:
        from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415
        from cryptography.hazmat.primitives.asymmetric import rsa  # noqa: PLC0415
        from cryptography.hazmat.primitives.serialization import load_pem_public_key  # noqa: PLC0415
    except ImportError:
        raise BundleError(f"public_key_path: {NO_CRYPTOGRAPHY}") from None
    raw = read_key(path, "public_key_path")
    try:
        key: Any = load_pem_public_key(raw)
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, rsa.RSAPublicKey):
        raise BundleError(f"public_key_path: {path}: expected a PEM file with an RSA public key")
    return key


def _text(error: OSError | ValueError) -> str:
    if not isinstance(error, OSError):
        return str(error)
    if error.errno == errno.ENOENT:
        return "the file does not exist"
    if error.errno in (errno.ELOOP, errno.EMLINK, errno.ENOTDIR):
        return "it is a link or no directory on the way to it"
    return f"it cannot be read: {error.strerror}"
