"""From PlanSpecs (pure data) to plans of the data path."""

from __future__ import annotations

import hmac
import logging
import re
import ssl
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

from accel.endpoints import EndpointMatcher
from accel.headers import canonical
from accel.http1 import Exchange, Gateway, Origin, PathEdits, PathMethod, PathRewrite, Plan, PyStep, Step, Target
from accel.router import Route, Router
from core.access.addresses import address_check
from core.access.header_steps import Spell, edit_steps
from core.access.rewrite import Loops, Rewriter, stripper
from core.access.steps import AccessSteps
from core.access.upstreams import NamedUpstreams
from core.access.versions import PathSteps, expiry, milliseconds, version_check
from core.apidef.edits import HeaderChange
from core.apidef.loops import slug
from core.apidef.rewrites import RewriteSpec
from core.apidef.specs import PlanSpec, RefuseSpec, TargetSpec, TransportSpec
from core.cache.steps import CacheSteps
from core.findings import Finding
from core.hooks import HookSteps
from core.plugins.steps import PluginSteps
from core.scripts.steps import ScriptSteps
from core.services import Services
from core.tls import TlsError, client_context

log = logging.getLogger("preforge.apis")

API_EXPIRED = "API has expired, please check documentation or contact administrator"
VERSION_EXPIRED = "Api Version has expired, please check documentation or contact administrator"
PROBLEM = "There was a problem proxying the request"


@dataclass(slots=True)
class Built:
    """What a set of specs became. names: api_id -> name, for the metrics."""

    router: Router
    origins: set[Origin]
    names: dict[str, str]
    findings: list[Finding] = field(default_factory=list)


class Rows(Protocol):
    """Where the numbers of an API are counted."""

    def row_for(self, api_id: str) -> int: ...


