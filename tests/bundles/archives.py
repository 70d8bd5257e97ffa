"""Bundles for tests: sound ones, and ones that no honest tool would make."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import stat
import warnings
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

SECTION: dict[str, Any] = {"driver": "otto", "pre": [{"name": "mw", "path": "mw.js"}]}
FILES = {"mw.js": b"var mw = new TykJS.TykMiddleware.NewMiddleware({});\n"}


class SigningKey:
    """An RSA key pair with files for both halves."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.private, self.public = directory / "private.pem", directory / "public.pem"
        plain = serialization.NoEncryption()
        form = serialization.PrivateFormat.TraditionalOpenSSL
        self.private.write_bytes(self.key.private_bytes(serialization.Encoding.PEM, form, plain))
        self.public.write_bytes(
            self.key.public_key().public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
        )

    def sign(self, raw: bytes) -> str:
        """The signature of a manifest over these bytes."""
        return base64.b64encode(self.key.sign(raw, padding.PKCS1v15(), hashes.SHA256())).decode()


def manifest(files: dict[str, bytes], section: Any = None, key: SigningKey | None = None, **more: Any) -> dict[str, Any]:
    """A manifest with a right checksum; ``more`` overrides members."""
    joined = b"".join(files.values())
    found: dict[str, Any] = {
        "file_list": list(files),
        "custom_middleware": SECTION if section is None else section,
        "checksum": hashlib.md5(joined).hexdigest(),
        "signature": key.sign(joined) if key else "",
    }
    return {**found, **more}


@dataclass
class Member:
    """One member of an archive. ``mode``: type and permissions, as in a Unix file system."""

    name: str
    raw: bytes = b"x"
    mode: int = stat.S_IFREG | 0o644
    flags: int = 0
    method: int = zipfile.ZIP_DEFLATED


@dataclass
class Archive:
    """A zip archive of any members."""

    members: list[Member] = field(default_factory=list)

    def bytes(self) -> bytes:
        buffer = io.BytesIO()
        with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w") as archive:
            warnings.simplefilter("ignore", UserWarning)  # a member that stands twice is what some tests are about
            for member in self.members:
                info = zipfile.ZipInfo("x" * len(member.name) if "\\" in member.name or "\0" in member.name else member.name)
                info.orig_filename = info.filename
                info.create_system, info.external_attr = 3, member.mode << 16
                info.compress_type = member.method
                archive.writestr(info, member.raw)
                info.flag_bits |= member.flags
        raw = buffer.getvalue()
        for member in self.members:
            if "\\" in member.name or "\0" in member.name:
                raw = raw.replace(b"x" * len(member.name), member.name.encode())
        return raw


def bundle(
    files: dict[str, bytes] | None = None, section: Any = None, key: SigningKey | None = None, *extra: Member, **more: Any
) -> bytes:
    """A bundle with these files and a manifest for them, and any further members."""
    files = FILES if files is None else files
    text = json.dumps(manifest(files, section, key, **more)).encode()
    members = [Member(name, raw) for name, raw in files.items()]
    return Archive([*members, Member("manifest.json", text), *extra]).bytes()
