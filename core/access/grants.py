"""From a session to what the data path checks for one API: compiled once, used for every request."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from typing import Any

from accel.endpoints import Pattern
from accel.http1 import Exchange, Grant, KeyEntry
from accel.limits import LimitTable, QuotaWindow, RateWindow
from core.sessions.rights import Access, access
from core.sessions.tokens import shortened

log = logging.getLogger("preforge.access")

DISALLOWED = "Access to this API has been disallowed"

Limits = Access     # what Grant.data holds


class GrantCompiler:
    """Makes the Grant of a session for one API. One per API and swap."""

    def __init__(
        self,
        table: LimitTable,
        api_id: str,
        *,
        not_versioned: bool,
        disable_rate_limit: bool,
        disable_quota: bool,
        quota: Callable[[str, int], QuotaWindow],
        path_options: Any,
        whole_keys: bool = False,
    ) -> None:
        """quota: the counter for a quota's name in the store and its maximum; path_options: CompileOptions, for the
        patterns of allowed_urls and endpoints; whole_keys: do not shorten the names of keys in logs
        (enable_key_logging)."""
        self._table = table
        self._quota = quota
        self._api_id = api_id
        self._not_versioned = not_versioned
        self._no_rate = disable_rate_limit
        self._no_quota = disable_quota
        self._options = path_options
        self._whole_keys = whole_keys

    def __call__(self, x: Exchange, entry: KeyEntry) -> Grant:
        """Compile; a session that cannot be understood opens nothing."""
        try:
            return self._compile(entry)
        except (re.error, ValueError, OverflowError, RecursionError) as error:
            key = shortened(entry.name.decode("utf-8", "replace"), self._whole_keys)
            log.error("key %s opens nothing at API %s: %s", key, self._api_id, error)
            return Grant(entry, deny=(403, DISALLOWED), data=None)

    def _compile(self, entry: KeyEntry) -> Grant:
        rights = access(entry.session, self._api_id, self._not_versioned, entry.name.decode(), self._options)
        rate = quota = None
        if rights.rate > 0 and not self._no_rate:
            rate = self._rate(rights.rate, rights.per, rights.rate_key, rights.last_updated)
        if rights.quota_max > 0 and not self._no_quota:
            quota = self._quota(rights.quota_key, rights.quota_max)
        endpoints: list[tuple[Pattern, bytes, RateWindow]] = []
        if not self._no_rate:
            for end in rights.endpoints:
                window = self._rate(end.rate, end.per, end.rate_key, rights.last_updated)
                endpoints.append((Pattern(end.pattern.encode()), end.method.encode(), window))
        return Grant(
            entry,
            expires=rights.expires,
            inactive=rights.inactive,
            deny=None if rights.allowed else (403, DISALLOWED),
            versions=None if rights.versions is None else frozenset(v.encode() for v in rights.versions),
            urls=_urls(rights.allowed_urls),
            rate=rate,
            quota=quota,
            quota_max=rights.quota_max,
            quota_left=rights.quota_remaining,
            quota_renews=rights.quota_renews,
            throttle_interval=rights.throttle_interval,
            throttle_retries=rights.throttle_retry_limit,
            endpoint_rates=endpoints,
            data=rights,
        )

    def _rate(self, rate: float, per: float, key: str, last_updated: str) -> RateWindow:
        # A key that was changed starts with a fresh window (tyk-core 5.6).
        name = f"rate:{key}:{last_updated}:{rate}:{per}".encode()
        return RateWindow(self._table, name, rate, per, key)


def _urls(
    allowed: tuple[tuple[str, frozenset[str]], ...] | None,
) -> list[tuple[Pattern, frozenset[bytes]]] | None:
    if not allowed:
        return None
    return [(Pattern(p.encode()), frozenset(m.encode() for m in methods)) for p, methods in allowed]


Compile = Callable[[Exchange, KeyEntry], Grant]
