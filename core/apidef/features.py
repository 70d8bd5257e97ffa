"""One table of what a definition can ask for that this build does not run, and what happens then.

Whatever restricts, authenticates, validates, limits or rewrites is refused: every request is answered with
an error. What only adds to the answer or to records is ignored with a warning. The compile step and the
lint both read this table, so that neither knows a feature that the other does not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

Treatment = Literal["refuse", "warn"]
Test = Callable[[dict[str, Any]], Any]

JS_DRIVERS = ("", "otto", "javascript")
RICH_DRIVERS = ("grpc", "python", "jsonrpc")
REFUSED = "not supported by this build, so every request is refused"
IGNORED = "has no effect in this build"


@dataclass(frozen=True, slots=True)
class Feature:
    """``path`` is relative to ``$`` (api scope) or to the effective version (version scope). ``message``: what clients are
    told, "" for the usual message."""

    name: str
    path: str
    treatment: Treatment
    why: str
    test: Test
    message: str = ""


def _at(path: str) -> Test:
    keys = path.split(".")

    def test(value: dict[str, Any]) -> Any:
        found: Any = value
        for key in keys:
            if not isinstance(found, dict):
                return None
            found = found.get(key)
        return found

    return test


def _unknown_driver(definition: dict[str, Any]) -> Any:
    section = definition.get("custom_middleware", {})
    hooks = [hook for kind in ("pre", "post_key_auth", "post", "response") for hook in section.get(kind, [])]
    known = plugin_driver(definition) in (*JS_DRIVERS, *RICH_DRIVERS)
    return not known and any(not hook.get("disabled") for hook in hooks)


def _unless(path: str, disabled: str) -> Test:
    value, off = _at(path), _at(disabled)
    return lambda definition: value(definition) and not off(definition)


def _not_keyless(path: str) -> Test:
    value = _at(path)
    return lambda definition: value(definition) and not definition.get("use_keyless")


def plugin_driver(definition: dict[str, Any]) -> str:
    """The driver of the definition's hooks, "" if it is not given."""
    driver: str = definition.get("custom_middleware", {}).get("driver", "")
    return driver


def runs_javascript(definition: dict[str, Any]) -> bool:
    """Say whether the scripts of a definition are JavaScript: its driver is one of those, or not given."""
    return plugin_driver(definition) in JS_DRIVERS


def asks_for_plugin_auth(definition: dict[str, Any]) -> bool:
    """Say whether an auth_check is to decide who may come in, whatever its driver (tyk-plugins 3.1)."""
    asked = definition.get("custom_plugin_auth_enabled") or definition.get("enable_coprocess_auth")
    return bool(asked) and not definition.get("use_keyless")


def authenticates_by_script(definition: dict[str, Any]) -> bool:
    """Say whether a JavaScript auth_check decides who may come in (tyk-jsvm 11)."""
    return asks_for_plugin_auth(definition) and runs_javascript(definition)


def _plugin_auth(path: str) -> Test:
    value = _not_keyless(path)
    return lambda definition: value(definition) and plugin_driver(definition) not in (*JS_DRIVERS, *RICH_DRIVERS)


def _entries(name: str) -> Test:
    def test(info: dict[str, Any]) -> Any:
        if not info.get("use_extended_paths"):
            return False
        return any(
            (entry and not entry.get("disabled")) if isinstance(entry, dict) else bool(entry)
            for entry in info.get("extended_paths", {}).get(name, [])
        )

    return test


def _protocol(definition: dict[str, Any]) -> Any:
    return definition.get("protocol", "") not in ("", "http", "https")


_AUTH = (
    "use_basic_auth use_oauth2 external_oauth.enabled enable_jwt enable_signature_checking use_openid"
    " use_go_plugin_auth"
)
_PLUGIN_AUTH = ("custom_plugin_auth_enabled", "enable_coprocess_auth")

