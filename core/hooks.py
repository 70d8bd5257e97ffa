"""All hooks of an API as steps of its plan: those of scripts and those of plugins, in one order."""

from __future__ import annotations

from accel.http1 import Step
from core.apidef.specs import PlanSpec
from core.config.global_hooks import Position
from core.plugins.steps import PluginSteps
from core.scripts.steps import ScriptSteps


class HookSteps:
    """An API's own hooks are either scripts or plugins; global hooks of both kinds stand in front of them and behind them."""

    def __init__(self, scripts: ScriptSteps, plugins: PluginSteps) -> None:
        self._scripts = scripts
        self._plugins = plugins

    def of(self, spec: PlanSpec, kind: str) -> list[Step]:
        """All hooks of one kind, other than auth_check: "pre", "post_key_auth" (none for APIs without keys), "post",
        "response" (steps of the response)."""
        if kind == "post_key_auth" and spec.keyless:
            return []
        own = self._scripts.hooks(spec, kind) + self._plugins.hooks(spec, kind)
        return self._added(spec, kind, "before") + own + self._added(spec, kind, "after")

    def auth(self, spec: PlanSpec) -> list[Step]:
        """The auth hook; it goes before the steps that ask for tokens."""
        return self._scripts.auth(spec) + self._plugins.auth(spec)

    def identity(self, spec: PlanSpec) -> list[Step]:
        """Behind the steps that ask for tokens, if the API has both."""
        return self._scripts.identity(spec) + self._plugins.identity(spec)

    def _added(self, spec: PlanSpec, kind: str, position: Position) -> list[Step]:
        found = self._scripts.added(spec, kind, position) + self._plugins.added(spec, kind, position)
        return [step for _, step in sorted(found, key=lambda one: one[0])]
