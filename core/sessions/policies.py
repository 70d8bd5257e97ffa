"""Policies, and what they make of a session (tyk-core 5.7)."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from core.config.gojson import Anything, Bool, Int, ListOf, MapOf, Num, Obj, Str, walk
from core.findings import Finding
from core.sessions import merging
from core.sessions.model import ACCESS, SessionData, check_access, check_plain, check_smoothing, whole_numbers

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
NO_POLICIES = "key has no valid policies to be applied"


class PolicyError(ValueError):
    """The policies of a session cannot be applied, so the session opens nothing."""


@dataclass(frozen=True, slots=True)
class Policies:
    """All policies by organisation and id; those without an organisation under "". origins: where each came from."""

    by_id: Mapping[tuple[str, str], PolicyData] = field(default_factory=dict)
    origins: Mapping[tuple[str, str], str] = field(default_factory=dict)
    _owners: dict[str, PolicyData] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        for (_, name), policy in self.by_id.items():
            self._owners.setdefault(name, policy)

    def find(self, org: str, policy_id: str) -> PolicyData | None:
        """The policy of an organisation; another organisation's is found too, for the error it deserves."""
        return self.by_id.get((org, policy_id)) or self._owners.get(policy_id)

    def all(self) -> list[PolicyData]:
        return [self.by_id[key] for key in sorted(self.by_id, key=lambda key: (key[1], key[0]))]


def ids_of(session: SessionData) -> list[str]:
    """The policies that a session names, old field included."""
    found = list(session["apply_policies"])
    return found or ([session["apply_policy_id"]] if session["apply_policy_id"] else [])


def checked(value: Any, file: str, path: str, findings: list[Finding]) -> PolicyData | None:
    """The policy in a JSON value, every field in place; None, with error findings, if it is none."""
    if not isinstance(value, dict):
        findings.append(Finding("error", file, path, "expected an object"))
        return None
    found: list[Finding] = []
    policy: PolicyData = walk(whole_numbers(value), POLICY, file, path, found)
    check_smoothing(policy, file, path, found)
    check_plain(policy["meta_data"], file, f"{path}.meta_data", found)
    for api, access in policy["access_rights"].items():
        check_access(access, file, f'{path}.access_rights["{api}"]', found)
    if not isinstance(policy["active"], bool | None):
        found.append(Finding("error", file, f"{path}.active", "expected true or false"))
    findings += found
    return None if any(finding.severity == "error" for finding in found) else policy


def _custom(session: SessionData) -> list[PolicyData]:
    """Policies that a session brings itself, in its meta_data; they stand for those that it names."""
    values = session["meta_data"].get("policies")
    found = []
    for at, value in enumerate(values if isinstance(values, list) else ()):
        findings: list[Finding] = []
        policy = checked(value, "session", f"$.meta_data.policies[{at}]", findings)
        if policy is None:
            raise PolicyError(next(finding for finding in findings if finding.severity == "error").render())
        found.append(policy)
    return found


def chosen(session: SessionData, policies: Policies, org: str | None) -> list[PolicyData]:
    """The policies of a session that are there and served, in the order that it names them.

    org: the organisation that all have to belong to, None where it is not known. One that is missing or switched off
    (`active` is false) is left out; if none is left, or one belongs to somebody else, PolicyError is raised.
    """
    own = _custom(session)
    names = [policy["id"] for policy in own] or ids_of(session)
    if not names:
        return []
    owner = session["org_id"] or org or ""
    found = []
    for at, name in enumerate(names):
        policy = own[at] if own else policies.find(owner, name)
        if policy is None or policy["active"] is False:
            if len(names) == 1:
                raise PolicyError(f"policy {name!r:.80} is not {'known' if policy is None else 'active'}")
            continue
        if org is not None and policy["org_id"] != org:
            raise PolicyError(f"policy {name!r:.80} belongs to another organisation")
        found.append(policy)
    if not found:
        raise PolicyError(NO_POLICIES)
    return found


def apply(session: SessionData, policies: Policies, *, org: str | None) -> SessionData:
    """Return the session as its policies want it. Raises PolicyError.

    org: as in chosen. Whether a key that has policies is inactive is for them to say, not for the key. Neither session
    nor policies are changed; the result may share parts with the session, and no limits with a policy.
    """
    found = chosen(session, policies, org)
    if not found:
        return _scoped(session)
    _check_kinds(found)
    result = dict(session)
    result["meta_data"], result["tags"] = dict(session["meta_data"]), list(session["tags"])
    result["is_inactive"] = False
    merger = merging.Merger(result)
    for policy in found:
        merger.clear(policy)
    for policy in found:
        merger.add(policy)
        _add_common(result, policy)
    merger.finish()
    if not result["access_rights"]:
        # Without rights it would be a key that opens every API.
        raise PolicyError(NO_POLICIES)
    return result


def _scoped(session: SessionData) -> SessionData:
    """A key without policies counts by API where an API has limits of its own."""
    rights = session["access_rights"]
    change = {
        api: {**right, "allowance_scope": api}
        for api, right in rights.items()
        if right["allowance_scope"] != api and any(right["limit"].values())
    }
    return {**session, "access_rights": {**rights, **change}} if change else session


def _check_kinds(found: Iterable[PolicyData]) -> None:
    per_api = partitioned = False
    for policy in found:
        parts = any(policy["partitions"][key] for key in merging.PARTITIONS)
        if policy["partitions"]["per_api"] and parts:
            raise PolicyError(f"policy {policy['id']!r:.80} is per_api and partitioned at once")
        per_api |= policy["partitions"]["per_api"] and bool(policy["access_rights"])
        partitioned |= parts
    if per_api and partitioned:
        raise PolicyError("cannot apply multiple policies when some have per_api set and some are partitioned")


def _add_common(result: SessionData, policy: PolicyData) -> None:
    """What every policy decides, whatever its partitions."""
    result["is_inactive"] |= policy["is_inactive"]
    result["tags"] += [tag for tag in dict.fromkeys(policy["tags"]) if tag not in result["tags"]]
    result["meta_data"].update(policy["meta_data"])
    for key in ("hmac_enabled", "enable_http_signature_validation"):
        result[key] |= policy[key]
    for key in ("post_expiry_action", "post_expiry_grace_period"):
        result[key] = policy[key] or result[key]
    updated = policy["last_updated"]
    result["last_updated"] = max(
        result["last_updated"],
        str(updated) if isinstance(updated, str | int) and not isinstance(updated, bool) else "",
        key=lambda text: (len(text), text),     # unix seconds
    )


def expiry(session: SessionData, policies: Policies, org: str | None, now: int | None = None) -> int:
    """When a key that is created now expires: what the last of its policies that says something says
    (key_expires_in), else its own `expires`. Unix seconds. Raises PolicyError."""
    started = int(time.time()) if now is None else now
    lives = [policy["key_expires_in"] for policy in chosen(session, policies, org) if policy["key_expires_in"] > 0]
    return started + int(lives[-1]) if lives else int(session["expires"])