class PlanBuilder:
    """Builds plans for one worker; unchanged specs keep their plan, and with it their pools and their turn."""

    def __init__(self, gateway: Gateway, counters: Rows, services: Services, *, cached: bool = True) -> None:
        """cached: answers may come from the response cache, and may go there."""
        self._gateway = gateway
        self._access = AccessSteps(services)
        self._analytics = services.analytics
        self._loops = Loops()
        self._named = NamedUpstreams(self._target, gateway.forget, services.named_host_dropped)
        self._scripts = ScriptSteps(services, services.scripts.make, self._loops)
        self._plugins = PluginSteps(services, self._loops, self._named.get)
        self._hooks = HookSteps(self._scripts, self._plugins)
        self._cache = CacheSteps(services.responses, gateway.region, counters) if cached else None
        self._paths = PathSteps(services.path_memo, self._access, self._rewriter, self._scripts)
        self._counters = counters
        self._plans: dict[str, tuple[tuple[PlanSpec, tuple[Any, ...]], Plan]] = {}
        self._contexts: dict[TransportSpec, ssl.SSLContext] = {}

    def build(self, specs: Iterable[PlanSpec], config: Any) -> Built:
        """Compile specs into a router. A spec that cannot be compiled keeps its previous plan, else it refuses."""
        specs = list(specs)
        spelling = config.ignore_canonical_mime_header_key, config.version_header
        settings = (config.proxy_default_timeout, *spelling, *self._access.configure(config))
        settings += (self._analytics.settings, *self._scripts.configure(config), *self._plugins.configure(config))
        if self._cache is not None:
            settings += self._cache.configure(config.rate_limit_response_headers == "rate_limits")
        built = Built(Router(), set(), {})
        plans: dict[str, tuple[tuple[PlanSpec, tuple[Any, ...]], Plan]] = {}
        for spec in specs:
            known = self._plans.get(spec.file)
            if known is not None and known[0] == (spec, settings):
                plans[spec.file] = known
                continue
            try:
                plan = self._plan(spec, config)
            except (TlsError, ssl.SSLError, re.error, ValueError) as error:
                built.findings.append(
                    Finding("error", spec.file, "$", f"the definition cannot be used: {error}")
                )
                if known is not None:
                    plans[spec.file] = known
                    continue
                plan = Plan(spec.api_id.encode(), name=spec.name.encode(), steps=[_refusal_step(str(error))])
            plans[spec.file] = ((spec, settings), plan)
        self._link(specs, plans)
        routes = []
        for spec in specs:
            plan = plans[spec.file][1]
            if not spec.active:
                continue
            built.names[spec.api_id] = spec.name
            for one in (plan, *(plan.versions or {}).values()):
                built.origins.update(target.origin for target in (*one.targets, *one.others))
            if not spec.internal:
                routes.append((_host(spec, config.hostname), _route(spec, plan)))
        self._named.begin(config.preforge.upstream.max_named_hosts, built.origins)
        self._plans = plans
        built.router = Router(routes)
        return built

    def _link(
        self, specs: list[PlanSpec], plans: dict[str, tuple[tuple[PlanSpec, tuple[Any, ...]], Plan]]
    ) -> None:
        """Connect `tyk://` targets and versions that are APIs of their own with the plans they lead to."""
        by_id = {spec.api_id: plans[spec.file][1] for spec in specs if spec.active}
        places = [(spec, (plans[spec.file][1], _start(spec))) for spec in specs if spec.active]
        self._loops.by_id = {spec.api_id: place for spec, place in places if spec.api_id}
        self._loops.by_name = {slug(spec.name): place for spec, place in places if spec.name}
        starts = {spec.api_id: start for spec, (_, start) in places}
        for spec in specs:
            plan = plans[spec.file][1]
            if spec.loop_target and spec.loop_target in by_id:
                plan.link(by_id[spec.loop_target])
            for key, version in spec.versions:
                if version.loop_target in by_id and plan.versions:
                    plan.versions[key].link(by_id[version.loop_target])
            if spec.selector is not None and spec.selector.children and plan.versions is not None:
                children = [(name.encode(), child) for name, child in spec.selector.children if child in by_id]
                plan.steps[0].adopt({name: (by_id[child], starts.get(child, b"")) for name, child in children})

    def _plan(self, spec: PlanSpec, config: Any) -> Plan:
        if spec.selector is None:
            return self._single(spec, config)
        if spec.selector.children or spec.selector.own_name:
            own = self._single(spec, config)
            versions = {spec.selector.own_name: own} if spec.selector.own_name else {}
            expiries = {spec.selector.own_name: spec.expires}
        else:
            versions = {key: self._single(version, config) for key, version in spec.versions}
            expiries = {key: version.expires for key, version in spec.versions}
        base = Plan(
            spec.api_id.encode(),
            name=spec.name.encode(),
            org_id=spec.org_id.encode(),
            row=self._counters.row_for(spec.api_id),
            steps=[version_check(spec.selector, versions, expiries, config, self._access.answers.version_failed)],
            strip=spec.strip_listen_path,
            recording=self._analytics.plan(spec),
        )
        base.versions = versions
        return base

    def _single(self, spec: PlanSpec, config: Any) -> Plan:
        spell: Spell = (lambda name: name) if config.ignore_canonical_mime_header_key else canonical
        steps: list[Step] = [_refuse(refusal) for refusal in spec.refuse]
        failed = self._access.answers.version_failed
        if spec.api_expires is not None:
            steps.append(expiry(spec.api_expires, API_EXPIRED, failed))
        if spec.selector is None and spec.not_versioned and spec.expires is not None:
            steps.append(expiry(spec.expires, VERSION_EXPIRED, failed))
        entries = self._paths.endpoints(spec, spell)
        matcher = EndpointMatcher(entries) if entries else None
        if matcher is not None:
            steps += self._paths.gate(matcher)
        steps += self._hooks.of(spec, "pre")
        if spec.addresses is not None:
            steps.append(address_check(spec.addresses, self._access.answers.address_refused))
        steps += self._access.steps(spec, matcher, self._hooks)
        change = HeaderChange(spec.request_headers_remove, spec.request_headers_add)
        steps += edit_steps(change, spell, response=False)
        if matcher is not None:
            if matcher.has("transform_headers"):
                steps.append(PathEdits("transform_headers"))
            if matcher.has("url_rewrites"):
                steps.append(PathRewrite())
            if matcher.has("method_transforms"):
                steps.append(PathMethod())
        if self._cache is not None:
            steps += self._cache.request(spec, matcher)
        steps += self._scripts.virtual(spec, matcher)
        steps += self._hooks.of(spec, "post")
        return Plan(
            spec.api_id.encode(),
            name=spec.name.encode(),
            org_id=spec.org_id.encode(),
            row=self._counters.row_for(spec.api_id),
            steps=steps,
            response_steps=self._response_steps(spec, matcher, spell),
            targets=[self._target(target, spec.tls) for target in spec.targets],
            strip=spec.strip_listen_path,
            exact_target=spec.disable_strip_slash,
            preserve_host=spec.preserve_host_header,
            head_timeout_ms=int(config.proxy_default_timeout * 1000),
            matcher=matcher,
            exchange_timeout_ms=milliseconds(spec.global_timeout) if spec.global_timeout else 0,
            loop_path=spec.loop_path.encode(),
            version=spec.version.encode(),
            recording=self._analytics.plan(spec),
            grant_key=self._access.grant_key(spec),
            others=[other for one in entries if isinstance(one.data, Rewriter) for other in one.data.targets.values()],
        )

    def _response_steps(self, spec: PlanSpec, matcher: EndpointMatcher | None, spell: Spell) -> list[Step]:
        """In the order of Tyk: of the path, of the version, of the API (tyk-core 2.6)."""
        kind = "transform_response_headers"
        steps: list[Step] = [PathEdits(kind, response=True)] if matcher is not None and matcher.has(kind) else []
        steps += edit_steps(HeaderChange(spec.response_headers_remove, spec.response_headers_add), spell, response=True)
        if spec.injected is not None:
            steps += edit_steps(spec.injected, spell, response=True)
        return steps + self._hooks.of(spec, "response")

    def _rewriter(self, spec: PlanSpec, data: RewriteSpec) -> Rewriter:
        strip = stripper(spec.route, spec.strip_listen_path)
        return Rewriter(
            data,
            strip,
            _start(spec),
            lambda target: self._target(target, spec.tls),
            lambda address: self._named.get(address, spec.tls),
            self._loops,
        )

    def _target(self, target: TargetSpec, tls: TransportSpec) -> Target:
        context = None
        if target.scheme == "https":
            context = self._contexts.get(tls)
            if context is None:
                context = self._contexts[tls] = client_context(tls)
        origin = self._gateway.origin(target.host, target.port, context, tls.server_name or target.host)
        host = f"[{target.host}]" if ":" in target.host else target.host
        if target.port != (443 if target.scheme == "https" else 80):
            host += f":{target.port}"
        return Target(origin, host.encode(), target.path.encode(), target.query.encode())


