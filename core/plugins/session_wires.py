"""The sessions that hooks are told, encoded once and kept while nothing in them changes (tyk-plugins 2.4, 3.3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from accel.http1 import Exchange, Grant, KeyEntry
from coprocess.codec import SessionWire, lasting_part, quota_left, session_to_wire
from coprocess.driver import Format
from core.sessions.model import new

MOST = 1024     # sessions that are kept for one format


@dataclass(frozen=True, slots=True)
class _Made:
    """A message and what it was made of: a key may get another session, and scripts replace its meta data. lasting: without
    what is left of the quota."""

    wire: SessionWire
    lasting: SessionWire
    session: dict[str, Any]
    meta: Any
    left: int


class SessionWires:
    """One per worker."""

    def __init__(self) -> None:
        self._known: dict[Format, dict[KeyEntry, _Made]] = {"protobuf": {}, "json": {}}
        self._empty: dict[Format, SessionWire] = {}

    def of(self, x: Exchange, format: Format) -> SessionWire | None:
        """The session of a request, None if it has none. Raises CodecError for what a message cannot hold."""
        return None if x.key is None else self._get(x.key, x.grant, format)

    def always(self, x: Exchange, format: Format) -> SessionWire:
        """The same, with an empty session in the place of none."""
        found = self.of(x, format)
        if found is None:
            found = self._empty.get(format)
        if found is None:
            found = self._empty[format] = session_to_wire(new(), "", format)
        return found

    def _get(self, entry: KeyEntry, grant: Grant | None, format: Format) -> SessionWire:
        known = self._known[format]
        left = _left(entry, grant)
        session = entry.session
        meta = session["meta_data"]
        found = known.get(entry)
        if found is not None and found.session is session and found.meta is meta:
            if found.left == left:
                return found.wire
            lasting = found.lasting
        else:
            lasting = lasting_part(session, entry.token.decode("utf-8", "replace"), format)
        if len(known) >= MOST and found is None:
            known.clear()
        wire = lasting.with_quota(left)
        known[entry] = _Made(wire, lasting, session, meta, left)
        return wire


def _left(entry: KeyEntry, grant: Grant | None) -> int:
    """What is left of the quota: as this worker knows, else as the session says. Raises CodecError."""
    quota = None if grant is None else grant.quota
    if quota is None or quota.max != entry.session["quota_max"]:
        return quota_left(entry.session)
    return max(0, quota.max - quota.used)
