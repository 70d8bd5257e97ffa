"""What contexts are given as JSON: their settings, and programs."""

from __future__ import annotations

import json
import re
from typing import Any

from jsvm_pool.program import Program, Source
from jsvm_pool.runtime import underscore
from jsvm_pool.settings import PoolSettings

# Syntax that makes promises. What else does, evaluated text included, is noticed when it is used (runtime/guard.js: jobs).
_ASYNCHRONOUS = re.compile(r"\b(?:async|import)\b")


def leaves_jobs(program: Program) -> bool:
    """Whether the text of a program says that its calls may leave jobs to the engine, which runs them after the call."""
    texts = [source.text for source in program.sources] + [module.text for module in program.modules] + list(program.entries)
    texts += [expression for source in program.sources for expression, _ in source.exports]
    if program.library is not None:
        texts.append(program.library.text)
    return any(_ASYNCHRONOUS.search(text) is not None for text in texts)


def settings_text(settings: PoolSettings) -> bytes:
    """For `boot` and `configure` of the runtime."""
    return json.dumps(
        {
            "log_bytes": settings.log_bytes,
            "result_bytes": settings.result_bytes,
            "underscore": underscore(),
            "empty_session": settings.empty_session,
        }
    ).encode()


def program_text(number: int, program: Program, *, quiet: bool = False) -> bytes:
    """For `take` of the runtime. quiet: what the scripts log while they are loaded has been seen."""
    sources = [_source(source, library=False) for source in program.sources]
    if program.library is not None:
        sources.insert(0, _source(program.library, library=True))
    modules = {
        module.name: {
            "index": index,
            "text": module.text,
            "json": module.name.endswith(".json"),
            "requires": dict(module.requires),
        }
        for index, module in enumerate(program.modules)
    }
    spec = {
        "id": number,
        "sources": sources,
        "entries": list(program.entries),
        "requires": dict(program.requires),
        "modules": modules,
        "hasModules": bool(modules),
        "shared": program.shared,
        "jobs": leaves_jobs(program),
        "quiet": quiet,
    }
    return json.dumps(spec).encode()


def constants_text(config: str, api: str, name: str, hook: str) -> str:
    """What all calls of a hook are given. config: JSON; api, name: of the API; hook: "pre", "virtual", ... as in `extra`."""
    return json.dumps({"config": config, "api": api, "name": name, "hook": hook})


def _source(source: Source, *, library: bool) -> dict[str, Any]:
    return {
        "text": source.text,
        "library": library,
        "exports": source.exports,
        "requires": dict(source.requires),
    }
