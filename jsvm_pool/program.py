"""What the scripts of one API are: pure data, equal when the scripts are."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Source:
    """One script. name: the path or place that messages and stack traces show."""

    name: str
    text: str


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
    objects and functions, calls name one by its index; shared: run once for each worker and keep the state.
    """

    sources: tuple[Source, ...]
    entries: tuple[str, ...]
    library: Source | None = None
    modules: tuple[Module, ...] = ()
    requires: tuple[tuple[str, str], ...] = ()
    shared: bool = False
