"""The last good definitions, and the differences between two states of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

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
    """

    file: str
    api_id: str
    stamp: Stamp | None
    raw: bytes = field(repr=False)
    failed: tuple[Finding, ...] = ()
    claim: tuple[str, str] = ("", "")
    since: int = 0


@dataclass(frozen=True, slots=True)
class Delta:
    """What turns one snapshot into the next."""

    changed: tuple[Entry, ...]
    removed: tuple[str, ...]
    generation: int
    scripts: frozenset[str]

    def __bool__(self) -> bool:
        return bool(self.changed or self.removed)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All entries by file name, in the order of the names. ``scripts``: api ids that have script folders."""

    entries: dict[str, Entry] = field(default_factory=dict)
    generation: int = 0
    scripts: frozenset[str] = frozenset()

    def diff(self, old: Snapshot) -> Delta:
        """Return what changed from ``old`` to this snapshot."""
        changed = tuple(e for name, e in self.entries.items() if old.entries.get(name) != e)
        removed = tuple(name for name in old.entries if name not in self.entries)
        return Delta(changed, removed, self.generation, self.scripts)

    def apply(self, delta: Delta) -> Snapshot:
        """Return the snapshot that ``delta`` leads to from this one."""
        entries = {name: entry for name, entry in self.entries.items() if name not in set(delta.removed)}
        entries.update((entry.file, entry) for entry in delta.changed)
        return Snapshot(dict(sorted(entries.items())), delta.generation, delta.scripts)
