"""Events for plugins: cp_dynamic_handler (tyk-plugins 9)."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from core.events.event import Event
from core.events.reports import Reports

if TYPE_CHECKING:
    from core.apidef.specs import PlanSpec
    from core.plugins.service import PluginService

log = logging.getLogger("preforge.events")


@dataclass(frozen=True, slots=True)
class PluginHandler:
    """A handler of an API that is a plugin. send: takes the JSON text of an event, returns whether there was room for it."""

    api_id: str
    org_id: str
    name: str
    send: Callable[[bytes], bool]
    drops: Reports = field(default_factory=Reports)

    def put(self, event: Event) -> None:
        """Send an event. Never blocks nor raises; what finds no room is dropped, counted by the driver, and said in the log."""
        if self.send(payload(self, event)):
            return
        count = self.drops.due()
        if count:
            what = f"{count} events for the plugin handler {self.name} were dropped"
            log.error("API %s: %s: the driver cannot take more now", self.api_id, what)


def payload(handler: PluginHandler, event: Event) -> bytes:
    """The JSON text that the plugin is given."""
    about = {"APIID": handler.api_id, "OrgID": handler.org_id}
    said = {"message": event.described(), "handler_name": handler.name, "spec": about}
    return json.dumps(said, separators=(",", ":")).encode()


def plugin_handlers(spec: PlanSpec, plugins: PluginService) -> dict[tuple[str, int], PluginHandler]:
    """The handlers of an API that are plugins, by the event and the position in its list."""
    if spec.plugins is None:
        return {}
    return {
        (one.event, one.position): PluginHandler(
            spec.api_id, spec.org_id, one.name, plugins.sender(spec, one.server, one.driver)
        )
        for one in spec.plugins.events
    }
