"""Policies, and what they make of a session (tyk-core 5.7)."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from core.config.gojson import Anything, Bool, Int, ListOf, MapOf, Num, Obj, Str
from core.sessions.model import ACCESS, LIMIT_FIELDS, SessionData

PolicyData = dict[str, Any]

POLICY = Obj(
    {
        "_id": Anything(),
        "id": Str(),
        "name": Str(),
        "org_id": Str(),
        "rate": Num(),
        "per": Num(),
        "quota_max": Int(),
        "quota_renewal_rate": Int(),
        "throttle_interval": Num(),
        "throttle_retry_limit": Int(),
        "max_query_depth": Int(),
        "access_rights": MapOf(ACCESS),
        "hmac_enabled": Bool(),
        "enable_http_signature_validation": Bool(),
        "active": Anything(),
        "is_inactive": Bool(),
        "tags": ListOf(Str()),
        "key_expires_in": Int(),
        "post_expiry_action": Str(),
        "post_expiry_grace_period": Int(),
        "partitions": Obj(
            {"quota": Bool(), "rate_limit": Bool(), "complexity": Bool(), "acl": Bool(), "per_api": Bool()}
        ),
        "last_updated": Anything(),
        "meta_data": MapOf(Anything()),
        "graphql_access_rights": Anything(),
        "smoothing": Anything(),
    }
)
_RATE = ("rate", "per", "smoothing")
_THROTTLE = ("throttle_interval", "throttle_retry_limit")
_QUOTA = ("quota_max", "quota_renewal_rate")


class PolicyError(ValueError):
    """The policies of a session cannot be applied, so the session opens nothing."""


@dataclass(frozen=True, slots=True)
class Policies:
    """All policies by organisation and id; those without an organisation under ""."""

    by_id: Mapping[tuple[str, str], PolicyData] = field(default_factory=dict)

    def find(self, org: str, policy_id: str) -> PolicyData | None:
        """The policy of an organisation; another organisation's is found too, for the error it deserves."""
        found = self.by_id.get((org, policy_id)) or self.by_id.get(("", policy_id))
        if found is not None:
            return found
        return next((policy for (_, name), policy in self.by_id.items() if name == policy_id), None)

    def all(self) -> list[PolicyData]:
        return [self.by_id[key] for key in sorted(self.by_id, key=lambda key: (key[1], key[0]))]


def ids_of(session: SessionData) -> list[str]:
    """The policies that a session names, old field included."""
    found = list(session["apply_policies"])
    return found or ([session["apply_policy_id"]] if session["apply_policy_id"] else [])


def _chosen(session: SessionData, policies: Policies, org: str) -> list[PolicyData]:
    custom = session["meta_data"].get("policies")
    if isinstance(custom, list) and custom:
        return [_custom(value) for value in custom]
    names = ids_of(session)
    found = []
    for name in names:
        policy = policies.find(session["org_id"] or org, name)
        if policy is None:
            if len(names) == 1:
                raise PolicyError(f"policy {name!r:.80} is not known")
            continue
        if policy["org_id"] and org and policy["org_id"] != org:
            raise PolicyError(f"policy {name!r:.80} belongs to another organisation")
        if policy["active"] is False:
            raise PolicyError(f"policy {name!r:.80} is not active")
        found.append(policy)
    if names and not found:
        raise PolicyError("none of the key's policies is known")
    return found


def _custom(value: Any) -> PolicyData:
    from core.config.gojson import walk  # noqa: PLC0415

    findings: list[Any] = []
    if not isinstance(value, dict):
        raise PolicyError("a policy in the key's meta_data is not an object")
    policy: PolicyData = walk(value, POLICY, "meta_data.policies", "$", findings)
    for finding in findings:
        if finding.severity == "error":
            raise PolicyError(finding.render())
    return policy


def _partitions(policy: PolicyData) -> dict[str, bool]:
    """What a policy decides about; one that names nothing decides about everything."""
    parts = {key: bool(policy["partitions"][key]) for key in ("quota", "rate_limit", "complexity", "acl")}
    if not any(parts.values()) and not policy["partitions"]["per_api"]:
        return dict.fromkeys(parts, True)
    return parts


