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
    """name: as in event_handlers; meta: its fields by the names that templates use; time: unix seconds."""

    name: str
    meta: Mapping[str, Any]
    time: float

    def data(self) -> Record:
        """What a template is executed with: Type, Meta, TimeStamp."""
        return Record(Type=self.name, Meta=Record(self.meta), TimeStamp=go_time(self.time))


def go_time(seconds: float) -> str:
    """A time as Go prints it (time.Time.String): ``2026-11-21 07:38:55.123456 +0000 UTC``."""
    when = datetime.fromtimestamp(seconds).astimezone()
    fraction = f".{when.microsecond:06d}".rstrip("0").rstrip(".")
    zone = when.tzname() or ""
    return f"{when:%Y-%m-%d %H:%M:%S}{fraction} {when:%z} {zone}".rstrip()
