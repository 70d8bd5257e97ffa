"""Reading app_path into a snapshot (tyk-core 2.1)."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import orjson

from coprocess.bundles import Library
from core.apidef.bundles import AppliedBundle, load_bundle, with_bundle
from core.apidef.compile import Report, compile_definition
from core.apidef.decode import Definition, decode
from core.apidef.files import is_racy, read_regular
from core.apidef.global_scripts import GlobalScripts, global_scripts
from core.apidef.options import ReadOptions
from core.apidef.references import substitute
from core.apidef.script_files import EMPTY, ScriptReader, ScriptSet, discover
from core.apidef.scripts import script_paths
from core.apidef.snapshot import Entry, Scripts, Snapshot, Stamp, used_texts
from core.apidef.specs import PlanSpec
from core.findings import Finding

_COMPANIONS = ("-oas.json", "-mcp.json")


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
    return read_regular(path, options.max_file_bytes)


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
    loading, found = Loading.begin(options, previous)
    findings.extend(found)
    present = set(names)
    entries: dict[str, Entry] = {}
    for name in names:
        old = before.entries.get(name)
        entry, found = _read_entry(
            app_path, name, present=present, old=old, loading=loading, fingerprint=fingerprint
        )
        findings.extend(found)
        if entry is None:
            continue
        kept = old is not None and old.raw and old.claim == entry.claim
        entries[name] = replace(entry, since=old.since if old is not None and kept else generation)
    texts = used_texts(entries, (loading.library, loading.common), loading.scripts.texts)
    snapshot = Snapshot(entries, generation, loading.library, loading.common, texts, loading.scripts.states)
    return ReadResult(snapshot, findings)


def unreadable(name: str, error: OSError | ValueError) -> Finding:
    """Return the finding for a file that ``read_file`` could not give."""
    text = error.strerror if isinstance(error, OSError) else str(error)
    return Finding("error", name, "", f"the file cannot be read: {text}")


def script_reader(options: ReadOptions, before: Snapshot | None = None) -> ScriptReader:
    """Return the reader of scripts, which remembers what an earlier load read."""
    old = before or Snapshot()
    return ScriptReader(options.script_limits(), old.files, old.texts)


def read_library(reader: ScriptReader, options: ReadOptions) -> tuple[ScriptSet, list[Finding]]:
    """Read the script of tyk_js_path. Without it the APIs are served; what they miss of it fails when it is used."""
    path = options.tyk_js_path
    if not options.compile.enable_jsvm or not path:
        return EMPTY, []
    found = reader.read([path], {})
    findings = [Finding(remark.severity, options.conf, "$.tyk_js_path", remark.message) for remark in found.remarks]
    if found.files[path].problem:
        findings.append(Finding("error", options.conf, "$.tyk_js_path", found.files[path].problem))
    return found, findings


def read_common(reader: ScriptReader, options: ReadOptions) -> ScriptSet:
    """Read the scripts of global hooks. What cannot be read is said where they are put together."""
    paths = [script.path for script in options.compile.plugins.scripts]
    return reader.read(paths, {}) if paths else EMPTY


@dataclass(slots=True)
class Loading:
    """What the files of one load are read with. common: the scripts of global hooks, and added: what has become of them;
    found: scripts that lie in folders, by api id."""

    options: ReadOptions
    scripts: ScriptReader
    library: ScriptSet
    common: ScriptSet
    added: GlobalScripts
    found: dict[str, dict[str, tuple[str, ...]]]
    bundles: Library

    @classmethod
    def begin(cls, options: ReadOptions, before: Snapshot | None) -> tuple[Loading, list[Finding]]:
        """Look for scripts. Returns what the files are read with, and findings about the library and global scripts."""
        reader = script_reader(options, before)
        library, findings = read_library(reader, options)
        common = read_common(reader, options)
        report = Report(options.conf)
        added = global_scripts(options.compile, Scripts(common, library, reader.texts), report)
        findings += report.findings
        conf_dir = options.script_limits().conf_dir
        bundles = Library(options.bundles, fetching=options.fetch_bundles)
        found = discover(options.middleware_path, conf_dir)
        return cls(options, reader, library, common, added, found, bundles), findings

    def script_set(self, api_id: str, named: Iterable[str], bundle: AppliedBundle | None) -> ScriptSet | None:
        """Read the scripts of one API, None if it has none. named: paths as the definition writes them."""
        paths = list(named) if self.options.compile.enable_jsvm else []
        found = self.found.get(api_id, {}) if api_id else {}
        if not paths and not found:
            return None
        return self.scripts.read(paths, found, *((bundle.problem, bundle.directory) if bundle is not None else ()))

    def compile(
        self, definition: Definition, file: str, scripts: ScriptSet | None, bundle: AppliedBundle | None
    ) -> tuple[PlanSpec | None, list[Finding]]:
        """Compile one definition with the scripts that were read for it."""
        known = Scripts(scripts or EMPTY, self.library, self.scripts.texts)
        return compile_definition(definition, file, self.options.compile, known, bundle, self.added)

    def refreshed(self, entry: Entry, *, anew: bool = False) -> tuple[Entry, list[Finding]]:
        """Return the entry of an unchanged definition with its bundle and scripts of now, and what is to be said of them.

        anew: options may have changed, so that the definition says which scripts it names.
        """
        if not entry.raw:
            return entry, []
        named: Iterable[str] = entry.scripts.named() if entry.scripts is not None else ()
        bundle: AppliedBundle | None = None
        findings: list[Finding] = []
        definition: Definition | None = None
        if anew or b"custom_middleware_bundle" in entry.raw.lower():
            definition = decode(entry.raw, entry.file)[0]
        if definition is not None:
            bundle, findings = load_bundle(definition, self.bundles, entry.file)
            definition = with_bundle(definition, bundle)
            named = script_paths(definition)
        scripts = self.script_set(entry.api_id, named, bundle)
        if scripts == entry.scripts and bundle == entry.bundle:
            return entry, findings
        definition = definition if definition is not None else decode(entry.raw, entry.file)[0]
        if definition is not None:
            findings = findings + self.compile(definition, entry.file, scripts, bundle)[1]
        return replace(entry, scripts=scripts, bundle=bundle), findings


def _read_entry(
    app_path: str, name: str, *, present: set[str], old: Entry | None, loading: Loading, fingerprint: str
) -> tuple[Entry | None, list[Finding]]:
    path = str(Path(app_path, name))
    options = loading.options

    def failed(found: list[Finding], stamp: Stamp | None) -> tuple[Entry, list[Finding]]:
        base, about_scripts = loading.refreshed(old, anew=True) if old is not None else (Entry(name, "", None, b""), [])
        return replace(base, stamp=stamp, failed=tuple(found)), found + about_scripts

    try:
        state = Path(path).stat()
        if old is not None and old.stamp == _stamp(state, fingerprint):
            entry, about_scripts = loading.refreshed(old)
            return entry, list(old.failed) + about_scripts
        raw, state = read_file(path, options)
    except FileNotFoundError:
        return None, []
    except (OSError, ValueError) as error:
        return failed([unreadable(name, error)], None)
    if is_companion(name, raw, present):
        return None, []
    stamp = None if is_racy(state) else _stamp(state, fingerprint)
    text, findings = substitute(raw, name, options.environ, options.secrets)
    if findings:
        return failed(findings, stamp)
    definition, findings = decode(text, name)
    if definition is None:
        return failed(findings, stamp)
    bundle, about_bundle = load_bundle(definition, loading.bundles, name)
    definition = with_bundle(definition, bundle)
    scripts = loading.script_set(definition.get("api_id", ""), script_paths(definition), bundle)
    spec, found = loading.compile(definition, name, scripts, bundle)
    findings = findings + about_bundle + found
    if spec is None:
        return failed(findings, stamp)
    claim = (spec.domain, spec.listen_path)
    return Entry(name, spec.api_id, stamp, text, (), claim, scripts=scripts, bundle=bundle), findings


def _stamp(state: os.stat_result, fingerprint: str) -> Stamp:
    return Stamp(state.st_mtime_ns, state.st_size, state.st_ino, fingerprint)
