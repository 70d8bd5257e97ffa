"""From the plugins of an API to steps of its plan; core.hooks puts them beside those of scripts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from accel.headers import canonical
from accel.http1 import Step, Target, WaitStep
from core.access.rewrite import Loops, stripper
from core.apidef.specs import PlanSpec, TransportSpec
from core.plugins.context import Api, Call, Worker
from core.plugins.hooks import RequestHook
from core.plugins.responses import ResponseHook
from core.plugins.session_wires import SessionWires
from core.scripts.addresses import listen_end

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.apidef.plugins import PluginHookSpec, PluginSpec
    from core.services import Services


class PluginSteps:
    """Makes the steps that call the plugins of one worker's APIs."""

    def __init__(self, services: Services, loops: Loops, named: Callable[[str, TransportSpec], Target]) -> None:
        """loops: the APIs that tyk:// leads to; named: the upstream that an address names, see NamedUpstreams."""
        self._services = services
        self._worker = Worker(loops, SessionWires(), services.fire)
        self._named = named
        self._config: Any = None
        self._apis: dict[int, tuple[PlanSpec, Api]] = {}    # id of a spec -> it, and what its hooks share

    def configure(self, config: Any) -> tuple[Any, ...]:
        """Take a configuration; returns what of it the steps depend on."""
        self._config = config
        self._apis = {}
        return config.ignore_canonical_mime_header_key, self._services.plugins.options

    def hooks(self, spec: PlanSpec, kind: str, position: str = "own") -> list[Step]:
        """The hooks of one kind: those of the API, or the global ones in front of them ("before") or behind ("after")."""
        found = spec.plugins
        if found is None:
            return []
        return [self._step(spec, found, hook) for hook in found.of(kind, position)]

    def auth(self, spec: PlanSpec) -> list[Step]:
        """The auth hook: definitions that ask for one are refused where they are compiled."""
        return []

    def _step(self, spec: PlanSpec, found: PluginSpec, hook: PluginHookSpec) -> Step:
        api = self._api(spec, found)
        call: Call | None = None if hook.problem else self._services.plugins.call(spec, hook)
        made = ResponseHook(api, hook, call) if hook.kind == "response" else RequestHook(api, hook, call)
        return WaitStep(made, whole_body=True)

    def _api(self, spec: PlanSpec, found: PluginSpec) -> Api:
        """What the hooks of one version of an API share; made once for each configuration."""
        known = self._apis.get(id(spec))
        if known is not None:
            return known[1]
        spelt = self._config.ignore_canonical_mime_header_key
        api = Api(
            self._worker,
            spec.api_id,
            dict(found.about),
            listen_end(spec.route),
            stripper(spec.route, spec.strip_listen_path),
            b"" if spec.route.pattern is not None else spec.route.literal_prefix.encode(),
            lambda address: self._named(address, spec.tls),
            (lambda name: name) if spelt else canonical,
        )
        self._apis[id(spec)] = spec, api
        return api
