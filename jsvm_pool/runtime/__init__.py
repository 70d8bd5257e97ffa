"""The JavaScript side of the contexts, and Underscore, as texts."""

from __future__ import annotations

from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

PARTS = ("realm.js", "bounds.js", "guard.js", "host.js", "globals.js", "run.js")


@cache
def runtime() -> bytes:
    """The script that a new context runs; its value is the function `boot` of run.js."""
    folder = Path(__file__).parent
    parts = "".join((folder / name).read_text(encoding="utf-8") for name in PARTS)
    return f"(function(){{'use strict';{parts}\nreturn boot;}})()".encode()


@cache
def underscore() -> str:
    """Underscore 1.4.4, the one of Tyk's engine (tyk-jsvm 0), from the package js.underscore, "" if it is not installed. In its
    short form, as each context has the text."""
    try:
        files = distribution("js.underscore").files or []
    except PackageNotFoundError:
        return ""
    for file in files:
        if file.name == "underscore-min.js":
            return Path(str(file.locate())).read_text(encoding="utf-8")
    return ""
