"""From specs to the steps that choose a version and apply its path entries."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from accel.endpoints import Endpoint, EndpointMatcher, Pattern, VerdictMemo
from accel.http1 import Exchange, Expiry, GateCheck, Plan, Step, VersionCheck
from core.access.header_steps import Spell, edit_steps
from core.apidef.breakers import BreakerSpec
from core.apidef.caching import CacheEntry
from core.apidef.edits import HeaderChange
from core.apidef.endpoints import EndpointSpec, Rate, ReplySpec
from core.apidef.rewrites import RewriteSpec
from core.apidef.scripts import VirtualSpec
from core.apidef.specs import PlanSpec
from core.apidef.versions import Selector
from core.cache.steps import Entry

if TYPE_CHECKING:
    from core.access.rewrite import Rewriter
    from core.access.steps import AccessSteps
    from core.scripts.steps import ScriptSteps

CHILD_UNKNOWN = 404     # newer style of versions (tyk-core 2.3)

Failed = Callable[[Exchange, int, str], None]
Made = Rate | RewriteSpec | BreakerSpec | HeaderChange | VirtualSpec | CacheEntry
Reply = tuple[int, list[tuple[bytes, bytes]], bytes]


class PathSteps:
    """Makes the matchers of one worker's plans, and the steps in front that ask them."""

    def __init__(
        self,
        memo: VerdictMemo,
        access: AccessSteps,
        rewriter: Callable[[PlanSpec, RewriteSpec], Rewriter],
        scripts: ScriptSteps,
    ) -> None:
        """rewriter: makes what an entry of url_rewrites does; scripts: what one of virtual does."""
        self._scripts = scripts
        self._memo = memo
        self._access = access
        self._rewriter = rewriter

    def endpoints(self, spec: PlanSpec, spell: Spell) -> list[Endpoint]:
        """The path entries of a version. spell: how names of headers are written."""

        def made(entry: EndpointSpec, data: Made) -> Any:
            if isinstance(data, RewriteSpec):
                return self._rewriter(spec, data)
            if isinstance(data, BreakerSpec):
                return self._access.breaker(spec, entry, data)
            if isinstance(data, VirtualSpec):
                return self._scripts.virtual_data(spec, entry.path, data)
            if isinstance(data, CacheEntry):
                return Entry(data)
            if isinstance(data, HeaderChange):
                return tuple(edit_steps(data, spell, response=entry.kind == "transform_response_headers"))
            return self._access.path_window(spec, entry, data)

        wanted = [e for e in spec.endpoints if not (e.kind == "rate_limit" and spec.disable_rate_limit)]
        return [endpoint(entry, made) for entry in wanted]

    def gate(self, matcher: EndpointMatcher) -> list[Step]:
        """The step that applies path lists, none where no entry speaks there."""
        return [GateCheck(matcher, self._memo, self._access.answers.version_failed)] if matcher.gated else []


def endpoint(entry: EndpointSpec, made: Callable[[EndpointSpec, Any], Any]) -> Endpoint:
    """One entry for the matcher. made: what its data stand for at run time, where that is more than data (Made)."""
    data: Any = None
    match entry.data:
        case ReplySpec() as reply:
            data = _reply(reply)
        case Rate() | RewriteSpec() | BreakerSpec() | HeaderChange() | VirtualSpec() | CacheEntry() as described:
            data = made(entry, described)
        case float() as seconds:
            data = milliseconds(seconds)
        case str() as method:
            data = method.encode()
    return Endpoint(
        entry.kind,
        entry.pattern.encode(),
        [entry.method.encode()] if entry.method else None,
        data,
        path=entry.path.encode(),
        actions=None if entry.actions is None else {verb.encode(): _action(said) for verb, said in entry.actions},
    )


def version_check(
    rule: Selector, plans: Mapping[str, Plan], expiries: Mapping[str, float | None], config: Any, failed: Failed
) -> VersionCheck:
    """The first step of an API with versions."""
    newer = bool(rule.children or rule.own_name)
    return VersionCheck(
        rule.location,
        rule.key.encode(),
        {key.encode(): (plan, expiries[key], _date(expiries[key] or 0)) for key, plan in plans.items()},
        default=rule.default.encode(),
        fallback=rule.fallback,
        strip=rule.strip,
        pattern=Pattern(rule.pattern.encode()) if rule.pattern else None,
        slug=rule.slug.encode(),
        header=config.version_header.encode(),
        failed=failed,
        unknown_status=CHILD_UNKNOWN if newer else 403,
    )


def expiry(at: float, message: str, failed: Failed) -> Expiry:
    """The step that refuses from a unix time on."""
    return Expiry(at, _date(at), message, failed)


def milliseconds(seconds: float) -> int:
    """At least one."""
    return max(1, int(seconds * 1000))


def _action(said: ReplySpec | bool | None) -> Reply | bool | None:
    return _reply(said) if isinstance(said, ReplySpec) else said


def _reply(reply: ReplySpec) -> Reply:
    headers = [(name.encode(), text.strip().encode()) for name, text in reply.headers]
    return reply.status, headers, reply.body.encode()


def _date(at: float) -> bytes:
    """Like Go's RFC 1123 format in UTC."""
    return time.strftime("%a, %d %b %Y %H:%M:%S UTC", time.gmtime(at)).encode()
