"""The functions that scripts call (tyk-jsvm 6). `log` and `rawlog`, base64 and the like are made inside the isolates."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from core.admin.context import AdminContext
from core.scripts.host_http import HttpSettings, ScriptHttp
from core.scripts.host_keys import ScriptKeys
from core.scripts.host_storage import ScriptStorage
from core.scripts.host_types import Caller, HostError, HostFailure

log = logging.getLogger("preforge.jsvm")

_Function = Callable[[list[str], Caller], Awaitable[str | None]]


class HostFunctions:
    """One per worker, on its loop.

    A function gets its arguments as texts and returns one; None is what the script sees as undefined. Cancelling the
    task that waits for a function ends its requests.
    """

    def __init__(self, admin: AdminContext, environ: Mapping[str, str] | None = None) -> None:
        """admin: what the REST API works on, which keys are read and written through. environ: for proxies."""
        self._http = ScriptHttp(HttpSettings.from_config(admin.config), environ)
        self._storage = storage = ScriptStorage(admin.store)
        self._keys = keys = ScriptKeys(admin)
        self._functions: dict[str, _Function] = {
            "TykMakeHttpRequest": lambda args, caller: self._http.make_request(args[0], caller),
            "TykBatchRequest": lambda args, caller: self._http.batch(args[0], caller),
            "TykFetch": lambda args, caller: self._http.fetch(args[0], caller),
            "TykGetKeyData": lambda args, caller: keys.get(args[0], args[1]),
            "TykSetKeyData": lambda args, caller: keys.set(args[0], args[1], args[2]),
            "TykStorageGet": lambda args, caller: storage.get(args[0], caller),
            "TykStorageSet": lambda args, caller: storage.set(args[0], args[1], args[2], caller),
            "TykStorageSetNX": lambda args, caller: storage.set_new(args[0], args[1], args[2], caller),
            "TykStorageDel": lambda args, caller: storage.delete(args[0], caller),
            "TykStorageTTL": lambda args, caller: storage.ttl(args[0], caller),
            "TykStorageIncr": lambda args, caller: storage.increment(args[0], args[1], caller),
        }

    def configure(self, config: Any) -> None:
        """Use another configuration from now on."""
        self._http.configure(HttpSettings.from_config(config))

    async def call(self, name: str, args: list[str | None], caller: Caller) -> str | None:
        """Call a function; an argument that is missing or None counts as the text "undefined".

        Raises HostError for what throws in the script. Failures of the others are logged and give None.
        """
        function = self._functions.get(name)
        if function is None:
            raise HostError(f"{name} is not defined")
        texts = ["undefined" if text is None else text for text in args]
        texts += ["undefined"] * (3 - len(texts))
        try:
            return await function(texts, caller)
        except HostFailure as failure:
            fields = {"api_id": caller.api_id, "org_id": caller.org_id, "name": caller.name}
            log.error("%s", failure, extra={"fields": fields})
            return None

    def stats(self) -> dict[str, int]:
        """What has been counted, and what runs (http_running, http_waiting)."""
        counts, gate = self._http.counts, self._http.gate
        return {
            "http_requests": counts["requests"],
            "http_failed": counts["failed"],
            "http_timeouts": counts["timeout"],
            "http_refused": counts["busy"],
            "http_too_large": counts["large"],
            "http_cancelled": counts["cancelled"],
            "http_blocked": self._http.blocked,
            "http_running": gate.running,
            "http_waiting": gate.waiting,
            "storage_asked": self._storage.counts["asked"],
            "storage_failed": self._storage.counts["failed"],
            "keys_read": self._keys.counts["read"],
            "keys_written": self._keys.counts["written"],
            "keys_failed": self._keys.counts["failed"],
        }

    async def close(self) -> None:
        await self._http.close()


__all__ = ["Caller", "HostError", "HostFunctions"]
