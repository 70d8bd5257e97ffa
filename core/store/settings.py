"""Which server, and how to reach it: the `storage` sections of tyk.conf (tyk-core 1.2)."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import Any

from core.store.errors import StoreError

TLS_VERSIONS = {
    "1.0": ssl.TLSVersion.TLSv1,
    "1.1": ssl.TLSVersion.TLSv1_1,
    "1.2": ssl.TLSVersion.TLSv1_2,
    "1.3": ssl.TLSVersion.TLSv1_3,
}


@dataclass(frozen=True, slots=True)
class Address:
    """A server: host and port, or the path of a unix socket."""

    host: str
    port: int = 0

    @property
    def text(self) -> str:
        return f"{self.host}:{self.port}" if self.port else self.host


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """addresses: of the server, of the sentinels when `master` is set, of some nodes of a cluster when `cluster` is;
    timeout: seconds to connect; command_timeout: seconds for one command; max_waiting: commands that wait at a time;
    embedded: the server is ours."""

    addresses: tuple[Address, ...]
    master: str = ""
    sentinel_password: str = ""
    cluster: bool = False
    username: str = ""
    password: str = ""
    database: int = 0
    timeout: float = 5.0
    command_timeout: float = 1.0
    max_waiting: int = 10_000
    embedded: bool = False
    use_ssl: bool = False
    insecure: bool = False
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    tls_min: str = ""
    tls_max: str = ""

    @classmethod
    def from_config(cls, config: Any, section: str = "storage", socket: str = "") -> StoreSettings:
        """Read a section; socket: where the embedded server listens. Raises StoreError for a section without address."""
        storage = getattr(config, section)
        ours = config.preforge.storage
        if storage.type == "embedded" or (section == "storage" and not storage.type):
            return cls(
                (Address(socket),),
                command_timeout=ours.command_timeout,
                max_waiting=ours.max_waiting,
                embedded=True,
            )
        found = [_address(text, f"{section}.addrs") for text in storage.addrs]
        found = found or [Address(host, int(port or 6379)) for host, port in (storage.hosts or {}).items()]
        if not found and storage.host:
            found = [Address(storage.host, storage.port or 6379)]
        if not found:
            raise StoreError(f"{section}: no server is named; set {section}.host and {section}.port, or {section}.addrs")
        return cls(
            tuple(found),
            storage.master_name,
            storage.sentinel_password,
            storage.enable_cluster,
            storage.username,
            storage.password,
            storage.database,
            float(storage.timeout or 5),
            ours.command_timeout,
            ours.max_waiting,
            False,
            storage.use_ssl,
            storage.ssl_insecure_skip_verify,
            storage.ca_file,
            storage.cert_file,
            storage.key_file,
            storage.tls_min_version,
            storage.tls_max_version,
        )

    def tls(self) -> ssl.SSLContext | None:
        """The TLS context. Raises StoreError for files that cannot be used."""
        if not self.use_ssl:
            return None
        try:
            context = ssl.create_default_context(cafile=self.ca_file or None)
            if self.cert_file:
                context.load_cert_chain(self.cert_file, self.key_file or None)
            if self.tls_min:
                context.minimum_version = TLS_VERSIONS[self.tls_min]
            if self.tls_max:
                context.maximum_version = TLS_VERSIONS[self.tls_max]
        except KeyError as error:
            raise StoreError(f"storage.tls_min_version, tls_max_version: {error} is not one of 1.0 to 1.3") from None
        except (OSError, ssl.SSLError) as error:
            raise StoreError(f"storage: the TLS files cannot be used: {error}") from None
        if self.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


def _address(text: str, field: str) -> Address:
    host, colon, port = text.strip().rpartition(":")
    if not colon or not port.isdigit():
        raise StoreError(f"{field}: {text!r:.80} is not an address, expected host:port")
    return Address(host.strip("[]"), int(port))
