"""From the plugins of an API to steps of its plan; core.hooks puts them beside those of scripts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from accel.headers import canonical
from accel.http1 import PyStep, Step, Target, WaitStep
from core.access.rewrite import Loops, stripper
from core.access.state import keep_identity
from core.apidef.specs import PlanSpec, TransportSpec
from core.edits.addresses import listen_end
from core.edits.headers import Spell, request_editor
from core.plugins.auth import PluginAuth, make_auth
from core.plugins.context import Api, Call, Worker
from core.plugins.hooks import AuthTaker, RequestHook
from core.plugins.responses import ResponseHook
from core.plugins.session_wires import SessionWires

if TYPE_CHECKING:
    from collections.abc import Callable

    from core.apidef.plugins import PluginHookSpec, PluginSpec
    from core.config.global_hooks import Position
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

    def hooks(self, spec: PlanSpec, kind: str) -> list[Step]:
        """The API's own hooks of one kind, other than auth_check."""
        found = spec.plugins
        return [] if found is None else [self._step(spec, found, hook) for hook in found.of(kind)]

    def added(self, spec: PlanSpec, kind: str, position: Position) -> list[tuple[int, Step]]:
        """The global hooks of one kind and position, with their places in the list of all."""
        found = spec.plugins
        return [] if found is None else [(hook.at, self._step(spec, found, hook)) for hook in found.of(kind, position)]

    def auth(self, spec: PlanSpec) -> list[Step]:
        """The auth hook; it goes before the steps that ask for tokens."""
        found = spec.plugins
        if found is None:
            return []
        return [self._step(spec, found, hook, self._taker(spec, found, hook)) for hook in found.of("auth_check")]

    def identity(self, spec: PlanSpec) -> list[Step]:
        """Behind the steps that ask for tokens, if the API has both: the auth hook's key is the client's."""
        found, auth = spec.plugins, spec.custom_auth
        if found is None or auth is None or not auth.gives_identity or not found.of("auth_check"):
            return []
        return [PyStep(keep_identity)]

    def _taker(self, spec: PlanSpec, found: PluginSpec, hook: PluginHookSpec) -> AuthTaker:
        what = "\0".join((hook.driver, hook.server, hook.name, found.bundle.directory, found.bundle.digest))
        return PluginAuth(make_auth(self._services, self._worker.tasks, lambda: self._config, spec, what, rich=True))

    def _step(self, spec: PlanSpec, found: PluginSpec, hook: PluginHookSpec, auth: AuthTaker | None = None) -> Step:
        api = self._api(spec, found)
        call: Call | None = None if hook.problem else self._services.plugins.call(spec, hook)
        made = ResponseHook(api, hook, call) if hook.kind == "response" else RequestHook(api, hook, call, auth)
        return WaitStep(made, whole_body=True)

    def _api(self, spec: PlanSpec, found: PluginSpec) -> Api:
        """What the hooks of one version of an API share; made once for each configuration."""
        known = self._apis.get(id(spec))
        if known is not None:
            return known[1]
        spell: Spell = (lambda name: name) if self._config.ignore_canonical_mime_header_key else canonical
        api = Api(
            self._worker,
            spec.api_id,
            dict(found.about),
            listen_end(spec.route),
            stripper(spec.route, spec.strip_listen_path),
            b"" if spec.route.pattern is not None else spec.route.literal_prefix.encode(),
            lambda address: self._named(address, spec.tls),
            spell,
            request_editor(spell),
        )
        self._apis[id(spec)] = spec, api
        return api
