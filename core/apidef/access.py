"""Who may call an API and how often, as far as its definition says (tyk-core 2.2)."""

from __future__ import annotations

import json
from typing import Any

from core.apidef import features
from core.apidef.decode import Definition
from core.apidef.edits import Notes
from core.apidef.specs import AuthSpec

NOWHERE = AuthSpec("", "", "")


def token_source(definition: Definition, notes: Notes, *, plugins: bool = False) -> AuthSpec | None:
    """Return where the auth token is looked for; None for an API that asks for none. plugins: enable_coprocess is on."""
    if definition.get("use_keyless"):
        return None
    other = any(
        feature.why.startswith("it authenticates") for feature in features.found(features.API_FEATURES, definition)
    )
    by_hook = features.asks_for_plugin_auth(definition) and (plugins or features.runs_javascript(definition))
    if (other or by_hook) and not definition.get("use_standard_auth"):
        return None
    configs = definition.get("auth_configs", {})
    source = _source(configs.get("authToken") or definition.get("auth", {}))
    if source == NOWHERE:
        message = "all auth sources are disabled for authToken, at least one of header/cookie/query must be enabled"
        notes.error("$.auth_configs.authToken", message)
    return source


def _source(config: dict[str, Any]) -> AuthSpec:
    """A named parameter or cookie counts even without its flag, as recorded from Tyk."""
    header = config.get("auth_header_name") or "Authorization"
    param, cookie = config.get("param_name", ""), config.get("cookie_name", "")
    return AuthSpec(
        "" if config.get("disable_header") else header,
        (param or header) if config.get("use_param") or param else "",
        (cookie or header) if config.get("use_cookie") or cookie else "",
    )


def stripped_sources(definition: Definition) -> tuple[AuthSpec, ...]:
    """Return every place from which strip_auth_data removes credentials."""
    if not definition.get("strip_auth_data"):
        return ()
    configs = [definition.get("auth", {}), *definition.get("auth_configs", {}).values()]
    return tuple(dict.fromkeys(_source(config or {}) for config in configs))


def api_rate(definition: Definition) -> tuple[float, float] | None:
    """Return (requests, seconds) of global_rate_limit."""
    limit = definition.get("global_rate_limit", {})
    if limit.get("disabled") or limit.get("rate", 0) <= 0 or definition.get("disable_rate_limit"):
        return None
    return float(limit["rate"]), float(limit.get("per", 0))


def events_text(definition: Definition) -> str:
    """Return event_handlers as JSON text, "" if there are none."""
    events = definition.get("event_handlers", {}).get("events")
    return json.dumps({"events": events}, sort_keys=True) if events else ""


def credential_source(definition: Definition) -> AuthSpec:
    """Return where a client shows its key to a plugin, as far as events are to name it (tyk-plugins 4.4)."""
    return _source(definition.get("auth_configs", {}).get("coprocess") or {})