def apply(session: SessionData, policies: Policies, *, org: str) -> SessionData:
    """Return the session as its policies want it; the same object when it has none. Raises PolicyError.

    org: the organisation of the API that the session is used at.
    """
    chosen = _chosen(session, policies, org)
    if not chosen:
        return session
    result = copy.deepcopy(session)
    per_api = [policy for policy in chosen if policy["partitions"]["per_api"]]
    for policy in per_api:
        if any(policy["partitions"][key] for key in ("quota", "rate_limit", "complexity", "acl")):
            raise PolicyError("a policy cannot be per_api and partitioned at once")
    if per_api and len(per_api) != len(chosen):
        raise PolicyError("policies that are per_api cannot be mixed with others")
    _clear(result, chosen)
    rights: dict[str, dict[str, Any]] = {}
    owners: dict[str, str] = {}
    if per_api:
        _apply_per_api(chosen, rights)
    else:
        _apply_partitions(result, chosen, rights, owners)
    for policy in chosen:
        _apply_common(result, policy)
    if not rights and any(policy["access_rights"] for policy in chosen):
        raise PolicyError("key has no valid policies to be applied")
    if rights:
        result["access_rights"] = rights
        _finish(result, rights, owners, per_api=bool(per_api))
    elif not result["access_rights"] and not any(_partitions(p)["acl"] for p in chosen):
        raise PolicyError("key has no valid policies to be applied")
    result["tags"] = result["tags"] or []
    return result


def _clear(result: SessionData, chosen: Iterable[PolicyData]) -> None:
    for policy in chosen:
        parts = _partitions(policy)
        if policy["partitions"]["per_api"]:
            continue
        if parts["quota"]:
            result["quota_max"] = result["quota_renewal_rate"] = 0
        if parts["rate_limit"]:
            result["rate"] = result["per"] = 0.0
            result["throttle_interval"], result["throttle_retry_limit"] = 0.0, 0
        if parts["complexity"]:
            result["max_query_depth"] = 0


def _apply_per_api(chosen: Iterable[PolicyData], rights: dict[str, dict[str, Any]]) -> None:
    """Every API counts by itself; what it does not say it takes from its policy."""
    for policy in chosen:
        for api, right in policy["access_rights"].items():
            if api in rights:
                raise PolicyError(f"two per_api policies speak of API {api!r:.80}")
            mine = copy.deepcopy(right)
            if not any(mine["limit"].values()):
                mine["limit"] = _own_limit(policy)
            mine["allowance_scope"] = api
            rights[api] = mine


def _own_limit(policy: PolicyData) -> dict[str, Any]:
    found = {key: 0.0 if isinstance(kind, Num) else 0 for key, kind in LIMIT_FIELDS.items()}
    found["smoothing"] = None   # type: ignore[assignment]
    for key in (*_RATE, *_THROTTLE, *_QUOTA, "max_query_depth"):
        found[key] = policy[key]
    return found


def faster(rate: float, per: float, other_rate: float, other_per: float) -> bool:
    """Whether the first rate lets more through; a rate of 0 says nothing."""
    if rate <= 0:
        return rate < 0 <= other_rate
    return other_rate == 0 or (other_rate > 0 and rate * (other_per or 1) > other_rate * (per or 1))


def _more(value: int, other: int) -> bool:
    return other != -1 and (value == -1 or value > other)


def _merge_limits(into: dict[str, Any], limit: Mapping[str, Any], parts: Mapping[str, bool]) -> None:
    if parts["quota"]:
        if _more(limit["quota_max"], into["quota_max"]):
            into["quota_max"] = limit["quota_max"]
        into["quota_renewal_rate"] = max(into["quota_renewal_rate"], limit["quota_renewal_rate"])
    if parts["rate_limit"]:
        if faster(limit["rate"], limit["per"], into["rate"], into["per"]):
            for key in _RATE:
                into[key] = limit[key]
        for key in _THROTTLE:
            into[key] = max(into[key], limit[key])
    if parts["complexity"] and _more(limit["max_query_depth"], into["max_query_depth"]):
        into["max_query_depth"] = limit["max_query_depth"]


