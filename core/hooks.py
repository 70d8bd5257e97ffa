"""All hooks of an API as steps of its plan: those of scripts and those of plugins, in one order."""

from __future__ import annotations

from accel.http1 import Step
from core.apidef.specs import PlanSpec
from core.plugins.steps import PluginSteps
from core.scripts.steps import ScriptSteps


class HookSteps:
    """An API's own hooks are either scripts or plugins; global hooks stand in front of them and behind them."""

    def __init__(self, scripts: ScriptSteps, plugins: PluginSteps) -> None:
        self._scripts = scripts
        self._plugins = plugins

    def pre(self, spec: PlanSpec) -> list[Step]:
        """The pre hooks."""
        return self._around(spec, "pre", self._scripts.pre(spec))

    def auth(self, spec: PlanSpec) -> list[Step]:
        """The auth hook; it goes before the steps that ask for tokens."""
        return self._scripts.auth(spec) + self._plugins.auth(spec)

    def identity(self, spec: PlanSpec) -> list[Step]:
        """Behind the steps that ask for tokens, if the API has both."""
        return self._scripts.identity(spec) + self._plugins.identity(spec)

    def post_key_auth(self, spec: PlanSpec) -> list[Step]:
        """The hooks behind authentication; APIs without keys have none."""
        return [] if spec.keyless else self._around(spec, "post_key_auth", self._scripts.post_key_auth(spec))

    def post(self, spec: PlanSpec) -> list[Step]:
        """The post hooks."""
        return self._around(spec, "post", self._scripts.post(spec))

    def response(self, spec: PlanSpec) -> list[Step]:
        """The response hooks; they are response steps, and see what all other response steps have left."""
        return self._around(spec, "response", self._scripts.response(spec))

    def _around(self, spec: PlanSpec, kind: str, scripts: list[Step]) -> list[Step]:
        plugins = self._plugins
        own = scripts + plugins.hooks(spec, kind)
        return plugins.hooks(spec, kind, "before") + own + plugins.hooks(spec, kind, "after")
