"""The typed schema of a classic API definition, as data (tyk-core Appendix B)."""

from __future__ import annotations

from core.apidef.schema_auth import AUTH_FIELDS
from core.apidef.schema_paths import ANY_MAP, STRINGS, TEXT_MAP, VERSION_INFO, obj
from core.config.gojson import Anything, Bool, Int, ListOf, MapOf, Num, Str

_PLUGINS = obj({"server": Str(), "deadline": Num()})
_HOOK = obj(
    {
        "disabled": Bool(),
        "name": Str(),
        "path": Str(),
        "code": Str(),
        "require_session": Bool(),
        "raw_body_only": Bool(),
        "preforge": obj({"plugins": _PLUGINS}),
    }
)
_DISCOVERY = obj(
    {
        "use_discovery_service": Bool(),
        "query_endpoint": Str(),
        "use_nested_query": Bool(),
        "parent_data_path": Str(),
        "data_path": Str(),
        "port_data_path": Str(),
        "target_path": Str(),
        "use_target_list": Bool(),
        "cache_disabled": Bool(),
        "cache_timeout": Int(),
        "endpoint_returns_list": Bool(),
    }
)
_PROVIDER = obj({"name": Str(), "storage_engine": Str(), "meta": ANY_MAP})
_GRAPHQL_PARTS = (
    "execution_mode version schema last_schema_update type_field_configurations playground engine proxy"
    " subgraph supergraph introspection"
)

PROXY = obj(
    {
        "preserve_host_header": Bool(),
        "listen_path": Str(),
        "target_url": Str(),
        "disable_strip_slash": Bool(),
        "strip_listen_path": Bool(),
        "enable_load_balancing": Bool(),
        "target_list": STRINGS,
        "check_host_against_uptime_tests": Bool(),
        "service_discovery": _DISCOVERY,
        "transport": obj(
            {
                "ssl_insecure_skip_verify": Bool(),
                "ssl_ciphers": STRINGS,
                "ssl_min_version": Int(),
                "ssl_max_version": Int(),
                "ssl_force_common_name_check": Bool(),
                "proxy_url": Str(),
            }
        ),
    }
)

DEFINITION = obj(
    {
        "id": Anything(),
        "name": Str(),
        "expiration": Str(),
        "slug": Str(),
        "listen_port": Int(),
        "protocol": Str(),
        "enable_proxy_protocol": Bool(),
        "json_rpc_version": Str(),
        "application_protocol": Str(),
        "api_id": Str(),
        "org_id": Str(),
        **AUTH_FIELDS,
        "definition": obj(
            {
                "enabled": Bool(),
                "name": Str(),
                "default": Str(),
                "location": Str(),
                "key": Str(),
                "strip_path": Bool(),
                "strip_versioning_data": Bool(),
                "url_versioning_pattern": Str(),
                "fallback_to_default": Bool(),
                "versions": TEXT_MAP,
            }
        ),
        "version_data": obj(
            {"not_versioned": Bool(), "default_version": Str(), "versions": MapOf(VERSION_INFO)}
        ),
        "uptime_tests": obj(
            {
                "disabled": Bool(),
                "check_list": ListOf(
                    obj(
                        {
                            "url": Str(),
                            "protocol": Str(),
                            "timeout": Anything(),
                            "enable_proxy_protocol": Bool(),
                            "commands": ListOf(obj({"name": Str(), "message": Str()})),
                            "method": Str(),
                            "headers": TEXT_MAP,
                            "body": Str(),
                        }
                    )
                ),
                "config": obj(
                    {"expire_utime_after": Int(), "service_discovery": _DISCOVERY, "recheck_wait": Int()}
                ),
            }
        ),
        "proxy": PROXY,
        "disable_rate_limit": Bool(),
        "disable_quota": Bool(),
        "custom_middleware": obj(
            {
                "pre": ListOf(_HOOK),
                "post": ListOf(_HOOK),
                "post_key_auth": ListOf(_HOOK),
                "auth_check": _HOOK,
                "traffic_logs": _HOOK,
                "response": ListOf(_HOOK),
                "driver": Str(),
                "id_extractor": obj(
                    {
                        "disabled": Bool(),
                        "extract_from": Str(),
                        "extract_with": Str(),
                        "extractor_config": ANY_MAP,
                    }
                ),
            }
        ),
        "custom_middleware_bundle": Str(),
        "custom_middleware_bundle_disabled": Bool(),
        "cache_options": obj(
            {
                "cache_timeout": Int(),
                "enable_cache": Bool(),
                "cache_all_safe_requests": Bool(),
                "cache_response_codes": ListOf(Int()),
                "enable_upstream_cache_control": Bool(),
                "cache_control_ttl_header": Str(),
                "cache_by_headers": STRINGS,
            }
        ),
        "session_lifetime_respects_key_expiration": Bool(),
        "session_lifetime": Int(),
        "active": Bool(),
        "internal": Bool(),
        "auth_provider": _PROVIDER,
        "session_provider": _PROVIDER,
        "event_handlers": obj(
            {"events": MapOf(ListOf(obj({"handler_name": Str(), "handler_meta": ANY_MAP})))}
        ),
        "enable_batch_request_support": Bool(),
        "enable_ip_whitelisting": Bool(),
        "allowed_ips": STRINGS,
        "enable_ip_blacklisting": Bool(),
        "blacklisted_ips": STRINGS,
        "ip_access_control_disabled": Bool(),
        "dont_set_quota_on_create": Bool(),
        "expire_analytics_after": Int(),
        "response_processors": ListOf(obj({"name": Str(), "options": Anything()})),
        "CORS": obj(
            {
                "enable": Bool(),
                "allowed_origins": STRINGS,
                "allowed_methods": STRINGS,
                "allowed_headers": STRINGS,
                "exposed_headers": STRINGS,
                "allow_credentials": Bool(),
                "max_age": Int(),
                "options_passthrough": Bool(),
                "debug": Bool(),
            }
        ),
        "domain": Str(),
        "domain_disabled": Bool(),
        "certificates": STRINGS,
        "do_not_track": Bool(),
        "enable_context_vars": Bool(),
        "config_data": ANY_MAP,
        "config_data_disabled": Bool(),
        "tag_headers": STRINGS,
        "global_rate_limit": obj({"disabled": Bool(), "rate": Num(), "per": Num()}),
        "enable_detailed_recording": Bool(),
        "graphql": obj({"enabled": Bool(), **{name: Anything() for name in _GRAPHQL_PARTS.split()}}),
        "analytics_plugin": obj({"enable": Bool(), "plugin_path": Str(), "func_name": Str()}),
        "tags_disabled": Bool(),
        "tags": STRINGS,
        "is_oas": Bool(),
        "detailed_tracing": Bool(),
        "error_overrides": ANY_MAP,
        "error_overrides_disabled": Bool(),
        "preforge": obj({"jsvm": obj({"isolation": Str()}), "plugins": _PLUGINS}),
    },
    ignore=frozenset({"_id", "hook_references", "is_site", "sort_by", "user_owners", "user_group_owners"}),
)
