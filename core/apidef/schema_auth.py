"""Types of the authentication parts of a classic definition (tyk-core Appendix B)."""

from __future__ import annotations

from core.apidef.schema_paths import STRINGS, TEXT_MAP, obj
from core.config.gojson import Bool, Int, ListOf, MapOf, Num, Schema, Str

_SIGNATURE = obj(
    {
        "algorithm": Str(),
        "header": Str(),
        "use_param": Bool(),
        "param_name": Str(),
        "secret": Str(),
        "allowed_clock_skew": Int(),
        "error_code": Int(),
        "error_message": Str(),
    }
)
AUTH_CONFIG = obj(
    {
        "name": Str(),
        "use_param": Bool(),
        "param_name": Str(),
        "use_cookie": Bool(),
        "cookie_name": Str(),
        "disable_header": Bool(),
        "auth_header_name": Str(),
        "use_certificate": Bool(),
        "validate_signature": Bool(),
        "signature": _SIGNATURE,
    }
)
_SOURCE = obj({"enabled": Bool(), "name": Str()})
_CLIENT: dict[str, Schema] = {
    "client_id": Str(),
    "client_secret": Str(),
    "method": Str(),
    "header": _SOURCE,
    "token_url": Str(),
    "scopes": STRINGS,
    "extra_metadata": STRINGS,
}
_JWT_VALIDATION = obj(
    {
        "enabled": Bool(),
        "signing_method": Str(),
        "source": Str(),
        "issued_at_validation_skew": Int(),
        "not_before_validation_skew": Int(),
        "expires_at_validation_skew": Int(),
        "identity_base_field": Str(),
    }
)
_INTROSPECTION = obj(
    {
        "enabled": Bool(),
        "url": Str(),
        "client_id": Str(),
        "client_secret": Str(),
        "identity_base_field": Str(),
        "cache": obj({"enabled": Bool(), "timeout": Int()}),
    }
)
_SCOPE = obj({"scope_claim_name": Str(), "scope_to_policy": TEXT_MAP})

AUTH_FIELDS: dict[str, Schema] = {
    "use_keyless": Bool(),
    "use_oauth2": Bool(),
    "external_oauth": obj(
        {
            "enabled": Bool(),
            "providers": ListOf(obj({"jwt": _JWT_VALIDATION, "introspection": _INTROSPECTION})),
        }
    ),
    "use_openid": Bool(),
    "openid_options": obj(
        {"providers": ListOf(obj({"issuer": Str(), "client_ids": TEXT_MAP})), "segregate_by_client": Bool()}
    ),
    "oauth_meta": obj(
        {
            "allowed_access_types": STRINGS,
            "allowed_authorize_types": STRINGS,
            "auth_login_redirect": Str(),
        }
    ),
    "auth": AUTH_CONFIG,
    "auth_configs": MapOf(AUTH_CONFIG),
    "use_basic_auth": Bool(),
    "basic_auth": obj(
        {
            "disable_caching": Bool(),
            "cache_ttl": Int(),
            "extract_from_body": Bool(),
            "body_user_regexp": Str(),
            "body_password_regexp": Str(),
        }
    ),
    "use_mutual_tls_auth": Bool(),
    "client_certificates": STRINGS,
    "upstream_certificates": TEXT_MAP,
    "upstream_certificates_disabled": Bool(),
    "pinned_public_keys": TEXT_MAP,
    "certificate_pinning_disabled": Bool(),
    "enable_jwt": Bool(),
    "use_standard_auth": Bool(),
    "use_go_plugin_auth": Bool(),
    "enable_coprocess_auth": Bool(),
    "custom_plugin_auth_enabled": Bool(),
    "jwt_signing_method": Str(),
    "jwt_source": Str(),
    "jwt_jwks_uris": ListOf(obj({"url": Str(), "cache_timeout": Str()})),
    "jwt_identity_base_field": Str(),
    "jwt_client_base_field": Str(),
    "jwt_policy_field_name": Str(),
    "jwt_default_policies": STRINGS,
    "jwt_issued_at_validation_skew": Int(),
    "jwt_expires_at_validation_skew": Int(),
    "jwt_not_before_validation_skew": Int(),
    "jwt_skip_kid": Bool(),
    "scopes": obj({"jwt": _SCOPE, "oidc": _SCOPE}),
    "idp_client_id_mapping_disabled": Bool(),
    "jwt_scope_to_policy_mapping": TEXT_MAP,
    "jwt_scope_claim_name": Str(),
    "notifications": obj({"shared_secret": Str(), "oauth_on_keychange_url": Str()}),
    "enable_signature_checking": Bool(),
    "hmac_allowed_clock_skew": Num(),
    "hmac_allowed_algorithms": STRINGS,
    "request_signing": obj(
        {
            "is_enabled": Bool(),
            "secret": Str(),
            "key_id": Str(),
            "algorithm": Str(),
            "header_list": STRINGS,
            "certificate_id": Str(),
            "signature_header": Str(),
        }
    ),
    "base_identity_provided_by": Str(),
    "strip_auth_data": Bool(),
    "upstream_auth": obj(
        {
            "enabled": Bool(),
            "basic_auth": obj({"enabled": Bool(), "username": Str(), "password": Str(), "header": _SOURCE}),
            "oauth": obj(
                {
                    "enabled": Bool(),
                    "allowed_authorize_types": STRINGS,
                    "client_credentials": obj(_CLIENT),
                    "password": obj({**_CLIENT, "username": Str(), "password": Str()}),
                }
            ),
        }
    ),
    "security_requirements": ListOf(STRINGS),
    "security_requirement_scopes": ListOf(MapOf(STRINGS)),
}
