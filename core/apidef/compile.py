"""From decoded definitions to PlanSpecs: pure functions, so that every worker gets the same plans."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

from core.apidef import access, features, listen_path, targets
from core.apidef.addresses import address_lists
from core.apidef.bundles import AppliedBundle, bundle_of, with_bundle
from core.apidef.caching import cache_options
from core.apidef.decode import Definition, decode
from core.apidef.durations import parse_expiry
from core.apidef.edits import header_edits, processor_edits, whole_timeout
from core.apidef.endpoints import endpoints
from core.apidef.event_scripts import event_scripts
from core.apidef.extractors import custom_auth
from core.apidef.global_scripts import NO_SCRIPTS, GlobalScripts, of_snapshot
from core.apidef.loops import resolve_loops
from core.apidef.options import CompileOptions
from core.apidef.patterns import translated
from core.apidef.plugins import PluginCompiler
from core.apidef.recording import recording
from core.apidef.scripts import ScriptCompiler
from core.apidef.snapshot import Scripts, Snapshot
from core.apidef.specs import PlanSpec, RefuseSpec, TargetSpec, TransportSpec
from core.apidef.versions import LOCATIONS, Selector, Version, selector, unsupported, versions
from core.config.gojson import join_path
from core.findings import Finding

_OF_HOOKS = frozenset(("custom_middleware", "custom_plugin_auth_enabled", "enable_coprocess_auth"))
ALL_DOWN = "all hosts are down\n"


class Report:
    """Collects findings about one file, and the reasons to refuse its requests."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.findings: list[Finding] = []
        self.refuse: list[RefuseSpec] = []
        self.fatal = False

    def error(self, path: str, message: str, suggestion: str = "") -> None:
        """Note something that keeps this definition from being served."""
        self.findings.append(Finding("error", self.file, path, message, suggestion))
        self.fatal = True

    def flaw(self, path: str, message: str, suggestion: str = "") -> None:
        """Note something that keeps a part of the API from working; the definition is served."""
        self.findings.append(Finding("error", self.file, path, message, suggestion))

    def warn(self, path: str, message: str, suggestion: str = "") -> None:
        """Note something that does not keep the API from working."""
        self.findings.append(Finding("warning", self.file, path, message, suggestion))

    def reject(self, path: str, message: str, refuse: RefuseSpec) -> None:
        """Note something because of which requests are refused."""
        self.findings.append(Finding("error", self.file, path, message))
        self.refuse.append(refuse)


def compile_definition(
    definition: Definition,
    file: str,
    options: CompileOptions,
    scripts: Scripts | None = None,
    bundle: AppliedBundle | None = None,
    added: GlobalScripts = NO_SCRIPTS,
) -> tuple[PlanSpec | None, list[Finding]]:
    """Compile one definition on its own. None when it cannot be served at all.

    ``scripts`` is what was read of its scripts, None when nothing was; ``bundle`` what its plugin bundle brings, which the
    definition has taken over, None without one; ``added`` are the scripts of global hooks. ``loop_target`` is left as
    written in a ``tyk://`` target.
    """
    report = Report(file)
    text = definition.get
    proxy = definition.get("proxy", {})
    unknown = bool(bundle_of(definition))    # what its hooks are: the bundle that is to say it could not be loaded
    own = {key: value for key, value in definition.items() if key not in _OF_HOOKS} if unknown else definition
    for feature in features.found(features.API_FEATURES, own):
        _note(feature, "$", report)
    injected = processor_edits(definition, report)
    if unknown:
        # Whoever was to load it has said why.
        report.refuse.append(unsupported("plugin bundle"))
    addresses = address_lists(definition, report)
    token = access.token_source(definition, report, plugins=options.plugins.enabled)
    by_plugin = custom_auth(definition, report)
    _own_port(definition, report, options)
    expires = _expiry(definition, report)
    path, route = _route(proxy, report, options)
    host, host_pattern = _domain(definition, report, options)
    chooser = _selector(definition, report)
    transport = proxy.get("transport", {})
    cache = cache_options(definition, report)
    found = versions(definition)
    compiler = ScriptCompiler(own, found, options, scripts, report)
    script_spec = compiler.compile()
    on_events = event_scripts(definition, options, scripts, report, compiler.owner)
    plugin_spec = None if unknown else PluginCompiler(definition, options.plugins, bundle, report).compile()
    parts = [_version_part(definition, version, report, options, compiler, cache is not None) for version in found]
    if report.fatal or route is None:
        return None, report.findings
    base = PlanSpec(
        file=file,
        api_id=text("api_id", ""),
        name=text("name", ""),
        org_id=text("org_id", ""),
        active=text("active", True),
        internal=text("internal", False),
        keyless=text("use_keyless", False),
        domain=host,
        domain_pattern=host_pattern,
        listen_path=path,
        route=route,
        strip_listen_path=proxy.get("strip_listen_path", False),
        disable_strip_slash=proxy.get("disable_strip_slash", False),
        preserve_host_header=proxy.get("preserve_host_header", False),
        targets=(),
        load_balancing=False,
        loop_target="",
        loop_path="",
        request_headers_remove=(),
        request_headers_add=(),
        response_headers_remove=(),
        response_headers_add=(),
        injected=injected,
        cache=cache,
        global_timeout=None,
        tls=TransportSpec(
            transport.get("ssl_insecure_skip_verify", False) or options.proxy_ssl_insecure_skip_verify,
            transport.get("ssl_min_version") or options.proxy_ssl_min_version,
            transport.get("ssl_max_version") or options.proxy_ssl_max_version,
            tuple(transport.get("ssl_ciphers") or options.proxy_ssl_ciphers),
            "",
        ),
        refuse=tuple(report.refuse),
        token=token,
        strip_auth=access.stripped_sources(definition),
        disable_rate_limit=text("disable_rate_limit", False),
        disable_quota=text("disable_quota", False),
        api_rate=access.api_rate(definition),
        events=access.events_text(definition),
        recording=recording(definition),
        not_versioned=chooser is None or bool(chooser.children),
        api_expires=expires,
        addresses=addresses,
        scripts=script_spec,
        global_scripts=added.of(definition),
        event_scripts=on_events,
        custom_auth=by_plugin,
        plugins=plugin_spec,
    )
    if chooser is None or chooser.children or chooser.own_name:
        single = _with(base, parts[0]) if parts else base
        return dataclasses.replace(single, selector=chooser), report.findings
    several = tuple((version.key, _with(base, part)) for version, part in zip(found, parts, strict=True))
    return dataclasses.replace(base, selector=chooser, versions=several), report.findings


