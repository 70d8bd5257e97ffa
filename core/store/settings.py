"""Which server, and how to reach it: the `storage` sections of tyk.conf (tyk-core 1.2)."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, replace
from typing import Any

from core.store.errors import StoreOptionError

DEFAULT_PORT = 6379
TLS_VERSIONS = {
    "1.0": ssl.TLSVersion.TLSv1,
    "1.1": ssl.TLSVersion.TLSv1_1,
    "1.2": ssl.TLSVersion.TLSv1_2,
    "1.3": ssl.TLSVersion.TLSv1_3,
}
# section -> the option that turns it on; "storage" is used where it is off
ENABLED_BY = {
    "analytics_storage": "enable_separate_analytics_store",
    "cache_storage": "enable_separate_cache_store",
    "rate_limiter_storage": "enable_rate_limiter_storage",
}


@dataclass(frozen=True, slots=True)
class Address:
    """A server: host and port, or the path of a unix socket with port 0."""

    host: str
    port: int = 0

    def __str__(self) -> str:
        if not self.port:
            return self.host
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Tls:
    """TLS towards the server. Files are read anew for each connection, so that renewed ones are used."""

    section: str
    insecure: bool = False
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    lowest: str = ""
    highest: str = ""

    def context(self) -> ssl.SSLContext:
        """Raises StoreOptionError for what cannot be used."""
        try:
            context = ssl.create_default_context(cafile=self.ca_file or None)
        except (OSError, ssl.SSLError) as error:
            text = f"expected a PEM file with certificates, but {self.ca_file!r} cannot be used: {error}"
            raise StoreOptionError(f"{self.section}.ca_file", text) from None
        if self.cert_file or self.key_file:
            try:
                context.load_cert_chain(self.cert_file, self.key_file or None)
            except (OSError, ssl.SSLError) as error:
                text = f"{self.cert_file!r} with key_file {self.key_file!r} cannot be used: {error}"
                hint = "Both must be PEM files that belong together."
                raise StoreOptionError(f"{self.section}.cert_file", text, hint) from None
        lowest = self._version(self.lowest or "1.2", "tls_min_version")
        highest = self._version(self.highest or "1.3", "tls_max_version")
        if lowest > highest:
            raise StoreOptionError(f"{self.section}.tls_min_version", "it is above tls_max_version")
        context.minimum_version, context.maximum_version = lowest, highest
        if self.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context

    def _version(self, text: str, name: str) -> ssl.TLSVersion:
        found = TLS_VERSIONS.get(text)
        if found is None:
            text = f"expected one of {', '.join(TLS_VERSIONS)}, got {text!r:.40}"
            raise StoreOptionError(f"{self.section}.{name}", text)
        return found


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """How a store is reached and bounded.

    addresses: of the server; of the sentinels when `master` names one; of some nodes of a cluster when `cluster` is
    set. timeout: seconds to connect. command_timeout: seconds for one command. max_waiting: commands of one connection
    without a reply. max_queued, max_reply: bytes that wait to be written, and of one reply. embedded: the server is
    ours and runs on this machine.
    """

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
    max_queued: int = 32 << 20
    max_reply: int = 256 << 20
    embedded: bool = False
    tls: Tls | None = None

    @classmethod
    def from_config(cls, config: Any, section: str = "storage", socket: str = "") -> StoreSettings:
        """Read a section, or `storage` in its place when it is not enabled.

        socket: where the embedded server of this gateway listens. Raises StoreOptionError for what cannot be used;
        files of TLS are not looked at here (core.store.check does that), but when a connection is made.
        """
        if section in ENABLED_BY and not getattr(config, ENABLED_BY[section]):
            section = "storage"
        storage = getattr(config, section)
        ours = config.preforge.storage
        bounds: dict[str, Any] = {
            "command_timeout": max(0.01, float(ours.command_timeout)),
            "max_waiting": max(1, ours.max_waiting),
            "max_queued": max(65536, ours.max_queued_bytes),
            "max_reply": max(65536, ours.max_reply_bytes),
        }
        if section == "storage" and storage.type == "embedded":
            if not socket:
                raise StoreOptionError("storage.type", '"embedded" takes effect when the gateway is started anew')
            return cls((Address(socket),), embedded=True, **bounds)
        if (storage.iam_auth or {}).get("enabled"):
            text = "cloud identities are not supported"
            raise StoreOptionError(f"{section}.iam_auth.enabled", text, f"Set $.{section}.password instead.")
        cluster = storage.enable_cluster and not storage.master_name
        if cluster and storage.database:
            text = f"expected 0, since a cluster has no numbered databases, got {storage.database}"
            raise StoreOptionError(f"{section}.database", text)
        if storage.sentinel_password and not storage.master_name:
            text = "expected the name of the master that the sentinels watch, since sentinel_password is set"
            raise StoreOptionError(f"{section}.master_name", text)
        return cls(
            addresses=addresses(storage, section),
            master=storage.master_name,
            sentinel_password=storage.sentinel_password,
            cluster=cluster,
            username=storage.username,
            password=storage.password,
            database=storage.database,
            timeout=float(storage.timeout or 5),
            tls=tls(storage, section) if storage.use_ssl else None,
            **bounds,
        )

    def of_sentinels(self) -> StoreSettings:
        """How the sentinels themselves are reached."""
        return replace(self, username="", password=self.sentinel_password, database=0)


def addresses(storage: Any, section: str) -> tuple[Address, ...]:
    """addrs, else the old map `hosts`, else host and port (tyk-core 1.2). Raises StoreOptionError."""
    found = [_address(text, f"{section}.addrs[{index}]") for index, text in enumerate(storage.addrs)]
    if not found:
        for host, port in (storage.hosts or {}).items():
            found.append(_address(f"{host}:{port or DEFAULT_PORT}", f"{section}.hosts"))
    if not found and storage.host:
        host = storage.host.strip("[]")
        if "/" in host or host.count(":") == 1:
            text = f"expected a name or an address without a port, got {storage.host!r:.80}"
            raise StoreOptionError(f"{section}.host", text, f"The port belongs into $.{section}.port.")
        found = [Address(host, storage.port or DEFAULT_PORT)]
    if not found:
        hint = f"Set $.{section}.host and $.{section}.port, or $.{section}.addrs."
        raise StoreOptionError(section, "no server is named", hint)
    return tuple(found)


def _address(text: str, field: str) -> Address:
    host, colon, port = text.strip().rpartition(":")
    if not colon or not host or "/" in host or not port.isdigit() or not 0 < int(port) < 65536:
        raise StoreOptionError(field, f"expected host:port, got {text!r:.80}")
    return Address(host.strip("[]"), int(port))


def tls(storage: Any, section: str) -> Tls:
    """What a section says about TLS."""
    return Tls(
        section,
        storage.ssl_insecure_skip_verify,
        storage.ca_file,
        storage.cert_file,
        storage.key_file,
        storage.tls_min_version,
        storage.tls_max_version,
    )
