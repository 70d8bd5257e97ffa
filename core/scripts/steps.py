"""From the scripts of an API to steps of its plan; core.plans puts them into the order of tyk-jsvm 3.2."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from accel.endpoints import EndpointMatcher
from accel.headers import canonical
from accel.http1 import PathStep, PyStep, Step, WaitStep
from core.access.rewrite import Loops
from core.access.state import keep_identity
from core.apidef.specs import PlanSpec
from core.edits.addresses import listen_end
from core.edits.headers import Spell, request_editor
from core.plugins.auth import CustomAuth, make_auth
from core.scripts.context import Api, Script, Worker
from core.scripts.hooks import AuthHook, RequestHook
from core.scripts.metadata import MetaData
from core.scripts.places import Places
from core.scripts.responses import ResponseHook
from core.scripts.session_text import SessionTexts
from core.scripts.virtual import Virtual
from jsvm_pool.program import Program
from jsvm_pool.steps import run_virtual

if TYPE_CHECKING:
    from core.apidef.scripts import HookSpec, ScriptSpec, VirtualSpec
    from core.config.global_hooks import Position
    from core.services import Services


MakeScript = Callable[[PlanSpec, Program, int, str, str, bytes], Script]
"""Called with the API, the program, the index of the entry, the mode ("request", "response", "virtual", "event"), a name for
logs and metrics, such as "pre:mw", and ScriptSpec.config."""


class ScriptSteps:
    """Makes the steps that run the scripts of one worker's APIs."""

    def __init__(self, services: Services, make: MakeScript, loops: Loops) -> None:
        """make: makes what calls a function of a program; loops: the APIs that tyk:// leads to."""
        self._services = services
        self._make = make
        texts = SessionTexts()
        self._worker = Worker(loops, MetaData(services.keyspace, texts), texts)
        self._config: Any = None
        self._apis: dict[tuple[int, int], tuple[PlanSpec, ScriptSpec, Api]] = {}    # by ids of both: what its hooks share

    def configure(self, config: Any) -> tuple[Any, ...]:
        """Take a configuration; returns what of it the steps depend on."""
        self._config = config
        self._worker.rates_in_headers = config.rate_limit_response_headers == "rate_limits"
        self._apis = {}
        return config.ignore_canonical_mime_header_key, self._services.scripts.timeout

    def hooks(self, spec: PlanSpec, kind: str) -> list[Step]:
        """The API's own hooks of one kind, other than auth_check."""
        found = spec.scripts
        return [] if found is None else [self._step(spec, found, hook) for hook in found.of(kind)]

    def added(self, spec: PlanSpec, kind: str, position: Position) -> list[tuple[int, Step]]:
        """The global hooks of one kind and position, with their places in the list of all."""
        found = spec.global_scripts
        return [] if found is None else [(hook.at, self._step(spec, found, hook)) for hook in found.of(kind, position)]

    def auth(self, spec: PlanSpec) -> list[Step]:
        """The auth hook; it goes before the steps that ask for tokens."""
        found = spec.scripts
        if found is None:
            return []
        hooks = found.of("auth_check")
        if not hooks:
            return []
        what = "\0".join(("javascript", spec.api_id, *(hook.name for hook in hooks)))
        auth = make_auth(self._services, self._worker.tasks, lambda: self._config, spec, what, rich=False)
        return [self._step(spec, found, hook, auth) for hook in hooks]

    def identity(self, spec: PlanSpec) -> list[Step]:
        """Behind the steps that ask for tokens, if the API has both: the auth hook's key is the client's."""
        found, auth = spec.scripts, spec.custom_auth
        if found is None or auth is None or not auth.gives_identity:
            return []
        if not found.of("auth_check"):
            return []
        return [PyStep(keep_identity)]

    def virtual(self, spec: PlanSpec, matcher: EndpointMatcher | None) -> list[Step]:
        """The step of the virtual endpoints. matcher: of the version's path entries; see virtual_data."""
        return [PathStep("virtual", run_virtual)] if matcher is not None and matcher.has("virtual") else []

    def virtual_data(self, spec: PlanSpec, path: str, data: VirtualSpec) -> Virtual | None:
        """What the data of an entry of `virtual` are at run time, None where the API has no scripts."""
        found = spec.scripts
        script = None if found is None else self._script(spec, found, data.entry, "virtual", f"virtual:{data.function}")
        if found is None or script is None:
            return None
        return Virtual(self._api(spec, found), data, path, script)

    def _step(self, spec: PlanSpec, found: ScriptSpec, hook: HookSpec, auth: CustomAuth | None = None) -> Step:
        api = self._api(spec, found)
        mode = "response" if hook.kind == "response" else "request"
        script = self._script(spec, found, hook.entry, mode, f"{hook.kind}:{hook.name}")
        if hook.kind == "response":
            # A response step, which sees what all other response steps have left.
            return WaitStep(ResponseHook(api, hook, script), whole_body=True)
        made = RequestHook(api, hook, script) if auth is None else AuthHook(api, hook, script, auth)
        return WaitStep(made, whole_body=True)

    def _script(self, spec: PlanSpec, found: ScriptSpec, entry: int, mode: str, name: str) -> Script | None:
        program = found.program
        return None if program is None else self._make(spec, program, entry, mode, name, found.config)

    def _api(self, spec: PlanSpec, found: ScriptSpec) -> Api:
        """What the hooks of one version of an API share; made once for each configuration."""
        key = id(spec), id(found)
        known = self._apis.get(key)
        if known is not None:
            return known[2]
        spell: Spell = (lambda name: name) if self._config.ignore_canonical_mime_header_key else canonical
        api = Api(
            self._worker,
            spec.api_id,
            spec.name,
            Places(spec),
            listen_end(spec.route),
            b"" if spec.route.pattern is not None else spec.route.literal_prefix.encode(),
            spell,
            request_editor(spell),
            found.problem,
        )
        self._apis[key] = spec, found, api
        return api
