"""What the scripts of one API are: pure data, equal when the scripts are."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Source:
    """One script. name: the path or place that messages and stack traces show.

    exports: when not empty, the script has a scope of its own, and of each pair (expression, global name) the value that
    the expression has at the end of the script (undefined where it throws) is known to entries by the global name;
    requires: what ``require`` means in a script with a scope of its own, in place of ``Program.requires``.
    """

    name: str
    text: str
    exports: tuple[tuple[str, str], ...] = ()
    requires: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Module:
    """One file that scripts may require(). name: its path inside the folder that require() is confined to, with
    forward slashes; requires: (specifier as written in it, name of the module that it means)."""

    name: str
    text: str
    requires: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Program:
    """All scripts of one API, in the order in which they are loaded (tyk-jsvm 4).

    library: tyk_js_path; sources: virtual endpoints, then middleware files; modules: everything that require() can
    reach; requires: specifiers in library and sources -> module; entries: JavaScript expressions that name middleware
    objects and functions, calls name one by its index; shared: run once for each worker and keep the state;
    owner: whose state that is, so that equal scripts of others have one of their own.
    """

    sources: tuple[Source, ...]
    entries: tuple[str, ...]
    library: Source | None = None
    modules: tuple[Module, ...] = ()
    requires: tuple[tuple[str, str], ...] = ()
    shared: bool = False
    owner: str = ""