def _with(base: PlanSpec, part: dict[str, Any]) -> PlanSpec:
    """The spec of one version; what the whole API refuses stays refused."""
    return dataclasses.replace(base, **{**part, "refuse": base.refuse + part["refuse"]})


def _selector(definition: Definition, report: Report) -> Selector | None:
    try:
        chooser = selector(definition)
    except ValueError as error:
        report.error("$.definition.location", str(error))
        return None
    if chooser is not None and chooser.location != LOCATIONS["url"] and not chooser.key:
        report.warn("$.definition.key", "no header or parameter is named, so no request can choose a version")
    if chooser is not None and chooser.pattern:
        try:
            chooser = dataclasses.replace(chooser, pattern=translated(chooser.pattern))
        except re.error as error:
            report.error("$.definition.url_versioning_pattern", f"it does not compile: {error}")
    return chooser


def _version_part(
    definition: Definition,
    version: Version,
    report: Report,
    options: CompileOptions,
    scripts: ScriptCompiler,
    cached: bool,
) -> dict[str, Any]:
    """The fields of a PlanSpec that belong to one version. cached: the API has a cache."""
    place = join_path("$.version_data.versions", version.key)
    mine = Report(report.file)
    for feature in features.found(features.VERSION_FEATURES, version.info):
        _note(feature, place, mine)
    if version.refuse is not None:
        mine.reject("$.version_data", f"requests are refused: {version.refuse.reason}", version.refuse)
    addresses, loop = _targets(definition, version, place, mine)
    edits = header_edits(version.info, place, mine)
    overall = whole_timeout(version.info, place, mine)
    entries = endpoints(version.info, place, options, mine, scripts.virtual, cached=cached)
    expires = parse_expiry(version.info.get("expires", ""))
    if expires == 0:
        text = f"{version.info['expires']!r:.40} is not a date, so the version counts as expired"
        mine.warn(f"{place}.expires", text, 'Write it as "2006-01-02 15:04", or leave it empty.')
    report.findings += mine.findings
    report.fatal = report.fatal or mine.fatal
    return {
        "version": version.name,
        "expires": expires,
        "targets": addresses,
        "load_balancing": len(addresses) > 1,
        "loop_target": loop.name if loop else "",
        "loop_path": loop.path if loop else "",
        "request_headers_remove": edits.request_remove,
        "request_headers_add": edits.request_add,
        "response_headers_remove": edits.response_remove,
        "response_headers_add": edits.response_add,
        "global_timeout": overall,
        "endpoints": entries,
        "refuse": tuple(mine.refuse),
    }


def plan_specs(snapshot: Snapshot, options: CompileOptions) -> list[PlanSpec]:
    """Compile every served API of the snapshot, in the order of file names.

    Inactive APIs are left out. Of several with one listen path and domain, the one that was there first keeps
    it and the others are renamed (tyk-core 2.1).
    """
    specs: list[PlanSpec] = []
    added = of_snapshot(snapshot, options, Report(""))
    for entry in snapshot.entries.values():
        definition = decode(entry.raw, entry.file)[0] if entry.raw else None
        if definition is None:
            continue
        definition = with_bundle(definition, entry.bundle)
        spec = compile_definition(definition, entry.file, options, snapshot.scripts(entry), entry.bundle, added)[0]
        if spec is not None and spec.active:
            specs.append(spec)
    return resolve_loops(_rename_duplicates(specs, snapshot, options))


