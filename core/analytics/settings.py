"""What tyk.conf says about records."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from core.findings import Finding

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Rule = tuple[re.Pattern[bytes], bytes]

DEFAULT_BATCH = 1000        # tyk-core 1.1, checkup of records_buffer_size
DEFAULT_EXPIRATION = 60
UUID = re.compile(rb"[0-9a-fA-F]{8}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{12}")
ULID = re.compile(rb"[0-7][0-9A-HJKMNP-TV-Za-hjkmnp-tv-z]{25}")
NUMBER = re.compile(rb"/\d+")


@dataclass(frozen=True, slots=True)
class RecordSettings:
    """What may change at a reload.

    expiration: seconds that the store keeps records that nobody fetches, 0 for ever; multiple_keys: ten lists instead of
    one; max_list: records of a list, 0 for the store's usual; ignored: client addresses without records; rules: what is
    replaced in paths; trusted: proxies whose word about the client's address is taken; depth: which of theirs (xff_depth).
    """

    enabled: bool = False
    detailed: bool = False
    expiration: int = DEFAULT_EXPIRATION
    multiple_keys: bool = False
    max_list: int = 0
    hash_keys: bool = False
    ignored: frozenset[bytes] = frozenset()
    node_tags: tuple[str, ...] = ()
    rules: tuple[Rule, ...] = ()
    trusted: tuple[Network, ...] = ()
    depth: int = 0
    org_expiry: bool = False
    org_details: bool = False

    @classmethod
    def from_config(cls, config: Any) -> RecordSettings:
        """Read tyk.conf; see `findings` for what cannot be used."""
        ours = config.analytics_config
        return cls(
            enabled=config.enable_analytics,
            detailed=ours.enable_detailed_recording,
            expiration=max(0, ours.storage_expiration_time or DEFAULT_EXPIRATION),
            multiple_keys=ours.enable_multiple_analytics_keys,
            max_list=config.preforge.analytics.max_list_length,
            hash_keys=config.hash_keys,
            ignored=frozenset(address.strip().encode() for address in ours.ignored_ips),
            node_tags=tuple(config.db_app_conf_options.tags),
            rules=tuple(_rules(ours.normalise_urls)),
            trusted=tuple(ipaddress.ip_network(text, strict=False) for text in config.preforge.trusted_proxies),
            depth=config.http_server_options.xff_depth,
            org_expiry=config.enforce_org_data_age,
            org_details=config.enforce_org_data_detail_logging,
        )


def _rules(options: Any) -> Iterable[Rule]:
    """What tyk-core 6 calls URL normalisation, in its order."""
    if not options.enabled:
        return
    if options.normalise_uuids:
        yield UUID, b"{uuid}"
    if options.normalise_ulids:
        yield ULID, b"{ulid}"
    if options.normalise_numbers:
        yield NUMBER, b"/{id}"
    for text in options.custom_patterns:
        try:
            yield re.compile(text.encode()), b"{var}"
        except (re.error, OverflowError, RecursionError):
            continue        # said by findings()


def findings(config: Any, file: str) -> list[Finding]:
    """What the analytics options ask for and do not get."""
    found: list[Finding] = []
    ours = config.analytics_config

    def note(severity: Any, option: str, message: str, suggestion: str = "") -> None:
        found.append(Finding(severity, file, f"$.analytics_config.{option}", message, suggestion))

    for index, text in enumerate(ours.normalise_urls.custom_patterns):
        try:
            re.compile(text.encode())
        except (re.error, OverflowError, RecursionError) as error:
            note("error", f"normalise_urls.custom_patterns[{index}]", f"{text!r:.60} is not a regular expression: {error}")
    if ours.enable_geo_ip:
        note("warning", "enable_geo_ip", "records have no geographic data: the gateway reads no GeoIP database",
             "Tyk Pump's other end can add it from IPAddress.")  # fmt: skip
    if ours.serializer_type not in ("", "msgpack"):
        note("warning", "serializer_type", f"records are written as msgpack, not as {ours.serializer_type!r:.40}",
             "Configure Tyk Pump for msgpack, its default.")  # fmt: skip
    return found
