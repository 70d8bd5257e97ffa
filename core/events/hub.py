"""Where events go in: finds the handlers, logs at once, leaves web hooks to the sender, scripts to their queue and plugins to
their drivers."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from accel.http1 import Exchange
from accel.limits import QuotaWindow
from core.apidef.event_scripts import FIELD
from core.events.cooldown import Cooldown
from core.events.event import API_EVENTS, TRIGGER, Event
from core.events.handlers import CodeHandlers, HandlerReader, Handlers, LogHandler, PluginHandler, ScriptHandler, system_events
from core.events.monitor import MonitorSettings, reached, read_monitor, trigger_meta
from core.events.request import request_meta
from core.events.sender import Sender
from core.events.settings import EventSettings, obfuscated
from core.findings import Finding
from core.scripts.events import EventScripts
from core.store.client import Store

FILE = "tyk.conf"

log = logging.getLogger("preforge.events")


@dataclass(frozen=True, slots=True)
class ApiEvents:
    """event_handlers of one API: the file of the definition, its ``events``, and those of them that are scripts or plugins."""

    file: str
    events: Any
    code: CodeHandlers = field(default_factory=dict)


class EventHub:
    """One per worker, on its loop. fire and its like never block nor raise."""

    def __init__(self, store: Store, config: Any) -> None:
        self.settings = EventSettings.from_config(config)
        self.fired = 0
        self.sender = Sender(self.settings, Cooldown(store))
        self.scripts = EventScripts(self.settings)
        self.monitor = MonitorSettings()
        self._system: Handlers = {}
        self._apis: dict[str, Handlers] = {}

    def configure(self, config: Any, apis: Mapping[str, ApiEvents]) -> list[Finding]:
        """Take another configuration; events that wait keep the handlers they were fired for. apis: by api_id."""
        self.settings = EventSettings.from_config(config)
        reader = HandlerReader(self.settings)
        self._system = system_events(reader, config.event_handlers, config.event_trigers_defunct, FILE)
        self.monitor = read_monitor(config.monitor, reader, FILE)
        found = {
            api_id: reader.read(api.events, api.file, FIELD, fired=API_EVENTS, code=api.code)
            for api_id, api in apis.items()
        }
        self._apis = {api_id: handlers for api_id, handlers in found.items() if handlers}
        self.sender.configure(self.settings)
        self.scripts.configure(self.settings)
        return reader.findings

    def request(self, name: str, x: Exchange, message: str, key: str, more: Mapping[str, Any]) -> None:
        """Fire an event about a request. key: the token; more: further fields, or others for those."""
        api_id = x.plan.api_id.decode()
        handlers = self._apis.get(api_id)
        if handlers is None or name not in handlers:
            return
        meta = request_meta(x, message, key, self.settings.depth, self.settings.request_bytes)
        self.fire(api_id, Event(name, {**meta, **more}, time.time_ns()))

    def fire(self, api_id: str, event: Event) -> None:
        """Tell the handlers of an API of an event."""
        self._tell(self._apis.get(api_id), event)

    def fire_system(self, name: str, meta: Mapping[str, Any]) -> None:
        """Tell the gateway's own handlers of an event."""
        self._tell(self._system, Event(name, meta, time.time_ns()))

    def _tell(self, handlers: Handlers | None, event: Event) -> None:
        if handlers is None or event.name not in handlers:
            return
        self.fired += 1
        for handler in handlers[event.name]:
            if isinstance(handler, LogHandler):
                self._log(handler, event)
            elif isinstance(handler, ScriptHandler):
                self.scripts.put(handler, event)
            elif isinstance(handler, PluginHandler):
                handler.put(event)
            else:
                self.sender.put(handler, event)

    def _log(self, handler: LogHandler, event: Event) -> None:
        meta = event.meta
        key = obfuscated(str(meta.get("Key", "")), self.settings.log_keys)
        message, path, origin = (str(meta.get(name, "")) for name in ("Message", "Path", "Origin"))
        log.info("%s:%s: %s, path %r, origin %r, key %r", handler.prefix, event.name, message, path, origin, key)

    def watch(self, x: Exchange) -> None:
        """Look at the quota that a request was just counted in (monitor.monitor_user_keys); a step of the data path."""
        grant = x.grant
        if grant is None or grant.quota is None:
            return
        session = grant.entry.session
        key = grant.entry.token.decode("utf-8", "replace")
        self._watch(session["org_id"], key, grant.quota, session["monitor"]["trigger_limits"] or ())

    def watch_org(self, org: str, quota: QuotaWindow, limits: Sequence[float]) -> None:
        """Look at the quota of an organisation after a request (monitor.monitor_org_keys); limits: those of its session."""
        if self.monitor.orgs:
            self._watch(org, "", quota, limits)

    def _watch(self, org: str, key: str, quota: QuotaWindow, limits: Sequence[float]) -> None:
        hook = self.monitor.hook
        found = reached(quota.max, quota.used, self.monitor.global_limit, limits)
        if hook is None or found is None:
            return
        self.fired += 1
        self.sender.put(hook, Event(TRIGGER, trigger_meta(org, key, *found), time.time_ns()))

    async def close(self, grace: float) -> None:
        """Send what waits and call the scripts, for at most `grace` seconds."""
        await asyncio.gather(self.sender.close(grace), self.scripts.close(grace))
