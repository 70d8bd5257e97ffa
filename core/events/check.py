"""What can be said of event handlers and monitors before a worker uses them; for the loader and for lint."""

from __future__ import annotations

from typing import Any

from core.apidef.decode import decode
from core.apidef.event_scripts import FIELD
from core.apidef.snapshot import Snapshot
from core.events.event import API_EVENTS
from core.events.handlers import HandlerReader, system_events
from core.events.monitor import read_monitor
from core.events.settings import EventSettings
from core.findings import Finding


def check_events(config: Any, file: str, snapshot: Snapshot) -> list[Finding]:
    """What a configuration and definitions ask for that cannot be done. file: that of the configuration.

    Scripts of definitions are looked at where they are compiled: core.apidef.event_scripts.
    """
    reader = HandlerReader(EventSettings.from_config(config))
    system_events(reader, config.event_handlers, config.event_trigers_defunct, file)
    read_monitor(config.monitor, reader, file)
    for entry in snapshot.entries.values():
        if b"event_handlers" not in entry.raw.lower():
            continue
        definition = decode(entry.raw, entry.file)[0]
        if definition is not None:
            events = definition.get("event_handlers", {}).get("events")
            reader.read(events, entry.file, FIELD, fired=API_EVENTS, code={})
    return reader.findings
