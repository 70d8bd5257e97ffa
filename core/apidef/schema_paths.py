"""Types of the path-level entries and versions of a classic definition (tyk-core Appendix B)."""

from __future__ import annotations

from collections.abc import Mapping

from core.config.gojson import Anything, Bool, Int, ListOf, MapOf, Num, Obj, Schema, Str

STRINGS = ListOf(Str())
TEXT_MAP = MapOf(Str())
ANY_MAP = MapOf(Anything())


def obj(fields: Mapping[str, Schema], ignore: frozenset[str] = frozenset()) -> Obj:
    """Return an object type whose decoded form has only the keys that the document has."""
    return Obj(fields, ignore, keep_absent=True)


def _entry(fields: Mapping[str, Schema]) -> ListOf:
    return ListOf(obj({"disabled": Bool(), "path": Str(), "method": Str(), **fields}))


_REGEX_MAP = obj({"match_rx": Str(), "reverse": Bool()})
_ACTION = obj({"action": Str(), "code": Int(), "data": Str(), "headers": TEXT_MAP})
_LISTED = _entry({"ignore_case": Bool(), "method_actions": MapOf(_ACTION)})
_TEMPLATE = _entry(
    {
        "template_data": obj(
            {"input_type": Str(), "template_mode": Str(), "enable_session": Bool(), "template_source": Str()}
        )
    }
)
_JQ = _entry({"filter": Str()})
_HEADERS = _entry({"delete_headers": STRINGS, "add_headers": TEXT_MAP, "act_on": Bool()})
_TRIGGER = obj(
    {
        "on": Str(),
        "options": obj(
            {
                "header_matches": MapOf(_REGEX_MAP),
                "query_val_matches": MapOf(_REGEX_MAP),
                "path_part_matches": MapOf(_REGEX_MAP),
                "session_meta_matches": MapOf(_REGEX_MAP),
                "request_context_matches": MapOf(_REGEX_MAP),
                "payload_matches": _REGEX_MAP,
            }
        ),
        "rewrite_to": Str(),
    }
)

EXTENDED_PATHS = obj(
    {
        "ignored": _LISTED,
        "white_list": _LISTED,
        "black_list": _LISTED,
        "mock_response": _entry({"ignore_case": Bool(), "code": Int(), "body": Str(), "headers": TEXT_MAP}),
        "cache": STRINGS,
        "advance_cache_config": _entry(
            {"cache_key_regex": Str(), "cache_response_codes": ListOf(Int()), "timeout": Int()}
        ),
        "transform": _TEMPLATE,
        "transform_response": _TEMPLATE,
        "transform_jq": _JQ,
        "transform_jq_response": _JQ,
        "transform_headers": _HEADERS,
        "transform_response_headers": _HEADERS,
        "hard_timeouts": _entry({"timeout": Int(), "duration": Str()}),
        "circuit_breakers": _entry(
            {
                "threshold_percent": Num(),
                "samples": Int(),
                "return_to_service_after": Int(),
                "disable_half_open_state": Bool(),
            }
        ),
        "url_rewrites": _entry({"match_pattern": Str(), "rewrite_to": Str(), "triggers": ListOf(_TRIGGER)}),
        "virtual": _entry(
            {
                "response_function_name": Str(),
                "function_source_type": Str(),
                "function_source_uri": Str(),
                "use_session": Bool(),
                "proxy_on_error": Bool(),
            }
        ),
        "size_limits": _entry({"size_limit": Int()}),
        "method_transforms": _entry({"to_method": Str()}),
        "track_endpoints": _entry({}),
        "do_not_track_endpoints": _entry({}),
        "validate_json": _entry({"schema": ANY_MAP, "schema_b64": Str(), "error_response_code": Int()}),
        "validate_request": _entry({"enabled": Bool(), "error_response_code": Int()}),
        "internal": _entry({}),
        "go_plugin": _entry({"plugin_path": Str(), "func_name": Str()}),
        "persist_graphql": _entry({"operation": Str(), "variables": ANY_MAP}),
        "rate_limit": _entry({"rate": Num(), "per": Num()}),
    }
)

VERSION_INFO = obj(
    {
        "name": Str(),
        "expires": Str(),
        "paths": obj({"ignored": STRINGS, "white_list": STRINGS, "black_list": STRINGS}),
        "use_extended_paths": Bool(),
        "extended_paths": EXTENDED_PATHS,
        "global_headers": TEXT_MAP,
        "global_headers_remove": STRINGS,
        "global_headers_disabled": Bool(),
        "global_response_headers": TEXT_MAP,
        "global_response_headers_remove": STRINGS,
        "global_response_headers_disabled": Bool(),
        "ignore_endpoint_case": Bool(),
        "global_size_limit": Int(),
        "global_size_limit_disabled": Bool(),
        "global_enforce_timeout": Str(),
        "global_enforce_timeout_disabled": Bool(),
        "override_target": Str(),
    }
)
