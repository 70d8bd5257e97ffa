"""Policies from files: one file with all of them, or a directory with one file each (tyk-core 1.2, 5.7)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core.config.gojson import decode_document, join_path
from core.findings import Finding
from core.sessions.policies import Policies, PolicyData, checked

SAFE_ID = re.compile(r"[A-Za-z0-9._~-]+\Z")
MAX_BYTES = 16 * 1024 * 1024
DASHBOARD = ("service", "rpc")


@dataclass(slots=True)
class PolicyResult:
    """What was read, and everything to report. A policy that cannot be read stays what it was before."""

    policies: Policies
    findings: list[Finding] = field(default_factory=list)


def read_policies(config: Any, before: Policies) -> PolicyResult:
    """Read the policies that tyk.conf names; none when it names no place. Nothing is raised."""
    options = config.policies
    if options.policy_source in DASHBOARD:
        text = f'policies from {options.policy_source!r} are not supported: expected "file" or nothing'
        advice = "Keys with policies are refused until policies are read from policy_path or policy_record_name."
        return PolicyResult(Policies(), [Finding("error", "tyk.conf", "$.policies.policy_source", text, advice)])
    source = _Source(config.allow_unsafe_policy_ids, before)
    if options.policy_source not in ("", "file"):
        text = f"{options.policy_source!r:.80} is no source of policies, so files are read"
        source.findings.append(Finding("warning", "tyk.conf", "$.policies.policy_source", text))
    if options.policy_path:
        source.directory(Path(options.policy_path))
    elif options.policy_record_name:
        source.record(Path(options.policy_record_name))
    return PolicyResult(Policies(source.found, source.origins), source.findings)


class _Source:
    """Collects policies, and where each came from."""

    def __init__(self, any_id: bool, before: Policies) -> None:
        self.found: dict[tuple[str, str], PolicyData] = {}
        self.origins: dict[tuple[str, str], str] = {}
        self.findings: list[Finding] = []
        self._any_id = any_id
        self._before = before

    def directory(self, path: Path) -> None:
        """One policy in each file whose name ends in .json."""
        try:
            files = sorted(entry for entry in path.iterdir() if entry.suffix == ".json")
        except OSError as error:
            text = f"the directory of policies cannot be read: {error.strerror}"
            self.findings.append(Finding("error", str(path), "", text, "See policies.policy_path in tyk.conf."))
            self._keep(str(path))
            return
        for file in files:
            value = self._read(file)
            policy = None if value is None else checked(value, str(file), "$", self.findings)
            if policy is not None:
                policy["id"] = policy["id"] or object_id(policy["_id"])
            self._add(policy, str(file), str(file), "$")

    def record(self, file: Path) -> None:
        """One object with all policies; its keys are their ids."""
        value = self._read(file)
        if value is None:
            self._keep(str(file))
            return
        for name, item in value.items():
            place = join_path("$", name)
            policy = checked(item, str(file), place, self.findings)
            if policy is not None:
                policy["id"] = name
            self._add(policy, f"{file}: {place}", str(file), place)

    def _keep(self, origin: str) -> None:
        """Take what a place gave before, when it cannot be read now."""
        for key, old in self._before.origins.items():
            if old == origin or old.startswith((f"{origin}/", f"{origin}: ")):
                self.found.setdefault(key, self._before.by_id[key])
                self.origins.setdefault(key, old)

    def _add(self, policy: PolicyData | None, origin: str, file: str, path: str) -> None:
        if policy is None:
            self._keep(origin)
            return
        key = policy["org_id"], policy["id"]
        if not policy["id"]:
            text = "the policy has no id: expected a string, or an object id under _id"
            self.findings.append(Finding("error", file, f"{path}.id", text))
        elif not self._any_id and not SAFE_ID.match(policy["id"]):
            text = f"{policy['id']!r:.80} is not a policy id; allowed are a-z, A-Z, 0-9, ., _, -, ~"
            self.findings.append(Finding("error", file, f"{path}.id", text, "Or set allow_unsafe_policy_ids."))
        else:
            if key in self.found:
                text = f"policy {policy['id']!r:.80} is in {self.origins[key]} too; this one counts"
                self.findings.append(Finding("warning", file, f"{path}.id", text, "Keep one of them."))
            self.found[key] = policy
            self.origins[key] = origin

    def _read(self, file: Path) -> dict[str, Any] | None:
        try:
            with file.open("rb") as stream:
                raw = stream.read(MAX_BYTES + 1)
        except OSError as error:
            self.findings.append(Finding("error", str(file), "", f"the policies cannot be read: {error.strerror}"))
            return None
        value, found = decode_document(raw, str(file), max_bytes=MAX_BYTES)
        self.findings += found
        if any(finding.severity == "error" for finding in found):
            return None
        if not isinstance(value, dict):
            self.findings.append(Finding("error", str(file), "$", "expected an object"))
            return None
        return value


def object_id(value: Any) -> str:
    """The text of a policy's `_id`, which is a string or {"$oid": string}; "" for anything else."""
    if isinstance(value, dict):
        value = value.get("$oid")
    return value if isinstance(value, str) else ""
