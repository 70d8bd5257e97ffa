"""The one table of options: loader, lint, reference and example are all made from it.

A line of the tables has six columns, separated by " | ": dotted JSON path, type, default, when a change takes effect,
support, what the option does. Types: str, int, num, bool, port, any, cert (a certificate object), [T] lists, {T} maps;
`=a,b` after a type lists the values that are allowed. Effect: swap (at a reload), restart. Support: used; accepted
(read, without effect in this version); ignored (obsolete, or of a commercial component).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from core.config import (
    table_accepted,
    table_analytics,
    table_events,
    table_keys,
    table_preforge,
    table_store,
    table_tyk,
)
from core.config.gojson import Anything, Bool, Int, ListOf, MapOf, Num, Obj, Schema, Str

Effect = Literal["swap", "restart"]
Support = Literal["used", "accepted", "ignored"]

# Names that do not follow from the JSON path (tyk-core 1.1: they come from Go's field names).
ENVIRONMENT = {
    "http_server_options.ssl_ciphers": "HTTPSERVEROPTIONS_CIPHERS",
    "ports_whitelist": "PORTWHITELIST",
    "disable_ports_whitelist": "DISABLEPORTWHITELIST",
    **{
        f"{section}.optimisation_{name}": f"{section.replace('_', '').upper()}_{name.replace('_', '').upper()}"
        for section in ("storage", "analytics_storage", "cache_storage", "rate_limiter_storage")
        for name in ("max_idle", "max_active")
    },
    "analytics_config.geo_ip_db_path": "ANALYTICSCONFIG_GEOIPDBLOCATION",
    "analytics_config.normalise_urls.custom_patterns": "ANALYTICSCONFIG_NORMALISEURLS_CUSTOM",
    "max_idle_connections": "MAXIDLECONNS",
    "max_idle_connections_per_host": "MAXIDLECONNSPERHOST",
    "proxy_ssl_ciphers": "PROXYSSLCIPHERSUITES",
    "health_check.health_check_value_timeouts": "HEALTHCHECK_HEALTHCHECKVALUETIMEOUT",
    "oauth_refresh_token_expire": "OAUTHREFRESHEXPIRE",
    "enable_separate_analytics_store": "ENABLESEPERATEANALYTICSSTORE",
    "enable_separate_cache_store": "ENABLESEPERATECACHESTORE",
    "local_session_cache.disable_cached_session_state": "LOCALSESSIONCACHE_DISABLECACHESESSIONSTATE",
    "local_session_cache.cached_session_eviction": "LOCALSESSIONCACHE_CACHESESSIONEVICTION",
    "tracing": "TRACER",
    "enable_http_profiler": "HTTPPROFILE",
    "suppress_default_org_store": "SUPRESSDEFAULTORGSTORE",
    "oas_config": "OAS",
}
TABLES = (table_tyk, table_store, table_keys, table_analytics, table_events, table_preforge, table_accepted)
SCALARS: dict[str, Schema] = {
    "str": Str(), "int": Int(), "num": Num(), "bool": Bool(), "port": Int(), "any": Anything(), "cidr": Str(),
    "cert": Obj({"domain_name": Str(), "cert_file": Str(), "key_file": Str()}),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Option:
    """One option. default: its value when absent; environment: variable that overrides it."""

    path: str
    type: str
    choices: tuple[str, ...]
    default: Any
    effect: Effect
    support: Support
    doc: str

    @property
    def environment(self) -> str:
        name = ENVIRONMENT.get(self.path)
        if name is None:
            name = "_".join(part.replace("_", "") for part in self.path.split(".")).upper()
        return f"TYK_GW_{name}"

    @property
    def schema(self) -> Schema:
        if self.type.startswith("["):
            return ListOf(SCALARS[self.type[1:-1]])
        if self.type.startswith("{"):
            return MapOf(SCALARS[self.type[1:-1]])
        return SCALARS[self.type]


def parse_value(kind: str, text: str) -> Any:
    """Read a value as the tables and the environment write it. Raises ValueError.

    Lists are separated by commas, maps are k:v,k2:v2 (tyk-core 1.1).
    """
    if kind.startswith("["):
        return [parse_value(kind[1:-1], item.strip()) for item in text.split(",") if item.strip()]
    if kind.startswith("{"):
        pairs = (item.partition(":") for item in text.split(",") if item.strip())
        return {key.strip(): value.strip() for key, _, value in pairs}
    if kind in ("int", "port"):
        return int(text or 0)
    if kind == "num":
        return float(text or 0)
    if kind == "bool":
        if text.lower() not in ("", "true", "false", "1", "0", "t", "f"):
            raise ValueError(f"expected true or false, got {text!r}")
        return text.lower() in ("true", "1", "t")
    return text


def _line(text: str) -> Option:
    path, kind, default, effect, support, doc = (column.strip() for column in text.split("|", 5))
    kind, _, choices = kind.partition("=")
    value = None if kind == "any" else parse_value(kind, default)
    return Option(path, kind, tuple(choices.split(",")) if choices else (), value, effect, support, doc)  # type: ignore[arg-type]


@cache
def options() -> dict[str, Option]:
    """All options by path, in the order of the tables."""
    found: dict[str, Option] = {}
    for table in TABLES:
        for line in table.TEXT.strip().splitlines():
            option = _line(line)
            if option.path in found:
                raise ValueError(f"option {option.path} stands twice in the tables")
            found[option.path] = option
    return found


@cache
def schema() -> Obj:
    """The schema of the whole document."""

    def build(prefix: str) -> Obj:
        fields: dict[str, Schema] = {}
        for path, option in options().items():
            if prefix and not path.startswith(prefix):
                continue
            name, dot, _ = path[len(prefix) :].partition(".")
            if not dot:
                fields[name] = option.schema
            elif name not in fields:
                fields[name] = build(f"{prefix}{name}.")
        return Obj(fields, keep_absent=True)

    return build("")
