"""Whether what tyk.conf says about stores can be used, before anything is connected. Reads files, changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from core.findings import Finding
from core.store.embedded import find_program
from core.store.errors import StoreOptionError
from core.store.settings import ENABLED_BY, StoreSettings, addresses, tls

ANY_SOCKET = "/"  # stands for the socket of the embedded server, which does not exist yet


def check(config: Any, file: str) -> list[Finding]:
    """All findings about the sections in use. file: the path of tyk.conf, for the findings."""
    found: list[Finding] = []
    if config.storage.type == "embedded":
        _try(found, file, lambda: find_program(config.preforge.storage.server))
        if config.storage.addrs or config.storage.hosts or config.storage.host:
            text = 'a server is named, but not used: the store is "embedded"'
            found.append(Finding("warning", file, "$.storage", text, 'Set $.storage.type to "redis" to use that server.'))
    else:
        _section(config, "storage", file, found)
    for section, switch in ENABLED_BY.items():
        if getattr(config, switch):
            _section(config, section, file, found)
    return found


def describe(config: Any) -> tuple[str, str]:
    """The kind of the main store, and the addresses where it is looked for; nothing secret."""
    storage = config.storage
    if storage.type == "embedded":
        return "embedded", "this machine"
    where = ", ".join(str(address) for address in addresses(storage, "storage"))
    if storage.master_name:
        return "redis behind sentinels", f"{storage.master_name} ({where})"
    if storage.enable_cluster:
        return "redis cluster", where
    return "redis", where.partition(", ")[0]


def _section(config: Any, section: str, file: str, found: list[Finding]) -> None:
    storage = getattr(config, section)
    parts: list[Callable[[], Any]] = [
        lambda: addresses(storage, section),
        lambda: StoreSettings.from_config(config, section, ANY_SOCKET),
    ]
    if storage.use_ssl:
        parts.append(lambda: tls(storage, section).context())
    for part in parts:
        _try(found, file, part)
    for text, path, hint in _without_effect(storage, section):
        found.append(Finding("warning", file, f"$.{section}.{path}", text, hint))


def _without_effect(storage: Any, section: str) -> list[tuple[str, str, str]]:
    """(message, option, suggestion) for what is set and does nothing."""
    found = []
    if storage.enable_cluster and storage.master_name:
        found.append(("it has no effect, since master_name asks for sentinels", "enable_cluster", ""))
    named = "addrs" if storage.addrs else "hosts"
    if len(getattr(storage, named) or ()) > 1 and not storage.enable_cluster and not storage.master_name:
        text = "only the first address is used"
        found.append((text, named, f"Set $.{section}.enable_cluster, or $.{section}.master_name for sentinels."))
    if not storage.use_ssl:
        for name in ("ca_file", "cert_file", "key_file"):
            if getattr(storage, name):
                found.append(("it has no effect without use_ssl", name, f"Set $.{section}.use_ssl."))
    elif storage.ssl_insecure_skip_verify:
        text = "the server's certificate is not verified: anybody on the way can read and change what is stored"
        found.append((text, "ssl_insecure_skip_verify", f"Name the authority in $.{section}.ca_file instead."))
    return found


def _try(found: list[Finding], file: str, part: Callable[[], Any]) -> None:
    try:
        part()
    except StoreOptionError as error:
        finding = Finding("error", file, f"$.{error.field}", error.text, error.hint)
        if finding not in found:
            found.append(finding)
