"""TLS contexts: in front, chosen by server name, and towards upstreams."""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from typing import Any

from core.apidef.specs import TransportSpec

# Go's numbers of TLS versions, as tyk.conf has them (tyk-core 1.2).
VERSIONS = {
    769: ssl.TLSVersion.TLSv1,
    770: ssl.TLSVersion.TLSv1_1,
    771: ssl.TLSVersion.TLSv1_2,
    772: ssl.TLSVersion.TLSv1_3,
}
# IANA names of the usual TLS 1.2 suites -> OpenSSL's names. TLS 1.3 suites are not configurable (as in Go).
SUITES = {
    f"TLS_{exchange.replace('-', '_')}_WITH_{cipher}": f"{exchange}-{name}".removeprefix("RSA-")
    for exchange in ("ECDHE-ECDSA", "ECDHE-RSA", "RSA")
    for cipher, name in (
        ("AES_128_GCM_SHA256", "AES128-GCM-SHA256"),
        ("AES_256_GCM_SHA384", "AES256-GCM-SHA384"),
        ("AES_128_CBC_SHA", "AES128-SHA"),
        ("AES_256_CBC_SHA", "AES256-SHA"),
        ("AES_128_CBC_SHA256", "AES128-SHA256"),
        ("CHACHA20_POLY1305_SHA256", "CHACHA20-POLY1305"),
        ("CHACHA20_POLY1305", "CHACHA20-POLY1305"),
    )
}


class TlsError(Exception):
    """A TLS setting cannot be used; the text names the option and says why."""


def _limit(context: ssl.SSLContext, low: int, high: int, ciphers: Iterable[str], where: str) -> None:
    context.minimum_version = VERSIONS.get(low, ssl.TLSVersion.TLSv1_2)
    context.maximum_version = VERSIONS.get(high, ssl.TLSVersion.TLSv1_3)
    names = [name for name in ciphers if name not in ("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384",
                                                      "TLS_CHACHA20_POLY1305_SHA256")]  # fmt: skip
    if names:
        unknown = [name for name in names if name not in SUITES]
        if unknown:
            raise TlsError(f"{where}: cipher suite {unknown[0]!r} is not known")
        context.set_ciphers(":".join(SUITES[name] for name in names))


def server_context(options: Any) -> ssl.SSLContext:
    """The listener's context from http_server_options; the client's server name picks the certificate.

    Raises TlsError if a certificate cannot be loaded.
    """
    where = "$.http_server_options"
    wanted = [(c["domain_name"].lower(), c["cert_file"], c["key_file"]) for c in options.certificates]
    wanted += [("", file, file) for file in options.ssl_certificates]
    contexts: dict[str, ssl.SSLContext] = {}
    first: ssl.SSLContext | None = None
    for domain, certificate, key in wanted:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        _limit(context, options.min_version, options.max_version, options.ssl_ciphers, f"{where}.ssl_ciphers")
        try:
            context.load_cert_chain(certificate, key)
        except (OSError, ssl.SSLError) as error:
            raise TlsError(f"{where}.certificates: {certificate!r} with key {key!r}: {error}") from error
        context.set_alpn_protocols(["http/1.1"])
        first = first or context
        for name in [domain] if domain else _names(certificate):
            contexts.setdefault(name, context)
    if first is None:
        raise TlsError(f"{where}.use_ssl: TLS needs a certificate")

    def choose(connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        lowered = (name or "").lower()
        found = contexts.get(lowered) or contexts.get("*." + lowered.partition(".")[2])
        if found is not None:
            connection.context = found

    first.sni_callback = choose
    return first


def _names(certificate: str) -> list[str]:
    """DNS names in a certificate file."""
    decoded: dict[str, Any] = ssl._ssl._test_decode_cert(certificate)  # type: ignore[attr-defined]
    return [value.lower() for kind, value in decoded.get("subjectAltName", ()) if kind == "DNS"]


def client_context(spec: TransportSpec) -> ssl.SSLContext:
    """The context towards an upstream. Verification is on unless the definition or tyk.conf turns it off."""
    context = ssl.create_default_context()
    _limit(context, spec.min_version, spec.max_version, spec.ciphers, "proxy.transport.ssl_ciphers")
    if spec.insecure_skip_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
