"""The session that scripts see: the JSON of tyk-jsvm 8 with every field, made once for each session."""

from __future__ import annotations

from accel.http1 import Grant, KeyEntry
from core.sessions.encoding import Struct, dumps
from core.sessions.model import new, output

MOST = 1024     # sessions whose text is kept


def _empty() -> bytes:
    found = output(new())
    for name in ("access_rights", "meta_data", "tags"):
        found[name] = None
    return dumps(found).encode()


EMPTY = _empty()        # contexts have it: PoolSettings.empty_session
SHORT = b"0"            # what stands for it in a payload, see runtime/run.js
NULL = b"null"
_REMAINING = b'"quota_remaining":'


class SessionTexts:
    """Texts of the sessions that hooks of one worker were given lately."""

    def __init__(self) -> None:
        self._texts: dict[KeyEntry, tuple[bytes, int, int]] = {}

    def get(self, entry: KeyEntry, grant: Grant | None) -> bytes:
        """The JSON of a session; what is left of its quota is as this worker knows it now."""
        found = self._texts.get(entry)
        if found is None:
            text = dumps(_visible(output(entry.session))).encode()
            start = text.index(_REMAINING) + len(_REMAINING)
            found = text, start, text.index(b",", start)
            if len(self._texts) >= MOST:
                self._texts.clear()
            self._texts[entry] = found
        text, start, end = found
        quota = None if grant is None else grant.quota
        if quota is None or quota.max != entry.session["quota_max"]:
            return text
        return b"%b%d%b" % (text[:start], max(0, quota.max - quota.used), text[end:])

    def forget(self, entry: KeyEntry) -> None:
        """The session is another one now."""
        self._texts.pop(entry, None)


def _visible(found: Struct) -> Struct:
    found["meta_data"] = found["meta_data"] or {}
    found.pop("key_id", None)
    return found
