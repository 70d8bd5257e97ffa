"""From a PlanSpec to the steps that know keys and limits, in the order of tyk-core 3.1."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from accel.endpoints import EndpointMatcher
from accel.http1 import (
    ApiRateLimit,
    Exchange,
    KeyChecks,
    PathAnswer,
    PathRateLimit,
    PyStep,
    Quota,
    RateLimit,
    Step,
    StripAuth,
    TokenAuth,
    TokenSource,
)
from accel.limits import RateWindow
from core.access.breaker import Breaker
from core.access.grants import GrantCompiler
from core.access.loader import REFRESH_MS
from core.access.orgs import OrgKeeper
from core.apidef.breakers import BreakerSpec
from core.apidef.endpoints import EndpointSpec, Rate
from core.apidef.options import CompileOptions, compile_options
from core.apidef.specs import AuthSpec, PlanSpec
from core.sessions.murmur import murmur32
from core.sessions.tokens import hash_key

if TYPE_CHECKING:
    from core.hooks import HookSteps
    from core.services import Services

RATE_LIMITS_PATH = b"/tyk/rate-limits/"


class AccessSteps:
    """Makes the steps of one worker's plans."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self.answers = services.answers
        self._options = CompileOptions()
        self._hash_keys = False
        self._whole_keys = False
        self._check_orgs = False
        self._orgs = OrgKeeper(
            services.keyspace,
            services.limits,
            services.rates,
            services.quota,
            services.answers,
            services.events.watch_org,
        )

    def configure(self, config: Any) -> tuple[Any, ...]:
        """Take a configuration; returns what of it the steps depend on."""
        self._options = compile_options(config)
        self._hash_keys = config.hash_keys
        self._whole_keys = config.enable_key_logging
        self._check_orgs = config.enforce_org_quotas
        self._orgs.configure(config)
        services = self._services
        switches = self._hash_keys, self._whole_keys, self._check_orgs, services.events.monitor.keys
        return self._options, switches, services.rates.settings

    def grant_key(self, spec: PlanSpec) -> bytes:
        """What the rights of a session at an API depend on besides the session: a request that began before a reload
        must not leave what it has compiled to those behind it."""
        switches = spec.not_versioned, spec.disable_rate_limit, spec.disable_quota, self._whole_keys, self._options
        return f"{spec.api_id} {switches}".encode()

    def steps(self, spec: PlanSpec, matcher: EndpointMatcher | None, hooks: HookSteps) -> list[Step]:
        """The steps of one API: organisation, authentication, key checks, limits, quota. matcher: its path entries;
        hooks: makes those among them."""
        services = self._services
        rates = services.rates
        always = rates.settings.always != "local"
        threshold = rates.settings.threshold
        found: list[Step] = []
        if self._check_orgs and spec.org_id:
            found.append(self._orgs.step(spec.org_id))
        by_hook = hooks.auth(spec)
        found += by_hook
        if spec.token is not None:
            prefix, load, refresh = services.sessions.for_api(spec.org_id)
            sources = [_source(spec.token)]
            missing = services.answers.missing_token
            found.append(TokenAuth(sources, prefix, services.cache, load, refresh, REFRESH_MS, missing))
            found += hooks.identity(spec)
        found += hooks.of(spec, "post_key_auth")
        if spec.token is not None or by_hook:
            if spec.strip_auth:
                found.append(StripAuth(_source(source) for source in spec.strip_auth))
            compiler = GrantCompiler(
                services.limits,
                spec.api_id,
                not_versioned=spec.not_versioned,
                disable_rate_limit=spec.disable_rate_limit,
                disable_quota=spec.disable_quota,
                quota=services.quota.window,
                path_options=self._options,
                whole_keys=self._whole_keys,
            )
            prefixed = self._options.enable_path_prefix_matching
            found.append(KeyChecks(compiler, services.answers.key_denied, prefixed))
            found.append(PathAnswer(RATE_LIMITS_PATH, _rate_limits))
            if not spec.disable_rate_limit:
                found.append(RateLimit(rates.blocked, rates.remote, always, threshold))
            if not spec.disable_quota:
                found.append(Quota(services.quota.ask, services.answers.quota_exceeded, services.quota.dirty))
                if services.events.monitor.keys:
                    found.append(PyStep(services.events.watch))
        if spec.api_rate is not None:
            rate, per = spec.api_rate
            key = "rate-limit-" + hash_key(f"apilimiter-{spec.org_id}{spec.api_id}", self._hash_keys)
            window = RateWindow(services.limits, f"{key}:{rate}:{per}".encode(), rate, per, key)
            found.append(ApiRateLimit(window, rates.api_blocked, rates.api_remote, always, threshold))
        if matcher is not None and matcher.has("rate_limit"):
            found.append(PathRateLimit(rates.api_blocked, rates.api_remote, always, threshold))
        return found

    def breaker(self, spec: PlanSpec, entry: EndpointSpec, data: BreakerSpec) -> Breaker:
        """What an entry of circuit_breakers does."""
        services = self._services
        name = f"{entry.method} {entry.path} of API {spec.api_id}, version {spec.version!r}"
        return Breaker(data, services.limits, name, lambda what: services.breaker_changed(spec.api_id, entry.path, what))

    def path_window(self, spec: PlanSpec, entry: EndpointSpec, limit: Rate) -> RateWindow:
        """The counter of a rate_limit entry."""
        base = hash_key(f"apilimiter-{spec.org_id}{spec.api_id}", self._hash_keys)
        key = f"rate-limit-{base}-{murmur32(f'{entry.method}:{entry.path}'.encode())}"
        name = f"{key}:{entry.path}:{entry.method}:{limit.rate}:{limit.per}".encode()
        return RateWindow(self._services.limits, name, limit.rate, limit.per, key)


def _source(spec: AuthSpec) -> TokenSource:
    return TokenSource(spec.header.encode(), spec.param.encode(), spec.cookie.encode())


def _rate_limits(x: Exchange) -> None:
    """What a key has left, for its holder (tyk-core 3.1, rate-limit status route)."""
    grant = x.grant
    limits = grant.data if grant is not None else None
    quota: dict[str, Any] = {"quota_max": 0, "quota_remaining": 0, "quota_renews": 0}
    rate: dict[str, Any] = {"requests": 0, "per_unit": 0}
    if limits is not None:
        quota = {
            "quota_max": limits.quota_max,
            "quota_remaining": limits.quota_remaining,
            "quota_renews": limits.quota_renews,
        }
        rate = {"requests": _plain(limits.rate), "per_unit": _plain(limits.per)}
    body = json.dumps({"quota": quota, "rate_limit": rate}, separators=(",", ":")).encode() + b"\n"
    x.answer(200, [(b"Content-Type", b"application/json")], body)


def _plain(number: float) -> float | int:
    return int(number) if number == int(number) else number
