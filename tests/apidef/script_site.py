"""A directory with definitions and scripts, and what they become."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from core.apidef import CompileOptions, ReadOptions, Snapshot, lint, plan_specs, read_directory
from core.apidef.scripts import HookSpec, ScriptSpec
from core.apidef.specs import PlanSpec
from core.findings import Finding

Edit = Callable[[dict[str, Any]], object]


def blob(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def hook(name: str, path: str = "", **more: Any) -> dict[str, Any]:
    return {"name": name, "path": path, **more}


def virtual(name: str, source: str, kind: str = "file", **more: Any) -> dict[str, Any]:
    entry = {"response_function_name": name, "function_source_type": kind, "function_source_uri": source}
    return {**entry, "path": "/v", "method": "GET", **more}


@dataclass
class ScriptSite:
    """folder is the working directory of the test; apps and middleware lie in it."""

    folder: Path
    options: ReadOptions = field(default_factory=lambda: ReadOptions(
        compile=CompileOptions(enable_jsvm=True), environ={}, middleware_path="middleware", conf="tyk.conf"
    ))  # fmt: skip
    snapshot: Snapshot | None = None

    def set(self, **compile_options: Any) -> None:
        self.options = replace(self.options, compile=replace(self.options.compile, **compile_options))

    def reading(self, **options: Any) -> None:
        self.options = replace(self.options, **options)

    def file(self, path: str, text: str | bytes = "") -> Path:
        place = self.folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(text.encode() if isinstance(text, str) else text)
        return place

    def api(self, name: str = "a", *, virtuals: list[dict[str, Any]] | None = None, **more: Any) -> None:
        versions = {"D": {"name": "D", "use_extended_paths": True, "extended_paths": {"virtual": virtuals or []}}}
        definition = {
            "name": name, "api_id": name, "org_id": "o", "use_keyless": True, "active": True,
            "version_data": {"not_versioned": True, "versions": versions},
            "proxy": {"listen_path": f"/{name}/", "target_url": "http://up/"}, **more,
        }  # fmt: skip
        self.file(f"apps/{name}.json", json.dumps(definition))

    def load(self) -> list[Finding]:
        result = read_directory("apps", self.options, self.snapshot)
        self.snapshot = result.snapshot
        return result.findings

    def lint(self) -> list[Finding]:
        return lint("apps", self.options)

    def specs(self) -> list[PlanSpec]:
        assert self.snapshot is not None
        return plan_specs(self.snapshot, self.options.compile)

    def scripts(self, name: str = "a") -> ScriptSpec:
        (found,) = [spec.scripts for spec in self.specs() if spec.api_id == name]
        assert found is not None
        return found

    def called(self, name: str = "a") -> list[tuple[str, str]]:
        """Kind and entry of every hook."""
        scripts = self.scripts(name)
        assert scripts.program is not None
        return [(one.kind, scripts.program.entries[one.entry]) for one in scripts.hooks if not one.problem]

    def loaded(self, name: str = "a") -> list[str]:
        """Names of the sources in the order in which they are loaded."""
        program = self.scripts(name).program
        assert program is not None
        return [source.name for source in program.sources]

    def problems(self, name: str = "a") -> list[HookSpec]:
        return [one for one in self.scripts(name).hooks if one.problem]


def said(findings: list[Finding], severity: str = "error") -> list[tuple[str, str, str]]:
    return [(one.file, one.path, one.message) for one in findings if one.severity == severity]


def check_only(findings: list[Finding], path: str, text: str, severity: str = "error") -> None:
    """Assert that exactly one finding of the severity was made, about this field and with this text."""
    found = said(findings, severity)
    assert len(found) == 1, found
    assert found[0][1] == path
    assert text in found[0][2]
