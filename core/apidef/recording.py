"""What a definition says about the records of its requests (tyk-core 2.2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class RecordingSpec:
    """off: no records (do_not_track); tags: of every record; tag_headers: request headers that become tags;
    expires_after: seconds that Pump keeps a record, 0 for a hundred years; detailed: with the wire text."""

    off: bool = False
    tags: tuple[str, ...] = ()
    tag_headers: tuple[str, ...] = ()
    expires_after: int = 0
    detailed: bool = False


USUAL = RecordingSpec()


def recording(definition: dict[str, Any]) -> RecordingSpec | None:
    """What is not as usual, None when everything is."""
    tags = () if definition.get("tags_disabled") else tuple(definition.get("tags") or ())
    found = RecordingSpec(
        off=definition.get("do_not_track", False),
        tags=tags,
        tag_headers=tuple(definition.get("tag_headers") or ()),
        expires_after=max(0, definition.get("expire_analytics_after", 0)),
        detailed=definition.get("enable_detailed_recording", False),
    )
    return None if found == USUAL else found