def _apply_partitions(
    result: SessionData, chosen: list[PolicyData], rights: dict[str, dict[str, Any]], owners: dict[str, str]
) -> None:
    for policy in chosen:
        parts = _partitions(policy)
        if not policy["access_rights"]:
            _merge_limits(result, policy, parts)
            continue
        for api, right in policy["access_rights"].items():
            mine = rights.get(api)
            if mine is None:
                mine = rights[api] = copy.deepcopy(right)
                mine["limit"] = _own_limit(dict.fromkeys((*_RATE, *_THROTTLE, *_QUOTA, "max_query_depth"), 0))
                mine["limit"]["smoothing"] = None
                mine["versions"], mine["allowed_urls"] = [], []
            if parts["acl"]:
                _merge_rights(mine, right)
                owners[api] = policy["id"]
            limit = right["limit"] if any(right["limit"].values()) else policy
            _merge_limits(mine["limit"], limit, parts)


def _merge_rights(mine: dict[str, Any], right: Mapping[str, Any]) -> None:
    mine["versions"] += [version for version in right["versions"] if version not in mine["versions"]]
    for entry in right["allowed_urls"]:
        same = next((old for old in mine["allowed_urls"] if old["url"] == entry["url"]), None)
        if same is None:
            mine["allowed_urls"].append(copy.deepcopy(entry))
        else:
            same["methods"] += [method for method in entry["methods"] if method not in same["methods"]]


def _apply_common(result: SessionData, policy: PolicyData) -> None:
    result["is_inactive"] = result["is_inactive"] or policy["is_inactive"]
    result["tags"] += [tag for tag in policy["tags"] if tag not in result["tags"]]
    result["meta_data"].update(policy["meta_data"] or {})
    result["hmac_enabled"] = result["hmac_enabled"] or policy["hmac_enabled"]
    result["enable_http_signature_validation"] |= policy["enable_http_signature_validation"]
    updated = str(policy["last_updated"] or "")
    if updated.isdigit() and int(updated) > int(result["last_updated"] or 0):
        result["last_updated"] = updated
    if policy["post_expiry_action"]:
        result["post_expiry_action"] = policy["post_expiry_action"]
        result["post_expiry_grace_period"] = policy["post_expiry_grace_period"]


def _finish(
    result: SessionData, rights: dict[str, dict[str, Any]], owners: dict[str, str], *, per_api: bool
) -> None:
    """Rights without an owner go; what no policy decided comes from the session (tyk-core 5.7, step 7)."""
    if per_api:
        if len(rights) == 1:
            _copy_up(result, next(iter(rights.values()))["limit"])
        return
    if owners:
        for api in [api for api in rights if api not in owners]:
            del rights[api]
    elif result["access_rights"]:
        # No policy decides about access: the limits are for what the key itself names.
        raise PolicyError("key has no valid policies to be applied")
    many = len(set(owners.values())) > 1
    for api, right in rights.items():
        limit = right["limit"]
        if limit["rate"] == 0 and limit["per"] == 0:
            for key in (*_RATE, *_THROTTLE):
                limit[key] = result[key]
        if limit["quota_max"] == 0 and limit["quota_renewal_rate"] == 0:
            for key in (*_QUOTA, "quota_renews", "quota_remaining"):
                limit[key] = result[key]
        if limit["max_query_depth"] == 0:
            limit["max_query_depth"] = result["max_query_depth"]
        if many:
            right["allowance_scope"] = owners[api]
    if len(rights) == 1:
        _copy_up(result, next(iter(rights.values()))["limit"])


def _copy_up(result: SessionData, limit: Mapping[str, Any]) -> None:
    for key in (*_RATE, *_THROTTLE, *_QUOTA, "max_query_depth"):
        result[key] = limit[key]


def expiry(session: SessionData, policies: Policies, org: str, now: int) -> int:
    """When a key that is created now ends because of its policies (key_expires_in); its own `expires` without."""
    ends = [policy["key_expires_in"] for policy in _chosen(session, policies, org) if policy["key_expires_in"] > 0]
    return now + max(ends) if ends else int(session["expires"])
