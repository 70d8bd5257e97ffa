"""What loading a bundle depends on, what it gives, and how it fails."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

MIB = 1024 * 1024


class BundleError(Exception):
    """A bundle cannot be used; the text names the bundle, the file and the field, and says what was expected."""


class NotFetched(BundleError):
    """The bundle is not on disk, and this load fetches nothing."""


@dataclass(frozen=True, slots=True)
class BundleSettings:
    """Sizes in bytes, times in seconds. The first six are options of tyk.conf, the others of preforge.bundles."""

    base_url: str = ""
    middleware_path: str = "middleware"
    enable_downloader: bool = False
    insecure_skip_verify: bool = False
    public_key_path: str = ""
    skip_verify_existing: bool = False
    timeout: float = 5.0
    load_timeout: float = 15.0
    retries: int = 4
    max_bytes: int = 50 * MIB
    max_files: int = 2000
    max_file_bytes: int = 50 * MIB
    max_unpacked_bytes: int = 200 * MIB
    max_ratio: int = 200


@dataclass(frozen=True, slots=True)
class LoadedBundle:
    """A bundle whose listed files are what its manifest says.

    ``directory`` holds it; ``digest`` is the hex md5 of the name (``spec.bundle_hash`` of plugins);
    ``custom_middleware`` is the section for the API, its hooks' paths joined to the directory; ``files`` maps the
    path of each file that may be used to the hex SHA-256 of the bytes that were verified: nothing else of the
    directory may be used, and a reader compares what it reads. ``listed``: ``file_list`` of the manifest, of the first
    one if there are several. ``remarks``: what the user should know.
    """

    name: str
    directory: str
    digest: str
    custom_middleware: dict[str, Any]
    files: dict[str, str] = field(repr=False)
    listed: tuple[str, ...] = field(repr=False)
    remarks: tuple[str, ...] = ()
