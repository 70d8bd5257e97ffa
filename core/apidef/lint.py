"""Everything that is wrong or surprising in a directory of definitions; changes nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from core.apidef.bundles import load_bundle, with_bundle
from core.apidef.compile import plan_specs
from core.apidef.decode import Definition, decode_thoroughly
from core.apidef.loops import rewrite_loops, slug
from core.apidef.options import ReadOptions
from core.apidef.read import Loading, is_companion, list_files, read_directory, read_file, unreadable
from core.apidef.references import substitute
from core.apidef.scripts import script_paths
from core.apidef.snapshot import Snapshot
from core.apidef.specs import PlanSpec
from core.findings import Finding


def lint(app_path: str, options: ReadOptions) -> list[Finding]:
    """Return the findings about all definitions of a directory, in the order of the file names."""
    options = replace(options, fetch_bundles=False)
    try:
        names, findings = list_files(app_path, options)
    except OSError as error:
        message = f"the directory of API definitions (app_path) cannot be read: {error.strerror}"
        return [Finding("error", app_path, "", message)]
    loading, found = Loading.begin(options, None)
    findings.extend(found)
    definitions: dict[str, Definition] = {}
    for name in names:
        try:
            raw, _ = read_file(str(Path(app_path, name)), options)
        except (OSError, ValueError) as error:
            findings.append(unreadable(name, error))
            continue
        if is_companion(name, raw, set(names)):
            continue
        text, found = substitute(raw, name, options.environ, options.secrets)
        findings.extend(found)
        definition, found = decode_thoroughly(text, name)
        findings.extend(found)
        if definition is None:
            continue
        bundle, found = load_bundle(definition, loading.bundles, name)
        findings.extend(found)
        definition = with_bundle(definition, bundle)
        scripts = loading.script_set(definition.get("api_id", ""), script_paths(definition), bundle)
        spec, found = loading.compile(definition, name, scripts, bundle)
        findings.extend(found)
        if spec is not None:
            definitions[name] = definition
            findings.extend(_about_one(definition, spec))
    findings.extend(_about_all(read_directory(app_path, options, None).snapshot, definitions, options))
    findings.extend(_about_tags(definitions, options))
    return sorted(findings, key=lambda finding: finding.file)


def _about_tags(definitions: dict[str, Definition], options: ReadOptions) -> list[Finding]:
    """Global hooks that no API has."""
    tags = {tag for definition in definitions.values() for tag in definition.get("tags", [])}
    plugins = options.compile.plugins
    message = "no API has one of these tags, so the hook is added to none"
    return [
        Finding("warning", options.conf or "tyk.conf", f"{hook.place}.tags", message)
        for hook in (*plugins.hooks, *plugins.scripts)
        if hook.tags and not tags.intersection(hook.tags)
    ]


def _about_one(definition: Definition, spec: PlanSpec) -> list[Finding]:
    found: list[Finding] = []

    def note(severity: Any, path: str, message: str, suggestion: str = "") -> None:
        found.append(Finding(severity, spec.file, path, message, suggestion))

    proxy = definition.get("proxy", {})
    if not spec.active:
        note("warning", "$.active", "the API is not active, so it is not served", "Set active to true.")
    if not spec.api_id:
        note("warning", "$.api_id", "the API has no id; keys and counters cannot name it", "Give it one.")
    path = spec.listen_path
    if spec.route.pattern is None and not spec.route.strict and not path.endswith("/"):
        message = f"{path} also serves every path that starts with it, such as {path}x"
        note("warning", "$.proxy.listen_path", message, f"Write {path}/, or set enable_strict_routes.")
    if any(char in path for char in "?#"):
        note("warning", "$.proxy.listen_path", "a path with ? or # never matches a request")
    if path == "/tyk" or path.startswith("/tyk/"):
        note("warning", "$.proxy.listen_path", "paths under /tyk/ belong to the gateway's own API")
    if spec.tls.insecure_skip_verify and any(target.scheme == "https" for target in spec.targets):
        message = "the certificates of the upstream are not verified"
        note("warning", "$.proxy.transport.ssl_insecure_skip_verify", message)
    plain = spec.targets and all(target.scheme == "http" for target in spec.targets)
    if plain and any(value for key, value in proxy.get("transport", {}).items() if key.startswith("ssl_")):
        note("warning", "$.proxy.transport", "TLS settings have no effect on an http:// upstream")
    if proxy.get("target_list") and not proxy.get("enable_load_balancing"):
        note("warning", "$.proxy.target_list", "the list has no effect: enable_load_balancing is off")
    return found


def _about_all(snapshot: Snapshot, definitions: dict[str, Definition], options: ReadOptions) -> list[Finding]:
    found: list[Finding] = []
    ids: dict[str, str] = {}
    places: dict[tuple[str, str], str] = {}
    specs = plan_specs(snapshot, options.compile)
    looped = {spec.loop_target for spec in specs if spec.loop_target}
    known = {spec.api_id for spec in specs} | {slug(spec.name) for spec in specs}
    for spec in specs:
        for name in sorted(rewrite_loops(spec)):
            looped |= {name, slug(name)}
            if name not in known and slug(name) not in known:
                message = f"a rewrite leads to tyk://{name}, and no API has that id or name: its requests are answered with 500"
                found.append(Finding("error", spec.file, "$.version_data", message))
    for spec in specs:
        if spec.api_id and spec.api_id in ids:
            message = f"{ids[spec.api_id]} has the same api_id; tyk:// and keys mean only the last one"
            found.append(Finding("warning", spec.file, "$.api_id", message, "Give each API its own id."))
        ids[spec.api_id] = spec.file
        if spec.internal and spec.api_id not in looped and slug(spec.name) not in looped:
            message = "the API is internal and no target leads to it, so nothing reaches it"
            suggestion = f"Point a target at tyk://{spec.api_id or slug(spec.name)}."
            found.append(Finding("warning", spec.file, "$.internal", message, suggestion))
        claim = snapshot.entries[spec.file].claim
        if spec.listen_path != claim[1] and spec.file in definitions:
            message = (
                f"{places.get(claim, 'another file')} has the same listen path; served at {spec.listen_path}"
            )
            found.append(
                Finding("warning", spec.file, "$.proxy.listen_path", message, "Choose another path.")
            )
        else:
            places[claim] = spec.file
        if definitions.get(spec.file, {}).get("proxy", {}).get("target_url", "").startswith("tyk://"):
            found.extend(
                Finding("error", spec.file, "$.proxy.target_url", refuse.reason)
                for refuse in spec.refuse
                if "tyk://" in refuse.reason or refuse.reason.startswith("no API")
            )
    return found
