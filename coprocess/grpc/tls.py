"""TLS towards a plugin server: HTTP/2 is agreed on by ALPN (RFC 9113 3.2)."""

from __future__ import annotations

import ssl
from pathlib import Path

from coprocess.grpc.settings import GrpcSettings

VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
PROTOCOL = "h2"


def client_context(settings: GrpcSettings) -> ssl.SSLContext | None:
    """What a connection needs, None without `tls`. Reads the files; SettingsError names the field and the file."""
    if not settings.tls:
        return None
    for field in ("ca_file", "cert_file", "key_file"):
        if (name := getattr(settings, field)) and not Path(name).is_file():
            raise settings.error(field, f'"{name}" is not a file')
    try:
        context = ssl.create_default_context(cafile=settings.ca_file or None)
    except (OSError, ssl.SSLError) as e:
        raise settings.error("ca_file", f'"{settings.ca_file}" has no certificates in PEM form: {e}') from e
    if settings.cert_file:
        try:
            context.load_cert_chain(settings.cert_file, settings.key_file, password=_no_password)
        except (OSError, ssl.SSLError, ValueError) as e:
            files = f'"{settings.cert_file}" and "{settings.key_file}"'
            raise settings.error("cert_file", f"{files} are no certificate and its key in PEM form: {e}") from e
    context.minimum_version = VERSIONS[settings.tls_min_version]
    context.set_alpn_protocols([PROTOCOL])
    if settings.insecure_skip_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _no_password() -> str:
    raise ValueError("the key is encrypted")


def file_marks(settings: GrpcSettings) -> tuple[tuple[int, int], ...]:
    """Changes when one of the files does, as at the renewal of a certificate."""
    marks = []
    for name in (settings.ca_file, settings.cert_file, settings.key_file):
        if name:
            found = Path(name).stat()
            marks.append((found.st_mtime_ns, found.st_ino))
    return tuple(marks)
