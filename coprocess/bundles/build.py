"""Making a bundle from a manifest and the files that it lists (tyk-plugins 7.3). The same input gives the same bytes."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import json
import os
import stat
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import orjson

from coprocess.bundles import manifest as manifests
from coprocess.bundles.files import open_regular, read_key
from coprocess.bundles.manifest import LISTS, NAME, Manifest
from coprocess.bundles.sections import Part, located
from coprocess.bundles.settings import BundleError, BundleSettings
from coprocess.bundles.unpack import unpack
from coprocess.bundles.verify import NO_CRYPTOGRAPHY, verify

# The first day that a zip archive can name: no clock in the archive.
_NO_TIME = (1980, 1, 1, 0, 0, 0)
_REPLACED = ("checksum", "checksum_sha256", "signature")
_UNIX = 3


def build(manifest_path: str, output_path: str, key_path: str = "") -> list[str]:
    """Write a bundle and return the names of the files in it, the manifest last.

    Files are looked for in the current directory. ``key_path``: PEM of the RSA private key that signs; "" does not.
    Raises BundleError. The output appears whole or not at all.
    """
    limits = BundleSettings()
    raw = _read(manifest_path, manifest_path, manifests.MAX_BYTES, "couldn't load manifest file")
    manifest = manifests.decode(raw, manifest_path, limits.max_files)
    _check_hooks(manifest, manifest_path)
    contents: dict[str, bytes] = {}
    for index, name in enumerate(manifest.files):
        place = f"{manifest_path}: $.file_list[{index}]"
        contents[name] = _read(name, place, limits.max_file_bytes, "referencing a nonexistent file")
    joined = b"".join(contents.values())
    document = {key: value for key, value in orjson.loads(raw).items() if key.lower() not in _REPLACED}
    document["checksum"] = hashlib.md5(joined, usedforsecurity=False).hexdigest()
    document["checksum_sha256"] = hashlib.sha256(joined).hexdigest()
    document["signature"] = _sign(joined, key_path) if key_path else ""
    contents[NAME] = json.dumps(document, indent=4, ensure_ascii=False).encode() + b"\n"
    archive = _archive(contents)
    _try(archive, limits, output_path)
    _put(archive, output_path, {manifest_path, *manifest.files})
    return list(contents)


def _read(path: str, where: str, limit: int, missing: str) -> bytes:
    try:
        with open(open_regular(path), "rb") as stream:
            raw = stream.read(limit + 1)
    except ValueError as error:
        raise BundleError(f"{where}: {path}: {error}") from None
    except FileNotFoundError:
        raise BundleError(f"{where}: {missing}: {path}") from None
    except OSError as error:
        raise BundleError(f"{where}: {path}: cannot be read: {error.strerror}") from None
    if len(raw) > limit:
        raise BundleError(f"{where}: {path}: larger than {limit} bytes")
    return raw


def _check_hooks(manifest: Manifest, where: str) -> None:
    section = manifest.custom_middleware
    one = any(section.get(name, {}).get("name") for name in ("auth_check", "traffic_logs"))
    if not one and not any(section.get(name) for name in LISTS):
        raise BundleError(f"{where}: $.custom_middleware: no hooks defined")
    if manifest.problem:
        raise BundleError(f"{where}: {manifest.problem}")
    if not section.get("driver"):
        raise BundleError(f"{where}: $.custom_middleware.driver: no driver specified")


def _sign(joined: bytes, key_path: str) -> str:
    """RSA, PKCS #1 v1.5, SHA-256, as standard base64 (tyk-plugins 7.1)."""
    try:
        from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415  # only signing needs it
        from cryptography.hazmat.primitives.asymmetric import padding, rsa  # noqa: PLC0415
        from cryptography.hazmat.primitives.hashes import SHA256  # noqa: PLC0415
        from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415
    except ImportError:
        raise BundleError(f"--key: {NO_CRYPTOGRAPHY}") from None
    raw = read_key(key_path, "--key")
    try:
        key: Any = load_pem_private_key(raw, None)
    except TypeError:
        raise BundleError(f"--key: {key_path}: the key is encrypted; expected one without a password") from None
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise BundleError(f"--key: {key_path}: expected a PEM file with an RSA private key")
    return base64.b64encode(key.sign(joined, padding.PKCS1v15(), SHA256())).decode()


def _archive(contents: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, raw in contents.items():
            info = zipfile.ZipInfo(name, _NO_TIME)
            info.create_system = _UNIX
            info.external_attr = (stat.S_IFREG | 0o644) << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, raw)
    return buffer.getvalue()


def _try(archive: bytes, limits: BundleSettings, where: str) -> None:
    """A bundle that gateways would refuse must not leave the workshop."""
    if len(archive) > limits.max_bytes:
        raise BundleError(f"{where}: larger than {limits.max_bytes} bytes (preforge.bundles.max_bytes)")
    with tempfile.TemporaryDirectory() as directory:
        manifest, _ = unpack(io.BytesIO(archive), directory, limits, where)
        verify(directory, manifest, limits, where, trusted=False)
        located(Part(where, directory, manifest))


def _put(archive: bytes, output_path: str, sources: set[str]) -> None:
    output = Path(output_path)
    if any(output.resolve() == Path(source).resolve() for source in sources):
        raise BundleError(f"--output: {output_path}: would overwrite a file of the bundle")
    beside = output.with_name(f".{output.name}.{os.getpid()}")
    try:
        with beside.open("xb") as stream:
            stream.write(archive)
        beside.replace(output)
    except OSError as error:
        with contextlib.suppress(OSError):
            beside.unlink()
        raise BundleError(f"--output: {output_path}: cannot be written: {error.strerror}") from None
