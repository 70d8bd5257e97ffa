"""Meta data of a key that a script returned: compared, taken over at once, and kept in the store (tyk-jsvm 9.3)."""

from __future__ import annotations

import logging
from collections.abc import Coroutine
from typing import Any

import orjson

from accel.http1 import KeyEntry
from core.access.meta_headers import text_of
from core.scripts.session_text import SessionTexts
from core.sessions.keyspace import KeySpace
from core.sessions.model import SessionError
from core.store.errors import StoreError

log = logging.getLogger("preforge.scripts")


class MetaData:
    """Replaces the meta data of keys of one worker."""

    def __init__(self, keyspace: KeySpace, texts: SessionTexts) -> None:
        self._keyspace = keyspace
        self._texts = texts

    def replace(
        self, entry: KeyEntry, returned: dict[str, Any], *, any_values: bool = False
    ) -> Coroutine[Any, Any, None] | None:
        """Let a key have this meta data from now on; returns what keeps it in the store, None if it is what it was.

        Values that are not texts are JSON afterwards, unless the key had just this value, or any_values is true.
        """
        new = wanted(entry.session["meta_data"], returned, any_values)
        if new is None:
            return None
        entry.session["meta_data"] = new
        self._texts.forget(entry)
        return self._keep(entry, new) if entry.token else None

    async def _keep(self, entry: KeyEntry, meta: dict[str, Any]) -> None:
        """The rest of the session stays as the store has it now; a key that is gone is not made again."""
        name = entry.name.decode("utf-8", "surrogateescape")
        try:
            found = await self._keyspace.load_name(name)
            if found is not None:
                await self._keyspace.save(name, {**found.session, "meta_data": meta}, None, existing=True)
        except (StoreError, SessionError, ValueError) as error:
            log.error("meta data of a key that a script has changed could not be stored: %s", error)


def wanted(old: dict[str, Any], returned: dict[str, Any], any_values: bool) -> dict[str, Any] | None:
    """The meta data that a key gets, None if it is what it has."""
    new: dict[str, Any] = {}
    plain = True
    for name, value in returned.items():
        kept = type(value) is str or any_values or (name in old and _same(old[name], value))
        new[name] = value if kept else text_of(value)
        plain = plain and type(new[name]) is str
    return None if new == old and (plain or _same(new, old)) else new


def _same(one: Any, other: Any) -> bool:
    """Whether two values are the same JSON: 1 is not true, as it is in Python."""
    try:
        return orjson.dumps(one, option=orjson.OPT_SORT_KEYS) == orjson.dumps(other, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError:
        return False
