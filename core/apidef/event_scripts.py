"""JavaScript event handlers of an API: one program of their own, which shares nothing with its hooks (tyk-jsvm 12.3)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from core.apidef.edits import Notes
from core.apidef.options import CompileOptions
from core.apidef.script_files import is_script
from core.apidef.script_program import ProgramBuilder, name_problem
from core.apidef.snapshot import Scripts
from jsvm_pool.program import Program

HANDLER = "eh_dynamic_handler"
_PLACE = "$.event_handlers.events"
_OFF = "enable_jsvm is off in tyk.conf"


@dataclass(frozen=True, slots=True)
class EventHook:
    """One handler, known by what stands in its handler_meta. entry: index in ``Program.entries``; problem: why it cannot
    run."""

    name: str
    path: str
    entry: int
    problem: str = ""


@dataclass(frozen=True, slots=True)
class EventScripts:
    """The JavaScript event handlers of one API. program: None without enable_jsvm."""

    program: Program | None
    hooks: tuple[EventHook, ...]

    def find(self, name: str, path: str) -> EventHook | None:
        """Return the handler with this name and path in handler_meta."""
        return next((hook for hook in self.hooks if (hook.name, hook.path) == (name, path)), None)


def event_paths(definition: dict[str, Any]) -> list[str]:
    """Return the paths of all event handlers, as the definition writes them."""
    paths = (meta.get("path") for _, meta in _metas(definition))
    return [path for path in paths if isinstance(path, str) and is_script(path)]


def event_scripts(
    definition: dict[str, Any], options: CompileOptions, scripts: Scripts | None, notes: Notes
) -> EventScripts | None:
    """Compile the handlers of one definition, None if it has none. scripts: None when no file was read."""
    if not definition.get("event_handlers"):
        return None
    builder = ProgramBuilder(scripts, options, notes)
    hooks: dict[EventHook, None] = {}
    for place, meta in _metas(definition):
        name, path = meta.get("name", ""), meta.get("path", "")
        if not isinstance(name, str) or not isinstance(path, str):
            field = "path" if isinstance(name, str) else "name"
            notes.flaw(f"{place}.{field}", "expected a text, so the handler does not run")
            continue
        problem = "" if options.enable_jsvm else _OFF
        if problem:
            notes.warn(place, f"{_OFF}, so the handler does not run", "Set it to true.")
        elif problem := name_problem(name):
            notes.flaw(f"{place}.name", f"{problem}, so the handler does not run")
        else:
            if path:
                builder.file(path, f"{place}.path")
            builder.expect(name, f"{place}.name")
        hooks[EventHook(name, path, 0 if problem else builder.entry(name), problem)] = None
    if not hooks:
        return None
    return EventScripts(builder.program(shared=False) if options.enable_jsvm else None, tuple(hooks))


def _metas(definition: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The handler_meta of each handler that is in force, and where it stands."""
    for event, handlers in definition.get("event_handlers", {}).get("events", {}).items():
        for index, handler in enumerate(handlers):
            meta = handler.get("handler_meta", {})
            if handler.get("handler_name") == HANDLER and meta.get("disabled") is not True:
                yield f"{_PLACE}[{event!r}][{index}].handler_meta", meta