API_FEATURES: tuple[Feature, ...] = (
    *(Feature(f"{p}", p, "refuse", "it authenticates clients", _not_keyless(p)) for p in _AUTH.split()),
    *(Feature(f"{p}", p, "refuse", "it authenticates clients", _plugin_auth(p)) for p in _PLUGIN_AUTH),
    Feature(
        "client certificates",
        "use_mutual_tls_auth",
        "refuse",
        "it authenticates clients, of a keyless API too",
        _at("use_mutual_tls_auth"),
    ),
    Feature("OAS definition", "is_oas", "refuse", "the rules are in another file", _at("is_oas")),
    Feature(
        "upstream authentication",
        "upstream_auth",
        "refuse",
        "it changes requests",
        _at("upstream_auth.enabled"),
    ),
    Feature(
        "request signing",
        "request_signing",
        "refuse",
        "it changes requests",
        _at("request_signing.is_enabled"),
    ),
    Feature(
        "upstream certificates",
        "upstream_certificates",
        "refuse",
        "the upstream would not know the gateway",
        _unless("upstream_certificates", "upstream_certificates_disabled"),
    ),
    Feature(
        "pinned keys",
        "pinned_public_keys",
        "refuse",
        "it restricts upstreams",
        _unless("pinned_public_keys", "certificate_pinning_disabled"),
    ),
    Feature(
        "plugins of this driver",
        "custom_middleware.driver",
        "refuse",
        f"expected one of {', '.join(driver for driver in (*JS_DRIVERS, *RICH_DRIVERS) if driver)}",
        _unknown_driver,
        "Internal Server Error",
    ),
    Feature("GraphQL", "graphql", "refuse", "it validates and changes requests", _at("graphql.enabled")),
    Feature("MCP", "application_protocol", "refuse", "it validates requests", _at("application_protocol")),
    Feature("JSON-RPC", "json_rpc_version", "refuse", "it validates requests", _at("json_rpc_version")),
    Feature("protocol", "protocol", "refuse", "it needs a listener of another kind", _protocol),
    Feature(
        "PROXY protocol",
        "enable_proxy_protocol",
        "refuse",
        "it needs a listener of its own",
        _at("enable_proxy_protocol"),
    ),
    Feature(
        "service discovery",
        "proxy.service_discovery",
        "refuse",
        "it chooses the upstream",
        _at("proxy.service_discovery.use_discovery_service"),
    ),
    Feature(
        "outbound proxy",
        "proxy.transport.proxy_url",
        "refuse",
        "requests would bypass it",
        _at("proxy.transport.proxy_url"),
    ),
    Feature(
        "common name check",
        "proxy.transport.ssl_force_common_name_check",
        "refuse",
        "it restricts upstreams",
        _at("proxy.transport.ssl_force_common_name_check"),
    ),
    Feature(
        "batch requests",
        "enable_batch_request_support",
        "warn",
        "batches go to the upstream",
        _at("enable_batch_request_support"),
    ),
    Feature("CORS", "CORS", "warn", "preflight requests go to the upstream", _at("CORS.enable")),
    Feature(
        "uptime tests",
        "uptime_tests",
        "warn",
        "hosts are not checked",
        _unless("uptime_tests.check_list", "uptime_tests.disabled"),
    ),
    Feature(
        "traffic log plugin",
        "custom_middleware.traffic_logs",
        "warn",
        "no analytics are written",
        _unless("custom_middleware.traffic_logs.name", "custom_middleware.traffic_logs.disabled"),
    ),
    Feature(
        "analytics plugin",
        "analytics_plugin",
        "warn",
        "records are written as they are",
        _at("analytics_plugin.enable"),
    ),
    Feature(
        "server certificates",
        "certificates",
        "warn",
        "the gateway's own certificates serve the domain",
        _at("certificates"),
    ),
    Feature(
        "error overrides",
        "error_overrides",
        "warn",
        "errors keep their usual text",
        _unless("error_overrides", "error_overrides_disabled"),
    ),
)

_CHANGING = (
    "transform transform_response transform_jq transform_jq_response"
    " size_limits validate_json validate_request go_plugin persist_graphql"
)

VERSION_FEATURES: tuple[Feature, ...] = (
    *(
        Feature(f"{name}", f"extended_paths.{name}", "refuse", "it restricts or changes", _entries(name))
        for name in _CHANGING.split()
    ),
    Feature(
        "size limit",
        "global_size_limit",
        "refuse",
        "it limits requests",
        _unless("global_size_limit", "global_size_limit_disabled"),
    ),
)


def found(features: tuple[Feature, ...], value: dict[str, Any]) -> Iterator[Feature]:
    """Yield the features of the table that ``value`` asks for."""
    return (feature for feature in features if feature.test(value))
