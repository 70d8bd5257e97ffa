"""Certificates and TLS contexts for tests, made fresh for every run."""

from __future__ import annotations

import ssl
from pathlib import Path

import trustme


class Authority:
    """A certificate authority with files for a gateway's configuration."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.ca = trustme.CA()
        self.bundle = directory / "ca.pem"
        self.ca.cert_pem.write_to_path(self.bundle)

    def files(self, *names: str) -> tuple[Path, Path]:
        """(certificate chain, key) files of a server certificate for these names."""
        made = self.ca.issue_cert(*names)
        stem = names[0].replace("*", "any").replace(":", "_")
        certificate, key = self.directory / f"{stem}.crt", self.directory / f"{stem}.key"
        certificate.write_bytes(b"".join(blob.bytes() for blob in made.cert_chain_pems))
        made.private_key_pem.write_to_path(key)
        return certificate, key

    def server(self, *names: str) -> ssl.SSLContext:
        """A context for a server with a certificate for these names."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.ca.issue_cert(*names).configure_cert(context)
        return context

    def client(self, *, highest: ssl.TLSVersion | None = None) -> ssl.SSLContext:
        """A context for a client that trusts this authority alone."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.ca.configure_trust(context)
        if highest:
            context.minimum_version = min(highest, ssl.TLSVersion.TLSv1_2)
            context.maximum_version = highest
        return context
