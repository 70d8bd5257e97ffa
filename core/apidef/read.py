"""Reading app_path into a snapshot (tyk-core 2.1)."""

from __future__ import annotations

import os
import stat
import time
from dataclasses import dataclass, replace
from pathlib import Path

import orjson

from core.apidef.compile import compile_definition
from core.apidef.decode import decode
from core.apidef.options import ReadOptions
from core.apidef.references import substitute
from core.apidef.snapshot import Entry, Snapshot, Stamp
from core.findings import Finding

# A file changed within this time of being read may change again without a new time stamp.
_RACY_NS = 2_000_000_000
_COMPANIONS = ("-oas.json", "-mcp.json")
_SCRIPT_FOLDERS = ("pre", "auth", "post_auth", "post")


@dataclass(frozen=True, slots=True)
class ReadResult:
    """The new snapshot and everything to report. ``ok`` is False when app_path could not be listed."""

    snapshot: Snapshot
    findings: list[Finding]
    ok: bool = True


def list_files(app_path: str, options: ReadOptions) -> tuple[list[str], list[Finding]]:
    """Return the names of the definition files in order. Raises OSError when the directory cannot be read."""
    with os.scandir(app_path) as entries:
        names = sorted(entry.name for entry in entries if entry.name.endswith(".json"))
    if len(names) <= options.max_files:
        return names, []
    message = f"the directory holds {len(names)} definitions, at most {options.max_files} are read"
    return names[: options.max_files], [Finding("error", app_path, "", message)]


def read_file(path: str, options: ReadOptions) -> tuple[bytes, os.stat_result]:
    """Return the raw text of a regular file and its state. Raises OSError, ValueError if too large."""
    # Without O_NONBLOCK a named pipe in the directory would hold the reload for ever.
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(handle, "rb") as stream:
        state = os.fstat(handle)
        if not stat.S_ISREG(state.st_mode):
            raise ValueError("expected a regular file")
        raw = stream.read(options.max_file_bytes + 1)
    if len(raw) > options.max_file_bytes:
        raise ValueError(f"the file is too large: at most {options.max_file_bytes} bytes are read")
    return raw, state


def is_companion(name: str, raw: bytes, names: set[str]) -> bool:
    """Say whether the file belongs to another definition: ``X-oas.json`` beside ``X.json``."""
    if not name.endswith(_COMPANIONS) or name[: -len(_COMPANIONS[0])] + ".json" not in names:
        return False
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return False
    return isinstance(value, dict) and ("openapi" in value or "swagger" in value)


def read_directory(app_path: str, options: ReadOptions, previous: Snapshot | None) -> ReadResult:
    """Read the definitions of a directory, on top of an earlier state.

    A file that fails keeps its previous entry and is reported; a file that is gone takes its API away. When
    the directory itself cannot be listed, everything stays as it was.
    """
    before = previous or Snapshot()
    try:
        names, findings = list_files(app_path, options)
    except OSError as error:
        message = f"the directory of API definitions (app_path) cannot be read: {error.strerror}"
        return ReadResult(before, [Finding("error", app_path, "", message)], ok=False)
    generation = before.generation + 1 if previous is not None else 0
    fingerprint = options.fingerprint()
    scripts = script_folders(options)
    present = set(names)
    entries: dict[str, Entry] = {}
    for name in names:
        old = before.entries.get(name)
        entry, found = _read_entry(
            app_path,
            name,
            present=present,
            old=old,
            options=options,
            fingerprint=fingerprint,
            scripts=scripts,
        )
        findings.extend(found)
        if entry is None:
            continue
        kept = old is not None and old.raw and old.claim == entry.claim
        entries[name] = replace(entry, since=old.since if old is not None and kept else generation)
    return ReadResult(Snapshot(entries, generation, scripts), findings)


def unreadable(name: str, error: OSError | ValueError) -> Finding:
    """Return the finding for a file that ``read_file`` could not give."""
    text = error.strerror if isinstance(error, OSError) else str(error)
    return Finding("error", name, "", f"the file cannot be read: {text}")


def script_folders(options: ReadOptions) -> frozenset[str]:
    """Return the api ids for which ``middleware_path`` holds scripts that would run by themselves."""
    if not options.enable_jsvm or not options.middleware_path:
        return frozenset()
    root = Path(options.middleware_path)
    return frozenset(
        script.parts[-3] for folder in _SCRIPT_FOLDERS for script in root.glob(f"*/{folder}/*.js")
    )


def _read_entry(
    app_path: str,
    name: str,
    *,
    present: set[str],
    old: Entry | None,
    options: ReadOptions,
    fingerprint: str,
    scripts: frozenset[str],
) -> tuple[Entry | None, list[Finding]]:
    path = str(Path(app_path, name))

    def failed(found: list[Finding], stamp: Stamp | None) -> tuple[Entry, list[Finding]]:
        base = old or Entry(name, "", None, b"")
        return replace(base, stamp=stamp, failed=tuple(found)), found

    try:
        state = Path(path).stat()
        if old is not None and old.stamp == _stamp(state, fingerprint):
            return old, list(old.failed)
        raw, state = read_file(path, options)
    except FileNotFoundError:
        return None, []
    except (OSError, ValueError) as error:
        return failed([unreadable(name, error)], None)
    if is_companion(name, raw, present):
        return None, []
    racy = state.st_mtime_ns > time.time_ns() - _RACY_NS
    stamp = None if racy else _stamp(state, fingerprint)
    text, findings = substitute(raw, name, options.environ, options.secrets)
    if findings:
        return failed(findings, stamp)
    definition, findings = decode(text, name)
    if definition is None:
        return failed(findings, stamp)
    spec, found = compile_definition(definition, name, options.compile, scripts)
    findings = findings + found
    if spec is None:
        return failed(findings, stamp)
    return Entry(name, spec.api_id, stamp, text, (), (spec.domain, spec.listen_path)), findings


def _stamp(state: os.stat_result, fingerprint: str) -> Stamp:
    return Stamp(state.st_mtime_ns, state.st_size, state.st_ino, fingerprint)