def _rename_duplicates(specs: list[PlanSpec], snapshot: Snapshot, options: CompileOptions) -> list[PlanSpec]:
    taken: dict[str, set[str]] = {}
    renamed: dict[str, PlanSpec] = {}
    order = sorted(specs, key=lambda spec: (snapshot.entries[spec.file].since, spec.file))
    for spec in order:
        paths = taken.setdefault(spec.domain, set())
        if spec.listen_path in paths:
            name = listen_path.rename(spec.listen_path, spec.api_id, paths)
            route = listen_path.route(name, options.enable_strict_routes)
            renamed[spec.file] = dataclasses.replace(spec, listen_path=name, route=route)
            paths.add(name)
        paths.add(spec.listen_path)
    return [renamed.get(spec.file, spec) for spec in specs]


def _note(feature: features.Feature, base: str, report: Report) -> None:
    place = f"{base}.{feature.path}"
    if feature.treatment == "refuse":
        message = f"{feature.name}: {features.REFUSED} ({feature.why})"
        report.reject(place, message, unsupported(feature.name, feature.message))
    else:
        report.warn(place, f"{feature.name}: {features.IGNORED} ({feature.why})")


def _own_port(definition: Definition, report: Report, options: CompileOptions) -> None:
    port = definition.get("listen_port", 0)
    if port not in (0, options.listen_port):
        message = f"a listener of its own on port {port}: {features.REFUSED}"
        report.reject("$.listen_port", message, unsupported("own listener"))


def _expiry(definition: Definition, report: Report) -> float | None:
    """When the whole API expires, which counts without versions only (tyk-core 2.2)."""
    text = definition.get("expiration", "")
    if not definition.get("version_data", {}).get("not_versioned"):
        return None
    after = parse_expiry(text)
    if after == 0:
        report.warn(
            "$.expiration",
            f"{text!r:.40} is not a date, so the API counts as expired",
            'Write it as "2006-01-02 15:04", or leave it empty.',
        )
    return after


def _route(proxy: dict[str, Any], report: Report, options: CompileOptions) -> tuple[str, Any]:
    place = "$.proxy.listen_path"
    raw = proxy.get("listen_path", "")
    if not raw:
        report.error(place, "the listen path is empty", "Set it, for example to /my-api/.")
        return "", None
    if any(ord(char) <= 32 or ord(char) == 127 for char in raw):
        report.error(place, "the listen path has spaces or control characters")
        return "", None
    path = listen_path.normalise(raw)
    try:
        return path, listen_path.route(path, options.enable_strict_routes)
    except listen_path.PatternError as error:
        report.error(place, str(error))
        return path, None


def _domain(definition: Definition, report: Report, options: CompileOptions) -> tuple[str, str | None]:
    text = definition.get("domain", "")
    if not text or definition.get("domain_disabled"):
        return "", None
    if not options.enable_custom_domains:
        report.warn(
            "$.domain",
            "the domain has no effect: enable_custom_domains is off, so the API answers on every host",
            "Set enable_custom_domains in tyk.conf.",
        )
        return "", None
    try:
        return listen_path.domain(text)
    except listen_path.PatternError as error:
        report.error("$.domain", str(error))
        return "", None


def _targets(
    definition: Definition, version: Version, version_path: str, report: Report
) -> tuple[tuple[TargetSpec, ...], targets.Loop | None]:
    proxy = definition.get("proxy", {})
    place, text = "$.proxy.target_url", proxy.get("target_url", "")
    if version.info.get("override_target"):
        place, text = f"{version_path}.override_target", version.info["override_target"]
    addresses = [(place, text.strip())]
    balanced = proxy.get("enable_load_balancing", False)
    if balanced:
        protocol = definition.get("protocol", "")
        addresses = [
            (f"$.proxy.target_list[{index}]", targets.ensure_scheme(one, protocol))
            for index, one in enumerate(proxy.get("target_list", []))
        ]
        if not addresses:
            refuse = RefuseSpec("text", 503, ALL_DOWN, "empty target list")
            report.reject(
                "$.proxy.target_list", "load balancing over an empty list refuses every request", refuse
            )
            return (), None
    result: list[TargetSpec] = []
    for place, address in addresses:
        if not address:
            report.reject(place, "there is no upstream: every request is refused", unsupported("no upstream"))
            continue
        try:
            parsed = targets.parse(address)
        except targets.UnsupportedTarget as error:
            report.reject(place, f"{error}: {features.REFUSED}", unsupported(str(error)))
            continue
        except targets.TargetError as error:
            report.error(place, str(error))
            continue
        for remark in parsed.remarks:
            report.warn(place, remark)
        if isinstance(parsed.target, TargetSpec):
            result.append(parsed.target)
        elif balanced:
            report.reject(
                place, f"tyk:// in a target list: {features.REFUSED}", unsupported("tyk:// in a list")
            )
        else:
            return (), parsed.target
    return tuple(result), None
