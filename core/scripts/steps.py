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
    from core.apidef.scripts import ScriptSpec, VirtualSpec
    from core.services import Services


MakeScript = Callable[[PlanSpec, Program, int, str, str], Script]
"""Called with the API, the program, the index of the entry, the mode ("request", "response", "virtual") and a name for logs
and metrics, such as "pre:mw"."""


class ScriptSteps:
    """Makes the steps that run the scripts of one worker's APIs."""

    def __init__(self, services: Services, make: MakeScript, loops: Loops) -> None:
        """make: makes what calls a function of a program; loops: the APIs that tyk:// leads to."""
        self._services = services
        self._make = make
        texts = SessionTexts()
        self._worker = Worker(loops, MetaData(services.keyspace, texts), texts)
        self._config: Any = None
        self._apis: dict[int, tuple[PlanSpec, Api]] = {}    # id of a spec -> it, and what its hooks share

    def configure(self, config: Any) -> tuple[Any, ...]:
        """Take a configuration; returns what of it the steps depend on."""
        self._config = config
        self._worker.rates_in_headers = config.rate_limit_response_headers == "rate_limits"
        self._apis = {}
        return config.ignore_canonical_mime_header_key, self._services.scripts.timeout

    def pre(self, spec: PlanSpec) -> list[Step]:
        """The pre hooks."""
        return self._hooks(spec, "pre")

    def auth(self, spec: PlanSpec) -> list[Step]:
        """The auth hook; it goes before the steps that ask for tokens."""
        found = spec.scripts
        if found is None:
            return []
        names = [hook.name for hook in found.hooks if hook.kind == "auth_check"]
        if not names:
            return []
        what = "\0".join(("javascript", spec.api_id, *names))
        auth = make_auth(self._services, self._worker.tasks, lambda: self._config, spec, what, rich=False)
        return self._hooks(spec, "auth_check", auth)

    def identity(self, spec: PlanSpec) -> list[Step]:
        """Behind the steps that ask for tokens, if the API has both: the auth hook's key is the client's."""
        found, auth = spec.scripts, spec.custom_auth
        if found is None or auth is None or not auth.gives_identity:
            return []
        if not any(hook.kind == "auth_check" for hook in found.hooks):
            return []
        return [PyStep(keep_identity)]

    def post_key_auth(self, spec: PlanSpec) -> list[Step]:
        """The hooks behind authentication; APIs without keys have none."""
        return [] if spec.keyless else self._hooks(spec, "post_key_auth")

    def virtual(self, spec: PlanSpec, matcher: EndpointMatcher | None) -> list[Step]:
        """The step of the virtual endpoints. matcher: of the version's path entries; see virtual_data."""
        return [PathStep("virtual", run_virtual)] if matcher is not None and matcher.has("virtual") else []

    def virtual_data(self, spec: PlanSpec, path: str, data: VirtualSpec) -> Virtual | None:
        """What the data of an entry of `virtual` are at run time, None where the API has no scripts."""
        script = self._script(spec, data.entry, "virtual", f"virtual:{data.function}")
        if spec.scripts is None or script is None:
            return None
        return Virtual(self._api(spec, spec.scripts), data, path, script)

    def post(self, spec: PlanSpec) -> list[Step]:
        """The post hooks."""
        return self._hooks(spec, "post")

    def response(self, spec: PlanSpec) -> list[Step]:
        """The response hooks; they are response steps, and see what all other response steps have left."""
        found = spec.scripts
        if found is None:
            return []
        api = self._api(spec, found)
        steps: list[Step] = []
        for hook in found.hooks:
            if hook.kind == "response":
                script = self._script(spec, hook.entry, "response", f"response:{hook.name}")
                steps.append(WaitStep(ResponseHook(api, hook, script), whole_body=True))
        return steps

    def _hooks(self, spec: PlanSpec, kind: str, auth: CustomAuth | None = None) -> list[Step]:
        found = spec.scripts
        if found is None:
            return []
        api = self._api(spec, found)
        steps: list[Step] = []
        for hook in found.hooks:
            if hook.kind == kind:
                script = self._script(spec, hook.entry, "request", f"{kind}:{hook.name}")
                made = RequestHook(api, hook, script) if auth is None else AuthHook(api, hook, script, auth)
                steps.append(WaitStep(made, whole_body=True))
        return steps

    def _script(self, spec: PlanSpec, entry: int, mode: str, name: str) -> Script | None:
        program = None if spec.scripts is None else spec.scripts.program
        return None if program is None else self._make(spec, program, entry, mode, name)

    def _api(self, spec: PlanSpec, found: ScriptSpec) -> Api:
        """What the hooks of one version of an API share; made once for each configuration."""
        known = self._apis.get(id(spec))
        if known is not None:
            return known[1]
        config = self._config
        api = Api(
            self._worker,
            spec.api_id,
            spec.name,
            Places(spec),
            listen_end(spec.route),
            b"" if spec.route.pattern is not None else spec.route.literal_prefix.encode(),
            (lambda name: name) if config.ignore_canonical_mime_header_key else canonical,
            found.problem,
        )
        self._apis[id(spec)] = spec, api
        return api