def _start(spec: PlanSpec) -> bytes:
    """The listen path, b"" if it has variables."""
    return b"" if spec.route.pattern is not None else spec.route.literal_prefix.encode()


def _host(spec: PlanSpec, hostname: str) -> bytes | re.Pattern[bytes] | None:
    if spec.domain_pattern is not None:
        return re.compile(spec.domain_pattern.encode())
    return (spec.domain or hostname).lower().encode() or None


def _route(spec: PlanSpec, plan: Plan) -> Route:
    pattern = None if spec.route.pattern is None else re.compile(spec.route.pattern.encode())
    return Route(spec.route.literal_prefix.encode(), plan, pattern, spec.route.sort_length, spec.route.strict)


def _refusal_step(reason: str) -> PyStep:
    def refuse(x: Exchange) -> None:
        log.error("API %s: request refused: %s", x.plan.api_id.decode(), reason)
        x.fail(500, PROBLEM)

    return PyStep(refuse)


def _refuse(spec: RefuseSpec) -> PyStep:
    """A step that answers as a RefuseSpec says."""
    def refuse(x: Exchange) -> None:
        if spec.after and time.time() < spec.after:
            return
        if spec.kind == "text":
            x.answer(spec.status, [(b"Content-Type", b"text/plain; charset=utf-8")], spec.message.encode())
            return
        if spec.kind == "unsupported":
            log.error("API %s: request refused: %s", x.plan.api_id.decode(), spec.reason)
        x.fail(spec.status or 500, spec.message or PROBLEM)

    return PyStep(refuse)


def same_secret(given: bytes | None, secret: str) -> bool:
    """Compare in constant time; an empty secret opens nothing."""
    return bool(secret) and given is not None and hmac.compare_digest(given, secret.encode())
