"""Host functions as scripts see them, with a real store, real servers and a configuration file."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import uvloop

from core.admin.context import AdminContext, LoadedApis
from core.apidef.snapshot import Entry, Snapshot
from core.apidef.specs import TransportSpec
from core.config.load import Config, load
from core.scripts.host import Caller, HostFunctions
from core.sessions.keyspace import KeySpace
from core.sessions.notifications import Notification, Signer
from core.sessions.policies import Policies
from core.store.client import open_store
from core.store.settings import Address, StoreSettings
from tests.support.gateway import Json, free_port

ORG = "c0ffee00c0ffee00c0ffee01"
JSVM = {
    "http_timeout": 10.0,
    "max_response_bytes": 1_000_000,
    "max_requests": 8,
    "blocked_networks": ("169.254.0.0/16", "fe80::/10"),
}
TLS = TransportSpec(False, 0, 0, (), "")


def config(directory: Path, options: Json | None = None, **jsvm: Any) -> Config:
    """A configuration read from a file. jsvm: what differs in preforge.jsvm."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "tyk.conf"
    base = {"secret": "s", "listen_port": 8080, "app_path": str(directory)}
    path.write_text(json.dumps({**base, "preforge": {"jsvm": {**JSVM, **jsvm}}, **(options or {})}))
    return load(str(path), {}).config


class Host:
    """Host functions with what is around them."""

    def __init__(self, functions: HostFunctions, admin: AdminContext, changed: list[str], fired: list[str]) -> None:
        self.functions = functions
        self.admin = admin
        self.changed = changed
        self.fired = fired
        self.caller = Caller("a", ORG, "A", TLS, asyncio.get_running_loop().time() + 30)

    async def call(self, name: str, *args: Any, **caller: Any) -> str | None:
        """Call a function; arguments that are no text become JSON. seconds: that the script may still wait."""
        texts = [arg if isinstance(arg, str) or arg is None else json.dumps(arg) for arg in args]
        seconds = caller.pop("seconds", None)
        if seconds is not None:
            caller["deadline"] = asyncio.get_running_loop().time() + seconds
        return await self.functions.call(name, texts, replace(self.caller, **caller))

    async def value(self, name: str, *args: Any, **caller: Any) -> Any:
        """The JSON that a function returns."""
        text = await self.call(name, *args, **caller)
        assert text is not None, f"{name} failed"
        return json.loads(text)


def said(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """What was logged about scripts."""
    return [record for record in caplog.records if record.name == "preforge.jsvm"]


def api_entry(api_id: str, **more: Any) -> Entry:
    raw = json.dumps({"api_id": api_id, "org_id": ORG, "name": api_id, **more}).encode()
    return Entry(f"{api_id}.json", api_id, None, raw)


def with_host(
    use: Callable[[Host], Awaitable[Any]],
    settings: Config,
    *,
    port: int = 0,
    apis: tuple[Entry, ...] = (),
    policies: Policies | None = None,
    environ: dict[str, str] | None = None,
) -> Any:
    """Run something with host functions whose store is at a port, 0 for one that is away."""

    async def body() -> Any:
        store = open_store(StoreSettings((Address("127.0.0.1", port or free_port()),), command_timeout=5.0))
        await store.start()
        changed: list[str] = []
        fired: list[str] = []

        async def published(notification: Notification) -> None:
            changed.append(notification.payload)

        async def reload() -> str:
            return ""

        admin = AdminContext(
            config=settings,
            store=store,
            keyspace=KeySpace(store, settings, Signer("s", insecure=False)),
            policies=policies or Policies(),
            apis=LoadedApis(Snapshot({entry.file: entry for entry in apis})),
            request_reload=reload,
            publish=published,
            on_key_changed=changed.append,
            fire=lambda name, meta: fired.append(name),
        )
        functions = HostFunctions(admin, environ or {})
        try:
            async with asyncio.timeout(60):
                return await use(Host(functions, admin, changed, fired))
        finally:
            await functions.close()
            await store.close()

    return uvloop.run(body())
