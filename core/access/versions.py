"""From specs to the steps that choose a version and apply path lists."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from accel.endpoints import BLACK, IGNORED, INTERNAL, MOCK, WHITE, Gate
from accel.http1 import Exchange, GateCheck, Plan, VersionCheck
from core.apidef.gate import GateEntry, ReplySpec
from core.apidef.versions import Selector

KINDS = {"mock": MOCK, "ignored": IGNORED, "black": BLACK, "white": WHITE, "internal": INTERNAL}
CHILD_UNKNOWN = 404     # newer style of versions (tyk-core 2.3)

Failed = Callable[[Exchange, int, str], None]


def version_check(
    rule: Selector, plans: Mapping[str, Plan], expiries: Mapping[str, float | None], config: Any, failed: Failed
) -> VersionCheck:
    """The first step of an API with versions."""
    newer = bool(rule.children or rule.own_name)
    return VersionCheck(
        rule.location,
        rule.key.encode(),
        {key.encode(): (plan, expiries[key], _date(expiries[key])) for key, plan in plans.items()},
        rule.default.encode(),
        rule.fallback,
        rule.strip,
        re.compile(rule.pattern.encode()) if rule.pattern else None,
        config.version_header.encode(),
        failed,
        CHILD_UNKNOWN if newer else 403,
    )


def gate_check(entries: Iterable[GateEntry], failed: Failed) -> GateCheck:
    """The step that applies the path lists of a version."""
    return GateCheck(
        Gate(
            (
                KINDS[entry.kind],
                entry.pattern.encode(),
                entry.method.encode(),
                {verb.encode(): _reply(reply) for verb, reply in entry.actions} or None,
                _reply(entry.reply),
            )
            for entry in entries
        ),
        failed,
    )


def _reply(reply: ReplySpec | None) -> tuple[int, list[tuple[bytes, bytes]], bytes] | None:
    if reply is None:
        return None
    headers = [(name.encode(), text.strip().encode()) for name, text in reply.headers]
    return reply.status, headers, reply.body.encode()


def _date(expiry: float | None) -> bytes:
    """Like Go's RFC 1123 format in UTC."""
    return b"" if expiry is None else time.strftime("%a, %d %b %Y %H:%M:%S UTC", time.gmtime(expiry)).encode()
