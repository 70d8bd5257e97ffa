"""The scripts that an API runs on events (tyk-jsvm 2, 12.3): one program of their own, and which event calls what."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from core.apidef.edits import Notes
from core.apidef.options import CompileOptions
from core.apidef.script_files import is_script
from core.apidef.script_program import ProgramBuilder, name_problem
from core.apidef.snapshot import Scripts
from jsvm_pool.program import Program

HANDLER = "eh_dynamic_handler"
FIELD = "$.event_handlers.events"


@dataclass(frozen=True, slots=True)
class EventScript:
    """One handler. event: the name under which it stands; position: in the list of that event; name: of the object whose
    DoProcessEvent is called; entry: index of that name in ``Program.entries``."""

    event: str
    position: int
    name: str
    entry: int


@dataclass(frozen=True, slots=True)
class EventScriptSpec:
    """The event scripts of one API that can be called."""

    program: Program
    handlers: tuple[EventScript, ...]


@dataclass(frozen=True, slots=True)
class _Asked:
    """A handler that is not disabled. place: of its entry in the definition."""

    event: str
    position: int
    place: str
    meta: dict[str, Any]


def event_scripts(
    definition: dict[str, Any], options: CompileOptions, scripts: Scripts | None, notes: Notes, owner: str
) -> EventScriptSpec | None:
    """Compile the handlers of a definition, None if it has none that can be called. What is wrong with one is noted, and
    that one is left out. scripts: what was read, None when nothing was; owner: whose state scripts of the API keep, "" if
    they keep none."""
    asked = _asked(definition)
    if not asked:
        return None
    if not options.enable_jsvm:
        for one in asked:
            message = "enable_jsvm is off in tyk.conf, so this handler is not called"
            notes.flaw(f"{one.place}.handler_name", message, "Set it to true.")
        return None
    builder = ProgramBuilder(scripts, options, notes, FIELD)
    handlers = tuple(handler for one in asked if (handler := _handler(one, builder, notes)) is not None)
    return EventScriptSpec(builder.program(owner and f"{owner} events"), handlers) if handlers else None


def event_script_paths(definition: dict[str, Any]) -> list[str]:
    """Return the paths of the scripts of all handlers, as the definition writes them."""
    paths = (one.meta.get("path") for one in _asked(definition))
    return [path for path in paths if isinstance(path, str) and is_script(path)]


def _asked(definition: dict[str, Any]) -> list[_Asked]:
    events = definition.get("event_handlers", {}).get("events") or {}
    found = [
        _Asked(event, position, f"{FIELD}[{event!r}][{position}]", entry.get("handler_meta") or {})
        for event, entries in events.items()
        for position, entry in enumerate(entries or ())
        if entry and entry.get("handler_name") == HANDLER
    ]
    return [one for one in found if one.meta.get("disabled") is not True]


def _handler(asked: _Asked, builder: ProgramBuilder, notes: Notes) -> EventScript | None:
    place = f"{asked.place}.handler_meta"
    name, path = asked.meta.get("name"), asked.meta.get("path")
    # With an empty path, or one that cannot be read, a script of another handler may have the name.
    if isinstance(path, str) and path:
        builder.file(path, f"{place}.path")
    if not isinstance(name, str):
        notes.flaw(f"{place}.name", "expected the name of an object of the script; this handler is not called")
        return None
    if not isinstance(path, str):
        notes.flaw(f"{place}.path", "expected the path of a script; this handler is not called")
        return None
    problem = name_problem(name)
    if problem:
        notes.flaw(f"{place}.name", f"{problem}; this handler is not called")
        return None
    builder.expect(name, f"{place}.name")
    return EventScript(asked.event, asked.position, name, builder.entry(name))
