"""The JavaScript of preforge.plugins.global_hooks: one program for all APIs, and which of its hooks an API gets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from core.apidef.edits import Notes
from core.apidef.options import CompileOptions
from core.apidef.script_program import ProgramBuilder, name_problem
from core.apidef.scripts import HookSpec, ScriptSpec, config_text
from core.apidef.snapshot import Scripts, Snapshot
from core.config.global_hooks import PLACE, GlobalScript
from jsvm_pool.program import Program


@dataclass(frozen=True, slots=True)
class GlobalScripts:
    """All global scripts of a gateway. program: None when none can run; hooks: in the order of tyk.conf."""

    program: Program | None = None
    hooks: tuple[tuple[GlobalScript, HookSpec], ...] = ()

    def of(self, definition: Mapping[str, Any]) -> ScriptSpec | None:
        """What an API gets of them, None if that is nothing."""
        found = tuple(hook for script, hook in self.hooks if script.goes_to(definition))
        return ScriptSpec(self.program, found, config_text(definition)) if found else None


NO_SCRIPTS = GlobalScripts()


def global_scripts(options: CompileOptions, files: Scripts, notes: Notes) -> GlobalScripts:
    """Put them together. files: what was read of them; notes: about tyk.conf. A script that cannot run stays as a hook that
    refuses every request."""
    asked = options.plugins.scripts
    if not asked:
        return NO_SCRIPTS
    builder = ProgramBuilder(files, options, notes, PLACE)
    loaded = [builder.file(script.path, f"{script.place}.path") for script in asked]
    builder.separate([(script.name, origin) for script, (origin, _) in zip(asked, loaded, strict=True) if origin is not None])
    hooks = []
    for script, (origin, unread) in zip(asked, loaded, strict=True):
        problem = unread or name_problem(script.name)
        if not problem:
            builder.expect(script.name, f"{script.place}.name")
        elif not unread:
            notes.flaw(f"{script.place}.name", f"{problem}, so requests of the APIs that get this hook are answered with 500")
        entry = 0 if problem else builder.entry(script.name, origin)
        hook = HookSpec(script.kind, script.name, entry, script.require_session, problem, script.position, script.at)
        hooks.append((script, hook))
    return GlobalScripts(builder.program(""), tuple(hooks))


def of_snapshot(snapshot: Snapshot, options: CompileOptions, notes: Notes) -> GlobalScripts:
    """Those of a snapshot."""
    return global_scripts(options, Scripts(snapshot.common, snapshot.library, snapshot.texts), notes)
