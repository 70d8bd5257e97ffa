"""The last good definitions with their scripts, and the differences between two states of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple

from core.apidef.bundles import AppliedBundle
from core.apidef.script_files import EMPTY, FileState, ScriptSet
from core.findings import Finding


class Stamp(NamedTuple):
    """What a file looked like when it was read; equal stamps mean that it need not be read again."""

    mtime_ns: int
    size: int
    inode: int
    options: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One file. ``raw`` is its last good text with secrets filled in (b"" if it never was good).

    ``failed`` says what is wrong with its present text; ``since`` is the generation in which the file first
    claimed ``claim`` (domain and listen path), which decides who keeps a listen path that two files want.
    ``scripts`` says which scripts go with ``raw``, None for none; ``bundle`` is what its plugin bundle brings, None when
    it names none or one that cannot be used.
    """

    file: str
    api_id: str
    stamp: Stamp | None
    raw: bytes = field(repr=False)
    failed: tuple[Finding, ...] = ()
    claim: tuple[str, str] = ("", "")
    since: int = 0
    scripts: ScriptSet | None = None
    bundle: AppliedBundle | None = None


@dataclass(frozen=True, slots=True)
class Scripts:
    """What the compile step knows of one API's scripts, or of the global ones. texts: digest -> text."""

    own: ScriptSet
    library: ScriptSet
    texts: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Delta:
    """What turns one snapshot into the next. texts: only those that are new."""

    changed: tuple[Entry, ...]
    removed: tuple[str, ...]
    generation: int
    library: ScriptSet = EMPTY
    common: ScriptSet = EMPTY
    texts: Mapping[str, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.changed or self.removed or self.texts)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All entries by file name, in the order of the names.

    ``library`` is the script of tyk_js_path, ``common`` are those of global hooks; ``texts`` holds all scripts by their
    digest. ``files`` is what the reader remembers of script files; no one else needs it, so that differences do not carry
    it.
    """

    entries: dict[str, Entry] = field(default_factory=dict)
    generation: int = 0
    library: ScriptSet = EMPTY
    common: ScriptSet = EMPTY
    texts: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, FileState] = field(default_factory=dict, compare=False)

    def diff(self, old: Snapshot) -> Delta:
        """Return what changed from ``old`` to this snapshot."""
        changed = tuple(e for name, e in self.entries.items() if old.entries.get(name) != e)
        removed = tuple(name for name in old.entries if name not in self.entries)
        texts = {digest: text for digest, text in self.texts.items() if digest not in old.texts}
        return Delta(changed, removed, self.generation, self.library, self.common, texts)

    def apply(self, delta: Delta) -> Snapshot:
        """Return the snapshot that ``delta`` leads to from this one."""
        entries = {name: entry for name, entry in self.entries.items() if name not in set(delta.removed)}
        entries.update((entry.file, entry) for entry in delta.changed)
        texts = used_texts(entries, (delta.library, delta.common), {**self.texts, **delta.texts})
        return Snapshot(dict(sorted(entries.items())), delta.generation, delta.library, delta.common, texts)

    def scripts(self, entry: Entry) -> Scripts:
        """Return what is known of an entry's scripts."""
        return Scripts(entry.scripts or EMPTY, self.library, self.texts)

    def __getstate__(self) -> list[Any]:
        return [getattr(self, field.name) for field in fields(self)]

    def __setstate__(self, state: list[Any]) -> None:
        """Raises TypeError for the state of another version of the product, which a live upgrade may hand over."""
        if len(state) != len(fields(self)):
            raise TypeError("the snapshot was made by another version")
        for one, value in zip(fields(self), state, strict=True):
            object.__setattr__(self, one.name, value)


def used_texts(entries: Mapping[str, Entry], others: Iterable[ScriptSet], texts: Mapping[str, str]) -> dict[str, str]:
    """Return the texts that some entry or one of the other sets needs."""
    used: set[str] = set()
    for found in (*others, *(entry.scripts for entry in entries.values())):
        if found is not None:
            used |= found.digests()
    return {digest: text for digest, text in texts.items() if digest in used}
