"""The fields of a session on the wire and their names in Tyk's JSON of a session (tyk-plugins 2.2, tyk-core 5.1)."""

from __future__ import annotations

from typing import Literal, NamedTuple

Kind = Literal["int64", "double", "bool", "string", "message"]
Label = Literal["one", "list", "map"]


class Field(NamedTuple):
    """number, wire: in SessionState; name: in the session's JSON; label: "map" has texts as keys; fields: of a message;
    sent: whether plugins are told."""

    number: int
    wire: str
    name: str
    kind: Kind
    label: Label = "one"
    fields: tuple[Field, ...] = ()
    sent: bool = True


_ACCESS_SPEC = (Field(1, "url", "url", "string"), Field(2, "methods", "methods", "string", "list"))
_ACCESS_DEFINITION = (
    Field(1, "api_name", "api_name", "string"),
    Field(2, "api_id", "api_id", "string"),
    Field(3, "versions", "versions", "string", "list"),
    Field(4, "allowed_urls", "allowed_urls", "message", "list", _ACCESS_SPEC),
)
_BASIC_AUTH = (Field(1, "password", "password", "string"), Field(2, "hash", "hash_type", "string"))
_JWT = (Field(1, "secret", "secret", "string"),)
_MONITOR = (Field(1, "trigger_limits", "trigger_limits", "double", "list"),)

SESSION: tuple[Field, ...] = (
    Field(1, "last_check", "last_check", "int64"),
    Field(2, "allowance", "allowance", "double"),
    Field(3, "rate", "rate", "double"),
    Field(4, "per", "per", "double"),
    Field(5, "expires", "expires", "int64"),
    Field(6, "quota_max", "quota_max", "int64"),
    Field(7, "quota_renews", "quota_renews", "int64"),
    Field(8, "quota_remaining", "quota_remaining", "int64"),
    Field(9, "quota_renewal_rate", "quota_renewal_rate", "int64"),
    Field(10, "access_rights", "access_rights", "message", "map", _ACCESS_DEFINITION),
    Field(11, "org_id", "org_id", "string"),
    Field(12, "oauth_client_id", "oauth_client_id", "string"),
    Field(13, "oauth_keys", "oauth_keys", "string", "map"),
    Field(14, "basic_auth_data", "basic_auth_data", "message", "one", _BASIC_AUTH),
    Field(15, "jwt_data", "jwt_data", "message", "one", _JWT),
    Field(16, "hmac_enabled", "hmac_enabled", "bool"),
    Field(17, "hmac_secret", "hmac_string", "string"),
    Field(18, "is_inactive", "is_inactive", "bool"),
    Field(19, "apply_policy_id", "apply_policy_id", "string"),
    Field(20, "data_expires", "data_expires", "int64"),
    Field(21, "monitor", "monitor", "message", "one", _MONITOR),
    Field(22, "enable_detailed_recording", "enable_detailed_recording", "bool"),
    Field(23, "metadata", "meta_data", "string", "map"),
    Field(24, "tags", "tags", "string", "list"),
    Field(25, "alias", "alias", "string"),
    Field(26, "last_updated", "last_updated", "string"),
    Field(27, "id_extractor_deadline", "id_extractor_deadline", "int64"),
    Field(28, "session_lifetime", "session_lifetime", "int64"),
    Field(29, "apply_policies", "apply_policies", "string", "list"),
    Field(30, "certificate", "certificate", "string", sent=False),
    Field(31, "max_query_depth", "max_query_depth", "int64", sent=False),
    Field(32, "key_id", "key_id", "string"),
    Field(33, "post_expiry_action", "post_expiry_action", "string"),
    Field(34, "post_expiry_grace_period", "post_expiry_grace_period", "int64"),
)

QUOTA = "quota_remaining"
WITHOUT_QUOTA = tuple(field for field in SESSION if field.name != QUOTA)
"""What stays the same from one request of a session to the next."""

EXPECTED: dict[str, str] = {
    "int64": "an integer of 64 bits",
    "double": "a finite number",
    "bool": "true or false",
    "string": "a string",
    "message": "an object",
    "list": "a list",
    "map": "an object",
}
"""What an error says of a kind or label."""
