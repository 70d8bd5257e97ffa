"""Monitors: who is told when a quota runs low (tyk-core C.1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from core.events.handlers import HandlerReader
from core.events.webhook import WebHook
from core.findings import Finding

MESSAGE = "Quota trigger reached"


def reached(most: int, used: int, global_limit: float, limits: Sequence[float]) -> tuple[float, float] | None:
    """Which limit a quota has reached: (limit, usage), both in percent; None if none.

    most, used: requests of the period that runs. The global limit goes first; 0 is none. Of a session's own limits the first
    that fits counts, in their order.
    """
    if most <= 0:
        return None
    usage = 100.0 * min(used, most) / most
    if 0 < global_limit <= usage:
        return global_limit, usage
    for limit in limits:
        if limit != global_limit and limit <= usage:
            return limit, usage
    return None


@dataclass(frozen=True, slots=True)
class MonitorSettings:
    """``monitor`` of tyk.conf. keys: whether the quotas of keys are watched; orgs: those of organisations; hook: who
    is told."""

    keys: bool = False
    orgs: bool = False
    global_limit: float = 0.0
    hook: WebHook | None = None


def read_monitor(raw: Any, reader: HandlerReader, file: str) -> MonitorSettings:
    """Read it; what cannot be used is reported in reader.findings and off."""

    def wrong(field: str, expected: str, severity: Any = "error") -> None:
        reader.findings.append(Finding(severity, file, f"$.monitor{field}", expected))

    if raw is None:
        return MonitorSettings()
    if not isinstance(raw, dict):
        wrong("", "expected an object")
        return MonitorSettings()
    switches: dict[str, bool] = {}
    for name in ("enable_trigger_monitors", "monitor_user_keys", "monitor_org_keys"):
        value = raw.get(name)
        if value is not None and not isinstance(value, bool):
            wrong(f".{name}", "expected true or false")
        switches[name] = value is True
    if not switches["enable_trigger_monitors"]:
        return MonitorSettings()
    limit = raw.get("global_trigger_limit") or 0
    if isinstance(limit, bool) or not isinstance(limit, int | float) or limit < 0:
        wrong(".global_trigger_limit", "expected a number of percent, 0 or more")
        limit = 0
    configuration = raw.get("configuration")
    if not isinstance(configuration, dict):
        wrong(".configuration", "expected an object with method, target_path, template_path, header_map, event_timeout")
        return MonitorSettings()
    hook = reader.web_hook(configuration, file, "$.monitor.configuration")
    keys, orgs = (switches[name] and hook is not None for name in ("monitor_user_keys", "monitor_org_keys"))
    return MonitorSettings(keys, orgs, float(limit), hook)


def trigger_meta(org: str, key: str, limit: float, usage: float) -> dict[str, Any]:
    """The fields of TriggerExceeded."""
    return {
        "Message": MESSAGE,
        "OriginatingRequest": "",
        "OrgID": org,
        "Key": key,
        "TriggerLimit": int(limit),
        "UsagePercentage": int(usage),
    }
