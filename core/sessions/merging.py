"""How the limits and access rights of several policies become those of one session (tyk-core 5.7).

The limits of a policy are what is allowed at least, so of two the larger one wins; -1 is unlimited.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from core.config.gojson import zero
from core.sessions.model import ACCESS, SessionData

PARTITIONS = ("quota", "rate_limit", "complexity", "acl")

_RATE = ("rate", "per", "smoothing")
_THROTTLE = ("throttle_interval", "throttle_retry_limit")
_QUOTA = ("quota_max", "quota_renewal_rate", "quota_renews")
_POLICY_LIMIT = (*_RATE, *_THROTTLE, "max_query_depth", "quota_max", "quota_renewal_rate")
_TYPES = ("restricted_types", "allowed_types")

Limit = dict[str, Any]
Right = dict[str, Any]


def parts_of(policy: Mapping[str, Any]) -> frozenset[str]:
    """What a policy decides about; one that names nothing decides about everything."""
    found = frozenset(key for key in PARTITIONS if policy["partitions"][key])
    return found or frozenset(PARTITIONS)


def seconds_each(limit: Mapping[str, Any]) -> float:
    """Seconds between two requests; 0 for a limit that does not limit."""
    return limit["per"] / limit["rate"] if limit["rate"] > 0 and limit["per"] > 0 else 0.0


def more(value: float, other: float) -> bool:
    """Whether a maximum allows more than another."""
    return value == -1 or (other != -1 and value > other)


class Merger:
    """Works on one session: clear() for every policy, then add() for every policy, then finish()."""

    def __init__(self, session: SessionData) -> None:
        """session: a copy of the top level, which is changed; what it holds is replaced, never changed."""
        self._session = session
        self._own: dict[str, Right] = session["access_rights"]
        self._rights: dict[str, Right] = {}
        self._parts: dict[str, set[str]] = {}
        self._owners: dict[str, str] = {}

    def clear(self, policy: Mapping[str, Any]) -> None:
        """Forget what the session says about the parts that a policy decides."""
        session, parts = self._session, parts_of(policy)
        if "quota" in parts:
            session["quota_max"] = session["quota_remaining"] = 0
        if "rate_limit" in parts:
            session["rate"] = session["per"] = session["throttle_interval"] = 0.0
            session["smoothing"], session["throttle_retry_limit"] = None, 0
        if "complexity" in parts:
            session["max_query_depth"] = 0

    def add(self, policy: Mapping[str, Any]) -> None:
        """Merge one policy."""
        if policy["partitions"]["per_api"]:
            self._add_per_api(policy)
            return
        parts = parts_of(policy)
        for api, right in policy["access_rights"].items():
            mine = self._rights.get(api)
            if mine is None:
                mine = self._rights[api] = _new_right(right, self._own.get(api))
            self._parts.setdefault(api, set()).update(parts)
            if "acl" in parts:
                _merge_rights(mine, right)
                self._owners[api] = policy["id"]
            _merge_limit(mine["limit"], policy, parts)
            _merge_limit(self._session, policy, parts)
            if "rate_limit" in parts:
                mine["endpoints"] = merge_endpoints(right["endpoints"], mine["endpoints"])
        if not policy["access_rights"]:
            self._set_root(policy, parts)

    def _set_root(self, policy: Mapping[str, Any], parts: Iterable[str]) -> None:
        """A policy that names no API sets the limits of the key itself."""
        names: list[str] = []
        names += (*_RATE, *_THROTTLE) if "rate_limit" in parts else ()
        names += ("max_query_depth",) if "complexity" in parts else ()
        names += ("quota_max", "quota_renewal_rate") if "quota" in parts else ()
        self._session.update((name, policy[name]) for name in names)

    def _add_per_api(self, policy: Mapping[str, Any]) -> None:
        """Every API counts by itself; one that names no limits has those of its policy, and shares its counters."""
        for api, right in policy["access_rights"].items():
            mine = {**right, "limit": dict(right["limit"]), "allowance_scope": api}
            own = self._own.get(api)
            if not any(mine["limit"].values()):
                mine["allowance_scope"] = policy["id"]
                mine["limit"].update((name, policy[name]) for name in _POLICY_LIMIT)
            if own is not None:
                _keep(mine, own)
                mine["disable_introspection"] |= own["disable_introspection"]
            before = self._rights.get(api)
            if before is not None:
                _merge_per_api(mine, before)
            self._rights[api] = mine
            self._parts[api] = set(PARTITIONS)
            self._owners[api] = mine["allowance_scope"]

    def finish(self) -> None:
        """Give the session its rights: those that a policy granted, or its own with the limits of the policies."""
        session = self._session
        several = len(set(self._owners.values())) > 1
        granted: dict[str, Right] = {}
        kept = dict(self._own)
        for api, right in self._rights.items():
            parts = self._parts[api]
            if "acl" in parts:
                _inherit(right, session, parts)
                if several and not right["allowance_scope"]:
                    right["allowance_scope"] = self._owners[api]
                granted[api] = right
            elif api in kept:
                kept[api] = _limited(kept[api], right, parts)
        self._update_root(granted)
        session["access_rights"] = granted or kept

    def _update_root(self, granted: Mapping[str, Right]) -> None:
        """A key with one API shows the limits of that API as its own."""
        for part in ("quota", "rate_limit", "complexity"):
            if sum(part in parts for parts in self._parts.values()) != 1:
                return
        for right in granted.values():
            self._session.update((name, right["limit"][name]) for name in (*_RATE, *_QUOTA, "max_query_depth"))


def _new_right(right: Right, own: Right | None) -> Right:
    found: Right = zero(ACCESS)
    found["api_id"], found["api_name"] = right["api_id"], right["api_name"]
    if own is not None:
        _keep(found, own)
    return found


def _keep(mine: Right, own: Right) -> None:
    """A quota that runs goes on."""
    if any(own["limit"].values()):
        mine["limit"]["quota_renews"] = own["limit"]["quota_renews"]


def _merge_limit(into: Limit, policy: Mapping[str, Any], parts: Iterable[str]) -> None:
    if "quota" in parts:
        if more(policy["quota_max"], into["quota_max"]):
            into["quota_max"] = policy["quota_max"]
        into["quota_renewal_rate"] = max(into["quota_renewal_rate"], policy["quota_renewal_rate"])
    if "rate_limit" in parts:
        said = policy["rate"] and policy["per"]
        if said and (not (into["rate"] and into["per"]) or seconds_each(into) > seconds_each(policy)):
            into.update((name, policy[name]) for name in _RATE)
        for name in _THROTTLE:
            into[name] = max(into[name], policy[name])
    if "complexity" in parts and more(policy["max_query_depth"], into["max_query_depth"]):
        into["max_query_depth"] = policy["max_query_depth"]


def _merge_per_api(mine: Right, before: Right) -> None:
    limit, old = mine["limit"], before["limit"]
    updated = False
    if seconds_each(limit) > seconds_each(old):
        limit.update((name, old[name]) for name in _RATE)
        updated = True
    if old["quota_max"] != limit["quota_max"] and more(old["quota_max"], limit["quota_max"]):
        limit["quota_max"] = old["quota_max"]
        updated = True
    if more(old["quota_renewal_rate"], limit["quota_renewal_rate"]):
        limit["quota_renewal_rate"] = old["quota_renewal_rate"]
    if limit["quota_max"] == -1:
        limit["quota_renewal_rate"] = 0
    if updated:
        mine["allowance_scope"] = before["allowance_scope"]
    mine["endpoints"] = merge_endpoints(mine["endpoints"], before["endpoints"])


def _merge_rights(mine: Right, right: Right) -> None:
    """Add what another policy allows at an API. Lists are new ones, as policies keep theirs."""
    mine["disable_introspection"] |= right["disable_introspection"]
    mine["versions"] = list(dict.fromkeys((*mine["versions"], *right["versions"])))
    mine["allowed_urls"] = _merge_urls(mine["allowed_urls"], right["allowed_urls"])
    for name in _TYPES:
        mine[name] = _merge_types(mine[name], right[name])
    mine["field_access_rights"] = _merge_fields(mine["field_access_rights"], right["field_access_rights"])
    for name, value in right.items():
        # What no part of this gateway looks at is only carried along.
        if name.startswith(("json_rpc", "mcp_")) and not mine[name]:
            mine[name] = value


def _merge_urls(old: list[dict[str, Any]], new: list[dict[str, Any]]) -> list[dict[str, Any]]:
    found = {entry["url"]: dict(entry) for entry in old}
    for entry in new:
        mine = found.get(entry["url"])
        if mine is None:
            found[entry["url"]] = dict(entry)
        else:
            mine["methods"] = list(dict.fromkeys((*mine["methods"], *entry["methods"])))
    return list(found.values())


def _merge_types(old: list[dict[str, Any]], new: list[dict[str, Any]]) -> list[dict[str, Any]]:
    found: dict[str, list[str]] = {}
    for entry in (*old, *new):
        found[entry["name"]] = list(dict.fromkeys((*found.get(entry["name"], ()), *entry["fields"])))
    return [{"name": name, "fields": fields} for name, fields in found.items()]


def _merge_fields(old: list[dict[str, Any]], new: list[dict[str, Any]]) -> list[dict[str, Any]]:
    found = {(entry["type_name"], entry["field_name"]): entry for entry in old}
    for entry in new:
        key = entry["type_name"], entry["field_name"]
        mine = found.get(key)
        if mine is None or more(entry["limits"]["max_query_depth"], mine["limits"]["max_query_depth"]):
            found[key] = entry
    return list(found.values())


def merge_endpoints(new: list[dict[str, Any]], old: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rates of both for paths and methods; where both say something, the faster one."""
    if not new or not old:
        return new or old
    found: dict[tuple[str, str], Limit] = {}
    for endpoint in (*new, *old):
        for method in endpoint["methods"]:
            key, limit = (endpoint["path"], method["name"]), method["limit"]
            mine = found.get(key)
            if mine is None or (seconds_each(limit), -limit["rate"]) < (seconds_each(mine), -mine["rate"]):
                found[key] = limit
    paths: dict[str, list[dict[str, Any]]] = {}
    for (path, method), limit in found.items():
        paths.setdefault(path, []).append({"name": method, "limit": limit})
    return [{"path": path, "methods": methods} for path, methods in paths.items()]


def _inherit(right: Right, session: SessionData, parts: set[str]) -> None:
    """What no policy decided comes from the session."""
    limit = right["limit"]
    if "rate_limit" not in parts:
        limit.update((name, session[name]) for name in (*_RATE, *_THROTTLE))
        right["endpoints"] = []
    if "complexity" not in parts:
        limit["max_query_depth"] = session["max_query_depth"]
    if "quota" not in parts:
        limit.update((name, session[name]) for name in _QUOTA)


def _limited(own: Right, right: Right, parts: set[str]) -> Right:
    """A right that the session has itself, with the limits that policies without access rights of their own give."""
    found = {**own, "limit": dict(own["limit"])}
    names: list[str] = []
    if "rate_limit" in parts:
        names += (*_RATE, *_THROTTLE)
        found["endpoints"] = right["endpoints"]
    names += _QUOTA if "quota" in parts else ()
    names += ("max_query_depth",) if "complexity" in parts else ()
    found["limit"].update((name, right["limit"][name]) for name in names)
    return found
