"""Policies from files: one file with all of them, or a directory with one file each (tyk-core 1.2, 5.7)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core.config.gojson import decode_document, walk
from core.findings import Finding
from core.sessions.policies import POLICY, Policies, PolicyData

SAFE_ID = re.compile(r"[A-Za-z0-9._~-]+\Z")
MAX_BYTES = 16 * 1024 * 1024


@dataclass(slots=True)
class PolicyResult:
    """What was read, and everything to report. A file that fails leaves the policies it gave before."""

    policies: Policies
    findings: list[Finding] = field(default_factory=list)


def read_policies(config: Any, before: Policies) -> PolicyResult:
    """Read the policies that tyk.conf names; none when it names no place."""
    options = config.policies
    if options.policy_source in ("service", "rpc"):
        text = f"policies from {options.policy_source!r} are not supported, use \"file\""
        return PolicyResult(before, [Finding("error", "tyk.conf", "$.policies.policy_source", text)])
    result = PolicyResult(Policies())
    found: dict[tuple[str, str], PolicyData] = {}
    files: list[Path] = []
    if options.policy_path:
        try:
            files = sorted(Path(options.policy_path).glob("*.json"))
            if not Path(options.policy_path).is_dir():
                raise NotADirectoryError(20, "it is not a directory")
        except OSError as error:
            text = f"the directory of policies cannot be read: {error.strerror}"
            return PolicyResult(before, [Finding("error", options.policy_path, "$.policies.policy_path", text)])
        for file in files:
            _add(found, _one(file, result.findings), before, str(file), config, result.findings)
    elif options.policy_record_name:
        file = Path(options.policy_record_name)
        raw = _read(file, result.findings)
        if raw is None:
            return PolicyResult(before, result.findings)
        for name, value in raw.items():
            policy = _walk(value, str(file), f"$.{name}", result.findings)
            if policy is not None:
                policy["id"] = name
            _add(found, policy, before, name, config, result.findings)
    result.policies = Policies(found)
    return result


def _add(
    found: dict[tuple[str, str], PolicyData],
    policy: PolicyData | None,
    before: Policies,
    origin: str,
    config: Any,
    findings: list[Finding],
) -> None:
    """Take a policy; for a broken one, what it was before."""
    if policy is None:
        name = Path(origin).stem
        old = next((item for item in before.by_id.items() if item[0][1] == name), None)
        if old is not None:
            found[old[0]] = old[1]
        return
    if not policy["id"]:
        findings.append(Finding("error", origin, "$.id", "the policy has no id"))
    elif not config.allow_unsafe_policy_ids and not SAFE_ID.match(policy["id"]):
        text = f"{policy['id']!r:.80} is not a policy id; allowed are a-z, A-Z, 0-9, ., _, -, ~"
        findings.append(Finding("error", origin, "$.id", text, "Or set allow_unsafe_policy_ids."))
    else:
        found[policy["org_id"], policy["id"]] = policy


def _one(file: Path, findings: list[Finding]) -> PolicyData | None:
    raw = _read(file, findings)
    if raw is None:
        return None
    policy = _walk(raw, str(file), "$", findings)
    if policy is not None and not policy["id"]:
        oid = policy["_id"]
        policy["id"] = str(oid.get("$oid", "")) if isinstance(oid, dict) else str(oid or file.stem)
    return policy


def _read(file: Path, findings: list[Finding]) -> dict[str, Any] | None:
    try:
        with file.open("rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
    except OSError as error:
        findings.append(Finding("error", str(file), "", f"the policies cannot be read: {error.strerror}"))
        return None
    if len(raw) > MAX_BYTES:
        findings.append(Finding("error", str(file), "", f"the file is too large: at most {MAX_BYTES} bytes are read"))
        return None
    value, found = decode_document(raw, str(file))
    findings += found
    if any(finding.severity == "error" for finding in found):
        return None
    if not isinstance(value, dict):
        findings.append(Finding("error", str(file), "$", "expected an object"))
        return None
    return value


def _walk(value: Any, file: str, path: str, findings: list[Finding]) -> PolicyData | None:
    if not isinstance(value, dict):
        findings.append(Finding("error", file, path, "expected an object"))
        return None
    found: list[Finding] = []
    policy: PolicyData = walk(value, POLICY, file, path, found)
    findings += found
    for key in ("access_rights", "meta_data"):
        policy[key] = policy[key] or {}
    return None if any(finding.severity == "error" for finding in found) else policy
