"""An event, and how templates see it (tyk-core C.1)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from core.gotemplate import Record

# Those that this build fires.
KEY_EVENTS = frozenset(
    (
        "AuthFailure", "KeyExpired", "QuotaExceeded", "RatelimitExceeded", "VersionFailure", "OrgQuotaExceeded",
        "OrgRateLimitExceeded",
    )
)  # fmt: skip
TOKEN_EVENTS = frozenset(("TokenCreated", "TokenUpdated", "TokenDeleted"))
TRIGGER = "TriggerExceeded"
BREAKER_EVENTS = frozenset(("BreakerTriggered", "BreakerTripped", "BreakerReset"))
API_EVENTS = KEY_EVENTS | BREAKER_EVENTS     # what event_handlers of a definition can name


@dataclass(frozen=True, slots=True)
class Event:
    """name: as in event_handlers; meta: its fields by the names that templates and scripts use; time: unix time in
    nanoseconds."""

    name: str
    meta: Mapping[str, Any]
    time: int

    def data(self) -> Record:
        """What a template is executed with: Type, Meta, TimeStamp."""
        return Record(Type=self.name, Meta=Record(self.meta), TimeStamp=go_time(self.time))

    def described(self) -> dict[str, Any]:
        """What a script is given (tyk-jsvm 12.3): the same as plain values."""
        return {"Type": self.name, "Meta": dict(self.meta), "TimeStamp": go_time(self.time)}


def go_time(nanoseconds: int) -> str:
    """A unix time as Go prints it (time.Time.String), in the local zone: ``2026-11-21 07:38:55.123456789 +0000 UTC``."""
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    when = datetime.fromtimestamp(seconds).astimezone()
    fraction = f".{rest:09d}".rstrip("0").rstrip(".")
    zone = when.tzname() or ""
    return f"{when:%Y-%m-%d %H:%M:%S}{fraction} {when:%z} {zone}".rstrip()
