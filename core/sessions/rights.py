"""What a session may do at one API, in the form that the request path needs (tyk-core 3.5, 5.1, 5.5, 5.6)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from core.apidef.options import CompileOptions
from core.apidef.patterns import path_pattern, translated
from core.sessions.model import SessionData
from core.sessions.murmur import murmur32

_VARIABLE = re.compile(r"\$tyk_meta\.([A-Za-z0-9_\-.]+)", re.ASCII)


@dataclass(frozen=True, slots=True)
class EndpointLimit:
    """A rate of its own for a path and method."""

    pattern: str
    method: str
    rate: float
    per: float
    rate_key: str


@dataclass(frozen=True, slots=True)
class Access:
    """allowed: the key opens the API; versions: names it may use, None for all; allowed_urls: (pattern, methods) of
    which one must fit, empty for all; expires: unix seconds; quota_*: in requests, seconds and unix seconds;
    rate_key, quota_key: names of the counters in the store."""

    allowed: bool
    versions: frozenset[str] | None
    allowed_urls: tuple[tuple[str, frozenset[str]], ...]
    inactive: bool
    expires: int
    rate: float
    per: float
    throttle_interval: float
    throttle_retry_limit: int
    quota_max: int
    quota_renewal: int
    quota_renews: int
    quota_remaining: int
    rate_key: str
    quota_key: str
    last_updated: str
    endpoints: tuple[EndpointLimit, ...]


def limit_of(session: SessionData, api_id: str) -> dict[str, Any]:
    """The limits that apply at an API: its own if they say anything, else the session's."""
    own = session["access_rights"].get(api_id, {}).get("limit")
    return own if own and any(v for k, v in own.items()) else session


def shared_name(session: SessionData) -> str:
    """The name under which a key counts together with others (meta_data.rate_limit_pattern), "" for its own.

    Raises ValueError for a pattern that depends on the request: what it asks for cannot be counted.
    """
    pattern = session["meta_data"].get("rate_limit_pattern")
    if not isinstance(pattern, str):
        return ""
    found = _VARIABLE.sub(lambda match: str(session["meta_data"].get(match[1], "")), pattern)
    if "$tyk_context." in found or "$secret_" in found:
        raise ValueError("meta_data.rate_limit_pattern: only $tyk_meta variables are supported")
    return found


def access(
    session: SessionData, api_id: str, not_versioned: bool, name: str, options: CompileOptions
) -> Access:
    """Compile; name: what stands for the key in the store.

    Raises re.error for a URL pattern that does not compile, ValueError for a rate_limit_pattern that cannot be used.
    """
    shared = shared_name(session)
    name = shared or name
    rights = session["access_rights"]
    mine = rights.get(api_id)
    limit = limit_of(session, api_id)
    scope = f"{mine['allowance_scope']}-" if mine and mine["allowance_scope"] and limit is not session else ""
    rate_key = f"rate-limit-{scope}{name}"
    urls = []
    endpoints = []
    for entry in mine["allowed_urls"] if mine else ():
        pattern = _pattern(entry["url"], options)
        urls.append((pattern, frozenset(entry["methods"])))
    for entry in mine["endpoints"] if mine else ():
        for method in entry["methods"]:
            suffix = murmur32(f"{method['name']}:{entry['path']}".encode())
            endpoints.append(
                EndpointLimit(
                    path_pattern(entry["path"], options, False),
                    method["name"].upper(),
                    method["limit"]["rate"],
                    method["limit"]["per"],
                    f"{rate_key}-{suffix}",
                )
            )
    return Access(
        allowed=mine is not None or not rights,
        versions=None if not_versioned or mine is None else frozenset(mine["versions"]),
        allowed_urls=tuple(urls),
        inactive=session["is_inactive"],
        expires=session["expires"],
        rate=limit["rate"],
        per=limit["per"],
        throttle_interval=limit["throttle_interval"],
        throttle_retry_limit=limit["throttle_retry_limit"],
        quota_max=limit["quota_max"],
        quota_renewal=limit["quota_renewal_rate"],
        quota_renews=limit["quota_renews"],
        quota_remaining=limit["quota_remaining"],
        rate_key=rate_key,
        quota_key=f"quota-{scope}{name}",
        # Keys that count together do so whenever each of them was changed.
        last_updated="" if shared else session["last_updated"],
        endpoints=tuple(endpoints),
    )


def _pattern(url: str, options: CompileOptions) -> str:
    """A URL of allowed_urls: a bare regex, or with prefix matching a path with {variables} (tyk-core 5.1)."""
    if not options.enable_path_prefix_matching:
        return translated(url)
    return path_pattern(url, options, False)
